"""Sigmas of callers that repeat, or rise again: k-diffusion's samplers take both."""

from __future__ import annotations

import pytest
import torch
from flows import F64, THIN
from test_kdiffusion import ALL, NOISE, plain
from test_kdiffusion_flows import FLOW, START
from test_sampler_oracles import k_sampling

from stiffguide.adapters.diffusion import grid
from stiffguide.adapters.diffusion.stretches import stretches
from stiffguide.adapters.kdiffusion import sample_stiffguide_heun
from stiffguide.errors import InputError

DOWN = [80.0, 20.0, 5.0, 1.0, 0.2, 0.0]


class Counted:
    """A model, and how often it was called."""

    def __init__(self, model) -> None:
        self.model, self.calls = model, 0

    def __call__(self, x, sigma):
        self.calls += 1
        return self.model(x, sigma)


def levels(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=F64)


@ALL
@pytest.mark.parametrize("flow", [False, True])
@pytest.mark.parametrize("place", range(6))
def test_a_level_once_more_is_a_step_that_does_nothing(name: str, place: int, flow: bool) -> None:
    model, x, down = (FLOW, START, [1.0, 0.9, 0.6, 0.3, 0.1, 0.0]) if flow else (THIN, NOISE, DOWN)
    x = down[0] * x
    once, again, told = Counted(model), Counted(model), []
    repeated = down[: place + 1] + down[place:]
    expected = plain(name)(once, x, levels(*down), flow=flow)
    got = plain(name)(again, x, levels(*repeated), flow=flow, callback=told.append)
    assert torch.equal(got, expected)
    assert once.calls == again.calls
    assert [step["i"] for step in told] == [i for i in range(6) if i != place]


@ALL
@pytest.mark.parametrize("flow", [False, True])
def test_a_level_that_rises_is_a_step_of_euler_and_a_new_beginning(name: str, flow: bool) -> None:
    model, x = (FLOW, START) if flow else (THIN, 80 * NOISE)
    down, up = ([1.0, 0.6, 0.2], [0.8, 0.7, 0.3, 0.0]) if flow else ([80, 20, 1], [7, 3, 0.5, 0])
    run = plain(name)
    low = run(model, x, levels(*down), flow=flow)
    x0 = model(low, torch.full((len(x),), float(down[-1]), dtype=F64))
    high = torch.lerp(x0, low, up[0] / down[-1])
    expected = run(model, high, levels(*up), flow=flow)
    got = run(model, x, levels(*down, *up), flow=flow)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


def test_euler_is_that_of_k_diffusion_up_and_down() -> None:
    sigmas = levels(80.0, 20.0, 20.0, 1.0, 7.0, 9.0, 0.5, 0.5, 0.1, 0.0)
    x = 80 * NOISE
    expected = k_sampling().sample_euler(THIN, x, sigmas, disable=True)
    torch.testing.assert_close(plain("stiffguide_euler")(THIN, x, sigmas), expected)


def test_guidance_begins_anew_after_a_rise() -> None:
    x = 80 * NOISE
    low = sample_stiffguide_heun(THIN, x, levels(80.0, 20.0, 1.0), disable=True)
    x0 = THIN(low, torch.ones(len(x), dtype=F64))
    expected = sample_stiffguide_heun(
        THIN, torch.lerp(x0, low, 7.0), levels(7.0, 3.0, 0.5, 0.0), disable=True
    )
    got = sample_stiffguide_heun(THIN, x, levels(80.0, 20.0, 1.0, 7.0, 3.0, 0.5, 0.0), disable=True)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


def test_churn_is_for_what_falls() -> None:
    sigmas = levels(80.0, 20.0, 20.0, 1.0, 7.0, 3.0, 0.5, 0.0)
    pairs = []

    def noise_sampler(sigma, sigma_hat):
        pairs.append((float(sigma), float(sigma_hat)))
        return torch.zeros_like(NOISE)

    plain("stiffguide_euler")(THIN, 80 * NOISE, sigmas, s_churn=2.0, noise_sampler=noise_sampler)
    assert [pair[0] for pair in pairs] == [80.0, 20.0, 7.0, 3.0, 0.5]


@ALL
def test_levels_that_stand_still_leave_the_state_as_it_is(name: str) -> None:
    x = 5 * NOISE
    model = Counted(THIN)
    assert torch.equal(plain(name)(model, x, levels(5.0, 5.0, 5.0)), x)
    assert model.calls == 0


@ALL
def test_a_rise_from_zero_has_no_direction(name: str) -> None:
    with pytest.raises(InputError, match="rise from 0"):
        plain(name)(THIN, 80 * NOISE, levels(80.0, 0.0, 5.0, 0.0))


def test_stretches_of_a_grid() -> None:
    found = stretches([9.0, 5.0, 5.0, 2.0, 4.0, 4.0, 7.0, 1.0, 0.0, 0.0])
    assert [part.intervals for part in found] == [(0, 2), (3, 5), (6, 7)]
    assert [part.levels for part in found] == [(9, 5, 2), (2, 4, 7), (7, 1, 0)]
    assert [part.rises for part in found] == [False, True, False]
    assert stretches([9.0, 5.0, 5.0, 2.0], 2)[0].levels == (5.0, 2.0)
    assert stretches([1.0, 1.0]) == ()
    one = grid.karras(6, zero=True).tolist()
    assert [part.levels for part in stretches(one)] == [tuple(one)]
