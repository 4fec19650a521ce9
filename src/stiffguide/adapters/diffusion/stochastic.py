"""Noise on the way: the churn of EDM, for samplers without memory, and eta.

Noise after a step changes what a multistep sampler remembers, so that such a sampler must know of
it: those of the data carrier do, by the weights of the reverse SDE (`splitting`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from stiffguide.adapters.diffusion.flow_in_ve_form import INFINITE
from stiffguide.adapters.diffusion.sampler import Sampler
from stiffguide.errors import InputError, UnsupportedError
from stiffguide.stepping.contracts import Guidance


@dataclass(frozen=True)
class Stochastic:
    """How much noise is added where.

    s_churn, s_tmin, s_tmax, s_noise: before a step from a sigma in [s_tmin, s_tmax] the state is
    raised to sigma (1 + min(s_churn/N, sqrt 2 - 1)) (Karras et al., arXiv 2206.00364, algorithm 2).
    eta: a step to sigma ends lower, and noise brings it back up; 1 is ancestral sampling, and
    infinite makes all noise new: x = D + sigma eps, as consistency models are sampled. By how much
    lower is up to the sampler, see `splitting`.
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
        if self.s_churn > 0 and (sampler.memory or sampler.splitting is None):
            raise UnsupportedError(
                f"{sampler.name} is made for the flow, which churn leaves: s_churn needs "
                "method='euler' or 'heun'; for noise on the way here take eta"
            )
        if self.eta > 0 and sampler.splitting is None:
            raise UnsupportedError(
                f"{sampler.name} is made for the flow, not for a path with noise: eta needs a "
                "sampler made for it, such as 'dpmpp_2m' or 'emg' (without points=3), or one "
                "without memory, such as 'euler'"
            )
        if math.isinf(self.eta) and sampler.splitting != "ancestral":
            raise UnsupportedError(
                f"{sampler.name} interpolates what infinite eta would make new in every step: take "
                "method='euler' for it"
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

    def acts(self, start: float) -> bool:
        """Whether eta has a say in a step from `start`.

        Not in one from infinity: its state is noise through and through, and so is its end.
        """
        return self.eta > 0 and start < INFINITE
