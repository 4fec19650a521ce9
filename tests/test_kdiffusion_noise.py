"""The samplers with noise by k-diffusion's convention, beside k-diffusion's own."""

from __future__ import annotations

import inspect
import math

import pytest
import torch
from flows import F64, THIN, Mixture, normal
from test_kdiffusion import NOISE, PLAIN
from test_kdiffusion_flows import FLOW, START, Flow, shifted
from test_sampler_oracles import k_sampling

from stiffguide.adapters import diffusion
from stiffguide.adapters.diffusion import Brownian, grid
from stiffguide.adapters.kdiffusion import (
    NOISY_SAMPLERS,
    sample_stiffguide_dpm2_ancestral,
    sample_stiffguide_dpmpp_2m_sde,
    sample_stiffguide_dpmpp_2s_ancestral,
    sample_stiffguide_dpmpp_3m_sde,
    sample_stiffguide_dpmpp_sde,
    sample_stiffguide_euler_ancestral,
)
from stiffguide.errors import InputError, UnsupportedError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

ALL = pytest.mark.parametrize("name", NOISY_SAMPLERS)
METHODS = {
    "stiffguide_euler_ancestral": "euler",
    "stiffguide_dpm2_ancestral": "dpm2",
    "stiffguide_dpmpp_2s_ancestral": "dpmpp_2s",
    "stiffguide_dpmpp_sde": "dpmpp_sde",
    "stiffguide_dpmpp_2m_sde": "dpmpp_2m",
    "stiffguide_dpmpp_3m_sde": "dpmpp_3m",
    "stiffguide_unipc2_sde": "unipc2",
    "stiffguide_emg_sde": "emg",
}
TWINS = [
    ("sample_euler_ancestral", sample_stiffguide_euler_ancestral, {}),
    ("sample_dpm_2_ancestral", sample_stiffguide_dpm2_ancestral, {}),
    ("sample_dpmpp_2s_ancestral", sample_stiffguide_dpmpp_2s_ancestral, {}),
    ("sample_dpmpp_sde", sample_stiffguide_dpmpp_sde, {}),
    ("sample_dpmpp_2m_sde", sample_stiffguide_dpmpp_2m_sde, {}),
    ("sample_dpmpp_2m_sde", sample_stiffguide_dpmpp_2m_sde, {"solver_type": "heun"}),
    ("sample_dpmpp_3m_sde", sample_stiffguide_dpmpp_3m_sde, {}),
]
LEVELS = grid.karras(11, zero=True)
SEEDS = [3, 1, 4, 1, 5, 9]


@ALL
def test_it_is_the_sampler_of_the_package(name: str) -> None:
    run, method = NOISY_SAMPLERS[name], METHODS[name]
    for eta in (0.0, 0.6, 1.0):
        expected = diffusion.sample(THIN, NOISE, LEVELS, method, eta=eta, seeds=SEEDS).x
        found = run(THIN, 80 * NOISE, LEVELS, disable=True, eta=eta, seeds=SEEDS)
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
    default = run(THIN, 80 * NOISE, LEVELS, disable=True, seeds=SEEDS)
    assert torch.equal(default, found)  # eta is 1


@ALL
@pytest.mark.parametrize("flow", [False, True])
def test_eta_zero_is_the_plain_function_and_asks_for_no_noise(name: str, flow: bool) -> None:
    def never(*_):
        raise AssertionError

    model, x, sigmas = (FLOW, START, shifted(9)) if flow else (THIN, 80 * NOISE, LEVELS)
    run = NOISY_SAMPLERS[name]
    found = run(model, x, sigmas, None, None, True, 0.0, 2.0, never, flow=flow)
    method = "dpmpp_2s" if METHODS[name] == "dpmpp_sde" else METHODS[name]
    plain = PLAIN[f"stiffguide_{method}"]
    assert torch.equal(found, plain(model, x, sigmas, disable=True, flow=flow))


@pytest.mark.parametrize(("name", "ours", "how"), TWINS)
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_k_diffusion_with_the_same_noise_sampler(name: str, ours, how, dtype) -> None:
    theirs = getattr(k_sampling(), name)
    x, sigmas = (80 * NOISE).to(dtype), LEVELS.to(dtype)
    asked: dict[str, list[tuple[float, float]]] = {"ours": [], "theirs": []}

    def noise_sampler(which: str):
        motion = Brownian(SEEDS, x.shape, dtype=dtype)

        def noise(sigma, sigma_next):
            asked[which].append((float(sigma), float(sigma_next)))
            return motion(sigma, sigma_next)

        return noise

    for eta, s_noise in ((1.0, 1.0), (0.5, 0.8)):
        words = {"disable": True, "eta": eta, "s_noise": s_noise, **how}
        expected = theirs(THIN, x, sigmas, noise_sampler=noise_sampler("theirs"), **words)
        found = ours(THIN, x, sigmas, noise_sampler=noise_sampler("ours"), **words)
        assert found.dtype == dtype
        near = 5e-3 if dtype == torch.float32 else 1e-9  # their sigmas and states are rounded
        torch.testing.assert_close(found, expected, rtol=near, atol=near)
    near = 1e-6 if dtype == torch.float32 else 1e-12
    for mine, yours in zip(asked["ours"], asked["theirs"], strict=True):
        assert mine == pytest.approx(yours, rel=near)


