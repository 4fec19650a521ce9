"""`sample_adaptive`: the error follows the tolerance, and rows are rows of their own."""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch
from flows import SMOOTH, THIN, Mixture, exact_path, normal
from hypothesis import given, settings
from hypothesis import strategies as st

from stiffguide import methods
from stiffguide.adapters.diffusion import (
    VPLinear,
    classifier_free,
    noise_like,
    problems,
    sample_adaptive,
)
from stiffguide.adapters.diffusion.hyperbolic_clock import OfFlow, OfNoise
from stiffguide.errors import InputError, Interrupted, SolveFailed, Status, UnsupportedError

NOISE = normal(6, 3, seed=3)
RTOLS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
PAIRS = sorted(
    name
    for name in methods.names()
    if getattr(methods.get(name), "family", "") == "explicit RK"
    and methods.get(name).error_order is not None
    and methods.get(name).order >= 3
)


def told(denoiser):
    """A denoiser, and what it is told."""
    sigmas = []

    def call(x, sigma):
        sigmas.append(sigma.clone())
        return denoiser(x, sigma)

    return call, sigmas


# --- the tolerance


@cache
def ends(name: str):
    """A problem, start states, and the exact ends of their flow."""
    problem = problems.get(name)
    noise = problem.noise(0, 24)
    return problem.mixture, noise, problems.reference_end(problem.mixture, noise, steps=4000)


@pytest.mark.parametrize("name", ["aniso2d", "spiral2d", "lr64"])
def test_the_error_follows_rtol_over_four_decades(name: str) -> None:
    """In units of rtol |x| + atol, where x is as large as the data, 0.5 in every number."""
    denoiser, noise, exact = ends(name)
    errors = []
    for rtol in RTOLS:
        found = sample_adaptive(denoiser, noise, rtol=rtol).raise_if_failed()
        errors.append(float((found.x - exact).square().mean(-1).sqrt().median() / 0.5))
    for rtol, error in zip(RTOLS, errors, strict=True):
        assert 0.01 * rtol < error < rtol, (rtol, error)
    slope = math.log(errors[0] / errors[-1]) / math.log(RTOLS[0] / RTOLS[-1])
    assert 0.75 < slope < 1.15


@pytest.mark.parametrize("method", ["dopri5", "tsit5", "verner76"])
def test_other_pairs_keep_to_it_too(method: str) -> None:
    denoiser, noise, exact = ends("aniso2d")
    for rtol in RTOLS:
        found = sample_adaptive(denoiser, noise, method=method, rtol=rtol)
        error = (found.x - exact).square().mean(-1).sqrt().median() / 0.5
        assert error < rtol
        assert bool(found.ok.all())


@pytest.mark.parametrize("method", PAIRS)
def test_every_pair_of_the_catalogue_finds_the_same_flow(method: str) -> None:
    exact = exact_path(SMOOTH, 80 * NOISE, [80.0, 0.002], 2000)[-1]
    found = sample_adaptive(SMOOTH, NOISE, method=method, rtol=1e-5)
    torch.testing.assert_close(found.x, exact, rtol=0, atol=1e-4)
    assert found.method == method


def test_a_smaller_atol_costs_more_and_gives_more() -> None:
    exact = exact_path(SMOOTH, 80 * NOISE, [80.0, 0.002], 2000)[-1]
    runs = [sample_adaptive(SMOOTH, NOISE, rtol=1e-8, atol=a) for a in (1e-2, 1e-4)]
    errors = [float((run.x - exact).abs().max()) for run in runs]
    assert errors[1] < 0.1 * errors[0]
    assert bool((runs[1].nfe > runs[0].nfe).all())


