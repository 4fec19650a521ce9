"""Derivatives of graphs at the borders of domains: what calculus says, and never a 0 times inf."""

from __future__ import annotations

import math
import shutil
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from torch import Tensor
from traces import F64, traced, values

import stiffguide as sg

INF = math.inf
COMPILER = shutil.which("g++") or shutil.which("clang++")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="needs a C++ compiler")


def gradient(f: Any, at: list[float], args: tuple[Any, ...] = ()) -> tuple[float, list[float]]:
    """f(*y, *args), a number, and its derivatives by y, of its graph at a point."""
    n = len(at)
    whole = lambda t, y, *args: f(*y.unbind(), *args).expand(n).clone()  # noqa: E731
    g = traced(whole, torch.linspace(0.4, 0.7, n, dtype=F64), args)
    value, jac, _ = values(g, torch.zeros(1, dtype=F64), torch.tensor([at], dtype=F64), args)
    return float(value[0, 0]), jac[0, 0].tolist()


# f, where, and its derivatives there
CALCULUS: dict[str, tuple[Any, list[float], list[float]]] = {
    **{f"y ** {e}": (lambda y, e=e: y**e, [0.0], [0.0]) for e in (1.2, 1.5, 2.5, 3, 3.5, 7.5)},
    **{f"y ** {e}": (lambda y, e=e: y**e, [0.0], [INF]) for e in (0.3, 0.5, 0.7)},
    "y ** 1": (lambda y: y**1, [0.0], [1.0]),
    "y ** y": (lambda y: y**y, [0.0], [0.0]),
    "x ** y, 0 ** 2": (lambda x, y: x**y, [0.0, 2.0], [0.0, 0.0]),
    "x ** y, 0 ** 1": (lambda x, y: x**y, [0.0, 1.0], [1.0, 0.0]),
    "x ** y, 0 ** 0.5": (lambda x, y: x**y, [0.0, 0.5], [INF, 0.0]),
    "y sqrt y": (lambda y: y * y.sqrt(), [0.0], [0.0]),
    "sin y sqrt y": (lambda y: y.sin() * y.sqrt(), [0.0], [0.0]),
    "(1 - y) asin y": (lambda y: (1 - y) * y.asin(), [1.0], [-math.pi / 2]),
    "x sqrt y at 0": (lambda x, y: x * y.sqrt(), [0.0, 0.0], [0.0, 0.0]),
    "x sqrt y": (lambda x, y: x * y.sqrt(), [2.0, 0.0], [0.0, INF]),
    "sqrt x sqrt y": (lambda x, y: x.sqrt() * y.sqrt(), [0.0, 0.0], [0.0, 0.0]),
    "sqrt (x y)": (lambda x, y: torch.sqrt(x * y), [0.0, 4.0], [INF, 0.0]),
    "root of a clamp below": (lambda y: 3 * y.clamp(min=0).sqrt(), [-1.0], [0.0]),
    "root of a clamp above": (lambda y: 3 * y.clamp(min=0).sqrt(), [4.0], [0.75]),
    "root of a clamp at it": (lambda y: 3 * y.clamp(min=0).sqrt(), [0.0], [INF]),
    "root of a maximum": (lambda y: torch.maximum(y, 0 * y).sqrt(), [-1.0], [0.0]),
    "power of a relu": (lambda y: F.relu(2 * y + 1) ** 0.7, [-1.0], [0.0]),
    "root of a sum of relus": (lambda y: (F.relu(y) + F.relu(y - 1)).sqrt(), [-1.0], [0.0]),
    "root of a masked state": (lambda y: ((y > 0) * y * 2).sqrt(), [-1.0], [0.0]),
    "root of a product with a relu": (lambda x, y: (x * F.relu(y)).sqrt(), [2.0, -1.0], [0.0, 0.0]),
    "arc of a clamp": (lambda y: y.clamp(-1, 1).acos(), [2.0], [0.0]),
    "logistic far below": (lambda y: 1 / (1 + torch.exp(-y)), [-800.0], [0.0]),
    "logistic far above": (lambda y: 1 / (1 + torch.exp(-y)), [800.0], [0.0]),
    "steep switch": (lambda y: 5 / (1 + torch.exp(-1e4 * (y - 1))), [0.0], [0.0]),
    "squared logistic": (lambda y: (1 + torch.exp(y)) ** -2.5, [800.0], [0.0]),
    "root of a logistic": (lambda y: (1 / (1 + torch.exp(y))).sqrt(), [800.0], [0.0]),
    "hyperbolic secant": (lambda y: 1 / torch.cosh(y), [800.0], [0.0]),
    "Gompertz": (lambda y: torch.exp(-torch.exp(y)), [800.0], [0.0]),
    "tanh of sinh": (lambda y: torch.tanh(torch.sinh(y)), [800.0], [0.0]),
    "atan of exp": (lambda y: torch.atan(torch.exp(y)), [800.0], [0.0]),
    "power of 2": (lambda y: 1 / (1 + 2**y), [2000.0], [0.0]),
    "softplus": (lambda y: F.softplus(y), [800.0], [1.0]),
    "sigmoid": (lambda y: torch.sigmoid(y), [-800.0], [0.0]),
    "softmax": (lambda x, y: torch.stack((x, y)).softmax(0)[0], [900.0, -900.0], [0.0, 0.0]),
    "0/0 not taken": (
        lambda y: torch.where(y.abs() < 1e-7, 1 + y / 2, y / (1 - torch.exp(-y))),
        [0.0],
        [0.5],
    ),
    "root not taken": (lambda y: torch.where(y > 0, y.sqrt(), -y), [-1.0], [-1.0]),
    "overflow not taken": (lambda y: torch.where(y > 9, y, torch.exp(y)), [1e3], [1.0]),
    "entropy": (lambda y: torch.where(y > 0, -y * y.log(), 0.0), [0.0], [0.0]),
    "xlogy": (torch.xlogy, [0.0, 2.0], [math.log(2), 0.0]),
    "xlogy at 0": (torch.xlogy, [0.0, 0.0], [0.0, 0.0]),
    "xlog1py": (torch.special.xlog1py, [0.0, 1.0], [math.log(2), 0.0]),
    "angle": (torch.atan2, [0.0, 0.0], [0.0, 0.0]),
    "hypotenuse": (torch.hypot, [0.0, 0.0], [0.0, 0.0]),
    "norm": (lambda x, y: torch.stack((x, y)).norm(), [0.0, 0.0], [0.0, 0.0]),
    "deviation": (lambda x, y: torch.stack((x, y)).std(), [2.0, 2.0], [0.0, 0.0]),
    "size": (torch.abs, [0.0], [0.0]),
    "log1p": (torch.log1p, [0.0], [1.0]),
}


