"""Laws of the adjoint of a kernel: it is the derivative of the steps that the kernel made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from cached import needs_compiler
from torch import Tensor

import stiffguide as sg
from stiffguide.catalogue.rosenbrock import RODAS5P
from stiffguide.kernels.running import adjoint, threads

D = torch.float64
pytestmark = [needs_compiler, pytest.mark.usefixtures("plain_builds")]
LENGTHS = {"rtol": 1e3, "atol": 1e3}  # at which every step has the length of the first


def driven(t: Tensor, y: Tensor, p: Tensor) -> Tensor:
    """Coupled, nonlinear, stiff, and it depends on t."""
    a, b = y.unbind(-1)
    w, d = p.unbind(-1)
    first = -d * (a - torch.cos(w * t)) + 0.1 * b * a
    return torch.stack((first, torch.sin(t * a) - b * w * torch.exp(-0.1 * t)), -1)


def forced(t: Tensor, y: Tensor, p: Tensor) -> Tensor:
    """Linear in y, so that Newton's iteration leaves nothing."""
    a, b = y.unbind(-1)
    w, d = p.unbind(-1)
    return torch.stack((-d * (a - torch.cos(w * t)) + 0.1 * b, a * w - d * torch.sin(w) * b), -1)


def states(rows: int, features: int = 2) -> Tensor:
    return 0.2 + torch.rand(rows, features, generator=torch.Generator().manual_seed(3), dtype=D)


def rates(rows: int) -> Tensor:
    spread = torch.rand(rows, 2, generator=torch.Generator().manual_seed(4), dtype=D)
    return torch.tensor([2.0, 20.0], dtype=D) * (0.5 + spread)


def gradients(
    f: Callable[..., Tensor], y0: Tensor, args: tuple[Tensor, ...], t1: Any, **given: Any
):
    """States, and the derivatives of a weighted sum of them by y0 and by args."""
    leaves = [x.detach().clone().requires_grad_() for x in (y0, *args)]
    given = {"batched": True, "backend": "kernel", "checks": False, "t0": 0.0} | given
    t0 = given.pop("t0")
    found = sg.solve(f, leaves[0], t0, t1, args=tuple(leaves[1:]), **given)
    assert found.stats.backend == given["backend"]
    weights = torch.linspace(1.0, 2.0, found.y.numel(), dtype=D).reshape(found.y.shape)
    return found.y.detach(), torch.autograd.grad((weights * found.y).sum(), leaves)


def assert_same(found: Any, wanted: Any, rtol: float = 1e-11) -> None:
    torch.testing.assert_close(found[0], wanted[0], rtol=rtol, atol=1e-13)
    for a, b in zip(found[1], wanted[1], strict=True):
        size = float(b.abs().amax())
        torch.testing.assert_close(a, b, rtol=10 * rtol, atol=rtol * size)


METHODS = {  # each for what it has that the others have not
    "rodas5p": driven,
    "rodas3": driven,  # Hermite's interpolant
    "tsit5": driven,
    "verner76": driven,  # f at the end of a step in the interpolant
    "dop853": driven,  # late stages
    "kvaerno5": forced,
    "trbdf2": forced,
}


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("name", METHODS)
def test_of_given_steps_it_is_that_of_autograd(name: str, rows: int) -> None:
    f, t1 = METHODS[name], 0.6
    args = (rates(rows),)
    for save_at in (None, torch.tensor([0.0, 0.011, 0.1, 0.28, 0.29, 0.6], dtype=D)):
        given = {"method": name, "save_at": save_at, "first_step": 0.03, "max_step": 0.03}
        both = [
            gradients(f, states(rows), args, t1, **given, **LENGTHS, backend=backend)
            for backend in ("kernel", "eager")
        ]
        assert_same(*both)


