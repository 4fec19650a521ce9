"""Laws of the scalar graphs: simplification keeps values, derivatives are autograd's."""

from __future__ import annotations

import itertools
import math
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor
from traces import F64, assert_follows

from stiffguide.graphs import arithmetic
from stiffguide.graphs.derive import FLAT, derivatives
from stiffguide.graphs.graph import ARITY, Graph

# random fields --------------------------------------------------------------------------------

# Bounded, so that values stay near 1 and a rounding error stays one.
UNARY: dict[str, Any] = {
    "sin": torch.sin,
    "cos": torch.cos,
    "tanh": torch.tanh,
    "exp": lambda x: torch.exp(torch.sin(x)),
    "log": lambda x: torch.log(2 + torch.cos(x)),
    "sqrt": lambda x: torch.sqrt(1.5 + torch.sin(x)),
    "square": lambda x: torch.tanh(x) ** 2,
    "power": lambda x: (1.5 + torch.cos(x)) ** -1.5,
    "erf": torch.erf,
    "atan": torch.atan,
    "sinh": lambda x: torch.sinh(torch.tanh(x)),
    "sigmoid": torch.sigmoid,
    "softplus": torch.nn.functional.softplus,
    "gelu": torch.nn.functional.gelu,
    "relu": torch.relu,
    "abs": torch.abs,
    "neg": torch.neg,
    "clamp": lambda x: x.clamp(-0.4, 0.7),
    "floor": lambda x: torch.floor(3 * x),
    "steep": lambda x: torch.sigmoid(50 * x),
}
BINARY: dict[str, Any] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": lambda x, y: x / (1.5 + torch.sin(y)),
    "pow": lambda x, y: (1.5 + torch.sin(x)) ** torch.tanh(y),
    "max": torch.maximum,
    "min": torch.minimum,
    "atan2": lambda x, y: torch.atan2(x, 1.5 + torch.cos(y)),
    "hypot": lambda x, y: torch.hypot(x, y + 3),
    "remainder": lambda x, y: torch.remainder(x, 1.7 + torch.cos(y)),
    "less": lambda x, y: (x < y).to(x.dtype),
}
CAPTURED = torch.tensor([0.7, -1.3, 2.1], dtype=F64)
N = 3

leaves = st.one_of(
    st.tuples(st.just("y"), st.integers(0, N - 1)),
    st.tuples(st.just("k"), st.integers(0, N - 1)),
    st.tuples(st.just("c"), st.sampled_from([0.0, 1.0, -1.0, 2.0, 0.3])),
    st.just(("t",)),
)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(sorted(UNARY)), inner),
        st.tuples(st.sampled_from(sorted(BINARY)), inner, inner),
        st.tuples(st.just("where"), inner, inner, inner),
    ),
    max_leaves=12,
)


def build(tree: Any, t: Tensor, y: Tensor) -> Tensor:
    name, *rest = tree
    if name == "y":
        return y[rest[0]]
    if name == "k":
        return CAPTURED[rest[0]] * torch.ones_like(t)
    if name == "c":
        return torch.full_like(t, rest[0])
    if name == "t":
        return t
    parts = [build(part, t, y) for part in rest]
    if name == "where":
        return torch.where(parts[0] > 0.1, parts[1], parts[2])
    result: Tensor = (UNARY.get(name) or BINARY[name])(*parts)
    return result


@settings(max_examples=200)
@given(st.tuples(trees, trees, trees))
def test_a_random_field_has_a_graph_with_its_derivatives(forest: Any) -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        return torch.stack([build(tree, t, y) for tree in forest]) + 0 * y * t

    assert_follows(f, torch.tensor([0.4, 1.1, 0.6], dtype=F64))


# algebra --------------------------------------------------------------------------------------

ORDINARY = [-2.5, -1.0, -0.5, 0.0, 0.25, 1.0, 2.0, 3.5]


def pool(g: Graph) -> list[int]:
    """Arguments that the rules look into: constants, and results of other rules."""
    x, y = g.add("y", index=0), g.add("y", index=1)
    parts = [x, y, *map(g.const, (0.0, 1.0, -1.0, 0.5, 2.0, 3.0))]
    parts += [g.add("neg", x), g.add("sub", x, y), g.add("mul", g.const(-0.3), x), g.add("abs", y)]
    less = g.add("lt", x, y)
    return [*parts, g.add("not", less), less, g.add("eq", x, y), g.add("ne", x, y)]


