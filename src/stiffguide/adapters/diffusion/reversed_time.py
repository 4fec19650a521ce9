"""A schedule whose time runs from noise to data, as most texts on flow matching write it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from stiffguide.adapters.diffusion.schedule import Schedule, double
from stiffguide.errors import InputError


@dataclass(frozen=True)
class Reversed(Schedule):
    """The path of another schedule with its time turned round: t_min is noise, t_max data.

    `Reversed(RectifiedFlow())` is x_t = (1 - t) eps + t x0, whose "velocity" is x0 - eps (Lipman et
    al., arXiv 2210.02747; Liu et al., arXiv 2209.03003). InputError where the time has no end.
    """

    schedule: Schedule

    def __post_init__(self) -> None:
        if not math.isfinite(self.schedule.t_max):
            raise InputError(
                f"Reversed: the time of {self.schedule!r} has no end from which to run back"
            )

    @property
    def t_min(self) -> float:  # type: ignore[override]  # the turned schedule's own
        """Where there is noise alone."""
        return self.schedule.t_min

    @property
    def t_max(self) -> float:  # type: ignore[override]
        """Where there is data alone."""
        return self.schedule.t_max

    def _turned(self, t: Tensor | float) -> Tensor:
        return self.t_min + self.t_max - double(t)

    def alpha(self, t: Tensor | float) -> Tensor:
        """How much of x0 there is at t: rising."""
        return self.schedule.alpha(self._turned(t))

    def sigma(self, t: Tensor | float) -> Tensor:
        """How much noise there is at t: falling."""
        return self.schedule.sigma(self._turned(t))

    def d_alpha(self, t: Tensor | float) -> Tensor:
        """The derivative of alpha by t."""
        return -self.schedule.d_alpha(self._turned(t))

    def d_sigma(self, t: Tensor | float) -> Tensor:
        """The derivative of sigma by t."""
        return -self.schedule.d_sigma(self._turned(t))

    def level(self, t: Tensor | float) -> Tensor:
        """sigma/alpha, as the turned schedule has it."""
        return self.schedule.level(self._turned(t))

    def time(self, level: Tensor | float) -> Tensor:
        """The t at which sigma/alpha is `level`."""
        return self._turned(self.schedule.time(level))

    def range(self) -> tuple[float, float]:
        """The lowest and the highest level, as the turned schedule has them."""
        return self.schedule.range()

    def trained(self) -> Schedule:
        """The turned path in the time that a network is told."""
        return Reversed(self.schedule.trained())
