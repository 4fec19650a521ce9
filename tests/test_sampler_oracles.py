"""The baselines beside other projects' implementations, where those are installed.

Levels and denoiser are the same; k-diffusion works in VE form as this package does, diffusers in VP
form, x/sqrt(1 + sigma^2).
"""

from __future__ import annotations

import importlib.util
import sys
import types
import warnings
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from flows import THIN, normal
from torch import Tensor

from stiffguide.adapters.diffusion import SAMPLERS, Brownian, Multistep, grid, sample
from stiffguide.adapters.diffusion.exponential import (
    DPMPP_2M,
    DPMPP_3M,
    UNIPC2,
    UNIPC3,
    dpmpp_3m_weights,
    midpoint_weights,
    slope_weights,
)

NOISE = normal(6, 4, seed=8)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


STUBS = ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")


@lru_cache(maxsize=1)
def k_sampling():
    """k_diffusion.sampling without the packages that only its training code wants."""
    found = importlib.util.find_spec("k_diffusion")
    if found is None or found.submodule_search_locations is None:
        pytest.skip("k-diffusion is not installed")
    stubs = {} if importlib.util.find_spec("torchvision") else dict.fromkeys(STUBS)
    bare = types.ModuleType("k_diffusion")
    bare.__path__ = list(found.submodule_search_locations)
    sys.modules["k_diffusion"] = bare
    for name in stubs:
        stubs[name] = sys.modules[name] = types.ModuleType(name)
        parent, _, leaf = name.rpartition(".")
        if parent:
            setattr(stubs[parent], leaf, stubs[name])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pytest.importorskip("k_diffusion.sampling")
    finally:
        for name in stubs:
            del sys.modules[name]


OURS = {
    "euler": "sample_euler",
    "heun": "sample_heun",
    "dpm2": "sample_dpm_2",
    "dpmpp_2s": "sample_dpmpp_2s_ancestral",
    "dpmpp_sde": "sample_dpmpp_sde",
    "dpmpp_2m": "sample_dpmpp_2m",
    "dpmpp_3m": "sample_dpmpp_3m_sde",
}


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("zero", [False, True])
def test_k_diffusion(name: str, zero: bool) -> None:
    theirs = getattr(k_sampling(), OURS[name])
    levels = grid.karras(11, zero=zero)
    extra = {}
    if "ancestral" in OURS[name] or "sde" in OURS[name]:
        extra = {"eta": 0.0, "noise_sampler": lambda a, b: 0.0}
    expected = theirs(THIN, 80 * NOISE, levels, disable=True, **extra)
    torch.testing.assert_close(sample(THIN, NOISE, levels, name).x, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "theirs", "how"),
    [
        ("euler", "sample_euler", {"s_churn": 4.0, "s_tmin": 0.05, "s_noise": 1.1}),
        ("heun", "sample_heun", {"s_churn": 40.0}),
        ("euler", "sample_euler_ancestral", {"eta": 1.0}),
        ("euler", "sample_euler_ancestral", {"eta": 0.4, "s_noise": 0.9}),
        ("dpm2", "sample_dpm_2_ancestral", {"eta": 0.7}),
        ("dpmpp_2s", "sample_dpmpp_2s_ancestral", {"eta": 1.0}),
    ],
)
def test_k_diffusion_with_noise(name: str, theirs: str, how: dict[str, float]) -> None:
    levels = grid.karras(11, zero=True)
    run = getattr(k_sampling(), theirs)
    torch.manual_seed(3)
    expected = run(THIN, 80 * NOISE, levels, disable=True, **how)
    torch.manual_seed(3)
    found = sample(THIN, NOISE, levels, name, **how).x
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


NOISY = [
    ("euler", "sample_euler_ancestral", {}),
    ("dpm2", "sample_dpm_2_ancestral", {}),
    ("dpmpp_2s", "sample_dpmpp_2s_ancestral", {}),
    ("dpmpp_sde", "sample_dpmpp_sde", {}),
    ("dpmpp_2m", "sample_dpmpp_2m_sde", {"solver_type": "midpoint"}),
    ("exponential_adams2", "sample_dpmpp_2m_sde", {"solver_type": "heun"}),
    ("dpmpp_3m", "sample_dpmpp_3m_sde", {}),
]


