"""ERK-Guid in its three published forms, each against a straight-line loop of its formulas."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from flows import SMOOTH, THIN, Mixture, field, normal
from torch import Tensor

from stiffguide.adapters.diffusion import (
    SAMPLERS,
    autoguidance,
    classifier_free,
    classifier_free_batched,
    grid,
    sample,
)
from stiffguide.errors import InputError, UnsupportedError
from stiffguide.guidance import Cap, ErkGuid, ErrorDirection, Gate, Sum, Window

NOISE = normal(7, 4, seed=11)
STRONG, WEAK = THIN, lambda x, sigma: THIN(x, 1.3 * sigma)


def lerp(weak, strong, scale: float):
    return lambda x, s: weak(x, s) + scale * (strong(x, s) - weak(x, s))


MODELS = {
    "plain": (THIN, THIN),
    "cfg": (classifier_free(STRONG, WEAK, 2.5), lerp(WEAK, STRONG, 2.5)),
    "autoguidance": (autoguidance(STRONG, WEAK, 1.6), lerp(WEAK, STRONG, 1.6)),
}
GRIDS = {
    "karras 8": grid.karras(8),
    "karras 16 to 0": grid.karras(16, zero=True),
    "mix 12": grid.mix(12),
    "exponential 6": grid.exponential(6, 0.01, 10.0),
}
# settings that do not themselves blow rounding up by 10^6, as (2.5, 0) with guidance 2.5 does
SETTINGS = [(0.5, 0.1), (1.0, 0.5), (1.5, 0.5), (0.75, 3.0), (0.3, 0.0)]

every_model = pytest.mark.parametrize(("ours", "theirs"), MODELS.values(), ids=MODELS)
every_grid = pytest.mark.parametrize("levels", GRIDS.values(), ids=GRIDS)
every_setting = pytest.mark.parametrize(("w_stiff", "w_con"), SETTINGS)


def correction(dx: Tensor, df: Tensor, f: Tensor, h: float, w: float, c: float) -> Tensor:
    """h beta z^2 <f, v> v, row by row."""
    moves = []
    for row in range(len(f)):
        n = math.sqrt(float(df[row] @ df[row]))
        rho = n / (math.sqrt(float(dx[row] @ dx[row])) + 1e-8)
        v = df[row] / (n + 1e-8)
        z = w * h * rho
        moves.append((h * z * z if rho > c else 0.0) * (f[row] @ v) * v)
    return torch.stack(moves)


def heun(denoiser, sigmas: list[float], w: float, c: float) -> Tensor:
    x, euler, slope_there = sigmas[0] * NOISE, None, None
    for i, (a, b) in enumerate(pairwise(sigmas)):
        h, f = a - b, field(denoiser, x, a)
        companion = x - h * f
        if b == 0:
            return companion
        f_companion = field(denoiser, companion, b)
        ahead = x - h / 2 * (f + f_companion)
        if i >= 1:
            ahead = ahead - correction(x - euler, f - slope_there, f, h, w, c)
        x, euler, slope_there = ahead, companion, f_companion
    return x


def dpm2(denoiser, sigmas: list[float], w: float, c: float) -> Tensor:
    x = sigmas[0] * NOISE
    for a, b in pairwise(sigmas):
        h, f = a - b, field(denoiser, x, a)
        if b == 0:
            return x - h * f
        middle = math.sqrt(a * b)
        x_mid = x + (middle - a) * f
        f_mid = field(denoiser, x_mid, middle)
        x = x - h * f_mid - correction(x - x_mid, f - f_mid, f, h, w, c)
    return x


def vp_time(sigma: float) -> float:
    s_min, s_max, eps = 0.002, 80.0, 1e-3
    bd = 2 * (math.log(1 + s_min**2) / eps - math.log(1 + s_max**2)) / (eps - 1)
    bm = math.log(1 + s_max**2) - bd / 2
    return (math.sqrt(bm**2 + 2 * bd * math.log(1 + sigma**2)) - bm) / bd


def deis_coefficients(nodes: list[float], a: float, b: float) -> list[float]:
    """Integral of L_j(t(sigma)) dsigma by Simpson's rule in log sigma."""
    t, cuts = [vp_time(n) for n in nodes], 4000
    step = math.log(b / a) / cuts
    totals = [0.0] * len(nodes)
    for k in range(cuts + 1):
        sigma = a * math.exp(k * step)
        weight = step / 3 * (1 if k in (0, cuts) else 4 if k % 2 else 2) * sigma
        now = vp_time(sigma)
        for j, tj in enumerate(t):
            value = math.prod((now - tm) / (tj - tm) for m, tm in enumerate(t) if m != j)
            totals[j] += weight * value
    return totals