@pytest.mark.parametrize(("name", "ours", "how"), TWINS)
def test_the_arguments_are_those_of_k_diffusion(name: str, ours, how) -> None:
    theirs = inspect.signature(getattr(k_sampling(), name)).parameters
    mine = inspect.signature(ours).parameters
    shared = [p for p in theirs if p != "r"]  # dpmpp_sde's place of the middle, a half
    assert list(mine)[: len(shared)] == shared
    assert all(theirs[p].default == mine[p].default for p in shared)


@pytest.mark.parametrize(
    ("name", "ours", "how"), [twin for twin in TWINS if "ancestral" in twin[0]]
)
def test_k_diffusion_with_the_same_torch_seed(name: str, ours, how) -> None:
    torch.manual_seed(3)
    expected = getattr(k_sampling(), name)(THIN, 80 * NOISE, LEVELS, disable=True)
    torch.manual_seed(3)
    found = ours(THIN, 80 * NOISE, LEVELS, disable=True)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@ALL
@pytest.mark.parametrize("kind", ["seeds", "generator", "nothing"])
def test_where_noise_comes_from(name: str, kind: str) -> None:
    def run() -> torch.Tensor:
        torch.manual_seed(7)
        made = {
            "seeds": {"seeds": SEEDS},
            "generator": {"generator": torch.Generator().manual_seed(2)},
            "nothing": {},
        }
        return NOISY_SAMPLERS[name](THIN, 80 * NOISE, LEVELS, disable=True, **made[kind])

    first = run()
    assert torch.isfinite(first).all()
    assert torch.equal(first, run())
    silent = NOISY_SAMPLERS[name](THIN, 80 * NOISE, LEVELS, disable=True, eta=0.0)
    assert not torch.allclose(first, silent, atol=1e-3)


@ALL
def test_flows_keep_the_law(name: str) -> None:
    """Gaussian data of variance c: what comes out has variance c, from pure noise."""
    c = 0.25
    flow = Flow(Mixture(torch.zeros(1, 3, dtype=F64), c**0.5))
    sigmas = shifted(400 if "euler" in name else 50)
    noise = normal(2000, 3, seed=2)
    torch.manual_seed(5)
    found = NOISY_SAMPLERS[name](flow, noise, sigmas, disable=True, flow=True) * 1.002
    assert float(found.var()) == pytest.approx(c + 0.002**2, rel=0.05)
    # and there was noise: the start says little of the end
    start = torch.corrcoef(torch.stack([noise.flatten(), found.flatten()]))[0, 1]
    assert abs(float(start)) < 0.1


@ALL
def test_flows_are_told_their_sigmas(name: str) -> None:
    sigmas = shifted(6, end=0.0).float()
    told, asked = [], []

    def model(x, sigma):
        told.append(sigma[0].item())
        return FLOW(x, sigma)

    def noise_sampler(sigma, sigma_next):
        asked.append((sigma.item(), sigma_next.item()))
        return torch.ones_like(START).float()

    run = NOISY_SAMPLERS[name]
    x = run(model, START.float(), sigmas, None, None, True, 1.0, 1.0, noise_sampler, flow=True)
    assert torch.isfinite(x).all()
    assert all(0 < sigma <= 1 for sigma in told)
    known = {s.item() for s in sigmas}
    whole = [pair for pair in asked if set(pair) <= known]
    # none from pure noise, none to 0
    assert whole == list(zip(sigmas[1:-2].tolist(), sigmas[2:-1].tolist(), strict=True))
    assert len(asked) == len(whole) * (2 if name == "stiffguide_dpmpp_sde" else 1)


@ALL
def test_noise_is_for_what_falls(name: str) -> None:
    run = NOISY_SAMPLERS[name]
    with pytest.raises(UnsupportedError, match="rise"):
        run(THIN, NOISE, LEVELS[:-1].flip(0), disable=True)
    turned = torch.tensor([80.0, 5.0, 1.0, 4.0, 0.5, 0.0], dtype=F64)
    x = run(THIN, 80 * NOISE, turned, disable=True, seeds=SEEDS)
    assert torch.isfinite(x).all()
    assert math.isfinite(float(x.sum()))


def test_what_does_not_fit() -> None:
    run = sample_stiffguide_dpmpp_2m_sde
    with pytest.raises(InputError, match="solver_type is one of midpoint, heun, not 'ralston'"):
        run(THIN, NOISE, LEVELS, disable=True, solver_type="ralston")
    with pytest.raises(InputError, match="one of noise_sampler, generator and seeds"):
        run(THIN, NOISE, LEVELS, disable=True, seeds=SEEDS, generator=torch.Generator())
    with pytest.raises(InputError, match=r"noise_sampler returned \(1, 4\)"):
        run(THIN, NOISE, LEVELS, disable=True, noise_sampler=lambda a, b: NOISE[:1])
    with pytest.raises(InputError, match="eta must not be negative"):
        run(THIN, NOISE, LEVELS, disable=True, eta=-1.0)
