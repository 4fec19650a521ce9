"""A traced field is the field: its values, its derivatives, its parameters; or it is refused."""

from __future__ import annotations

import math
import subprocess
import sys
from functools import partial
from itertools import count
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from traces import F64, assert_follows, traced, values

from stiffguide import problems
from stiffguide.tracing.tracer import UntraceableError

Y5 = torch.tensor([0.3, 1.2, 0.7, 2.0, 0.5], dtype=F64)
A5 = (torch.arange(25, dtype=F64) ** 2).sin().reshape(5, 5)
K5 = torch.linspace(0.2, 1.1, 5, dtype=F64)
SPARSE = (A5 * (A5 > 0.5)).to_sparse()
TIMES = torch.linspace(0, 1, 5, dtype=F64)


def in_place(t: Tensor, y: Tensor) -> Tensor:
    dy = torch.zeros_like(y)
    dy[0] = y[1] * K5[0]
    dy[1:3] += y[:2]
    dy[3] = torch.sin(t)
    dy[-1] -= 2 * y[0]
    return dy.mul_(2).clamp_(max=3)


def unpacked(t: Tensor, y: Tensor) -> Tensor:
    dy = torch.empty(5, dtype=F64)
    dy[0], dy[1], dy[2], dy[3], dy[4] = y.flip(0)
    return dy


def scattered(t: Tensor, y: Tensor) -> Tensor:
    dy = torch.zeros_like(y)
    dy = dy.index_add(0, torch.tensor([0, 0, 1, 2, 2]), y)
    dy = dy.scatter_add(0, torch.tensor([1, 1, 1]), y[:3])
    return dy.index_put((torch.tensor([3, 3]),), y[:2], accumulate=True)


def of_energy(t: Tensor, y: Tensor) -> Tensor:
    return torch.func.grad(lambda x: (x.tanh() ** 2 * x.flip(0)).sum() + F.softplus(x).sum())(y)


def forced(t: Tensor, y: Tensor) -> Tensor:
    i = torch.searchsorted(TIMES, t, right=True).clamp(1, 4)
    w = (t - TIMES[i - 1]) / (TIMES[i] - TIMES[i - 1])
    return y * (K5[i - 1] * (1 - w) + K5[i] * w)


FIELDS: dict[str, Any] = {
    "elementary": lambda t, y: (
        y.sin() * y.exp() + y.log1p() / y.cosh() + y.atan() * y.erf() + y.sqrt().expm1()
    ),
    "inverse": lambda t, y: (y * 0.3).asin() + (y * 0.3).atanh() + (1 + y).acosh() + y.log2(),
    "activations": lambda t, y: sum(
        g(y - 0.6)
        for g in (F.relu, F.gelu, F.silu, F.softplus, F.elu, F.mish, F.leaky_relu, F.hardswish)
    ),
    "gates": lambda t, y: F.softmax(y, -1) + F.log_softmax(y, -1) + y.sigmoid() * y.logsumexp(0),
    "powers": lambda t, y: y**2 + y**3 + y**0.5 + y**-1 + y**-1.5 + y**7 + y**2.3 + 2**y + y**y,
    "pairs": lambda t, y: (
        torch.atan2(y, y.flip(0)) + torch.fmod(y, 0.4) + y % 0.35 + torch.hypot(y, K5)
    ),
    "extremes": lambda t, y: (
        torch.maximum(y, y.flip(0)) + y.clamp(0.4, 1.0) + y.amax() * y.min() + (y - 1).abs()
    ),
    "choices": lambda t, y: torch.where((y > 0.5) & ~(y > 1.5) | (t > 3), y, -y) * (t >= 0.5),
    "reductions": lambda t, y: y * y.sum() + y.mean() + y.prod() + y.cumsum(0) + y.norm(),
    "spreads": lambda t, y: y * y.std() + y.var(unbiased=False) + F.layer_norm(y, (5,), K5),
    "views": lambda t, y: (
        (y[None].expand(3, 5) * y[:3, None]).t().reshape(3, 5).sum(0) + y.unfold(0, 3, 1).sum()
    ),
    "movements": lambda t, y: (
        y.roll(1) + y[[0, 0, 1, 1, 2]] + torch.cat(y.split([2, 3])[::-1]) + y.flip(0)
    ),
    "stacked": lambda t, y: torch.stack([y[0], y[1] * t, *y.unbind()[2:]]) + torch.diff(y).sum(),
    "products": lambda t, y: A5 @ y + torch.einsum("ij,i,k->k", A5, y, y) + F.linear(y, A5, K5),
    "convolved": lambda t, y: F.conv1d(F.pad(y[None], (1, 1), "circular"), K5[None, None, :3])[0],
    "systems": lambda t, y: torch.linalg.solve(y[:3, None] * y[:3] + A5[:3, :3], y[:3]).sum() * y,
    "sparse": lambda t, y: torch.mv(SPARSE, y) + A5.det() * y,
    "integers": lambda t, y: y * (torch.arange(5) % 2) + (t * 10).long() * y + (y > 0.6).sum(),
    "mapped": lambda t, y: torch.vmap(lambda a: a * a.sin() + A5[0, 0])(y),
    "energy": of_energy,
    "in place": in_place,
    "unpacked": unpacked,
    "scattered": scattered,
    "tabulated": forced,
    "literal": lambda t, y: torch.tensor([1.0, 2, 3, 4, 5], dtype=F64) * y + TIMES.new_ones(5),
}  # fmt: skip