@pytest.mark.parametrize("name", ["rodas5p", "tsit5", "kvaerno5"])
def test_of_own_steps_it_is_that_of_differences(name: str) -> None:
    """Rows of their own lengths and directions, saved at times of their own."""
    rows = 40
    y0, args, t1 = states(rows), (rates(rows),), torch.linspace(-0.4, 1.5, rows, dtype=D)
    save_at = t1.unsqueeze(1) * torch.tensor([0.2, 0.7, 1.0], dtype=D)
    given = {"method": name, "save_at": save_at, "rtol": 1e-9, "atol": 1e-11}
    _, (by_y0, by_p) = gradients(driven, y0, args, t1, **given)
    shift = 1e-5

    tight = {"method": "rodas5p", "save_at": save_at, "rtol": 1e-12, "atol": 1e-14}

    def total(y: Tensor, p: Tensor) -> Tensor:
        with torch.no_grad():
            found = sg.solve(driven, y, 0.0, t1, args=(p,), batched=True, backend="kernel", **tight)
        weights = torch.linspace(1.0, 2.0, found.y.numel(), dtype=D).reshape(found.y.shape)
        return (weights * found.y).sum((1, 2))

    for j in range(2):
        e = torch.zeros(2, dtype=D)
        e[j] = shift
        for found, up, down in (
            (by_y0, total(y0 + e, *args), total(y0 - e, *args)),
            (by_p, total(y0, args[0] + e), total(y0, args[0] - e)),
        ):
            wanted = (up - down) / (2 * shift)
            torch.testing.assert_close(found[:, j], wanted, rtol=2e-5, atol=2e-6)