@pytest.mark.parametrize("name", CALCULUS)
def test_a_derivative_is_what_calculus_says(name: str) -> None:
    f, at, expected = CALCULUS[name]
    value, found = gradient(f, at)
    assert math.isfinite(value)
    assert found == pytest.approx(expected, rel=1e-12, abs=1e-300)


@pytest.mark.parametrize("e", [0.5, 0.9, 1.0, 1.5, 2.0, 2.5])
def test_an_exponent_may_be_an_argument(e: float) -> None:
    expected = INF if e < 1 else float(e == 1)
    assert gradient(lambda y, e: 2 * y**e, [0.0], (e,))[1] == [2 * expected]
    assert gradient(lambda y, e, k: k * y**e, [0.0], (e, 0.0))[1] == [0.0]
    assert gradient(lambda y, k: (k * y).sqrt(), [0.0], (0.0,))[1] == [0.0]


@pytest.mark.parametrize(
    "f",
    [
        lambda y: y.sqrt() ** 2,  # 1 at 0
        lambda y: y.abs().sqrt(),  # none
        lambda y: 1 / (1 + 1 / y),  # 1
        lambda y: torch.exp(2 * y.log()),  # 0
    ],
)
def test_what_only_a_limit_can_tell_is_not_guessed(f: Any) -> None:
    value, (slope,) = gradient(f, [0.0])
    assert value == 0.0
    assert math.isnan(slope)