def deis(denoiser, sigmas: list[float], w: float, c: float) -> Tensor:
    x, before, slopes = sigmas[0] * NOISE, None, []
    for i, (a, b) in enumerate(pairwise(sigmas)):
        f = field(denoiser, x, a)
        if b == 0:
            return x + (b - a) * f
        slopes = [f, *slopes[:2]]
        used = min(i + 1, 3)
        weights = deis_coefficients(sigmas[i::-1][:used] if i else [a], a, b)
        ahead = x + sum(wj * fj for wj, fj in zip(weights, slopes, strict=True))
        if i >= 1:
            h = sigmas[i - 1] - a
            ahead = ahead + correction(x - before, f - slopes[1], f, h, w, c)
        x, before = ahead, x
    return x


LOOPS = {"heun": heun, "dpm2": dpm2, "deis3": deis}


@pytest.mark.parametrize("name", LOOPS)
@every_model
@every_grid
@every_setting
def test_it_is_the_paper(name, ours, theirs, levels, w_stiff, w_con) -> None:
    expected = LOOPS[name](theirs, levels.tolist(), w_stiff, w_con)
    found = sample(ours, NOISE, levels, name, ErkGuid(w_stiff, w_con)).x
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", LOOPS)
@every_grid
def test_no_weight_is_no_guidance(name: str, levels: Tensor) -> None:
    for noise in (NOISE, NOISE.float()):
        plain = sample(THIN, noise, levels, name).x
        for rule in (ErkGuid(0.0, 0.0), ErkGuid(1.0, 1e30)):
            assert torch.equal(sample(THIN, noise, levels, name, rule).x, plain)
    assert not torch.equal(sample(THIN, NOISE, levels, name, ErkGuid(1.0, 0.0)).x, plain)


@pytest.mark.parametrize("name", LOOPS)
def test_which_steps_are_moved(name: str) -> None:
    def moved(levels: list[float]) -> bool:
        plain = sample(THIN, NOISE, levels, name).x
        return not torch.equal(sample(THIN, NOISE, levels, name, ErkGuid(1.0, 0.0)).x, plain)

    # no pair yet in the first step, but for DPM-Solver-2; never in a step to 0
    assert moved([2.0, 1.0]) == (name == "dpm2")
    assert moved([2.0, 1.0, 0.0]) == (name == "dpm2")
    assert moved([2.0, 1.0, 0.5])


def test_error_direction_on_heun_by_hand() -> None:
    def kappa(z: float) -> float:
        r = 1 + z + z * z / 2
        return (
            sum(z**k / math.factorial(k + 2) * 2 for k in range(1, 30))
            if abs(z) < 0.5
            else ((math.exp(min(z, 50.0)) - r) / (z * z / 2))
        )

    sigmas = grid.karras(9, zero=True).tolist()
    x, f = 80 * NOISE, field(THIN, 80 * NOISE, 80.0)
    for a, b in pairwise(sigmas):
        low = x + (b - a) * f
        if b == 0:
            x = low
            break
        f_low = field(THIN, low, b)
        error = (b - a) / 2 * (f_low - f)
        x, f = low + error, field(THIN, low + error, b)
        df = f - f_low
        for row in range(len(x)):
            square = float(error[row] @ error[row])
            z = (b - a) * float(error[row] @ df[row]) / square
            q = max(-1.0, min(1.0, kappa(z)))
            x[row] += q * error[row]
            f[row] += q * df[row]
    found = sample(THIN, NOISE, sigmas, "heun", ErrorDirection()).x
    torch.testing.assert_close(found, x, rtol=1e-9, atol=1e-9)


def test_error_direction_does_not_move_the_last_step() -> None:
    levels = [2.0, 1.0]
    plain = sample(THIN, NOISE, levels).x
    for order in (2, 3):
        assert torch.equal(sample(THIN, NOISE, levels, "heun", ErrorDirection(order)).x, plain)


