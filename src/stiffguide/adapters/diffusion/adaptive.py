"""`sample_adaptive`: from noise to data by tolerance, every row by steps of its own."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from stiffguide.adapters.diffusion.adaptive_result import AdaptiveSample
from stiffguide.adapters.diffusion.adaptive_run import AdaptiveRun, Attempted, Demand, stepper
from stiffguide.adapters.diffusion.condition import Condition, with_condition
from stiffguide.adapters.diffusion.evaluator import Evaluator
from stiffguide.adapters.diffusion.hyperbolic_clock import OfNoise
from stiffguide.adapters.diffusion.model_guidance import ModelGuidance
from stiffguide.adapters.diffusion.prediction import Denoiser
from stiffguide.adapters.diffusion.schedule import SIGMA_MAX, SIGMA_MIN
from stiffguide.adapters.diffusion.start import Start
from stiffguide.adapters.diffusion.watch import Callback
from stiffguide.errors import InputError


def sample_adaptive(
    denoiser: Denoiser,
    noise: Tensor,
    sigma_min: float = SIGMA_MIN,
    sigma_max: float = SIGMA_MAX,
    *,
    method: str = "bosh3",
    rtol: float = 1e-2,
    atol: float | None = None,
    sigma_data: float = 0.5,
    together: bool = False,
    denoise_to_zero: bool = False,
    max_attempts: int = 1000,
    callback: Callback | None = None,
    condition: Condition | None = None,
    init: Tensor | None = None,
    mask: Tensor | None = None,
    dtype: torch.dtype | None = None,
    model_dtype: torch.dtype | None = None,
) -> AdaptiveSample:
    """Integrate the probability flow of `denoiser(x, sigma (B,)) -> x0` to a tolerance.

    Rows have steps and counts of their own, so that the sigmas (B,) of a call differ. The ends are
    those of a schedule by `*schedule.range()`. Runs without autograd. Arguments:

    noise, condition, init, mask, dtype, model_dtype: as in `sample`.
    method: an explicit pair of `stiffguide methods`; higher orders than that of bosh3 pay from some
        50 evaluations on, if the model is smooth in sigma.
    rtol, atol: of an error in the root mean square over a row, in units of the data; atol None
        is rtol sigma_data. rtol must lie above the rounding of the model.
    sigma_data: about the deviation of one number of the data: it shapes the clock only.
    together: one length of step for all rows, for models that look at the first sigma only.
    denoise_to_zero: one more evaluation, the step of Euler's method from sigma_min to 0.
    callback: called after every attempt with {x, i, sigma, sigma_hat, denoised}; i counts them,
        sigma (B,) and x belong to its start, denoised is the last estimate of the model.

    An interval of model guidance is stepped on exactly. A row that fails says so in `status`.

    Raises InputError for levels, tolerances and methods that cannot be used.
    """
    if not 0 < sigma_min < sigma_max < math.inf:
        raise InputError(
            f"sigma_min = {sigma_min} and sigma_max = {sigma_max}: they must be finite, and "
            "0 < sigma_min < sigma_max; the step to 0 is denoise_to_zero"
        )
    clock = OfNoise(scale_of(sigma_data))
    absolute = rtol * sigma_data if atol is None else atol
    demand = Demand(stepper(method), rtol, absolute, max_attempts, together)
    start = Start.of(noise, init, mask, dtype)
    told = with_condition(denoiser, condition)
    evaluator = Evaluator(told, start.shape, model_dtype, start.kept)
    run = AdaptiveRun(
        evaluator.by_rows, clock, demand, _edges(denoiser), _told(callback, start.shape)
    )
    x = torch.add(start.image, start.noise, alpha=sigma_max)
    return run.integrate(x, sigma_max, sigma_min, denoise_to_zero)


def scale_of(sigma_data: float) -> float:
    """The deviation of the clock, checked; raises InputError."""
    if not 0 < sigma_data < math.inf:
        raise InputError(f"sigma_data must be positive and finite, not {sigma_data}")
    return float(sigma_data)


def _edges(denoiser: Denoiser) -> tuple[float, ...]:
    """The sigmas at which a guided model changes what it is."""
    interval = denoiser.interval if isinstance(denoiser, ModelGuidance) else None
    return () if interval is None else interval


def _told(callback: Callback | None, shape: tuple[int, ...]) -> Any:
    """A callback of the user's kind as a run calls it."""
    if callback is None:
        return None

    def tell(seen: Attempted) -> None:
        callback(
            {
                "x": seen.x.reshape(shape),
                "i": seen.number,
                "sigma": seen.sigma,
                "sigma_hat": seen.sigma,
                "denoised": seen.denoised.reshape(shape),
            }
        )

    return tell