@pytest.mark.parametrize("name", FIELDS)
def test_a_graph_follows_its_field(name: str) -> None:
    if name == "in place":  # autograd by t cannot follow this one
        g = traced(FIELDS[name], Y5)
        found = values(g, torch.tensor([0.77], dtype=F64), 2 * Y5[None])[0]
        assert torch.allclose(found[0], in_place(torch.tensor(0.77, dtype=F64), 2 * Y5))
    else:
        assert_follows(FIELDS[name], Y5)


@pytest.mark.parametrize("name", problems.names())
def test_problems_have_the_jacobian_that_is_written(name: str) -> None:
    small = {"brusselator_1d": 6, "brusselator_2d": 4}
    problem = getattr(problems, name)(small[name]) if name in small else problems.get(name)
    g = traced(problem.f, problem.y0, t0=problem.t0)
    apart = torch.linspace(0.1, 0.2, problem.size, dtype=F64)
    y, t = problem.y0[None] + apart, torch.tensor([2.0], dtype=F64)
    written = problem.jac(t, y)
    f, jac, _ = values(g, t, y)
    torch.testing.assert_close(f, problem.f(t, y), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(jac, written, rtol=1e-12, atol=1e-12)
    assert len(g.derived.jac) == int((written != 0).sum())  # the zeros are known
    assert g.autonomous == (name not in {"prothero_robinson"})


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 8), nn.SiLU(), nn.Linear(8, 5)
    ).double()


def test_a_network_is_read_at_each_call() -> None:
    net = network()
    f = lambda t, y: net(y) * torch.cos(t)  # noqa: E731
    g = assert_follows(f, Y5)
    assert len(g.parameters) == sum(p.numel() for p in net.parameters())
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(1.5)
    assert traced(f, Y5) is g
    assert_follows(f, Y5)


# parameters ------------------------------------------------------------------------------------


def decay(t: Tensor, y: Tensor, k: Any) -> Tensor:
    return -k * y