@given(
    scale=st.floats(0.01, 100.0),
    low=st.floats(1e-4, 0.5),
    high=st.floats(1.0, 1000.0),
)
@settings(max_examples=25, deadline=None)
def test_gaussian_data_stand_still_on_the_clock(scale: float, low: float, high: float) -> None:
    """D = c^2/(c^2 + sigma^2) x: the flow keeps x/sqrt(c^2 + sigma^2), at any tolerance."""

    def denoiser(x, sigma):
        return x * (scale**2 / (scale**2 + sigma**2)).unsqueeze(-1)

    found = sample_adaptive(denoiser, NOISE, low, high, rtol=0.1, sigma_data=scale)
    shrunk = math.hypot(scale, low) / math.hypot(scale, high)
    torch.testing.assert_close(found.x, high * NOISE * shrunk, rtol=1e-9, atol=0)


@given(
    scale=st.floats(0.05, 20.0),
    level=st.floats(1e-4, 1e4),
    seed=st.integers(0, 99),
)
@settings(max_examples=50, deadline=None)
def test_the_clock_of_a_flow_is_that_of_its_levels(scale: float, level: float, seed: int) -> None:
    """The same t and y as in VE form; there and back is nowhere."""
    noise, flow = OfNoise(scale), OfFlow(scale)
    s = level / (1 + level)
    t = noise.time(level)
    assert flow.time(s) == pytest.approx(t, rel=1e-9)
    x = normal(2, 3, seed=seed)
    torch.testing.assert_close(flow.inward(x * (1 - s), t), noise.inward(x, t), rtol=1e-9, atol=0)
    at = torch.tensor([[t]], dtype=torch.float64)
    for clock, sigma in ((noise, level), (flow, s)):
        torch.testing.assert_close(clock.outward(clock.inward(x, t), at), x, rtol=1e-9, atol=0)
        assert float(clock.sigma(at)) == pytest.approx(sigma, rel=1e-9)


@pytest.mark.parametrize("unit", [2.0**-7, 32.0])  # in which nothing rounds otherwise
def test_the_unit_of_the_data_is_free(unit: float) -> None:
    """Data, sigmas, sigma_data and atol in other units: the same steps, and the same samples."""

    def denoiser(x, sigma):
        return unit * SMOOTH(x / unit, sigma / unit)

    how = {"rtol": 1e-5, "atol": 1e-3}
    one = sample_adaptive(SMOOTH, NOISE, 0.002, 80.0, **how)
    ends, how["atol"] = (0.002 * unit, 80.0 * unit), 1e-3 * unit
    found = sample_adaptive(denoiser, NOISE, *ends, sigma_data=0.5 * unit, **how)
    assert torch.equal(found.nfe, one.nfe)
    torch.testing.assert_close(found.x / unit, one.x, rtol=1e-9, atol=1e-9)


# --- the rows


def test_solo_is_batch_for_an_easy_and_a_hard_row() -> None:
    """A row far out in a Gaussian, and one that must choose between thin ones."""
    means = torch.tensor([[0.0, 0.5], [0.0, -0.5]], dtype=torch.float64)
    thin, wide = Mixture(means, 0.02), Mixture(torch.zeros_like(means[:1]), 0.5)

    def denoiser(x, sigma):
        far = x[:, 0] / torch.sqrt(0.25 + sigma**2) > 3  # which the flow of the Gaussian keeps
        return torch.where(far.unsqueeze(-1), wide(x, sigma), thin(x, sigma))

    start = torch.tensor([[6.0, 0.2], [0.1, 0.02]], dtype=torch.float64)
    both = sample_adaptive(denoiser, start, 0.002, 1.0, rtol=1e-4)
    assert int(both.nfe[1]) > 3 * int(both.nfe[0])
    assert both.calls == int(both.nfe.max())
    for row in (0, 1):
        solo = sample_adaptive(denoiser, start[row : row + 1], 0.002, 1.0, rtol=1e-4)
        torch.testing.assert_close(solo.x[0], both.x[row], rtol=1e-12, atol=1e-12)
        for name in ("nfe", "steps", "attempts", "status"):
            assert int(getattr(solo, name)[0]) == int(getattr(both, name)[row]), name
        assert solo.calls == int(solo.nfe[0])


