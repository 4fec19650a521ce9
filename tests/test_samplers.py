"""Laws of every sampler: order, evaluations, exactness, independence of rows, no wait."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise

import pytest
import torch
from flows import F64, SMOOTH, THIN, Mixture, exact_path, normal
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from stiffguide.adapters.diffusion import SAMPLERS, Emg, Multistep, grid, sample
from stiffguide.adapters.diffusion.curves import COSTS
from stiffguide.adapters.diffusion.exponential import (
    data_weights,
    deis_weights,
    log_snr,
    slope_weights,
    vp_time,
)
from stiffguide.adapters.diffusion.sampler import Interval
from stiffguide.guidance import ErkGuid, ErrorDirection

every_sampler = pytest.mark.parametrize("name", SAMPLERS)
HIGH, LOW = 2.5, 0.4
START = HIGH * normal(6, 3, seed=5)


def call(x: Tensor, sigma: float) -> Tensor:
    return SMOOTH(x, x.new_full((len(x),), sigma))


def pinned(sampler, state, x: Tensor, before: Tensor | None, sigma: float):
    """The state as it would be had the sampler arrived at the exact x (B, F)."""
    if isinstance(sampler, Multistep):
        return state._replace(x=x)
    if isinstance(sampler, Emg):
        d = call(x, sigma)
        return state._replace(x=x, d=d, rise=None if before is None else d - before, guess=None)
    return state


def from_exact_start(sampler, levels: list[float], path: list[Tensor]) -> Tensor:
    """Run with exact states and evaluations until the sampler has all the past it wants."""
    known = sampler.points if isinstance(sampler, Multistep) else 4
    known = known if sampler.memory else 0
    steps = len(levels) - 1
    x, state, before = path[0], sampler.init(path[0], levels), None
    for i in range(steps):
        x = path[i] if i < known else x
        past = tuple(levels[i - 1 :: -1])[:4] if i else ()
        interval = Interval(levels[i], levels[i + 1], past, steps - i)
        x, _, _, state = sampler.step(call, interval, x, state)
        if i < known:
            state = pinned(sampler, state, path[i], before, levels[i])
            before = call(path[i], levels[i])
    return x


def slopes(errors: list[float]) -> list[float]:
    return [math.log2(a / b) for a, b in pairwise(errors)]


def distance(x: Tensor, y: Tensor) -> float:
    return float(torch.linalg.vector_norm(x - y))


FINEST = 192


@lru_cache(maxsize=2)
def finest() -> tuple[list[float], list[Tensor]]:
    """Levels that halve and halve again, and the exact states there."""
    levels = grid.exponential(FINEST, LOW, HIGH).tolist()
    return levels, exact_path(SMOOTH, START, levels, 8)


def errors_of(run, steps=(48, 96, 192)) -> list[float]:
    """End-point errors of run(levels, path) for falling step sizes."""
    levels, path = finest()
    strides = [FINEST // n for n in steps]
    return [distance(run(levels[::k], path[::k]), path[-1]) for k in strides]


# the orders that their own start, one step of Euler, leaves the multistep methods
OWN_START = {"exponential_adams3": 2, "deis3": 2, "unipc3": 3}


@every_sampler
def test_observed_order(name: str) -> None:
    sampler = Emg(3) if name == "emg" else SAMPLERS[name]
    exact = errors_of(lambda levels, path: from_exact_start(sampler, levels, path))
    own = errors_of(lambda levels, path: sample(SMOOTH, START / HIGH, levels, sampler).x)
    assert min(slopes(exact)) > sampler.order - 0.45, exact
    assert min(slopes(own)) > OWN_START.get(name, sampler.order) - 0.45, own


def test_orders_that_are_special() -> None:
    two = errors_of(lambda levels, path: from_exact_start(Emg(2), levels, path))
    assert min(slopes(two)) > 1.6
    errors = []
    for n in (48, 96, 192):  # equal steps, for which its weights are made
        levels = grid.linear(n, 0.8, 2.0).tolist()
        path = exact_path(SMOOTH, START * 2 / HIGH, levels, 4)
        errors.append(distance(from_exact_start(SAMPLERS["ipndm4"], levels, path), path[-1]))
    assert min(slopes(errors)) > 3.7


GUIDED = [("heun", ErkGuid(0.5, 0.1)), ("heun", ErrorDirection())]
GUIDED += [("heun", ErrorDirection(order=3)), ("dpm2", ErkGuid(0.5, 0.1))]
GUIDED += [("deis3", ErkGuid(0.5, 0.1))]


@pytest.mark.parametrize(("name", "rule"), GUIDED)
def test_guided_steps_keep_order_two(name: str, rule) -> None:
    found = errors_of(lambda levels, path: sample(SMOOTH, START / HIGH, levels, name, rule).x)
    assert min(slopes(found)) > 1.6, found


def test_edg3_is_of_third_order_in_one_dimension() -> None:
    # along the error only: in more dimensions what lies across it stays of second order
    line, errors = Mixture(normal(3, 1, seed=1), 0.5), []
    start = 2 * normal(6, 1, seed=5)
    for n in (24, 48, 96):
        levels = grid.exponential(n, 0.8, 2.0).tolist()
        path = exact_path(line, start, levels, 10)
        past_end = [*levels, levels[-1] * 0.999]  # the last step stays uncorrected
        rule = ErrorDirection(order=3)
        found = sample(line, start / 2, past_end, "heun", rule, keep="states").trajectory
        errors.append(distance(found[-2], path[-1]))
    assert min(slopes(errors)) > 2.6, errors


@every_sampler
def test_evaluations(name: str) -> None:
    noise, calls = normal(2, 3), []

    def counted(x: Tensor, sigma: Tensor) -> Tensor:
        calls.append(float(sigma[0]))
        return SMOOTH(x, sigma)

    each = COSTS.get(name, 1)
    for zero, expected in ((False, 9 * each), (True, 9 * each - (each - 1))):
        calls.clear()
        found = sample(counted, noise, grid.karras(9, zero=zero), name)
        assert found.nfe == len(calls) == expected
        assert found.nfe == sample(SMOOTH, noise, grid.karras(9, zero=zero), name).nfe


@pytest.mark.parametrize("rule", [ErkGuid(), ErrorDirection(), ErrorDirection(order=3)])
def test_guidance_costs_no_evaluation(rule) -> None:
    for zero in (False, True):
        levels = grid.karras(7, zero=zero)
        noise = normal(2, 3)
        plain = sample(SMOOTH, noise, levels).nfe
        assert sample(SMOOTH, noise, levels, "heun", rule).nfe == plain == 14 - zero


@every_sampler
def test_a_point_is_reached_exactly(name: str) -> None:
    # data at one point: D is constant, the flow a straight line in sigma
    point = normal(1, 3)
    found = sample(lambda x, sigma: point.expand_as(x), normal(4, 3), grid.karras(6), name).x
    start = point + 0.002 / 80 * (80 * normal(4, 3) - point)
    torch.testing.assert_close(found, start, rtol=1e-11, atol=1e-11)


@every_sampler
def test_gaussian_data_in_closed_form(name: str) -> None:
    c, noise = 0.6, normal(8, 5)

    def denoiser(x: Tensor, sigma: Tensor) -> Tensor:
        return (c**2 / (c**2 + sigma**2)).unsqueeze(-1) * x

    levels = grid.karras(400, 0.01, 20.0)
    found = sample(denoiser, noise, levels, name).x
    exact = 20 * noise * math.sqrt((c**2 + 0.01**2) / (c**2 + 20.0**2))
    size = float(torch.linalg.vector_norm(found - exact) / torch.linalg.vector_norm(exact))
    assert size < {1: 3e-2, 2: 3e-4}.get(SAMPLERS[name].order, 3e-5)


@every_sampler
def test_rows_do_not_know_each_other(name: str) -> None:
    levels, noise = grid.karras(12, zero=True), normal(5, 4, seed=3)
    whole = sample(THIN, noise, levels, name).x
    for i in (0, 3):
        alone = sample(THIN, noise[i : i + 1], levels, name).x
        torch.testing.assert_close(alone[0], whole[i], rtol=1e-9, atol=1e-9)
    order = torch.tensor([4, 2, 0, 1, 3])
    torch.testing.assert_close(sample(THIN, noise[order], levels, name).x, whole[order])
    small = sample(THIN, noise.float(), levels, name).x
    assert small.dtype == torch.float32
    torch.testing.assert_close(
        sample(THIN, noise[:2].float(), levels, name).x, small[:2], rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(("name", "rule"), [*((n, None) for n in SAMPLERS), *GUIDED])
def test_no_step_waits_for_the_device(name: str, rule) -> None:
    """A tensor without data cannot be asked for a number."""
    sampler = SAMPLERS[name] if rule is None else SAMPLERS[name].bind(rule)
    sampler = Emg(3) if name == "emg" else sampler
    levels = grid.karras(6, zero=True).tolist()
    # constants are made once per grid: not here, or they would be without data for ever
    sample(lambda x, sigma: x * 0.5, torch.ones(4, 8), levels, sampler)
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        x = torch.empty(4, 8)
        state = sampler.init(x, levels)
        for i in range(6):
            past = tuple(levels[i - 1 :: -1])[:4] if i else ()
            interval = Interval(levels[i], levels[i + 1], past, 6 - i)
            x, _, _, state = sampler.step(lambda x, sigma: x * 0.5, interval, x, state)
    assert x.shape == (4, 8)


def test_ramp_down_uses_no_more_points_than_steps_left() -> None:
    seen = []

    def weights(nodes, a, b):
        seen.append(len(nodes))
        return data_weights(nodes, a, b)

    plain = replace(SAMPLERS["exponential_adams3"], predictor=weights)
    sample(SMOOTH, normal(2, 3), grid.karras(6), plain)
    assert seen == [1, 2, 3, 3, 3, 3]
    seen.clear()
    sample(SMOOTH, normal(2, 3), grid.karras(6), replace(plain, ramp_down=True))
    assert seen == [1, 2, 3, 3, 2, 1]


def test_weights_are_integrals() -> None:
    nodes, a, b = (2.0, 3.5, 7.0), 2.0, 0.9
    s = torch.linspace(1 / a, 1 / b, 20001, dtype=F64)
    for k in range(3):  # polynomials in the clock are integrated exactly
        exact = b * float(torch.trapezoid((-torch.log(1 / s)) ** k, s))
        found = sum(
            w * (-math.log(n)) ** k for w, n in zip(data_weights(nodes, a, b), nodes, strict=True)
        )
        assert found == pytest.approx(exact, rel=1e-7)
    sigma = torch.linspace(a, b, 20001, dtype=F64)
    for k in range(3):
        clock = torch.from_numpy(vp_time(sigma.numpy())) ** k
        exact = float(torch.trapezoid(clock, sigma))
        values = [float(vp_time(torch.tensor(n).double().numpy())) ** k for n in nodes]
        found = sum(w * v for w, v in zip(deis_weights(nodes, a, b), values, strict=True))
        assert found == pytest.approx(exact, rel=1e-7)
    assert sum(slope_weights(nodes, a, b)) == pytest.approx(b - a, rel=1e-13)
    assert sum(data_weights(nodes, 80.0, 0.002)) == pytest.approx(1 - 0.002 / 80, rel=1e-13)
    assert log_snr(torch.tensor(math.e).double().numpy()) == pytest.approx(-1.0)