def test_arguments_are_parameters_shared_or_by_row() -> None:
    y0, t = torch.rand(4, 2, dtype=F64) + 1, torch.zeros(4, dtype=F64)
    by_row, shared = torch.rand(4, 2, dtype=F64), torch.rand(2, dtype=F64)
    for k, shape in ((by_row, (4, 2)), (shared, (2,)), (0.3, (1,)), (by_row[:, :1], (4, 1))):
        g = traced(decay, y0, (k,), batched=True)
        assert g.parameter_table((k,), 4).shape == shape
        torch.testing.assert_close(values(g, t, y0, (k,))[0], decay(t, y0, k))
    assert (
        traced(decay, y0, (0.5,), batched=True).key == traced(decay, y0, (0.7,), batched=True).key
    )


def test_a_square_argument_with_as_many_rows_as_the_state_may_be_shared() -> None:
    y0 = torch.rand(3, 3, dtype=F64)
    a = torch.rand(3, 3, dtype=F64)
    g = traced(lambda t, y, a: y @ a, y0, (a,), batched=True)
    torch.testing.assert_close(values(g, torch.zeros(3, dtype=F64), y0, (a,))[0], y0 @ a)
    assert not any(p.per_row for p in g.parameters)


def test_captured_tensors_may_have_rows() -> None:
    k, y0 = torch.rand(4, 2, dtype=F64), torch.rand(4, 2, dtype=F64)
    g = traced(lambda t, y: -k * y + t[:, None], y0, batched=True)
    t = torch.arange(4.0, dtype=F64)
    torch.testing.assert_close(values(g, t, y0)[0], -k * y0 + t[:, None])
    k.mul_(2)
    torch.testing.assert_close(values(g, t, y0)[0], -k * y0 + t[:, None])


def test_zeros_of_a_captured_matrix_are_structure_until_they_change() -> None:
    a = torch.diag(torch.tensor([2.0, 3.0, 1.0], dtype=F64))
    f = lambda t, y: a @ y  # noqa: E731
    y0 = torch.ones(3, dtype=F64)
    g = traced(f, y0)
    assert set(g.derived.jac) == {(0, 0), (1, 1), (2, 2)}
    assert len(g.parameters) == 2
    a[0, 0] = 5.0
    assert traced(f, y0) is g
    assert float(values(g, torch.zeros(1, dtype=F64), y0[None])[0][0, 0]) == 5.0
    a[0, 1] = 7.0
    assert g.fitted(f, (), 1) is None
    assert (0, 1) in traced(f, y0).derived.jac


@pytest.mark.parametrize(("rows", "length"), [(3, 3), (700, 100)])
def test_every_row_looks_up_its_own_captured_line(rows: int, length: int) -> None:
    lines = torch.rand(rows, length, generator=torch.Generator().manual_seed(1), dtype=F64) + 2

    def f(t: Tensor, y: Tensor) -> Tensor:
        return y * lines.gather(1, (t * (length - 1)).long().unsqueeze(1))

    t, y = torch.linspace(0, 1, rows, dtype=F64), torch.ones(rows, 2, dtype=F64)
    torch.testing.assert_close(values(traced(f, y, batched=True), t, y)[0], f(t, y))


def test_nested_states_are_flat_in_the_graph() -> None:
    y0 = {"a": torch.ones(2, dtype=F64), "b": torch.ones((), dtype=F64)}
    g = traced(lambda t, y: {"a": y["a"] * y["b"], "b": -y["b"] * t}, y0)
    assert set(g.derived.jac) == {(0, 0), (0, 2), (1, 1), (1, 2), (2, 2)}
    assert set(g.derived.dfdt) == {2}


def test_single_precision_states_are_followed_in_double() -> None:
    y0 = torch.tensor([1.0, 2.0])
    g = traced(lambda t, y: torch.sin(y) * 0.1 + t, y0)
    assert g.features == 2


# refusals --------------------------------------------------------------------------------------

CALLS = count()
STATE = torch.zeros((), dtype=F64)