def test_rows_go_their_own_ways_and_arrive() -> None:
    denoiser, sigmas = told(THIN)
    found = sample_adaptive(denoiser, normal(6, 4, seed=8), 0.01, 40.0)
    assert all(s.shape == (6,) for s in sigmas)
    assert any(float(s.max() - s.min()) > 1e-3 for s in sigmas)
    assert all(float(s.min()) > 0.009 and float(s.max()) < 40.1 for s in sigmas)
    torch.testing.assert_close(found.sigma, torch.full_like(found.sigma, 0.01))
    assert found.calls == len(sigmas)


def test_together_all_rows_are_at_one_sigma() -> None:
    denoiser, sigmas = told(THIN)
    noise = normal(6, 4, seed=8)
    found = sample_adaptive(denoiser, noise, rtol=1e-5, together=True)
    assert all(float(s.max()) == float(s.min()) for s in sigmas)
    assert len(set(found.nfe.tolist())) == 1
    own = sample_adaptive(THIN, noise, rtol=1e-5)
    torch.testing.assert_close(found.x, own.x, rtol=0, atol=1e-4)


# --- what goes with it


def test_the_last_step_to_zero() -> None:
    stopped = sample_adaptive(SMOOTH, NOISE, rtol=1e-4)
    whole = sample_adaptive(SMOOTH, NOISE, rtol=1e-4, denoise_to_zero=True)
    assert torch.equal(whole.x, SMOOTH(stopped.x, stopped.sigma))
    assert torch.equal(whole.nfe, stopped.nfe + 1)
    assert torch.equal(whole.sigma, torch.zeros(6, dtype=torch.float64))
    assert whole.calls == stopped.calls + 1


def test_an_interval_of_guidance_is_stepped_on() -> None:
    """No attempt goes across an edge, and the jumps there cost no accuracy."""
    interval = (0.3, 3.0)
    weak = Mixture(torch.zeros(1, 3, dtype=torch.float64), 0.8)
    model = classifier_free(SMOOTH, weak, 2.5, interval)
    starts = []
    found = sample_adaptive(
        model, NOISE, rtol=1e-6, callback=lambda seen: starts.append(seen["sigma"])
    )
    for edge in interval:
        for row in torch.stack(starts).T:
            ahead = row[row < edge * (1 + 1e-9)]
            assert float(ahead[0]) == pytest.approx(edge, rel=1e-9)
    levels = [80.0, 3.0, 0.3, 0.002]
    parts = (SMOOTH, lambda x, s: torch.lerp(weak(x, s), SMOOTH(x, s), 2.5), SMOOTH)
    x = 80 * NOISE
    for part, a, b in zip(parts, levels[:-1], levels[1:], strict=True):
        x = exact_path(part, x, [a, b], 2000)[-1]
    torch.testing.assert_close(found.x, x, rtol=0, atol=1e-5)


def test_image_and_mask() -> None:
    image, mask = normal(6, 3, seed=5), torch.tensor([1.0, 1.0, 0.0])
    found = sample_adaptive(
        SMOOTH, NOISE, sigma_max=2.0, init=image, mask=mask, denoise_to_zero=True
    )
    torch.testing.assert_close(found.x[:, 2], image[:, 2], rtol=0, atol=1e-12)
    exact = exact_path(SMOOTH, image + 2 * NOISE, [2.0, 0.002], 2000)[-1]
    open_run = sample_adaptive(SMOOTH, NOISE, sigma_max=2.0, init=image, rtol=1e-6)
    torch.testing.assert_close(open_run.x, exact, rtol=0, atol=1e-5)
    assert (found.x[:, :2] - exact[:, :2]).abs().max() > 1e-3


def test_what_is_kept_has_the_noise_of_its_row() -> None:
    image, mask = normal(6, 3, seed=5), torch.tensor([1.0, 1.0, 0.0])

    def denoiser(x, sigma):
        known = image[:, 2] + sigma * NOISE[:, 2]
        torch.testing.assert_close(x[:, 2], known, rtol=1e-12, atol=1e-12)
        return SMOOTH(x, sigma)

    found = sample_adaptive(denoiser, NOISE, sigma_max=2.0, init=image, mask=mask)
    assert bool(found.ok.all())


