"""Steps of given lengths are made without masks, and nothing shows that: the loop says the same."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from families import SMOOTH, real
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

import stiffguide as sg
from stiffguide.stepping import plain

pytestmark = pytest.mark.usefixtures("eager")


Found = tuple[sg.Solution[Tensor], list[Tensor]]
NAMES = [*SMOOTH, "kencarp4", "euler", "midpoint", "rk4", "dop853"]
ROWS = [[0.0, 0.2, 0.25, 0.6, 1.0], [0.0, 0.1, 0.3, 0.7, 1.0], [0.0, 0.5, 0.5, 1.0, 1.0]]
CONTROLLERS = {
    "fixed": sg.Fixed(0.13),
    "grid": sg.Grid(ROWS[0]),
    "one each": sg.Grid(ROWS[:2]),
    "uneven": sg.Grid(ROWS[1:]),
    "back": sg.Grid(ROWS[0][::-1]),
}
KEPT: dict[str, dict[str, Any]] = {
    "end": {},
    "times": {"save_at": [0.0, 0.1, 0.25, 0.3, 1.0]},
    "steps": {"save_at": sg.EveryStep()},
    "dense": {"dense": True},
}


def swinging(t: Tensor, y: Tensor, k: Tensor) -> Tensor:
    """Coupled, nonlinear, not autonomous; rows (B, 2)."""
    turned = torch.stack((y[..., 1], -y[..., 0]), -1)
    return k * turned * torch.cos(t).reshape(-1, 1) - 0.1 * y * y


def solved(f: Any, y0: Tensor, *, back: bool = False, **more: Any) -> sg.Solution[Tensor]:
    t0, t1 = (1.0, 0.0) if back else (0.0, 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sg.solve(f, y0, t0, t1, **{"batched": True, "checks": False, **more})


def both(solve: Callable[[], Found]) -> None:
    """Law: with masks a solve, and what has a gradient of it, are the same."""
    found = [solve()]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(plain, "serves", lambda p: False)
        found.append(solve())
    (x, leaves), (y, _) = found
    for a, b in ((x.t, y.t), (x.y, y.y), (x.counts, y.counts), (pieces(x), pieces(y))):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
    assert x.message == y.message
    assert x.warnings == y.warnings
    if leaves:
        rtol = 1e3 * torch.finfo(x.y.dtype).eps
        for a, b in zip(*(slopes(*of) for of in found), strict=True):
            torch.testing.assert_close(a, b, rtol=rtol, atol=rtol)


def pieces(found: sg.Solution[Tensor]) -> Tensor:
    if found.trajectory is None:
        return torch.zeros(0)
    return found.at([0.05, 0.4, 0.95])


def slopes(found: sg.Solution[Tensor], leaves: list[Tensor]) -> tuple[Tensor, ...]:
    end = found.y[:, -1]
    return torch.autograd.grad(end.abs().square().sum(), leaves)


@pytest.mark.parametrize("controller", list(CONTROLLERS))
@settings(max_examples=6)
@given(
    name=st.sampled_from(NAMES),
    keeps=st.sampled_from(list(KEPT)),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.complex128]),
    recorded=st.booleans(),
)
@example(name="dop853", keeps="times", dtype=torch.float64, recorded=False)  # f between the stages
def test_no_masks_no_other_steps(
    controller: str, name: str, keeps: str, dtype: torch.dtype, recorded: bool
) -> None:
    rows = 3 if controller == "fixed" else 2
    back = controller == "back"

    def solve() -> Found:
        k = torch.tensor(1.3, dtype=dtype.to_real(), requires_grad=recorded)
        y0 = real(1.0, 0.5, -0.3, 0.8, 0.2, 0.1)[: 2 * rows].reshape(rows, 2).to(dtype)
        given = {"method": name, "args": (k,), "controller": CONTROLLERS[controller], "rtol": 1e-4}
        kept = {**KEPT[keeps]}
        if back and "save_at" in kept and isinstance(kept["save_at"], list):
            kept["save_at"] = kept["save_at"][::-1]
        leaves = [k, y0.requires_grad_()] if recorded else []
        return solved(swinging, y0, back=back, **given, **kept), leaves

    both(solve)


def test_rows_that_fail_do_so_at_the_same_step() -> None:
    def bursting(t: Tensor, y: Tensor) -> Tensor:
        grows = torch.arange(len(y)).unsqueeze(1) == 1
        return torch.where(grows, 8 * torch.sqrt(1.2 - y), -y)

    y0 = real(1.0, 0.5, 0.8).unsqueeze(1)
    for name in ("rk4", "rodas5p"):
        for kept in (KEPT["steps"], KEPT["dense"]):
            given = {"method": name, "controller": sg.Fixed(0.02), **kept}
            both(lambda g=given: (solved(bursting, y0, **g), []))  # type: ignore[misc]


@pytest.mark.parametrize(("name", "at"), [("midpoint", 0.5), ("dopri5", 0.6), ("rk4", 0.75)])
def test_what_is_not_finite_once_is_not_forgotten(name: str, at: float) -> None:
    """f squashes what comes of an infinite slope; with dopri5 in a stage that has no weight."""

    def f(t: Tensor, y: Tensor) -> Tensor:
        return torch.where((t - at).abs().unsqueeze(-1) < 1e-9, torch.inf, torch.exp(-y.abs()))

    found = solved(f, real(0.3).unsqueeze(1), method=name, controller=sg.Fixed(0.5))
    assert found.status.tolist() == [int(sg.Status.NON_FINITE)]
    both(lambda: (solved(f, real(0.3).unsqueeze(1), method=name, controller=sg.Fixed(0.5)), []))


def test_who_leaves_through_zero_is_seen() -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        return torch.where(y < 0, 20 * y, -1500 * y)

    def solve() -> Found:
        more = {
            "method": "euler",
            "controller": sg.Fixed(0.001),
            "save_at": sg.EveryStep(),
        }
        return solved(f, real(1e-3, 0.0).reshape(2, 1), atol=1e-2, **more), []

    assert "fell below zero" in solve()[0].warnings[0][0]
    both(solve)


@pytest.mark.parametrize("recorded", [False, True])
def test_an_interrupt_ends_it_at_the_step(recorded: bool) -> None:
    def solve() -> Found:
        calls = iter(range(50))

        def f(t: Tensor, y: Tensor) -> Tensor:
            if next(calls) == 35:
                raise KeyboardInterrupt
            return -y

        more = {"method": "rk4", "controller": sg.Fixed(0.01), "save_at": sg.EveryStep()}
        with pytest.raises(sg.Interrupted) as stopped:
            solved(f, real(1.0).unsqueeze(1).requires_grad_(recorded), **more)
        return stopped.value.solution, []

    both(solve)


def test_no_more_attempts_than_are_allowed() -> None:
    y0, given = real(1.0).unsqueeze(1), {"method": "euler", "controller": sg.Fixed(0.1)}
    for most in (1, 5, 10):
        both(lambda m=most: (solved(lambda t, y: -y, y0, max_attempts=m, **given), []))  # type: ignore[misc]
