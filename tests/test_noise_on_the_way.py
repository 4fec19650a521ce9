"""What samplers with eta must do: keep the law, follow one path, and be the flow where eta is 0."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from affine import moments
from flows import F64, SMOOTH, THIN, normal
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from stiffguide.adapters.diffusion import SAMPLERS, Brownian, grid, noise_like, sample
from stiffguide.adapters.diffusion.emg_with_noise import drift_share, variance
from stiffguide.adapters.diffusion.sampler import Interval
from stiffguide.adapters.diffusion.splitting import Noise, ancestral, reverse_sde
from stiffguide.errors import UnsupportedError
from stiffguide.guidance import ErkGuid

NOISY = [name for name, sampler in SAMPLERS.items() if sampler.splitting is not None]
every = pytest.mark.parametrize("name", NOISY)
C, HIGH, LOW = 0.25, 20.0, 0.05
NOISE = normal(5, 4, seed=1)
SEEDS = [3, 4, 5, 6, 7]
LEVELS = grid.karras(10, zero=True)


def gaussian(x: Tensor, sigma: Tensor) -> Tensor:
    return (C / (C + sigma**2)).unsqueeze(-1) * x


def slopes(errors: list[float]) -> list[float]:
    return [math.log2(a / b) for a, b in pairwise(errors)]


def halvings(name: str) -> tuple[int, ...]:
    """Numbers of steps; EMG's error changes its sign before it settles."""
    return (96, 192, 384) if name == "emg" else (48, 96, 192)


@every
@pytest.mark.parametrize("eta", [0.4, 1.0])
def test_weak_order_on_gaussian_data(name: str, eta: float) -> None:
    """The variance is an exact number of the scheme; data of any covariance is its axes."""
    order = min(SAMPLERS[name].order, 2)
    errors = []
    for steps in halvings(name):
        found = moments(SAMPLERS[name], grid.exponential(steps, LOW, HIGH), eta, 3.0, C)
        errors.append(abs(found.variance - (C + LOW**2)))
        assert found.mean == pytest.approx(3.0, rel=1e-12)
    assert min(slopes(errors)) > order - 0.15, errors
    assert errors[-1] < {1: 0.04, 2: 1e-3}[order] * C, errors


@every
@pytest.mark.parametrize("eta", [0.4, 1.0])
def test_weak_order_of_a_mean_that_is_off(name: str, eta: float) -> None:
    """It comes home as the SDE says, of eta or, for steps made ancestral, in the limit eta^2."""
    sampler, strength, order = SAMPLERS[name], eta, min(SAMPLERS[name].order, 2)
    if sampler.splitting == "ancestral" or name == "dpmpp_sde":
        strength = eta**2
        order = order if name == "dpmpp_sde" and eta == 1 else 1
    ratio = (C + LOW**2) / (C + HIGH**2)
    exact = 3.0 + 30.0 * ratio ** ((1 + strength) / 2)
    errors = []
    for steps in halvings(name):
        levels = grid.exponential(steps, LOW, HIGH)
        errors.append(abs(moments(sampler, levels, eta, 3.0, C, 30.0).mean - exact))
    assert max(errors) < 1e-11 or min(slopes(errors)) > order - 0.15, errors


@every
@pytest.mark.parametrize("eta", [0.3, 1.0, 1.6])
def test_a_point_of_data_has_the_noise_of_its_level(name: str, eta: float) -> None:
    """For constant D no step is in error: the splitting keeps the variance exactly."""
    found = moments(SAMPLERS[name], grid.karras(7, 0.1, 20.0), eta, 2.0, 0.0)
    assert found.variance == pytest.approx(0.1**2, rel=1e-10)
    assert found.mean == pytest.approx(2.0, rel=1e-12)


@pytest.mark.parametrize("split", [ancestral, reverse_sde])
@pytest.mark.parametrize("eta", [0.2, 1.0])
def test_a_splitting_keeps_the_variance(split, eta: float) -> None:
    for a, b in ((3.0, 1.0), (80.0, 0.01), (1.0, 0.999999)):
        lower, up = split(a, b, eta)
        assert math.hypot(lower, up) == pytest.approx(b, rel=1e-12)
        assert split(a, b, 0.0) == (b, 0.0)
    assert ancestral(3.0, 1.2, 1.0) == pytest.approx(reverse_sde(3.0, 1.2, 1.0), rel=1e-12)


@every
@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_samples_of_gaussian_data_pass_a_chi_square_test(name: str, eta: float) -> None:
    levels = grid.karras(160 if name == "euler" else 40, 0.02, 20.0)
    start = noise_like((4, 1500), range(4), dtype=F64) * math.sqrt(1 + C / 20.0**2)
    found = sample(gaussian, start, levels, name, eta=eta, seeds=range(4)).x
    expected = moments(SAMPLERS[name], levels, eta, 0.0, C).variance
    assert expected == pytest.approx(C + 0.02**2, rel=0.05)
    square = float((found**2).sum()) / expected
    assert 1e-3 < stats.chi2.cdf(square, found.numel()) < 1 - 1e-3


@every
def test_eta_zero_is_the_flow_and_draws_nothing(name: str) -> None:
    state = torch.get_rng_state()
    for seeds in (None, SEEDS):
        found = sample(THIN, NOISE, LEVELS, name, eta=0.0, s_noise=3.0, seeds=seeds).x
        assert torch.equal(found, sample(THIN, NOISE, LEVELS, name).x)
    assert torch.equal(torch.get_rng_state(), state)


