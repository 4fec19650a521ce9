"""Models of other kinds: EDM's, of continuous time, of few steps, with a time for every token."""

from __future__ import annotations

import math

import diffusers
import pytest
import torch
from flows import F64, SMOOTH, exact_path, normal
from hypothesis import given
from hypothesis import strategies as st

from stiffguide.adapters.diffusion import (
    DDPMTable,
    LogTime,
    RectifiedFlow,
    as_denoiser,
    as_network,
    grid,
    per_token,
    preconditioned,
    sample,
    sample_adaptive,
)
from stiffguide.errors import InputError, UnsupportedError

NOISE = normal(6, 3, seed=3)

# of the schedulers of diffusers
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


# --- EDM's preconditioning, and the time log(sigma)


def inside_of_edm(denoiser, s: float):
    """The F of a denoiser: what a network of EDM learns."""

    def net(x, c_noise):
        assert c_noise.shape == (len(x),)
        sigma = torch.exp(4 * c_noise).unsqueeze(-1)
        root = torch.sqrt(sigma**2 + s**2)
        x = x * root
        return (denoiser(x, sigma[:, 0]) - s**2 / root**2 * x) * root / (sigma * s)

    return net


@given(s=st.floats(0.05, 3.0), level=st.floats(1e-3, 1e3))
def test_the_network_inside_of_edm_is_a_denoiser(s: float, level: float) -> None:
    found = preconditioned(inside_of_edm(SMOOTH, s), s)
    x, sigma = level * NOISE, torch.full((6,), level, dtype=F64)
    torch.testing.assert_close(found(x, sigma), SMOOTH(x, sigma), rtol=1e-9, atol=1e-9)


@given(s=st.floats(0.05, 3.0), level=st.floats(1e-3, 1e3))
def test_gaussian_data_leave_the_network_nothing(s: float, level: float) -> None:
    """F = 0 is right for data of deviation sigma_data: what its scalings are for."""
    x, sigma = level * NOISE, torch.full((6,), level, dtype=F64)
    found = preconditioned(lambda x, _: torch.zeros_like(x), s)(x, sigma)
    torch.testing.assert_close(found, x * s**2 / (s**2 + level**2), rtol=1e-12, atol=0)


@given(level=st.floats(1e-3, 1e3))
def test_at_deviation_one_it_predicts_minus_v_in_log_time(level: float) -> None:
    net = as_network(SMOOTH, "v", LogTime())
    x, sigma = level * NOISE, torch.full((6,), level, dtype=F64)
    one = as_denoiser(net, "v", LogTime())(x, sigma)
    two = preconditioned(lambda x, t: -net(x, t), 1.0)(x, sigma)
    torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-9)


def test_a_model_of_edm_is_sampled() -> None:
    exact = exact_path(SMOOTH, 80 * NOISE, [80.0, 0.002], 2000)[-1]
    found = sample_adaptive(preconditioned(inside_of_edm(SMOOTH, 0.5)), NOISE, rtol=1e-5)
    torch.testing.assert_close(found.x, exact, rtol=0, atol=1e-5)
    half = preconditioned(
        lambda x, t: inside_of_edm(SMOOTH, 0.5)(x.double(), t.double()).bfloat16(),
        dtype=torch.bfloat16,
    )
    low = sample(half, NOISE.float(), grid.karras(12), "emg").x
    assert (low - exact).abs().max() < 0.1