def test_conditions_go_with_their_rows() -> None:
    means = normal(3, 3, seed=6)

    def denoiser(x, sigma, label):
        return (
            Mixture(torch.zeros(1, 3, dtype=x.dtype), 0.5)(x - means[label], sigma) + means[label]
        )

    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    found = sample_adaptive(denoiser, NOISE, condition=labels, rtol=1e-3)
    one = sample_adaptive(denoiser, NOISE[4:5], condition=labels[4:5], rtol=1e-3)
    torch.testing.assert_close(found.x[4:5], one.x, rtol=1e-12, atol=1e-12)
    with pytest.raises(InputError, match="the condition has 2 rows"):
        sample_adaptive(denoiser, NOISE, condition=labels[:2])


def test_the_range_of_a_schedule() -> None:
    denoiser, sigmas = told(SMOOTH)
    schedule = VPLinear()
    sample_adaptive(denoiser, NOISE, *schedule.range())
    low, high = schedule.range()
    assert float(sigmas[0].max()) == pytest.approx(high)
    assert float(sigmas[-1].min()) == pytest.approx(low, rel=1e-3)


@pytest.mark.parametrize("shape", [(3, 3), (2, 1, 3, 1)])
def test_callback_after_every_attempt(shape: tuple[int, ...]) -> None:
    seen = []
    noise = noise_like(shape, range(shape[0]), dtype=torch.float64)
    found = sample_adaptive(SMOOTH, noise, rtol=1e-3, callback=seen.append)
    assert [info["i"] for info in seen] == list(range(int(found.attempts.max())))
    for info in seen:
        assert info["x"].shape == info["denoised"].shape == shape
        assert info["sigma"].shape == (shape[0],)
    torch.testing.assert_close(seen[0]["x"], 80 * noise)
    assert found.x.shape == shape


def test_half_precision_models() -> None:
    exact = sample_adaptive(SMOOTH, NOISE, rtol=1e-3).x
    single = sample_adaptive(SMOOTH, NOISE.float(), rtol=1e-3)
    assert single.x.dtype == torch.float32
    torch.testing.assert_close(single.x.double(), exact, rtol=0, atol=1e-4)

    def half(x, sigma):
        assert x.dtype == torch.bfloat16
        assert sigma.dtype == torch.float32
        return SMOOTH(x.double(), sigma).bfloat16()

    found = sample_adaptive(half, NOISE.float(), rtol=3e-2, model_dtype=torch.bfloat16)
    assert bool(found.ok.all())
    torch.testing.assert_close(found.x.double(), exact, rtol=0, atol=0.05)


# --- failures


def test_a_row_that_fails_says_so_and_stops_alone() -> None:
    bad = torch.arange(6) == 2

    def denoiser(x, sigma):
        return torch.where(((sigma < 1) & bad).unsqueeze(-1), torch.nan, SMOOTH(x, sigma))

    whole = sample_adaptive(SMOOTH, NOISE)
    for zero in (False, True):
        found = sample_adaptive(denoiser, NOISE, denoise_to_zero=zero)
        assert found.status.tolist() == [Status.NON_FINITE if i == 2 else 0 for i in range(6)]
        assert bool(torch.isfinite(found.x).all())
        assert float(found.sigma[2]) == pytest.approx(1.0, rel=1e-6)
        assert found.message.startswith("row 2: at sigma = 1 the denoiser returned values that are")
        with pytest.raises(SolveFailed, match="row 2"):
            found.raise_if_failed()
        if not zero:
            torch.testing.assert_close(found.x[~bad], whole.x[~bad], rtol=1e-12, atol=1e-12)


