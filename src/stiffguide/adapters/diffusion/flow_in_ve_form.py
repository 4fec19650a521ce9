"""Rectified flows in VE form, from their very start: pure noise, at an infinite level.

x = (1 - sigma) x0 + sigma eps is (1 - sigma) y with y = x0 + level eps in VE form and level =
sigma/(1 - sigma). At sigma = 1 both y and the level are infinite, and their ratio is x. INFINITE
stands for that level. It is a power of two, so that x INFINITE and y/(1 + INFINITE) are exact, and
so large that b/INFINITE is lost in rounding wherever it is added to a number of size b or 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stiffguide.adapters.diffusion.sampler import (
    Advance,
    Denoise,
    Interval,
    Sampler,
    Splitting,
)
from stiffguide.stepping.contracts import Guidance, State

INFINITE = 2.0**60
BESIDE = 1e-6  # where rounding puts a sigma that should be 1: shift t/(1 + (shift - 1) t) at t = 1


def to_level(sigma: float) -> float:
    """sigma/(1 - sigma) of a flow's sigma in [0, 1]."""
    return INFINITE if sigma > 1 - BESIDE else sigma / (1 - sigma)


def to_ve(x: Tensor, sigma: float) -> Tensor:
    """The state (B, ...) of a flow in VE form."""
    return x * INFINITE if sigma > 1 - BESIDE else x / (1 - sigma)


def from_ve(y: Tensor, level: float) -> Tensor:
    """A state (B, ...) in VE form as the flow has it."""
    return y / (1 + level)


@dataclass(frozen=True)
class FromInfinity:
    """A sampler of the data carrier that may start at INFINITE.

    There x(b) = b x/level + D is exact for constant D, and all that a polynomial in log sigma can
    give: through a node at infinity it takes no slope. So the first step is DDIM's, and the sampler
    starts anew behind it. `Emg` needs none of this: its function of sigma vanishes at infinity.
    """

    inner: Sampler

    @property
    def name(self) -> str:
        """That of the sampler."""
        return self.inner.name

    @property
    def order(self) -> int:
        """That of the sampler."""
        return self.inner.order

    @property
    def error_order(self) -> int | None:
        """That of the sampler."""
        return self.inner.error_order

    @property
    def memory(self) -> bool:
        """As the sampler."""
        return self.inner.memory

    @property
    def splitting(self) -> Splitting | None:
        """As the sampler."""
        return self.inner.splitting

    @property
    def reversible(self) -> bool:
        """No: a run that ends at infinity has no end."""
        return False

    def bind(self, rule: Guidance) -> FromInfinity:
        """With this rule."""
        return FromInfinity(self.inner.bind(rule))

    def init(self, x: Tensor, levels: Sequence[float]) -> State:
        """The sampler's, which has not seen a step."""
        return self.inner.init(x, levels)

    def step(self, denoise: Denoise, interval: Interval, x: Tensor, state: State) -> Advance:
        """One step; from INFINITE it leaves the sampler's state as it was."""
        if interval.start == INFINITE:
            denoised = denoise(x, INFINITE)
            x1 = torch.lerp(denoised, x, interval.end / INFINITE)
            return Advance(x1, x, denoised, state)
        # INFINITE is the last of the past, and there is one value too few for it to be a node
        return self.inner.step(denoise, interval, x, state)
