"""Rectified flows by k-diffusion's convention: x = (1 - sigma) x0 + sigma eps, from sigma = 1."""

from __future__ import annotations

import pytest
import torch
from flows import F64, SMOOTH, Mixture, exact_path, normal
from test_kdiffusion import ALL, PLAIN, REVERSIBLE, plain
from test_sampler_oracles import k_sampling

from stiffguide.adapters import diffusion
from stiffguide.adapters.diffusion import RectifiedFlow, as_denoiser, grid
from stiffguide.adapters.diffusion.curves import COSTS
from stiffguide.adapters.diffusion.flow_in_ve_form import INFINITE, from_ve, to_level, to_ve
from stiffguide.adapters.kdiffusion import (
    SAMPLERS,
    sample_stiffguide_emg,
    sample_stiffguide_euler,
)
from stiffguide.errors import InputError, UnsupportedError

IN_VE = ["emg", "dpmpp_2s", "dpmpp_2m", "dpmpp_3m", "exponential_adams2", "exponential_adams3"]
IN_VE += ["unipc2", "unipc3", "euler"]


class Flow:
    """The denoiser D(x, sigma) and the velocity of a mixture on x = (1 - sigma) x0 + sigma eps."""

    def __init__(self, mixture: Mixture) -> None:
        self.mixture = mixture

    def __call__(self, x, sigma):
        if bool((sigma == 1).all()):
            return self.mixture.means.mean(0).expand(x.shape).to(x.dtype)
        left = (1 - sigma).unsqueeze(-1)
        return self.mixture(x / left, sigma / left[:, 0])

    def velocity(self, x, sigma):
        return (x - self(x, sigma)) / sigma.unsqueeze(-1)

    def end(self, noise):
        """Where the flow takes pure noise, at level 0.002."""
        high = 1e5
        levels = [high, 1000.0, 80.0, 10.0, 2.0, 0.5, 0.1, 0.02, 0.002]
        return exact_path(self.mixture, high * noise + self.mixture.means.mean(0), levels)[-1]


FLOW = Flow(SMOOTH)
START = normal(6, 3, seed=9)


def shifted(steps: int, shift: float = 3.0, end: float = 0.002 / 1.002) -> torch.Tensor:
    """From 1 to `end`, uniform in the log of the level below 60."""
    levels = grid.exponential(steps, 0.002, 60.0)
    sigmas = shift * levels / (1 + shift * levels)
    sigmas[0], sigmas[-1] = 1.0, end
    return sigmas


@pytest.mark.parametrize("name", IN_VE)
def test_a_flow_below_one_is_that_of_the_package(name: str) -> None:
    sigmas = shifted(9)[1:]
    levels = sigmas / (1 - sigmas)
    denoiser = as_denoiser(FLOW.velocity, "velocity", RectifiedFlow(shift=3.0))
    expected = diffusion.sample(denoiser, START, levels, name).x * (1 - sigmas[-1])
    x = (1 - sigmas[0]) * levels[0] * START
    found = SAMPLERS[f"stiffguide_{name}"](FLOW, x, sigmas, disable=True, flow=True)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["heun", "dpm2", "deis3", "ipndm4"])
def test_slopes_are_integrated_in_sigma(name: str) -> None:
    sigmas = shifted(9, end=0.0)
    found = plain(f"stiffguide_{name}")(FLOW, START, sigmas, flow=True)
    expected = diffusion.sample(FLOW, START, sigmas, name).x
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_heun_of_a_flow_is_that_of_k_diffusion() -> None:
    sigmas = shifted(9, end=0.0)
    expected = k_sampling().sample_heun(FLOW, START, sigmas, disable=True)
    found = plain("stiffguide_heun")(FLOW, START, sigmas, flow=True)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "end"),
    [
        (name, end)
        for name in PLAIN
        for end in (0.9, 0.3, 0.0)
        if end == 0 or name.removeprefix("stiffguide_") not in COSTS
    ],
)
def test_the_first_step_from_pure_noise(name: str, end: float) -> None:
    """With one evaluation it is the straight line from the noise to the denoised mean."""
    step = plain(name)(FLOW, START, torch.tensor([1.0, end], dtype=F64), flow=True)
    expected = end * START + (1 - end) * SMOOTH.means.mean(0)
    torch.testing.assert_close(step, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in IN_VE if name != "emg"])