@every
def test_the_flow_is_the_limit_of_little_noise(name: str) -> None:
    flow = sample(SMOOTH, NOISE[:, :3], LEVELS, name).x
    near = sample(SMOOTH, NOISE[:, :3], LEVELS, name, eta=1e-9, seeds=SEEDS).x
    # EMG estimates C otherwise where there is noise: its limit is another guess at the flow
    torch.testing.assert_close(near, flow, rtol=0, atol=0.15 if name == "emg" else 1e-3)
    silent = sample(SMOOTH, NOISE[:, :3], LEVELS, name, eta=1e-9, s_noise=0.0).x
    torch.testing.assert_close(silent, flow, rtol=0, atol=0.15 if name == "emg" else 1e-7)


@every
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_rows_have_the_noise_of_their_seeds(name: str, dtype: torch.dtype) -> None:
    def constant(x: Tensor, sigma: Tensor) -> Tensor:
        return torch.zeros_like(x)

    noise = NOISE.to(dtype)
    whole = sample(constant, noise, LEVELS[:-1], name, eta=0.7, seeds=SEEDS).x
    order = [4, 0, 3]
    turned = sample(
        constant, noise[order], LEVELS[:-1], name, eta=0.7, seeds=[SEEDS[i] for i in order]
    ).x
    torch.testing.assert_close(turned, whole[order], rtol=1e-6, atol=0)
    assert not torch.equal(whole, sample(constant, noise, LEVELS[:-1], name, eta=0.7).x)


@every
def test_a_point_is_reached_along_one_path_by_any_number_of_steps(name: str) -> None:
    """With eta = 1 the clock of the motion makes steps over constant D exact, not in law alone."""

    def point(x: Tensor, sigma: Tensor) -> Tensor:
        return torch.ones_like(x)

    ends = [
        sample(point, NOISE, grid.karras(n, 0.05, 20.0), name, eta=1.0, seeds=SEEDS).x
        for n in (3, 17)
    ]
    # the motion is a straight line within a millionth of an octave
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-5, atol=1e-5)


@every
@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_more_steps_follow_the_same_path(name: str, eta: float) -> None:
    start = normal(1, 300, seed=4)

    def denoiser(x: Tensor, sigma: Tensor) -> Tensor:
        return SMOOTH(x.reshape(100, 3), sigma.expand(100)).reshape(x.shape)

    def end(steps: int) -> Tensor:
        levels = grid.exponential(steps, 0.4, 2.5)
        return sample(denoiser, start, levels, name, eta=eta, seeds=[5]).x

    fine = end(256)
    errors = [float((end(n) - fine).abs().median()) for n in (6, 48)]
    assert errors[0] / errors[1] > 8**0.75, errors  # of strong order 1


@every
def test_a_step_to_zero_adds_no_noise(name: str) -> None:
    asked = []

    def denoiser(x: Tensor, sigma: Tensor) -> Tensor:
        asked.append(x)
        return torch.zeros_like(x)

    found = sample(denoiser, NOISE, [5.0, 1.0, 0.0], name, eta=1.0, seeds=SEEDS).x
    torch.testing.assert_close(found, torch.zeros_like(found), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["heun", "dpm2"])
def test_guidance_and_noise_are_refused_together(name: str) -> None:
    with pytest.raises(UnsupportedError, match="guidance reads the error of the step before"):
        sample(THIN, NOISE, LEVELS, name, ErkGuid(), eta=1.0)


@settings(deadline=None, max_examples=50)
@given(st.floats(0.03, 30.0), st.floats(0.05, 50.0), st.floats(1.05, 5.0))
def test_emg_finds_the_variance_of_gaussian_data_wherever_the_states_lie(
    deviation: float, a: float, ratio: float
) -> None:
    c, p = deviation**2, ratio * a
    x, start = a * normal(3, 5, seed=1), p * normal(3, 5, seed=2)  # on no path together
    d, before = (1.0 + c / (c + s * s) * (y - 1.0) for y, s in ((x, a), (start, p)))
    found = variance(d - before, (x - d) / a**2 - (start - before) / p**2, a, p)
    expected = torch.tensor(c, dtype=F64).clamp(1e-4 * a * a, 1e4 * p * p).expand(3)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


def test_what_of_a_rise_is_drift() -> None:
    assert drift_share(2.0, 1.0, 1.0) == 0
    assert drift_share(2.0, 1.0, 1e-12) == pytest.approx(1)
    shares = [drift_share(2.0, 1.0, eta) for eta in (0.1, 0.3, 0.6, 0.9)]
    assert shares == sorted(shares, reverse=True)


@every
def test_no_step_with_noise_waits_for_the_device(name: str) -> None:
    """A tensor without data cannot be asked for a number."""
    sampler, levels = SAMPLERS[name], grid.karras(6, zero=True).tolist()
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        x = torch.empty(4, 8)
        noise = Noise(0.7, 1.0, lambda start, end: torch.empty(4, 8))
        state = sampler.init(x, levels)
        for i in range(6):
            past = tuple(levels[i - 1 :: -1])[:4] if i else ()
            interval = Interval(levels[i], levels[i + 1], past, 6 - i, noise)
            x, _, _, state = sampler.step(lambda x, sigma: x * 0.5, interval, x, state)
    assert x.shape == (4, 8)


@every
def test_noise_of_ones_own_is_what_sample_adds(name: str) -> None:
    """The documented recipe: k-diffusion's samplers along the motion of `Brownian`."""
    motion = Brownian([SEEDS[0]], (1, 4), dtype=F64)

    def constant(x: Tensor, sigma: Tensor) -> Tensor:
        return torch.zeros_like(x)

    found = sample(constant, NOISE[:1], [3.0, 1.0], name, eta=1.0, seeds=SEEDS[:1]).x
    expected = NOISE[:1] / 3 + math.sqrt(1 - 1 / 9) * motion(3.0, 1.0)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