def test_values_that_are_never_finite() -> None:
    calls = []

    def denoiser(x, sigma):
        calls.append(1)
        return torch.full_like(x, torch.inf)

    found = sample_adaptive(denoiser, NOISE, denoise_to_zero=True)
    assert not bool(found.ok.any())
    assert len(calls) < 10
    assert found.calls == len(calls)
    assert "(6 of 6 rows failed)" in found.message


def test_the_estimate_at_the_end_counts_too() -> None:
    before = sample_adaptive(SMOOTH, NOISE).calls
    calls = []

    def denoiser(x, sigma):
        calls.append(1)
        bad = (torch.arange(6) == 1) & (len(calls) > before)
        return torch.where(bad.unsqueeze(-1), torch.inf, SMOOTH(x, sigma))

    found = sample_adaptive(denoiser, NOISE, denoise_to_zero=True)
    assert found.ok.tolist() == [True, False, True, True, True, True]
    assert found.message.startswith("row 1: at sigma = 0 the denoiser returned")


def test_a_tolerance_below_what_the_model_holds_is_said() -> None:
    random = torch.Generator().manual_seed(0)

    def denoiser(x, sigma):
        return SMOOTH(x, sigma) + torch.randn(x.shape, generator=random, dtype=x.dtype)

    found = sample_adaptive(denoiser, NOISE, rtol=1e-7, max_attempts=60)
    assert set(found.status.tolist()) == {int(Status.MAX_ATTEMPTS)}
    assert "60 attempts were used up; give a larger rtol" in found.message
    assert "row 0" in repr(found)


def test_what_the_model_raises_comes_through() -> None:
    class Stop(Exception):
        pass

    for last in (1, 7):
        calls = []

        def denoiser(x, sigma, calls=calls, last=last):
            calls.append(1)
            if len(calls) == last:
                raise Stop
            return SMOOTH(x, sigma)

        with pytest.raises(Stop):
            sample_adaptive(denoiser, NOISE)
        assert len(calls) == last


def test_an_interrupt_brings_what_was_reached() -> None:
    """And asks the model no more."""
    calls = []

    def denoiser(x, sigma):
        calls.append(1)
        if len(calls) == 12:
            raise KeyboardInterrupt
        return SMOOTH(x, sigma)

    noise = NOISE.reshape(6, 1, 3)
    with pytest.raises(Interrupted) as told_of:
        sample_adaptive(denoiser, noise, denoise_to_zero=True)
    found = told_of.value.solution
    assert found.x.shape == noise.shape
    assert bool((found.sigma < 80).all())
    assert bool((found.sigma > 0.002).all())
    assert "was interrupted" in found.message
    assert len(calls) == 12


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"method": "rodas5p"}, "asks for the Jacobian of the denoiser"),
        ({"method": "bdf"}, "asks for the Jacobian of the denoiser"),
        ({"method": "rk4"}, "has no embedded error"),
        ({"method": "bosh4"}, "is unknown"),
        ({"rtol": 0.0}, "rtol must be positive"),
        ({"rtol": math.inf}, "rtol must be positive and finite"),
        ({"atol": -1.0}, "atol must be positive"),
        ({"sigma_data": 0.0}, "sigma_data must be positive"),
        ({"sigma_min": 0.0}, "the step to 0 is denoise_to_zero"),
        ({"sigma_min": 90.0}, "0 < sigma_min < sigma_max"),
        ({"sigma_max": math.inf}, "must be finite"),
        ({"max_attempts": 0}, "max_attempts must be 1 or more"),
        ({"mask": torch.ones(3)}, "give init too"),
    ],
)
def test_bad_input(options, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        sample_adaptive(SMOOTH, NOISE, **options)


def test_an_implicit_method_is_unsupported() -> None:
    with pytest.raises(UnsupportedError, match="take an explicit pair, such as 'bosh3'"):
        sample_adaptive(SMOOTH, NOISE, method="kvaerno5")


def test_autograd_is_left_alone() -> None:
    weight = torch.ones((), dtype=torch.float64, requires_grad=True)
    found = sample_adaptive(lambda x, s: weight * SMOOTH(x, s), NOISE)
    assert not found.x.requires_grad
