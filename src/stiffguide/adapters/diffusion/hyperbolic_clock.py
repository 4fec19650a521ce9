"""A clock and a state in which the flow of Gaussian data of one deviation stands still.

With data of deviation c, sinh t = c/sigma and y = x tanh(t)/c, the probability flow is

    dy/dt = D(x; sigma)/c - y tanh t,

whose right side vanishes for Gaussian data of deviation c: D = x tanh(t)^2 then. What is left for
a solver is by how much the data differ from that. No end is singular: at t = 0 sigma is infinite
and y the unit-variance noise; towards the data t grows as -log sigma, and y goes to x0/c. A
rectified flow (1 - s) x0 + s eps has the same y and t, from s = 1 on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from stiffguide.adapters.diffusion.flow_in_ve_form import BESIDE


class HyperbolicClock(Protocol):
    """What a model is given and told, where the solver has y (B, F) at t (B, 1)."""

    @property
    def scale(self) -> float:
        """The deviation c that is taken for that of the data."""
        ...

    def time(self, sigma: float) -> float:
        """The t of a sigma of the model."""
        ...

    def sigma(self, t: Tensor) -> Tensor:
        """The sigma of the model at t, in the shape of t."""
        ...

    def outward(self, y: Tensor, t: Tensor) -> Tensor:
        """The state of the model (B, F)."""
        ...

    def inward(self, x: Tensor, t: float) -> Tensor:
        """The y of a state of the model."""
        ...


@dataclass(frozen=True)
class OfNoise:
    """For models of x0 + sigma eps."""

    scale: float

    def time(self, sigma: float) -> float:
        """asinh(c/sigma)."""
        return math.asinh(self.scale / sigma)

    def sigma(self, t: Tensor) -> Tensor:
        """c/sinh t."""
        return self.scale / torch.sinh(t)

    def outward(self, y: Tensor, t: Tensor) -> Tensor:
        """x = y c/tanh t."""
        return y * (self.scale / torch.tanh(t)).to(y.dtype)

    def inward(self, x: Tensor, t: float) -> Tensor:
        """Its inverse."""
        return x * (math.tanh(t) / self.scale)


@dataclass(frozen=True)
class OfFlow:
    """For rectified flows, x = (1 - s) x0 + s eps with s in [0, 1]."""

    scale: float

    def time(self, sigma: float) -> float:
        """asinh(c (1 - s)/s), and 0 for an s that only rounding keeps from 1."""
        return 0.0 if sigma > 1 - BESIDE else math.asinh(self.scale * (1 - sigma) / sigma)

    def sigma(self, t: Tensor) -> Tensor:
        """s = c/(c + sinh t)."""
        return self.scale / (self.scale + torch.sinh(t))

    def outward(self, y: Tensor, t: Tensor) -> Tensor:
        """x = y c cosh(t)/(c + sinh t)."""
        return y * (self.scale * torch.cosh(t) / (self.scale + torch.sinh(t))).to(y.dtype)

    def inward(self, x: Tensor, t: float) -> Tensor:
        """Its inverse."""
        return x * ((self.scale + math.sinh(t)) / (self.scale * math.cosh(t)))