@pytest.mark.parametrize("op", [op for op, arity in ARITY.items() if arity])
def test_simplification_keeps_finite_values(op: str) -> None:
    g = Graph()
    choices = [pool(g)[:: 1 + (ARITY[op] == 3)]] * ARITY[op]
    combined = list(itertools.product(*choices))
    roots = [g.add(op, *args) for args in combined]
    for state in itertools.product(ORDINARY, repeat=2):
        known = dict(enumerate(g.evaluate(range(len(g.nodes)), 0.0, state)))
        for args, root in zip(combined, roots, strict=True):
            with np.errstate(all="ignore"):
                plain = float(arithmetic.NUMPY[op](*(known[a] for a in args)))
            found = float(known[root])
            assert found == plain or (math.isnan(found) and math.isnan(plain))


@pytest.mark.parametrize("op", [op for op, arity in ARITY.items() if arity])
def test_numpy_and_torch_mean_the_same(op: str) -> None:
    g = Graph()
    root = g.add(op, *(g.add("y", index=i) for i in range(ARITY[op])))
    special = [*ORDINARY, math.nan, math.inf, -math.inf]
    y = np.array([(a, b, 1.5) for a in special for b in special])
    (mine,) = g.evaluate([root], np.zeros(len(y)), y)
    (theirs,) = g.evaluate([root], torch.zeros(len(y), dtype=F64), torch.from_numpy(y))
    np.testing.assert_allclose(mine, theirs.numpy(), rtol=1e-14, atol=1e-300)


def test_zeros_and_ones_leave_no_trace() -> None:
    g = Graph()
    x, zero, one = g.add("y", index=0), g.const(0.0), g.const(1.0)
    assert g.add("mul", x, zero) == g.add("sub", x, x) == zero
    assert g.add("add", x, zero) == g.add("mul", one, x) == g.add("div", x, one) == x
    assert g.add("neg", g.add("neg", x)) == g.add("where", x, x, x) == x
    assert g.add("add", x, one) == g.add("add", one, x)
    assert g.add("not", g.add("lt", x, one)) != g.add("le", one, x)  # nan is neither


def test_pruning_keeps_what_is_needed_and_renumbers_parameters() -> None:
    g = Graph()
    p = [g.add("p", index=k) for k in range(4)]
    root = g.add("add", p[3], g.add("mul", p[1], g.add("y", index=0)))
    g.add("exp", root)
    small, moved, entries = g.pruned([root])
    assert entries == [1, 3]
    assert len(small.nodes) == 5
    table = [1.0, 2.0, 3.0, 4.0]
    assert small.evaluate([moved[root]], 0.0, [7.0], [2.0, 4.0]) == g.evaluate(
        [root], 0.0, [7.0], table
    )


@pytest.mark.parametrize("op", [op for op, n in ARITY.items() if n and op not in FLAT])
def test_every_operation_has_the_derivative_of_autograd(op: str) -> None:
    g = Graph()
    root = g.add(op, *(g.add("y", index=i) for i in range(ARITY[op])))
    jac, _ = derivatives(g, [root])
    shift = 1.2 if op == "acosh" else 0.0
    y = (torch.tensor([0.37, 0.81, 0.55], dtype=F64) + shift).requires_grad_()
    value = arithmetic.TORCH[op](*y[: ARITY[op]])
    (wanted,) = torch.autograd.grad(value, y)
    for (_, j), node in jac.items():
        (found,) = g.evaluate([node], 0.0, y.detach().numpy())
        assert float(found) == pytest.approx(float(wanted[j]), rel=1e-14)


def test_a_kink_has_the_derivative_that_torch_takes() -> None:
    g = Graph()
    x = g.add("y", index=0)
    twice = g.add("max", g.add("mul", g.const(3.0), x), x)
    jac, _ = derivatives(g, [g.add("abs", x), twice])
    assert g.evaluate([jac[0, 0], jac[1, 0]], 0.0, [0.0]) == [0.0, 2.0]
