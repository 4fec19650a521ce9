"""Diffusion and flow models on this package's solvers: `sample(denoiser, noise, sigmas)`.

Everything works in variance-exploding form, x = x0 + sigma eps, on a denoiser(x, sigma) -> x0;
`as_denoiser` makes one of any network. Read `sampler` (the protocol), `heun` (the shortest member;
`dpm2`, `dpmpp_2s`, `exponential`, `emg` are the others), `sampling_run` (the loop over a grid) and
`sample`; `splitting` and `brownian` for noise on the way; then `grid`, `schedule`, `prediction`.
`adaptive` takes steps by tolerance, on the core's own loop.
`mixture`, `problems` and `digits` have denoisers to try, `metrics`, `curves` and `roughness`
measure. No other adapter may be imported.
"""

from stiffguide.adapters.diffusion import grid
from stiffguide.adapters.diffusion.adaptive import sample_adaptive
from stiffguide.adapters.diffusion.adaptive_result import AdaptiveSample
from stiffguide.adapters.diffusion.brownian import Brownian
from stiffguide.adapters.diffusion.calibrate import CalibratedGrid, calibrate_grid
from stiffguide.adapters.diffusion.condition import Conditioned
from stiffguide.adapters.diffusion.ddpm import DDPMTable
from stiffguide.adapters.diffusion.dpm2 import Dpm2
from stiffguide.adapters.diffusion.dpmpp_2s import Dpmpp2s
from stiffguide.adapters.diffusion.emg import Emg
from stiffguide.adapters.diffusion.exponential import Multistep
from stiffguide.adapters.diffusion.field import denoiser_field
from stiffguide.adapters.diffusion.heun import Heun
from stiffguide.adapters.diffusion.log_time import LogTime
from stiffguide.adapters.diffusion.mixture import GaussianMixture
from stiffguide.adapters.diffusion.model_guidance import (
    autoguidance,
    classifier_free,
    classifier_free_batched,
)
from stiffguide.adapters.diffusion.noise import noise_like
from stiffguide.adapters.diffusion.preconditioned import preconditioned
from stiffguide.adapters.diffusion.prediction import as_denoiser, as_network
from stiffguide.adapters.diffusion.result import Sample
from stiffguide.adapters.diffusion.reversed_time import Reversed
from stiffguide.adapters.diffusion.roughness import Roughness, RoughnessPlan, roughness
from stiffguide.adapters.diffusion.sample import SAMPLERS, invert, sample
from stiffguide.adapters.diffusion.schedule import (
    VE,
    RectifiedFlow,
    Schedule,
    VPCosine,
    VPLinear,
    VPScaledLinear,
)
from stiffguide.adapters.diffusion.tokens import per_token
from stiffguide.adapters.diffusion.whole_times import whole_times

__all__ = [
    "SAMPLERS",
    "VE",
    "AdaptiveSample",
    "Brownian",
    "CalibratedGrid",
    "Conditioned",
    "DDPMTable",
    "Dpm2",
    "Dpmpp2s",
    "Emg",
    "GaussianMixture",
    "Heun",
    "LogTime",
    "Multistep",
    "RectifiedFlow",
    "Reversed",
    "Roughness",
    "RoughnessPlan",
    "Sample",
    "Schedule",
    "VPCosine",
    "VPLinear",
    "VPScaledLinear",
    "as_denoiser",
    "as_network",
    "autoguidance",
    "calibrate_grid",
    "classifier_free",
    "classifier_free_batched",
    "denoiser_field",
    "grid",
    "invert",
    "noise_like",
    "per_token",
    "preconditioned",
    "roughness",
    "sample",
    "sample_adaptive",
    "whole_times",
]
