"""The noise levels that a model of ComfyUI knows, and levels as its sigmas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import comfy.model_sampling
import torch
from torch import Tensor

HIGH = 160.0  # of a flow, whose own end is infinite: as many sizes of the data as EDM goes up to


@dataclass(frozen=True)
class ModelRange:
    """Levels from `low` to `high`, sigma/(1 - sigma) of a flow, in units of the data."""

    low: float
    high: float
    size: float  # of the data, times the shift of a flow
    top: float  # the largest sigma
    scale: float | None  # of the noise of a flow; None: levels are sigmas

    @classmethod
    def of(cls, model_sampling: Any, spread: float = 1.0, shift: float = 0.0) -> ModelRange:
        """That of a model for data of deviation `spread`; shift 0 is the model's own, or none."""
        top, bottom = float(model_sampling.sigma_max), float(model_sampling.sigma_min)
        if not isinstance(model_sampling, comfy.model_sampling.CONST):
            return cls(bottom, top, spread * (shift or 1.0), top, None)
        scale = float(getattr(model_sampling, "noise_scale", 1.0))
        half = float(model_sampling.percent_to_sigma(0.5))
        size = spread * (shift or half / (1 - half))
        # a flow that starts at sigma = 1 starts at an infinite level
        high = HIGH * size if top >= 1 else min(HIGH * size, scale * top / (1 - top))
        return cls(scale * bottom / (1 - bottom), high, size, top, scale)

    def sigmas(self, levels: Tensor) -> Tensor:
        """Levels (N + 1,) from `high` down as sigmas in float32, the first the model's largest."""
        if self.scale is None:
            return levels.float()
        sigmas = levels / (self.scale + levels)
        sigmas[0] = self.top
        return sigmas.float()


def partial(make: Callable[[int], Tensor], steps: int, denoise: float) -> Tensor:
    """The last `steps` intervals of a grid of steps/denoise of them; none for denoise = 0."""
    if denoise <= 0:
        return torch.empty(0)
    whole = steps if denoise >= 1 else int(steps / denoise)
    return make(whole)[-(steps + 1) :]
