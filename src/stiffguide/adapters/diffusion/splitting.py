"""How a step is split into a flow that ends lower and noise that lifts its end again.

A state at level b is data and noise of deviation b: flow to `lower` and then add noise of deviation
`up`, lower^2 + up^2 = b^2, and nothing of this law is lost. How low is a matter of definition.

"ancestral": up = eta b sqrt(1 - (b/a)^2), which k-diffusion uses in its ancestral samplers; any
sampler without memory can be stopped at `lower`.

"sde": dx = (1 + eta) (x - D)/sigma dsigma + sqrt(2 eta sigma) dW, W running as sigma falls (Huang,
Lim and Courville, arXiv 2106.02808; with DPM-Solver++ for it, arXiv 2211.01095, section 5). From a
to b,

    x_b = (b/a)^(1 + eta) x_a + b^(1 + eta) integral of D d(sigma^-(1 + eta)) + up z

with up = b sqrt(1 - (b/a)^(2 eta)). The integral is that of the flow with sigma^(1 + eta) in place
of sigma: whatever interpolates D in log sigma gets eta by raising the levels it is told.

The two agree for eta = 0 and 1; in small steps ancestral eta is the eta^2 of the SDE.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

Motion = Callable[[float, float], Tensor]  # (start, end) -> noise of unit variance in between


def ancestral(start: float, end: float, eta: float) -> tuple[float, float]:
    """(lower, up) of a step of k-diffusion's ancestral samplers."""
    up = min(end, eta * math.sqrt(end**2 * (start**2 - end**2) / start**2))
    return math.sqrt(end**2 - up**2), up


def reverse_sde(start: float, end: float, eta: float) -> tuple[float, float]:
    """(lower, up) of a step of the reverse SDE."""
    ratio = eta * math.log(end / start)
    return end * math.exp(ratio), end * math.sqrt(-math.expm1(2 * ratio))


class Noise(NamedTuple):
    """What is added along an interval, for samplers that add it themselves."""

    eta: float
    s_noise: float  # a factor on what is added
    motion: Motion  # gives (B, F)

    def added(self, start: float, end: float) -> Tensor:
        """The noise (B, F) of the reverse SDE from one level to the next."""
        return self.scaled(start, end, reverse_sde(start, end, self.eta)[1])

    def scaled(self, start: float, end: float, up: float) -> Tensor:
        """Noise (B, F) of deviation `up` from the motion between two levels."""
        return self.motion(start, end) * (up * self.s_noise)
