"""A row stops where f no longer changes y, whatever the units of time and of the state."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from families import close, every_family, real
from torch import Tensor

import stiffguide as sg
from stiffguide import Status, SteadyState


def approach(rate: float) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda t, y: rate * (1 - y)


@every_family
@pytest.mark.parametrize("rate", [1e-10, 1.0, 1e10])
@pytest.mark.parametrize("end", [30.0, math.inf])
def test_the_unit_of_time_changes_nothing(name: str, rate: float, end: float) -> None:
    settings = {"method": name, "rtol": 1e-4, "atol": 1e-6, "max_attempts": 1000}
    settings["save_at"] = SteadyState()
    found = sg.solve(approach(rate), real(0.1), 0.0, end / rate, **settings)
    again = sg.solve(approach(1.0), real(0.1), 0.0, end, **settings)
    assert int(found.status) == int(again.status) == Status.EVENT
    close(found.t * rate, again.t, rtol=1e-6)
    close(found.y, torch.ones(1, 1).double(), rtol=1e-3)


@every_family
def test_time_may_run_backwards(name: str) -> None:
    settings = {"method": name, "rtol": 1e-4, "save_at": SteadyState(), "max_attempts": 1000}
    for end in (-50.0, -math.inf):
        found = sg.solve(approach(-1.0), real(0.1), 3.0, end, **settings)
        assert int(found.status) == Status.EVENT
        close(found.y, torch.ones(1, 1).double(), rtol=1e-3)


@every_family
def test_what_is_at_rest_from_the_start_stops_after_two_steps(name: str) -> None:
    for end in (1e3, math.inf):
        settings = {"method": name, "save_at": SteadyState(), "first_step": 1.0}
        found = sg.solve(approach(1.0), real(1.0, 1.0), 0.0, end, **settings)
        assert int(found.status) == Status.EVENT
        assert int(found.stats.accepted) == 2


def test_f_may_pass_through_zero() -> None:
    turn = lambda t, y: (1 - t).expand_as(y)  # noqa: E731 - and a step ends where f is 0
    settings = {"save_at": SteadyState(atol=2e-4, rtol=0.0), "max_step": 0.01, "tstops": [1.0]}
    found = sg.solve(turn, real(0.0), 0.0, 1.1, **settings)
    assert int(found.status) == Status.SUCCESS
    close(found.y, real(0.495).reshape(1, 1), rtol=1e-6)


def test_a_wave_does_not_rest() -> None:
    wave = lambda t, y: torch.cos(t).expand_as(y)  # noqa: E731
    found = sg.solve(wave, real(0.0), 0.0, 100.0, save_at=SteadyState(), rtol=1e-4)
    assert int(found.status) == Status.SUCCESS


def test_rows_rest_by_themselves() -> None:
    rate, rtol = real(1.0, 1e-10, 1.0).unsqueeze(1), real(1e-2, 1e-2, 1e-8).unsqueeze(1)
    f = lambda t, y: rate * (1 - y)  # noqa: E731
    y0, t1 = real(0.1, 0.1, 0.1).unsqueeze(1), real(1e3, 1e3, 1e3)
    settings = {"rtol": rtol, "batched": True, "save_at": SteadyState()}
    found = sg.solve(f, y0, 0.0, t1, **settings)
    assert found.status.tolist() == [Status.EVENT, Status.SUCCESS, Status.EVENT]
    assert 1.5 * float(found.t[0]) < float(found.t[2])
    for row in (0, 2):
        alone = sg.solve(
            approach(1.0), y0[row], 0.0, 1e3, rtol=float(rtol[row]), save_at=SteadyState()
        )
        close(found.t[row], alone.t, rtol=1e-6)


def test_the_tolerances_are_those_of_the_solve_or_its_own() -> None:
    """Binding of nanomolar amounts, where the default atol of 1e-9 is too large."""

    def binding(t: Tensor, y: Tensor) -> Tensor:
        a, b, ab = y.unbind(-1)
        rate = 1e5 * a * b - 1e-3 * ab
        return torch.stack((-rate, -rate, rate), -1)

    y0, settings = real(3e-7, 6e-7, 0.0), {"atol": 1e-15, "rtol": 1e-6}
    x = 1e-8  # the constant of dissociation
    both = 3e-7 + 6e-7 + x
    rest = real((both - math.sqrt(both**2 - 4 * 3e-7 * 6e-7)) / 2)
    fine = sg.solve(binding, y0, 0.0, math.inf, save_at=SteadyState(), **settings)
    coarse = sg.solve(binding, y0, 0.0, math.inf, save_at=SteadyState(1e-2, 1e-9), **settings)
    loose = sg.solve(binding, y0, 0.0, math.inf, save_at=SteadyState(rtol=1e-3), **settings)
    close(fine.y[0, 2:], rest, rtol=1e-5)
    assert int(fine.status) == int(coarse.status) == Status.EVENT
    assert float(coarse.t) < float(loose.t) < float(fine.t)


def test_one_object_serves_several_solves() -> None:
    steady = SteadyState()
    ends = [
        float(sg.solve(approach(1.0), real(0.1), 0.0, 1e4, rtol=rtol, save_at=steady).t)
        for rtol in (1e-2, 1e-6, 1e-2)
    ]
    assert ends[0] == ends[2] < ends[1]


def test_a_gradient_ends_where_the_solve_does() -> None:
    k = real(2.0)[0].requires_grad_()
    found = sg.solve(lambda t, y: k - y, real(0.1), 0.0, math.inf, save_at=SteadyState())
    assert int(found.status) == Status.EVENT
    (slope,) = torch.autograd.grad(found.y.sum(), k)
    close(slope, real(1.0)[0], rtol=1e-4)


@every_family
def test_a_start_by_short_steps_is_no_rest(name: str) -> None:
    settings = {"method": name, "first_step": 1e-4, "save_at": SteadyState(1e-2, 1e-3)}
    found = sg.solve(lambda t, y: 2 - y, real(1.0), 0.0, math.inf, rtol=1e-4, **settings)
    close(found.y[-1], real(2.0), rtol=2e-2)