def test_a_row_has_the_same_gradient_among_others() -> None:
    rows = 70
    y0, p = states(rows), rates(rows)
    given = {"method": "rodas5p", "save_at": torch.linspace(0, 1, 4, dtype=D)}
    _, (by_y0, by_p) = gradients(driven, y0, (p,), 1.0, **given)
    leaves = y0[:5].clone().requires_grad_(), p[:5].clone().requires_grad_()
    found = sg.solve(
        driven, leaves[0], 0.0, 1.0, args=leaves[1:], batched=True, backend="kernel", **given
    )
    weights = torch.linspace(1.0, 2.0, rows * found.y[0].numel(), dtype=D)
    weights = weights.reshape(rows, *found.y.shape[1:])[:5]
    few = torch.autograd.grad((weights * found.y).sum(), leaves)
    torch.testing.assert_close(few[0], by_y0[:5], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(few[1], by_p[:5], rtol=1e-12, atol=1e-14)


def test_threads_and_parts_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = 300
    weights = 0.3 * torch.randn(2, 60, generator=torch.Generator().manual_seed(0), dtype=D)

    def network(t: Tensor, y: Tensor, inner: Tensor, outer: Tensor) -> Tensor:
        return torch.tanh(y @ inner) @ outer - y

    args = (weights, weights.T.contiguous() / 8)  # more entries than lanes carry
    given = {"method": "tsit5", "save_at": torch.linspace(0, 2, 5, dtype=D)}
    whole = gradients(network, states(rows), args, 2.0, **given)
    monkeypatch.setattr(adjoint, "MOST", 40_000)  # bytes, of some 500,000
    walks, back = [], adjoint.Adjoint._back
    monkeypatch.setattr(adjoint.Adjoint, "_back", lambda *a: walks.append(1) or back(*a))
    parts = gradients(network, states(rows), args, 2.0, **given)
    assert len(walks) > 2
    monkeypatch.undo()
    assert_same(parts, whole, 1e-13)
    count = iter((3, 1))  # fewer on the way back
    monkeypatch.setattr(threads, "threads", lambda rows: 3)
    monkeypatch.setattr(adjoint, "threads", lambda rows: next(count))
    assert_same(gradients(network, states(rows), args, 2.0, **given), whole, 1e-13)
    monkeypatch.undo()
    few = [
        gradients(network, states(6), args, 2.0, **given, backend=backend)
        for backend in ("kernel", "eager")
    ]
    assert_same(*few, 1e-9)


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("pivot", [False, True], ids=["planned", "pivoted"])
def test_full_matrices_are_transposed(pivot: bool, rows: int) -> None:
    """The second has nothing on the diagonal of W in three rows, which are turned in a ring."""
    dt, n, size = 0.02, 9, 1e-8 if pivot else 1.0
    a = 0.5 * torch.randn(n, n, generator=torch.Generator().manual_seed(2), dtype=D)
    if pivot:
        for i in range(3):
            a[i, i], a[i, (i + 1) % 3] = 1 / (dt * float(RODAS5P.gamma)), -1e3

    def f(t: Tensor, y: Tensor, a: Tensor) -> Tensor:
        return y @ a.T + 0.1 * y * y

    given = {"method": "rodas5p", "first_step": dt, "max_step": dt}
    found = [
        gradients(
            f,
            size * states(rows, n),
            (a,),
            dt if pivot else 2 * dt,
            **given,
            **LENGTHS,
            backend=backend,
        )
        for backend in ("kernel", "eager")
    ]
    assert_same(*found, 1e-9)


@pytest.mark.parametrize("method", ["rodas5p", "kvaerno5"])
def test_chains_are_transposed_by_tables(method: str) -> None:
    """Diffusion and decay along a line, whose factors are neither written out nor full."""
    n = 40

    def f(t: Tensor, y: Tensor, k: Tensor) -> Tensor:
        left, right = y.roll(1, -1), y.roll(-1, -1)
        return k[0] * (left + right - 2 * y) - k[1] * y

    given = {"method": method, "first_step": 0.01, "max_step": 0.01}
    k = torch.tensor([200.0, 3.0], dtype=D)
    found = [
        gradients(f, states(1, n), (k,), 0.03, **given, **LENGTHS, backend=backend)
        for backend in ("kernel", "eager")
    ]
    assert_same(*found, 1e-10)


def test_numbers_of_float32_have_gradients_of_float32() -> None:
    y0, p = states(5).float().requires_grad_(), rates(5).float().requires_grad_()
    given = {"method": "rodas5p", "batched": True}
    slopes = []
    for backend in ("kernel", "eager"):
        found = sg.solve(driven, y0, 0.0, 0.5, args=(p,), backend=backend, rtol=1e-5, **given)
        slopes.append(torch.autograd.grad(found.y.sum(), (y0, p)))
        assert found.y.dtype == slopes[-1][0].dtype == torch.float32
    for a, b in zip(*slopes, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_gradcheck_agrees() -> None:
    def ends(y: Tensor, p: Tensor) -> Tensor:
        given = {"method": "rodas5p", "first_step": 0.05, "max_step": 0.05, **LENGTHS}
        return sg.solve(driven, y, 0.0, 0.2, args=(p,), batched=True, backend="kernel", **given).y

    leaves = states(2).requires_grad_(), rates(2).requires_grad_()
    assert torch.autograd.gradcheck(ends, leaves, eps=1e-6, atol=1e-7, rtol=1e-5)


def test_what_overflows_in_a_row_that_nobody_asks_for_is_its_own() -> None:
    def f(t: Tensor, y: Tensor, k: Tensor, c: Tensor) -> Tensor:
        a, b = y.unbind(-1)
        return torch.stack((k[..., 0] * c * a, 1 / (1 + a * a * a) - b), -1)

    k, c = torch.tensor([[0.5], [400.0]], dtype=D), torch.tensor(1.0, dtype=D, requires_grad=True)
    given = {"args": (k, c), "batched": True, "backend": "kernel", "method": "tsit5"}
    found = sg.solve(f, torch.ones(2, 2, dtype=D), 0.0, 1.0, **given)
    assert bool(found.success.all())
    assert float(found.y.detach()[1, 0, 0]) > 1e160  # whose square is infinite
    (slope,) = torch.autograd.grad(found.y[0].sum(), c)
    assert bool(torch.isfinite(slope))


def test_no_rows_and_no_time_have_the_gradient_of_y0() -> None:
    y0 = states(3).requires_grad_()
    given = {"args": (rates(3),), "batched": True, "backend": "kernel", "method": "tsit5"}
    (slope,) = torch.autograd.grad(sg.solve(driven, y0, 1.0, 1.0, **given).y.sum(), y0)
    assert torch.equal(slope, torch.ones_like(slope))