def test_behind_pure_noise_a_sampler_starts_anew(name: str) -> None:
    sigmas = shifted(9)
    whole = SAMPLERS[f"stiffguide_{name}"](FLOW, START, sigmas, disable=True, flow=True)
    x = sigmas[1] * START + (1 - sigmas[1]) * SMOOTH.means.mean(0)
    rest = SAMPLERS[f"stiffguide_{name}"](FLOW, x, sigmas[1:], disable=True, flow=True)
    torch.testing.assert_close(whole, rest, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "guided"), [("stiffguide_heun", True), *((name, False) for name in PLAIN)]
)
def test_from_pure_noise_to_the_end_of_the_flow(name: str, guided: bool) -> None:
    run = SAMPLERS[name] if guided else plain(name)
    exact = FLOW.end(START) / 1.002
    errors = []
    for steps in (20, 40, 80):
        x = run(FLOW, START, shifted(steps), disable=True, flow=True)
        errors.append((x - exact).norm(dim=-1).median().item())
    order = 1 if "euler" in name else 2
    assert errors[2] < errors[1] / 1.8**order * 1.6 < errors[0]
    assert errors[2] < (0.05 if order == 1 else 0.01)


@ALL
def test_models_of_flows_are_told_the_sigmas_given(name: str) -> None:
    sigmas = shifted(6, end=0.0).float()
    told = []

    def model(x, sigma):
        told.append(sigma)
        return FLOW(x, sigma)

    steps = []
    x = plain(name)(model, START.float(), sigmas, flow=True, callback=steps.append)
    assert x.dtype == torch.float32
    known = {s.item() for s in sigmas}
    if name not in (
        "stiffguide_dpm2",
        "stiffguide_dpmpp_2s",
    ):  # they visit the middle of intervals too
        assert {s.item() for s in torch.cat(told)} <= known
    assert torch.equal(steps[0]["x"], START.float())
    wide = plain(name)(FLOW, START, sigmas.double(), flow=True)
    torch.testing.assert_close(x.double(), wide, rtol=1e-4, atol=1e-4)
    assert steps[0]["denoised"].equal(FLOW(START.float(), torch.ones(6)))
    if name in ("stiffguide_euler", "stiffguide_dpmpp_2m", "stiffguide_deis3"):
        straight = sigmas[1] * START.float() + (1 - sigmas[1]) * steps[0]["denoised"]
        torch.testing.assert_close(steps[1]["x"], straight, rtol=1e-6, atol=1e-6)


def test_emg_gains_from_the_level_of_a_flow() -> None:
    """For one Gaussian D is linear in EMG's g of the level, from infinity on."""
    flow = Flow(Mixture(torch.zeros(1, 3, dtype=F64), 0.5))
    sigmas = shifted(8)
    exact = START * 0.5 / (1 + 0.002**2 / 0.25) ** -0.5 / 1.002
    errors = {}
    for name in ("stiffguide_emg", "stiffguide_unipc3", "stiffguide_heun"):
        x = SAMPLERS[name](flow, START, sigmas, disable=True, flow=True)
        errors[name] = (x - exact).abs().max().item()
    assert errors["stiffguide_emg"] < 0.1 * min(
        errors["stiffguide_unipc3"], errors["stiffguide_heun"]
    )


@ALL
@pytest.mark.parametrize("beside", [-(2.0**-24), 2.0**-23])
def test_a_start_that_rounding_put_beside_one(name: str, beside: float) -> None:
    sigmas = shifted(9, end=0.0).float()
    exact = plain(name)(FLOW, START, sigmas, flow=True)
    told = []

    def model(x, sigma):
        told.append(sigma[0].item())
        return FLOW(x, torch.clamp(sigma, max=1.0))

    sigmas[0] += beside
    assert sigmas[0] != 1
    found = plain(name)(model, START, sigmas, flow=True)
    torch.testing.assert_close(found, exact, rtol=1e-5, atol=1e-5)
    assert told[0] == sigmas[0].item()


def test_the_infinite_level_is_exact() -> None:
    x = START.float()
    assert to_level(1.0) == INFINITE
    assert torch.equal(from_ve(to_ve(x, 1.0), INFINITE), x)
    for sigma in (0.0, 0.3, 0.99999):
        back = from_ve(to_ve(START, sigma), to_level(sigma))
        torch.testing.assert_close(back, START, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", REVERSIBLE)
def test_a_flow_runs_backwards_in_sigma(name: str) -> None:
    up = shifted(200)[1:].flip(0)
    x = (SMOOTH.means[:4] + 0.3 * START[:4]) / 1.002
    noise = plain(name)(FLOW, x, up, flow=True)
    again = plain("stiffguide_emg")(FLOW, noise, up.flip(0), flow=True)
    assert (again - x).abs().max() < (0.2 if "euler" in name else 0.02)


def test_flows_and_what_does_not_fit_them() -> None:
    with pytest.raises(InputError, match=r"sigmas in \[0, 1\]"):
        sample_stiffguide_emg(FLOW, START, grid.karras(4), disable=True, flow=True)
    with pytest.raises(UnsupportedError, match="for a rectified flow"):
        sample_stiffguide_euler(FLOW, START, shifted(4), disable=True, flow=True, s_churn=1.0)
    up = shifted(8).flip(0)
    with pytest.raises(UnsupportedError, match="these sigmas rise"):
        sample_stiffguide_emg(FLOW, START, up, disable=True, flow=True)
