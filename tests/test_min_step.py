"""No step is chosen shorter than `min_step`, and one of that length is accepted, which is said."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from families import SOLVERS, every_family, real
from torch import Tensor

import stiffguide as sg

SMALL = 1e-12  # what rounding of t takes from a step


def ring(t: Tensor, y: Tensor) -> Tensor:
    a, b = y.unbind(-1)
    return torch.stack((b, -30.0 * a), -1)


def solved(name: str, least: float | None, t1: Any = 1.3, **more: Any) -> sg.Solution[Any]:
    y0 = real(1.0, 1.0).expand(2, 2)
    given = {"save_at": sg.EveryStep(), "batched": True, "rtol": 1e-9, "atol": 1e-12, **more}
    return sg.solve(ring, y0, 0.0, t1, method=name, min_step=least, **given)


@every_family
def test_an_error_is_no_reason_to_be_shorter(name: str) -> None:
    heard: list[tuple[Tensor, ...]] = []
    for t1, first in (([0.73, 0.4], None), ([-0.73, -0.4], 1e-3)):
        heard.clear()
        given = {"t1": real(*t1), "first_step": first}
        found = solved(name, 0.1, on_attempt=lambda *of: heard.append(of), **given)
        assert found.success.all()
        assert found.stats.accepted.tolist() == [8, 4]
        assert found.stats.rejected.tolist() == [0, 0]
        dt = torch.stack([of[2] for of in heard]).abs()
        assert dt[:7, 0].sub(0.1).abs().max() < SMALL
        assert abs(float(dt[7, 0]) - 0.03) < SMALL  # up to t1
        for row, n in ((0, "8"), (1, "4")):
            (said,) = found.warnings[row]
            assert f"above the tolerance in {n} of {n} steps" in said


@every_family
def test_where_errors_allow_longer_steps_nothing_changes(name: str) -> None:
    plain, found = (solved(name, x, rtol=1e-3, atol=1e-5) for x in (None, 1e-7))
    assert torch.equal(plain.t.nan_to_num(), found.t.nan_to_num())
    assert torch.equal(plain.y.nan_to_num(), found.y.nan_to_num())
    assert not found.warnings


def short_lived(t: Tensor, y: Tensor) -> Tensor:
    return torch.where(t < 0.5, -y, math.nan)


def unsolvable(t: Tensor, y: Tensor) -> Tensor:
    return 1e6 * torch.sign(y - 0.3) * torch.sqrt((y - 0.3).abs()) - 1e7 * torch.sin(1e5 * y)


@pytest.mark.parametrize("name", [n for n in SOLVERS if n != "rkc2"])
def test_what_is_not_finite_cannot_be_shorter(name: str) -> None:
    given = {"method": name, "min_step": 0.03, "checks": False, "max_attempts": 200}
    found = sg.solve(short_lived, real(1.0), 0.0, 1.0, **given)
    assert found.status == sg.Status.NON_FINITE
    assert 0.4 < float(found.t[-1]) < 0.5
    assert found.stats.rejected < 40


def test_stages_that_are_not_solved_for_cannot_be_shorter() -> None:
    given = {"method": "kvaerno5", "min_step": 0.01, "max_attempts": 200}
    found = sg.solve(unsolvable, real(1.0), 0.0, 1.0, **given)
    assert found.status == sg.Status.NOT_CONVERGED
    found = sg.solve(lambda t, y: -1e12 * y, real(1.0), 0.0, 1.0, method="rkc2", min_step=0.1)
    assert found.status == sg.Status.NOT_CONVERGED


def test_gradients_and_events_go_through_such_steps() -> None:
    k = real(1.0).requires_grad_()

    def decay(t: Tensor, y: Tensor, k: Tensor) -> Tensor:
        return -k * y

    given = {"min_step": 0.05, "rtol": 1e-10, "args": (k,), "method": "heun"}
    found = sg.solve(decay, real(1.0), 0.0, 1.0, events=lambda t, y, k: y[0] - 0.7, **given)
    assert abs(float(found.events[0].t.detach()) + math.log(0.7)) < 1e-3
    (slope,) = torch.autograd.grad(found.y[-1, 0], k)
    assert abs(float(slope) + math.exp(-1.0)) < 1e-3
    assert "min_step = 0.05" in str(found.warnings)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "zero": ({"min_step": 0.0}, "min_step must be positive"),
    "negative": ({"min_step": -0.1}, "min_step must be positive"),
    "nan": ({"min_step": math.nan}, "min_step must be positive"),
    "infinite": ({"min_step": math.inf}, "min_step must be finite"),
    "above max_step": ({"min_step": 0.2, "max_step": 0.1}, "min_step is 0.2, and max_step is 0.1"),
    "Fixed": ({"min_step": 0.2, "controller": sg.Fixed(0.1)}, "Fixed gives the lengths of steps"),
    "max_step of Grid": (
        {"max_step": 0.05, "controller": sg.Grid([0.0, 0.1, 1.0])},
        "Grid makes steps of 0.9",
    ),
    "max_step of Fixed": ({"max_step": 0.05, "controller": sg.Fixed(0.1)}, "Fixed makes steps of"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_lengths_that_contradict_each_other_are_refused(case: str) -> None:
    given, words = REFUSED[case]
    with pytest.raises(sg.InputError, match=words):
        sg.solve(ring, real(1.0, 1.0), 0.0, 1.0, method="heun", **given)


def test_a_grid_within_max_step_is_kept_to() -> None:
    times = torch.linspace(0.0, 1.0, 11, dtype=torch.float64)
    given = {"save_at": sg.EveryStep(), "controller": sg.Grid(times), "max_step": 0.1}
    assert torch.equal(sg.solve(ring, real(1.0, 1.0), 0.0, 1.0, method="heun", **given).t, times)


def test_kernels_reject_steps_of_any_length(auto: None) -> None:
    with pytest.raises(sg.UnsupportedError, match="and min_step was given"):
        sg.solve(ring, real(1.0, 1.0), 0.0, 1.0, min_step=0.1, backend="kernel")
    assert "min_step was given" in sg.solve(ring, real(1.0, 1.0), 0.0, 1.0, min_step=0.1).stats.why