# torch's own functions ---------------------------------------------------------------------------

SINGLE = (
    torch.sin, torch.tan, torch.asin, torch.acos, torch.atan, torch.tanh, torch.asinh, torch.acosh,
    torch.sqrt, torch.exp, torch.expm1, torch.log1p, torch.abs, torch.erf, torch.erfc, torch.sgn,
    F.relu, F.relu6, F.silu, F.gelu, F.softplus, F.elu, F.selu, F.leaky_relu, F.mish, F.hardswish,
    F.hardtanh, F.logsigmoid, F.softsign, F.tanhshrink, F.softshrink, F.hardshrink, torch.sinc,
    torch.frac, torch.exp2, torch.nan_to_num,
)  # fmt: skip
PAIRS = (
    torch.pow, torch.atan2, torch.fmod, torch.remainder, torch.maximum, torch.minimum, torch.fmax,
    torch.fmin, torch.xlogy, torch.special.xlog1py, torch.logaddexp, torch.copysign,
    lambda x, y: torch.stack((x, y)).std(),
    lambda x, y: torch.linalg.vector_norm(torch.stack((x, y)), 3),
    lambda x, y: torch.linalg.vector_norm(torch.stack((x, y)), INF),
    lambda x, y: torch.stack((x, y)).logsumexp(0),
    lambda x, y: F.normalize(torch.stack((x, y)), dim=0)[0],
    F.huber_loss, F.smooth_l1_loss,
)  # fmt: skip
ENDS = [0.0, 1.0, -1.0, 3.0, -3.0, 6.0, 0.5, -0.5, 800.0, -800.0]


@pytest.mark.parametrize("f", [*SINGLE, *PAIRS])
def test_where_autograd_has_a_derivative_the_graph_has_the_same(f: Any) -> None:
    n = 1 if f in SINGLE else 2
    whole = lambda t, y: f(*y.unbind()).expand(n).clone()  # noqa: E731
    g = traced(whole, torch.linspace(0.4, 0.7, n, dtype=F64))
    points = [[a] for a in ENDS] if n == 1 else [[a, b] for a in ENDS[:7] for b in ENDS[:7]]
    y = torch.tensor(points, dtype=F64)
    value, jac, _ = values(g, torch.zeros(len(y), dtype=F64), y)
    seen = 0
    for row, mine, theirs in zip(y, value[:, 0], jac[:, 0], strict=True):
        row.requires_grad_()
        number = f(*row.unbind())
        (expected,) = torch.autograd.grad(number, row)
        if number.isfinite() and expected.isfinite().all():
            torch.testing.assert_close(mine, number.detach(), rtol=1e-12, atol=0)
            torch.testing.assert_close(theirs, expected, rtol=1e-12, atol=1e-300)
            seen += 1
    assert seen > 2


# branches that are not taken ---------------------------------------------------------------------

# without differences: to a graph nan - nan is 0, and the sign of a zero is nothing
POISON: dict[str, Any] = {
    "sqrt": torch.sqrt,
    "log": torch.log,
    "inverse": lambda x: 1 / x,
    "power": lambda x: x**0.7,
    "half": lambda x: x**1.5,
    "asin": torch.asin,
    "acosh": torch.acosh,
    "exp": lambda x: torch.exp(900 * x),
    "nothing": lambda x: (x - x) / (x - x),
    "tan": lambda x: torch.tan(x * (math.pi / 2)),
    "sin": torch.sin,
    "tanh": torch.tanh,
    "clamp": lambda x: x.clamp(-1, 1),
    "relu": F.relu,
}
PAIRED: dict[str, Any] = {
    "add": torch.add,
    "mul": torch.mul,
    "div": torch.div,
    "max": torch.maximum,
    "pow": torch.pow,
}
Y3 = [-1.0, 0.0, 0.5]
CAPTURED = torch.tensor([-1.5, 0.3, 2.0], dtype=F64)

