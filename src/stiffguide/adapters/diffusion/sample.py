"""`sample`: from noise to data along a grid; `invert`: the way back."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from stiffguide.adapters.diffusion import cfg_pp, exponential, grid
from stiffguide.adapters.diffusion.brownian import Drawn, motion_of
from stiffguide.adapters.diffusion.condition import Condition, with_condition
from stiffguide.adapters.diffusion.dpm2 import Dpm2
from stiffguide.adapters.diffusion.dpmpp_2s import DPMPP_2S, DPMPP_SDE
from stiffguide.adapters.diffusion.emg import Emg
from stiffguide.adapters.diffusion.evaluator import Evaluator
from stiffguide.adapters.diffusion.heun import Heun
from stiffguide.adapters.diffusion.noise import Source
from stiffguide.adapters.diffusion.prediction import Denoiser
from stiffguide.adapters.diffusion.result import Sample
from stiffguide.adapters.diffusion.sampler import Sampler
from stiffguide.adapters.diffusion.sampling_run import SamplingRun
from stiffguide.adapters.diffusion.start import Start
from stiffguide.adapters.diffusion.stochastic import Stochastic
from stiffguide.adapters.diffusion.watch import Callback, Keep, Watch
from stiffguide.errors import InputError, UnsupportedError
from stiffguide.inputs import Times
from stiffguide.stepping.contracts import Guidance

SAMPLERS: dict[str, Sampler] = {
    sampler.name: sampler
    for sampler in (
        *(Heun(), Dpm2(), DPMPP_2S, DPMPP_SDE, *exponential.FAMILY),
        *(Emg(), Emg(name="emg_lagged", lagged=True)),
    )
}
"""The samplers by the names that `sample` knows them by; two more are for guided models."""

# those that ask more of a denoiser than a denoiser must do
GUIDED: dict[str, Sampler] = {sampler.name: sampler for sampler in cfg_pp.FAMILY}


def sample(
    denoiser: Denoiser,
    noise: Tensor,
    sigmas: Times,
    method: str | Sampler = "heun",
    guidance: Guidance | None = None,
    *,
    callback: Callback | None = None,
    progress: bool = False,
    keep: Keep = "end",
    condition: Condition | None = None,
    seeds: Sequence[int] | Tensor | None = None,
    init: Tensor | None = None,
    strength: float = 1.0,
    mask: Tensor | None = None,
    s_churn: float = 0.0,
    s_tmin: float = 0.0,
    s_tmax: float = math.inf,
    s_noise: float = 1.0,
    eta: float = 0.0,
    denoise_to_zero: bool = False,
    dtype: torch.dtype | None = None,
    model_dtype: torch.dtype | None = None,
) -> Sample:
    """Integrate the probability flow of `denoiser(x, sigma (B,)) -> x0` over a falling grid.

    Runs without autograd. Arguments:

    noise: (B, ...) of unit variance; the start is init + sigmas[0] noise.
    sigmas: levels (N + 1,), as those of `stiffguide.adapters.diffusion.grid`; a last interval to 0
        is one step of Euler (EMG takes its own).
    method: a name of `SAMPLERS`, "euler_cfg_pp" or "dpmpp_2m_cfg_pp" for a denoiser of
        `model_guidance`, or an object.
    guidance: a rule of `stiffguide.guidance`.
    callback: called once per interval with {x, i, sigma, sigma_hat, denoised}.
    keep: "states" at all N + 1 levels, or "denoised" of all N intervals, as `trajectory`.
    condition: what `denoiser(x, sigma, condition)` is told of each row (see `Conditioned`).
    init, strength: start from an image, after (1 - strength) of the intervals.
    mask: 1 where something new is wanted, 0 where init is kept.
    s_churn, s_tmin, s_tmax, s_noise, eta: noise on the way, see `Stochastic`.
    seeds: one a row, on which alone that noise then depends; that of eta is a `Brownian` motion,
        the same for any grid.
    denoise_to_zero: a last step to 0 if the grid ends above it.
    dtype, model_dtype: of the state, and of what the denoiser is given and returns.

    Raises InputError for levels and names that cannot be used, and UnsupportedError for a rule or
    noise that the method does not take.
    """
    levels = grid.falling(sigmas)
    if denoise_to_zero and float(levels[-1]) > 0:
        levels = torch.cat((levels, levels.new_zeros(1)))
    random = Stochastic(s_churn, s_tmin, s_tmax, s_noise, eta)
    sampler = _sampler(method, guidance)
    random.check(sampler, guidance)
    levels = levels[_skipped(strength, init, len(levels) - 1) :]
    start = Start.of(noise, init, mask, dtype)
    watch = Watch(callback, progress, keep, start.shape)
    source = Source(seeds, start.shape, start.noise.dtype, start.noise.device)
    motion = motion_of(seeds, start.noise, source.draw)
    told = with_condition(denoiser, condition)
    evaluator = Evaluator(told, start.shape, model_dtype, start.kept)
    x = torch.add(start.image, start.noise, alpha=float(levels[0])).flatten(1)
    return SamplingRun(sampler, evaluator, levels, random, source, motion, watch).integrate(x)


def invert(
    denoiser: Denoiser,
    x: Tensor,
    sigmas: Times,
    method: str | Sampler = "heun",
    *,
    callback: Callback | None = None,
    progress: bool = False,
    keep: Keep = "end",
    condition: Condition | None = None,
    dtype: torch.dtype | None = None,
    model_dtype: torch.dtype | None = None,
) -> Sample:
    """Run the flow from x (B, ...) at sigmas[0] > 0 up a rising grid: data to noise.

    The unit-variance noise that `sample` would start from is `result.x / sigmas[-1]`.

    Raises InputError for levels that do not rise, and UnsupportedError for a method that runs down
    only.
    """
    levels = grid.rising(sigmas)
    sampler = _sampler(method, None)
    if not sampler.reversible:
        raise UnsupportedError(f"{sampler.name} runs down in sigma only; invert with 'heun'")
    start = Start.of(x, None, None, dtype)
    watch = Watch(callback, progress, keep, start.shape)
    source = Source(None, start.shape, start.noise.dtype, start.noise.device)
    evaluator = Evaluator(with_condition(denoiser, condition), start.shape, model_dtype)
    run = SamplingRun(sampler, evaluator, levels, Stochastic(), source, Drawn(source.draw), watch)
    return run.integrate(start.noise.flatten(1))


def _sampler(method: str | Sampler, guidance: Guidance | None) -> Sampler:
    if isinstance(method, str):
        known = SAMPLERS | GUIDED
        if method not in known:
            raise InputError(f"no sampler is called {method!r}; there are {', '.join(known)}")
        method = known[method]
    return method if guidance is None else method.bind(guidance)


def _skipped(strength: float, init: Tensor | None, steps: int) -> int:
    """How many intervals an image lets us leave out."""
    if not 0 < strength <= 1:
        raise InputError(f"strength must lie in (0, 1], not {strength}")
    if init is None and strength < 1:
        raise InputError("strength below 1 starts from an image: give init")
    return steps - max(1, min(steps, int(steps * strength + 1e-9)))
