"""The continuous time of models that are told log(sigma)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from stiffguide.adapters.diffusion.schedule import SIGMA_MIN, VariancePreserving, double
from stiffguide.errors import InputError


@dataclass(frozen=True)
class LogTime(VariancePreserving):
    """t = rate log(sigma/alpha), from sigma_min to sigma_max: what EDM's networks are told.

    With rate 1/4 and "v" it is the model of Stable Video Diffusion (arXiv 2311.15127), whose sigmas
    go up to 700.

    Raises InputError for a rate or levels that are not positive and finite.
    """

    rate: float = 0.25
    sigma_min: float = SIGMA_MIN
    sigma_max: float = 700.0

    def __post_init__(self) -> None:
        if not 0 < self.rate < math.inf:
            raise InputError(f"LogTime: rate must be positive and finite, not {self.rate}")
        if not 0 < self.sigma_min < self.sigma_max < math.inf:
            raise InputError(
                f"LogTime: sigma_min = {self.sigma_min} must lie between 0 and sigma_max = "
                f"{self.sigma_max}"
            )
        object.__setattr__(self, "t_min", self.rate * math.log(self.sigma_min))
        object.__setattr__(self, "t_max", self.rate * math.log(self.sigma_max))

    def level_squared(self, t: Tensor) -> Tensor:
        """exp(2 t/rate)."""
        return torch.exp(2 * t / self.rate)

    def d_log_alpha(self, t: Tensor) -> Tensor:
        """-sigma^2/rate, with the sigma of alpha^2 + sigma^2 = 1."""
        square = self.level_squared(t)
        return -square / (1 + square) / self.rate

    def time(self, level: Tensor | float) -> Tensor:
        """rate log(level)."""
        return self.rate * torch.log(double(level))
