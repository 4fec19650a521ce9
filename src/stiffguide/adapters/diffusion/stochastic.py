"""Noise on the way: the churn of EDM, and ancestral steps; both for samplers without memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

from stiffguide.adapters.diffusion.sampler import Sampler
from stiffguide.errors import InputError, UnsupportedError
from stiffguide.stepping.contracts import Guidance


@dataclass(frozen=True)
class Stochastic:
    """How much noise is added where.

    s_churn, s_tmin, s_tmax, s_noise: before a step from a sigma in [s_tmin, s_tmax] the state is
    raised to sigma (1 + min(s_churn/N, sqrt 2 - 1)) (Karras et al., arXiv 2206.00364, algorithm 2).
    eta: a step to sigma ends lower, and noise brings it back up; 1 is ancestral sampling, and
    infinite makes all noise new: x = D + sigma eps, as consistency models are sampled.
    """

    s_churn: float = 0.0
    s_tmin: float = 0.0
    s_tmax: float = math.inf
    s_noise: float = 1.0
    eta: float = 0.0

    @property
    def active(self) -> bool:
        """Whether any noise is added at all."""
        return self.s_churn > 0 or self.eta > 0

    def check(self, sampler: Sampler, guidance: Guidance | None) -> None:
        """Raise InputError where noise would be ignored or would break what is asked for."""
        for name in ("s_churn", "s_tmin", "s_noise"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name} must be finite and not negative: {getattr(self, name)}")
        if not self.eta >= 0:
            raise InputError(f"eta must not be negative: {self.eta}")
        if self.s_churn > 0 and self.eta > 0:
            raise InputError("s_churn and eta are two ways of adding noise; use one of them")
        if not self.active:
            return
        if sampler.memory:
            raise UnsupportedError(
                f"{sampler.name} uses its past, which noise would make wrong: s_churn and eta need "
                "method='euler' or 'heun'"
            )
        if sampler.name not in ("euler", "heun"):
            raise UnsupportedError(
                f"s_churn and eta are made for 'euler' and 'heun', not for {sampler.name}"
            )
        if guidance is not None:
            raise UnsupportedError(
                "guidance reads the error of the step before, which added noise would change; "
                "leave out s_churn and eta, or the guidance"
            )

    def raised(self, sigma: float, steps: int) -> float:
        """The level that churn lifts sigma to."""
        if not self.s_churn or not self.s_tmin <= sigma <= self.s_tmax:
            return sigma
        return sigma * (1 + min(self.s_churn / steps, math.sqrt(2) - 1))

    def lowered(self, start: float, end: float) -> tuple[float, float]:
        """Where an ancestral step from `start` ends, and the noise that lifts it to `end`."""
        up = min(end, self.eta * math.sqrt(end**2 * (start**2 - end**2) / start**2))
        return math.sqrt(end**2 - up**2), up