REFUSED: dict[str, tuple[Any, str]] = {
    "item": (lambda t, y: y * y[0].item(), "reads the value of a tensor.*line"),
    "math": (lambda t, y: y * math.sin(t), "reads the value"),
    "numpy": (lambda t, y: y * torch.from_numpy(np.sin(y.numpy())), r"out of torch.*numpy"),
    "tolist": (lambda t, y: y * y.tolist()[0], r"out of torch.*tolist"),
    "captured numpy": (lambda t, y: y * torch.from_numpy(K5.numpy() + 1), "out of torch.*numpy"),
    "captured tolist": (lambda t, y: y * K5.tolist()[0], "out of torch.*tolist"),
    "captured dlpack": (lambda t, y: y * float(np.from_dlpack(K5)[0]), "out of torch.*numpy"),
    "truths by tolist": (lambda t, y: y * (y > -9).tolist()[0], r"out of torch.*tolist"),
    "frozen": (lambda t, y: torch.tensor([y[0], y[1], 1, 1, 1], dtype=F64), "torch.stack"),
    "counting": (lambda t, y: y * next(CALLS), "counts its calls"),
    "random": (lambda t, y: y * torch.rand(5), r"random numbers \(aten.rand"),
    "dropout": (lambda t, y: F.dropout(y), "random numbers"),
    "state in place": (lambda t, y: y.mul_(2), "in place"),
    "captured in place": (lambda t, y: y * STATE.add_(1), "in place"),
    "mask": (lambda t, y: y * y[y > 0.6].sum(), "computed mask"),
    "nonzero": (lambda t, y: y * (y > 1).nonzero().sum(), "aten.nonzero"),
    "sorted": (lambda t, y: y.sort().values, "aten.sort"),
    "place": (lambda t, y: y * y.max(0).indices, "places of extremes"),
    "fourier": (lambda t, y: torch.fft.fft(y).real, "aten._fft_r2c"),
    "complex": (lambda t, y: torch.complex(y, y).abs(), "complex"),
    "gamma": (lambda t, y: torch.lgamma(y), "lgamma"),
    "rounding": (lambda t, y: y.float().double(), "rounds to torch.float32"),
    "bits": (lambda t, y: y * ((y > 0.6).int() & 1), "bits of integers"),
    "large system": (
        lambda t, y: torch.linalg.solve(torch.eye(9, dtype=F64) * y[0], torch.ones(9, dtype=F64))[
            :5
        ],
        "9 unknowns",
    ),
    "shape": (lambda t, y: y[:3], "has shape"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_traced_is_refused_in_a_sentence(name: str) -> None:
    f, words = REFUSED[name]
    with pytest.raises(UntraceableError, match=words):
        traced(f, Y5)


def test_rows_that_depend_on_each_other_are_refused() -> None:
    with pytest.raises(UntraceableError, match="not what its trace says"):
        traced(lambda t, y: y - y.mean(0), torch.rand(4, 2, dtype=F64), batched=True)


def test_a_field_that_fails_by_itself_keeps_its_exception() -> None:
    with pytest.raises(ZeroDivisionError):
        traced(lambda t, y: y * (1 / 0), Y5)


def test_complex_states_are_refused() -> None:
    with pytest.raises(UntraceableError, match="real numbers"):
        traced(lambda t, y: y, torch.ones(2, dtype=torch.complex128))


# identity --------------------------------------------------------------------------------------

PROGRAM = """
import torch
from traces import traced
from test_kernel_trace import FIELDS, Y5
print(traced(FIELDS["gates"], Y5).key, traced(FIELDS["products"], Y5).key)
"""


def test_keys_are_the_same_in_every_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=True,
        cwd=__file__[:-21],
    )
    assert done.stdout.split() == [traced(FIELDS[n], Y5).key for n in ("gates", "products")]


def test_a_partial_and_its_function_have_one_key() -> None:
    f = partial(problems.robertson_field, k=(0.04, 3e7, 1e4))
    y0 = torch.ones(3, dtype=F64)
    assert traced(f, y0).key == traced(problems.robertson_field, y0).key