def test_error_direction_helps_on_gaussian_data() -> None:
    c, noise = 0.5, normal(9, 3)

    def denoiser(x: Tensor, sigma: Tensor) -> Tensor:
        return (c**2 / (c**2 + sigma**2)).unsqueeze(-1) * x

    def error(rule, n: int) -> float:
        levels = grid.karras(n)
        exact = noise * 80 * math.sqrt((c**2 + 0.002**2) / (c**2 + 80.0**2))
        return float((sample(denoiser, noise, levels, "heun", rule).x - exact).norm())

    for n in (4, 8, 16, 32):
        assert error(ErrorDirection(), n) < 0.8 * error(None, n)
        assert error(ErrorDirection(order=3), n) < 0.6 * error(None, n)


@pytest.mark.parametrize("name", LOOPS)
def test_rules_made_of_rules(name: str) -> None:
    levels, rule = grid.karras(10), ErkGuid(1.0, 0.0)
    plain = sample(THIN, NOISE, levels, name).x
    full = sample(THIN, NOISE, levels, name, rule).x

    def with_rule(made) -> Tensor:
        return sample(THIN, NOISE, levels, name, made).x

    assert torch.equal(with_rule(Window(rule, 100.0, 200.0)), plain)
    assert torch.equal(with_rule(Window(rule, 0.0, 200.0)), full)
    assert torch.equal(with_rule(Cap(rule, 0.0)), plain)
    half = with_rule(Sum((ErkGuid(1.0, 0.0), ErkGuid(0.0, 0.0))))
    torch.testing.assert_close(half, full, rtol=1e-12, atol=1e-12)


def test_rules_that_want_the_slope_cost_nothing_on_heun() -> None:
    levels = grid.karras(6)
    for rule in (Gate(ErrorDirection(), 0.5), Cap(ErrorDirection(), 0.3)):
        assert sample(THIN, NOISE, levels, "heun", rule).nfe == 12
    both = Sum((ErrorDirection(), ErkGuid(0.1, 0.0)))
    assert sample(THIN, NOISE, levels, "heun", both).nfe == 17  # f at a move nobody knows it for


PAIRLESS = [name for name in SAMPLERS if name not in LOOPS]


@pytest.mark.parametrize("name", PAIRLESS)
@pytest.mark.parametrize("rule", [ErkGuid(), ErrorDirection()])
def test_guidance_without_a_pair_is_refused(name: str, rule) -> None:
    with pytest.raises(UnsupportedError, match="heun"):
        sample(SMOOTH, normal(2, 3), grid.karras(4), name, rule)


@pytest.mark.parametrize("name", ["dpm2", "deis3"])
def test_error_direction_needs_heun(name: str) -> None:
    for rule in (ErrorDirection(), Gate(ErkGuid(), 1.0)):
        with pytest.raises(UnsupportedError, match="use method='heun'"):
            sample(SMOOTH, normal(2, 3), grid.karras(4), name, rule)


def test_negative_weights_are_refused() -> None:
    for weights in ((-1.0, 0.5), (1.0, -0.5), (math.nan, 0.5)):
        with pytest.raises(InputError, match="not negative"):
            ErkGuid(*weights)


def test_both_branches_in_one_call() -> None:
    calls, soft = [], Mixture(normal(4, 4, seed=1), 0.5)

    def net(x: Tensor, sigma: Tensor, condition: Tensor) -> Tensor:
        calls.append(len(x))
        return soft(x, sigma * condition.squeeze(-1))

    def weak(x: Tensor, sigma: Tensor) -> Tensor:
        return soft(x, 1.3 * sigma)

    levels, interval = grid.karras(10), (0.05, 3.0)
    cond, uncond = torch.ones(1, 1).double(), torch.full((7, 1), 1.3, dtype=torch.float64)
    two = classifier_free(soft, weak, 2.5, interval)
    one = classifier_free_batched(net, cond, uncond, 2.5, interval)
    for rule in (None, ErkGuid(), ErrorDirection()):
        expected = sample(two, NOISE, levels, "heun", rule)
        calls.clear()
        found = sample(one, NOISE, levels, "heun", rule)
        torch.testing.assert_close(found.x, expected.x, rtol=1e-9, atol=1e-9)
        assert len(calls) == found.nfe == 20
        assert set(calls) == {7, 14}
