"""The grid that needs no calibration, over the range of a model of ComfyUI."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from stiffguide.adapters.diffusion import grid
from stiffguide.errors import InputError

from .model_range import ModelRange

LOW = 0.004  # sizes of the data, below which EDM does not go


def mix_sigmas(
    model_sampling: Any,
    steps: int,
    sigma_data: float = 0.0,
    shift: float = 0.0,
    center: float = 0.0,
) -> Tensor:
    """Sigmas (steps + 1,) in float32 from the model's largest one to 0.

    center: the noise level of the bump, which no shift moves; of a flow sigma/(1 - sigma).
    sigma_data: standard deviation of the latents; the bump lies at half of it times shift where
    there is no center. Without both (0) the levels are Karras's, and the log says how to measure.
    shift: factor on all noise levels but the ends; 0 takes the model's own if it is a flow, else 1.
    """
    if not (sigma_data >= 0 and shift >= 0 and center >= 0):
        raise InputError(
            f"sigma_data = {sigma_data}, shift = {shift} and center = {center} must be positive, "
            "or 0: for latents of deviation 1, the model's own shift, no center"
        )
    span = ModelRange.of(model_sampling, sigma_data or 1.0, shift)
    low = max(span.low, LOW * span.size)
    return span.sigmas(_levels(steps, low, span.high, sigma_data and span.size, center))


def _levels(steps: int, low: float, high: float, size: float, center: float) -> Tensor:
    """The levels, with the bump where it is told to be: at a center, or by a deviation."""
    if center > 0:
        return grid.mix(steps, low, high, center=center, zero=True)
    if size > 0:
        return grid.mix(steps, low, high, sigma_data=size, zero=True)
    return grid.mix(steps, low, high, dimension=grid.HIGH_DIMENSION, zero=True)