@pytest.mark.parametrize(("name", "theirs", "how"), NOISY)
@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_k_diffusion_along_the_same_brownian_motion(name, theirs, how, eta) -> None:
    levels, seeds = grid.karras(11, zero=True), range(6)
    motion = Brownian(seeds, NOISE.shape, dtype=NOISE.dtype)
    how = {"eta": eta, "s_noise": 0.9, "noise_sampler": motion, **how}
    expected = getattr(k_sampling(), theirs)(THIN, 80 * NOISE, levels, disable=True, **how)
    found = sample(THIN, NOISE, levels, name, eta=eta, s_noise=0.9, seeds=seeds).x
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_k_diffusion_grids() -> None:
    theirs = k_sampling()
    for n in (5, 20):
        torch.testing.assert_close(
            grid.karras(n, 0.01, 20.0, zero=True).float(), theirs.get_sigmas_karras(n, 0.01, 20.0)
        )
        torch.testing.assert_close(
            grid.exponential(n, 0.01, 20.0, zero=True).float(),
            theirs.get_sigmas_exponential(n, 0.01, 20.0),
        )


def run_scheduler(scheduler, levels: Tensor) -> Tensor:
    """A diffusers scheduler over levels of ours, fed with x0; the result in VE form."""
    steps = len(levels) - 1
    scheduler.set_timesteps(steps)
    scheduler.sigmas = levels.clone()
    scheduler.timesteps = torch.linspace(999, 1, steps).round().to(torch.int64)
    scheduler.num_inference_steps = steps
    x = 80 * NOISE / (1 + levels[0] ** 2) ** 0.5
    for i, t in enumerate(scheduler.timesteps):
        scale = (1 + levels[i] ** 2) ** 0.5
        x0 = THIN(x * scale, levels[i].expand(len(x)))
        x = scheduler.step(x0, t, x).prev_sample
    return x * (1 + levels[-1] ** 2) ** 0.5


def scheduler(name: str, order: int, **config):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        diffusers = pytest.importorskip("diffusers")
        return getattr(diffusers, name)(
            prediction_type="sample", solver_order=order, lower_order_final=False, **config
        )


def third_order(nodes: tuple[float, ...], a: float, b: float) -> tuple[float, ...]:
    """As diffusers has 3M: its second step is that of 2M, ours and k-diffusion's is exact."""
    return midpoint_weights(nodes, a, b) if len(nodes) == 2 else dpmpp_3m_weights(nodes, a, b)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("n", [6, 18])
def test_diffusers_dpmpp(order: int, n: int) -> None:
    theirs = scheduler("DPMSolverMultistepScheduler", order, final_sigmas_type="sigma_min")
    expected = run_scheduler(theirs, grid.karras(n))
    ours = (SAMPLERS["euler"], DPMPP_2M, replace(DPMPP_3M, predictor=third_order))[order - 1]
    found = sample(THIN, NOISE, grid.karras(n), ours).x
    # theirs steps in float32
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("ours", [UNIPC2, UNIPC3], ids=["unipc2", "unipc3"])
@pytest.mark.parametrize("n", [6, 18])
@pytest.mark.parametrize("ramp_down", [False, True])
def test_diffusers_unipc(ours: Multistep, n: int, ramp_down: bool) -> None:
    theirs = scheduler("UniPCMultistepScheduler", ours.points, final_sigmas_type="sigma_min")
    theirs.register_to_config(lower_order_final=ramp_down)
    expected = run_scheduler(theirs, grid.karras(n))
    found = sample(THIN, NOISE, grid.karras(n), replace(ours, ramp_down=ramp_down)).x
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("points", [1, 2, 3])
@pytest.mark.parametrize("n", [6, 18])
def test_diffusers_deis(points: int, n: int) -> None:
    # its polynomials are in log sigma; those of "deis3" in VP time, as ERK-Guid has them
    theirs = scheduler("DEISMultistepScheduler", points)
    expected = run_scheduler(theirs, grid.karras(n))
    ours = Multistep("deis in log sigma", points, points, "slope", slope_weights)
    found = sample(THIN, NOISE, grid.karras(n), ours).x
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-7)


def test_every_baseline_has_an_oracle_or_a_law() -> None:
    with_oracle = {*OURS, "unipc2", "unipc3"}
    with_law = {"deis3", "ipndm4", "emg", "emg_lagged", "exponential_adams2", "exponential_adams3"}
    assert set(SAMPLERS) == with_oracle | with_law
    assert np.isfinite(sample(THIN, NOISE, grid.karras(4), "ipndm4").x.numpy()).all()
