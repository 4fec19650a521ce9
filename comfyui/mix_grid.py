"""The grid that needs no calibration, over the range of a model of ComfyUI."""

from __future__ import annotations

from typing import Any

import comfy.model_sampling
import torch
from torch import Tensor

from stiffguide.adapters.diffusion import grid
from stiffguide.errors import InputError

# the range [0.002, 80] of EDM, in units of its sigma_data = 0.5
LOW, HIGH = 0.004, 160.0


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
    spread = sigma_data or 1.0
    top, bottom = float(model_sampling.sigma_max), float(model_sampling.sigma_min)
    if not isinstance(model_sampling, comfy.model_sampling.CONST):
        size = spread * (shift or 1.0)
        low = max(bottom, LOW * size)
        return _levels(steps, low, top, sigma_data and size, center).float()
    # level = scale sigma/(1 - sigma); a flow that starts at sigma = 1 starts at an infinite one
    scale = float(getattr(model_sampling, "noise_scale", 1.0))
    half = float(model_sampling.percent_to_sigma(0.5))
    size = spread * (shift or half / (1 - half))
    low = max(scale * bottom / (1 - bottom), LOW * size)
    high = HIGH * size if top >= 1 else min(HIGH * size, scale * top / (1 - top))
    levels = _levels(steps, low, high, sigma_data and size, center)
    sigmas = levels / (scale + levels)
    sigmas[0] = top
    return sigmas.float()


def _levels(steps: int, low: float, high: float, size: float, center: float) -> Tensor:
    """The levels, with the bump where it is told to be: at a center, or by a deviation."""
    if center > 0:
        return grid.mix(steps, low, high, center=center, zero=True)
    if size > 0:
        return grid.mix(steps, low, high, sigma_data=size, zero=True)
    return grid.mix(steps, low, high, dimension=grid.HIGH_DIMENSION, zero=True)


def partial_mix(
    model_sampling: Any,
    steps: int,
    denoise: float,
    sigma_data: float,
    shift: float,
    center: float,
) -> Tensor:
    """The last `steps` intervals of a grid of steps/denoise of them; none for denoise = 0."""
    if denoise <= 0:
        return torch.empty(0)
    whole = steps if denoise >= 1 else int(steps / denoise)
    return mix_sigmas(model_sampling, whole, sigma_data, shift, center)[-(steps + 1) :]