def test_log_time_is_the_continuous_time_of_diffusers() -> None:
    """Stable Video Diffusion: v, told log(sigma)/4, by diffusers' own scheduler."""
    theirs = diffusers.EulerDiscreteScheduler(
        timestep_type="continuous",
        prediction_type="v_prediction",
        use_karras_sigmas=True,
        sigma_min=0.002,
        sigma_max=700.0,
    )
    theirs.set_timesteps(8)
    told = []
    net = as_network(SMOOTH, "v", LogTime())

    def watched(x, t):
        told.append(t[0])
        return net(x, t)

    x = theirs.init_noise_sigma * NOISE
    for t in theirs.timesteps:
        out = net(theirs.scale_model_input(x, t).double(), t.double().expand(6))
        x = theirs.step(out, t, x.double()).prev_sample
    sigmas = theirs.sigmas.double()
    noise = NOISE * theirs.init_noise_sigma / sigmas[0]
    found = sample(as_denoiser(watched, "v", LogTime()), noise, sigmas, "euler").x
    torch.testing.assert_close(found, x.double(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(torch.stack(told).float(), theirs.timesteps, rtol=1e-5, atol=1e-5)
    low, high = LogTime().range()
    assert (low, high) == (pytest.approx(0.002), pytest.approx(700.0))


def test_a_flow_that_is_told_a_thousand_times_its_sigma() -> None:
    """SD3 and FLUX by diffusers: one factor in front of the network."""
    flow = as_network(SMOOTH, "velocity", RectifiedFlow())
    thousand = lambda x, t: flow(x, t / 1000)  # noqa: E731 - stands for such a network
    one = as_denoiser(lambda x, s: thousand(x, 1000 * s), "velocity", RectifiedFlow())
    x, sigma = 2 * NOISE, torch.full((6,), 2.0, dtype=F64)
    torch.testing.assert_close(one(x, sigma), SMOOTH(x, sigma), rtol=1e-9, atol=1e-9)


# --- few steps


def test_turbo_and_lightning_are_euler_on_trailing_levels() -> None:
    table = DDPMTable.scaled_linear()
    net = as_network(SMOOTH, "epsilon", table)
    theirs = diffusers.EulerDiscreteScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        timestep_spacing="trailing",
    )
    for steps in (1, 2, 4, 8):
        theirs.set_timesteps(steps)
        x = theirs.init_noise_sigma * NOISE
        for t in theirs.timesteps:
            out = net(theirs.scale_model_input(x, t).double(), t.double().expand(6))
            x = theirs.step(out, t, x).prev_sample
        levels = grid.ddpm(steps, table, spacing="trailing", zero=True)
        noise = NOISE * float(theirs.init_noise_sigma) / levels[0]
        found = sample(as_denoiser(net, "epsilon", table), noise, levels, "euler").x
        torch.testing.assert_close(found, x.double(), rtol=1e-4, atol=1e-4)


def test_consistency_models_are_euler_with_all_noise_made_new() -> None:
    """LCM by diffusers' own scheduler, with the same draws; its scalings are 1 to 1e-7 there."""
    table = DDPMTable.scaled_linear()
    net = as_network(SMOOTH, "epsilon", table)
    theirs = diffusers.LCMScheduler()
    theirs.set_timesteps(4)
    torch.manual_seed(7)
    x = NOISE
    for t in theirs.timesteps:
        out = net(x, t.double().expand(6))
        x = theirs.step(out, t, x).prev_sample
    levels = grid.own(table.level(theirs.timesteps.double()), zero=True)
    torch.manual_seed(7)
    # pure noise, where their first state lies a little off the schedule
    noise = NOISE * torch.sqrt(1 + levels[0] ** 2) / levels[0]
    denoiser = as_denoiser(net, "epsilon", table)
    found = sample(denoiser, noise, levels, "euler", eta=math.inf).x
    torch.testing.assert_close(found, x, rtol=1e-5, atol=1e-5)


def test_new_noise_by_the_formula() -> None:
    levels = grid.karras(5, zero=True)
    torch.manual_seed(3)
    found = sample(SMOOTH, NOISE, levels, "euler", eta=math.inf, s_noise=1.1).x
    torch.manual_seed(3)
    x = 80 * NOISE
    for a, b in zip(levels[:-1].tolist(), levels[1:].tolist(), strict=True):
        x = SMOOTH(x, torch.full((6,), a, dtype=F64))
        if b > 0:
            x = x + 1.1 * b * torch.randn(6, 3, dtype=F64)
    torch.testing.assert_close(found, x, rtol=1e-12, atol=1e-12)
    for name in ("emg", "dpmpp_2m", "dpmpp_sde"):
        with pytest.raises(UnsupportedError, match="interpolates what infinite eta would make new"):
            sample(SMOOTH, NOISE, levels, name, eta=math.inf)
    for eta in (-1.0, math.nan):
        with pytest.raises(InputError, match="eta must not be negative"):
            sample(SMOOTH, NOISE, levels, "euler", eta=eta)


def test_an_embedded_guidance_scale_is_a_condition() -> None:
    """Distilled models are told the scale of the guidance that they hold, row by row."""

    def net(x, sigma, told):
        return told["text"] + told["guidance"].unsqueeze(-1) * SMOOTH(x, sigma)

    told = {"text": normal(6, 3, seed=4), "guidance": torch.linspace(1, 4, 6, dtype=F64)}
    found = sample(net, NOISE, grid.karras(4, zero=True), "euler", condition=told).x
    for row in range(6):
        part = {name: value[row : row + 1] for name, value in told.items()}
        alone = sample(
            net, NOISE[row : row + 1], grid.karras(4, zero=True), "euler", condition=part
        ).x
        torch.testing.assert_close(found[row : row + 1], alone, rtol=1e-12, atol=1e-12)


# --- a time for every token

FRAMES = normal(2, 5, 3, seed=5)
NEW = torch.tensor([False, False, True, True, True])


def by_token(x, sigma):
    """Tokens that lean on the mean of their sample; clean ones count most."""
    assert sigma.shape == x.shape[:2]
    weight = 1 / (1 + sigma.unsqueeze(-1) ** 2)
    mean = (weight * x).sum(1, keepdim=True) / weight.sum(1, keepdim=True)
    return mean + weight * (x - mean) * 0.5


@pytest.mark.parametrize("new", [NEW, NEW.expand(2, 5), NEW.double()])
@pytest.mark.parametrize("method", ["euler", "emg", "adaptive"])
def test_given_tokens_come_clean_and_stay(new, method: str) -> None:
    told = []

    def watched(x, sigma):
        told.append(sigma)
        torch.testing.assert_close(x[:, :2], FRAMES[:, :2], rtol=0, atol=0)
        return by_token(x, sigma)

    model, noise = per_token(watched, FRAMES, new), normal(2, 5, 3, seed=6)
    if method == "adaptive":
        x = sample_adaptive(model, noise, denoise_to_zero=True).x
    else:
        x = sample(model, noise, grid.karras(7, zero=True), method).x
    torch.testing.assert_close(x[:, :2], FRAMES[:, :2], rtol=0, atol=1e-12)
    assert (x[:, 2:] - FRAMES[:, 2:]).abs().min() > 1e-4
    assert all(bool((sigma[:, :2] == 0).all()) for sigma in told)
    assert all(bool((sigma[:, 2:] > 0).all()) for sigma in told)


def test_the_rest_is_the_flow_of_the_rest() -> None:
    """With the given tokens put in by hand."""

    def rest(x, sigma):
        whole = torch.cat((FRAMES[:, :2], x), 1)
        levels = sigma.unsqueeze(1) * NEW
        return by_token(whole, levels)[:, 2:]

    noise, levels = normal(2, 5, 3, seed=6), grid.karras(7, zero=True)
    expected = sample(rest, noise[:, 2:], levels, "dpmpp_2m").x
    found = sample(per_token(by_token, FRAMES, NEW), noise, levels, "dpmpp_2m").x
    torch.testing.assert_close(found[:, 2:], expected, rtol=1e-9, atol=1e-9)


def test_networks_are_told_times_by_token() -> None:
    """A flow's own time, in the shape (B, T); and log(sigma) of the least level that is known."""

    def net(x, t):
        assert t.shape == (2, 5)
        assert bool((t[:, :2] == 0).all())
        return 0.3 * x + t.unsqueeze(-1)

    model = per_token(as_denoiser(net, "velocity", RectifiedFlow()), FRAMES, NEW)
    noise, levels = normal(2, 5, 3, seed=6), grid.karras(5, 0.01, 50.0)
    assert torch.isfinite(sample(model, noise, levels).x).all()

    def logs(x, t):
        torch.testing.assert_close(t[:, :2], torch.full((2, 2), math.log(0.01) / 4, dtype=F64))
        return 0.1 * x

    model = per_token(preconditioned(logs), FRAMES, NEW, clean=0.01)
    assert torch.isfinite(sample(model, noise, levels).x).all()


@pytest.mark.parametrize(
    ("new", "shape", "sentence"),
    [
        (0.5 * NEW, (2, 5, 3), "none is noised a little"),
        (NEW.expand(1, 2, 5), (2, 5, 3), "of truth values"),
        (NEW, (2, 4, 3), r"x has shape \(2, 4, 3\) and new \(5,\)"),
        (NEW, (2, 5), r"x must be \(B, T, ...\)"),
        (NEW.expand(3, 5), (2, 5, 3), r"new \(3, 5\)"),
    ],
)
def test_tokens_that_do_not_fit(new, shape, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        sample(per_token(by_token, torch.zeros(()), new), normal(*shape), grid.karras(3))


def test_numbers_that_mean_nothing() -> None:
    for sigma_data in (0.0, -1.0, math.inf):
        with pytest.raises(InputError, match="sigma_data must be positive"):
            preconditioned(by_token, sigma_data)
    with pytest.raises(InputError, match="rate must be positive"):
        LogTime(0.0)
    with pytest.raises(InputError, match="must lie between 0 and sigma_max"):
        LogTime(sigma_min=3.0, sigma_max=2.0)
    with pytest.raises(InputError, match="clean is a level"):
        per_token(by_token, FRAMES, NEW, clean=-1.0)