leaves = st.one_of(
    st.tuples(st.just("y"), st.integers(0, 2)),
    st.tuples(st.just("k"), st.integers(0, 2)),
)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(sorted(POISON)), inner),
        st.tuples(st.sampled_from(sorted(PAIRED)), inner, inner),
        *[st.tuples(st.just("where"), inner, inner, inner)] * 3,
    ),
    max_leaves=14,
)


def build(tree: Any, y: Tensor, *, taken: bool) -> Tensor:
    """A tree in torch: with both branches of every `where`, or with the one that is taken alone."""
    name, *rest = tree
    if name == "y":
        return y[rest[0]]
    if name == "k":
        return CAPTURED[rest[0]]
    if name in POISON:
        result: Tensor = POISON[name](build(rest[0], y, taken=taken))
        return result
    if name in PAIRED:
        result = PAIRED[name](*(build(x, y, taken=taken) for x in rest))
        return result
    condition = build(rest[0], y, taken=taken) > 0.1
    if taken:
        return build(rest[1] if condition else rest[2], y, taken=True)
    return torch.where(condition, *(build(x, y, taken=False) for x in rest[1:]))


@settings(max_examples=150)
@given(tree=st.tuples(st.just("where"), trees, trees, trees))
def test_a_branch_that_is_not_taken_leaves_no_trace(tree: Any) -> None:
    y = torch.tensor(Y3, dtype=F64, requires_grad=True)
    alone = build(tree, y, taken=True)
    expected = torch.zeros(3, dtype=F64)
    if alone.requires_grad:
        (expected,) = torch.autograd.grad(alone, y)
    g = traced(lambda t, y: build(tree, y, taken=False).expand(3).clone(), y.detach())
    value, jac, _ = values(g, torch.zeros(1, dtype=F64), y.detach()[None])
    if alone.isfinite():
        torch.testing.assert_close(value[0, 0], alone.detach(), rtol=1e-9, atol=1e-12)
        known = expected.isfinite()
        torch.testing.assert_close(jac[0, 0][known], expected[known], rtol=1e-9, atol=1e-12)


# whole solves ------------------------------------------------------------------------------------


def components(t: Tensor, y: Tensor) -> Tensor:
    """Each from 0, or past a border; all of them harmless to a solver that is explicit."""
    a, b, c, d, e, f, g = y.unbind(-1)
    return torch.stack(
        (
            1 / (1 + a**1.5) - 20 * a,
            1 / (1 + b**2.5) - 20 * b,
            1 + c**3.5 - 20 * c,
            1 - 20 * d - d * torch.sqrt(d),
            -1 - e.clamp(min=0).sqrt() - 20 * e,
            20 / (1 + torch.exp(-2e4 * (f - 1))) - f,
            torch.where(g.abs() < 1e-7, 1.0, g / (1 - torch.exp(-g))) - 20 * g,
        ),
        -1,
    )


@needs_compiler
@pytest.mark.parametrize("method", ["rodas5p", "kvaerno5"])
def test_a_kernel_starts_at_a_border(method: str) -> None:
    y0 = torch.tensor([0.0, 0.0, 0.0, 0.0, -0.01, 0.0, 0.0], dtype=F64)
    times = [0.01, 0.1, 1.0]
    found = sg.solve(components, y0, 0.0, 1.0, method=method, save_at=times, backend="kernel")
    plain = sg.solve(components, y0, 0.0, 1.0, method="tsit5", save_at=times, rtol=1e-8, atol=1e-10)
    assert int(found.raise_if_failed().stats.rejected) < 10
    torch.testing.assert_close(found.y, plain.raise_if_failed().y, rtol=1e-4, atol=1e-7)
