"""The grid of a multistep scheduler: the levels it visits, and the times its model is told."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stiffguide.adapters.diffusers.flow_shift import FlowShift, from_noise_to_data
from stiffguide.adapters.diffusers.scheduler_base import step_count
from stiffguide.adapters.diffusers.trained_schedule import (
    TrainedSchedule,
    spaced_times,
    spread_levels,
)
from stiffguide.errors import InputError

Array = NDArray[np.float64]
ENDS = ("zero", "sigma_min")


@dataclass(frozen=True)
class MultistepGrid:
    """Times (N,) and sigmas (N + 1,) of a run, sigma as diffusers writes it.

    That is sigma/alpha on a discrete schedule, and the share of noise s in flow matching.
    """

    schedule: TrainedSchedule
    flow: bool
    shift: FlowShift
    named: str | None  # of the grid, None for the configured timesteps
    spacing: str
    offset: int
    final: str
    ends: tuple[float | None, float | None]  # lowest and highest level, as sigma/alpha
    sigma_data: float | None  # of "mix"; None: not told
    center: float | None  # of the bump of "mix", as sigma/alpha

    def __post_init__(self) -> None:
        if self.final not in ENDS:
            raise InputError(f"final_sigmas_type is 'zero' or 'sigma_min', not {self.final!r}")
        if self.shift.terminal is not None and not self.flow:
            raise InputError("shift_terminal is for flow matching: use_flow_sigmas=True")

    @property
    def steps(self) -> int:
        """Of the schedule in training."""
        return len(self.schedule.levels)

    def trained(self) -> tuple[Array, Array]:
        """All of them, before a run is laid out."""
        if self.flow:
            levels = self.shift.once(np.linspace(1, 1 / self.steps, self.steps))
            return levels * self.steps, np.append(levels, 0.0)
        entries = np.arange(self.steps - 1, -1, -1.0)
        return self.schedule.told(entries), np.append(self.schedule.entry(entries), 0.0)

    def own(self, num_inference_steps: int | None, mu: float | None) -> tuple[Array, Array]:
        """By the configuration."""
        n = step_count(num_inference_steps)
        if self.named is not None:
            return self._spread(self.named, n)
        if self.flow:
            levels = self.shift(np.linspace(1, 1 / self.steps, n + 1), mu)
            levels = levels[:-1] if self.final == "zero" else levels
            return self._ended(levels * self.steps, levels, float(levels[-1]))
        entries = spaced_times(n, self.schedule.usable, self.spacing, self.offset, ended=True)
        times, levels = self.schedule.told(entries), self.schedule.entry(entries)
        return self._ended(times, levels, float(self.schedule.levels[0]))

    def at(
        self,
        timesteps: Sequence[float],
        mu: float | None,
        sigmas: Sequence[float] | None = None,
    ) -> tuple[Array, Array]:
        """At a caller's times; the levels of a flow are shifted, as diffusers' are.

        sigmas: the levels of a flow at those times, where they are not times/T.
        """
        low = -math.inf if self.schedule.continuous else 0.0
        times = from_noise_to_data(timesteps, "timesteps", low)
        if self.named is not None:
            raise InputError(f"timesteps of your own exclude the grid {self.named!r}")
        if self.flow:
            own = times / self.steps if sigmas is None else from_noise_to_data(sigmas, "sigmas")
            if len(own) != len(times):
                raise InputError(
                    f"timesteps and sigmas of your own go in pairs: got {len(times)} and {len(own)}"
                )
            levels = self.shift(own, mu)
            return self._ended(times, levels, float(levels[-1]))
        if sigmas is not None:
            raise InputError("a model with betas has one level a time: give timesteps or sigmas")
        return self._ended(times, self.schedule.level(times), float(self.schedule.levels[0]))

    def through(self, sigmas: Sequence[float], mu: float | None) -> tuple[Array, Array]:
        """Through a caller's levels."""
        levels = from_noise_to_data(sigmas, "sigmas")
        if self.flow and self.named is not None:  # pipelines bring sigmas without being asked
            return self._spread(self.named, len(levels))
        if self.named is not None:
            raise InputError(f"sigmas of your own exclude the grid {self.named!r}")
        if self.flow:
            levels = self.shift(levels, mu)
            return self._ended(levels * self.steps, levels, float(levels[-1]))
        if len(levels) < 2:
            raise InputError("sigmas end with the level where the run ends: give two or more")
        return self.schedule.time(levels[:-1]), levels

    def time(self, sigma: float, i: int, sigmas: Sequence[float], times: Array) -> float:
        """The time that the model is told at a sigma between two of a run, the i-th and the next.

        Linear in a flow's sigma, whether its times are shifted, too, or not.
        """
        if not self.flow:
            return float(self.schedule.time(np.array([sigma]))[0])
        end = times[i + 1] if i + 1 < len(times) else sigmas[i + 1] * self.steps
        return float(np.interp(sigma, (sigmas[i + 1], sigmas[i]), (end, times[i])))

    def sigma_at(self, time: float) -> float:
        """The sigma of a time in training."""
        if self.flow:
            return time / self.steps
        return float(self.schedule.level(np.array([time]))[0])

    def _spread(self, name: str, n: int) -> tuple[Array, Array]:
        """A grid between the ends that the model knows."""
        low, high = self._reach()
        nodes = n if self.final == "zero" else n + 1
        levels = spread_levels(name, nodes, low, high, self.sigma_data, self.center)
        if not self.flow:
            return self._ended(self.schedule.time(levels), levels, low)
        shares = levels / (1 + levels)
        if self.ends[1] is None:
            shares[0] = 1.0  # a run starts with noise alone
        return self._ended(shares * self.steps, shares, float(shares[-1]))

    def _reach(self) -> tuple[float, float]:
        """The lowest and the highest level of a grid by name."""
        if self.flow:
            own = 1 / (self.steps - 1), float(self.steps - 1)  # s = 1/steps and 1 - 1/steps
        else:
            levels = self.schedule.levels
            own = float(levels[0]), float(levels[self.schedule.usable - 1])
        low, high = (o if e is None else e for e, o in zip(self.ends, own, strict=True))
        return low, high

    def _ended(self, times: Array, levels: Array, lowest: float) -> tuple[Array, Array]:
        """With the level where the run ends: a node more, or the last if it lies there."""
        if self.final == "zero":
            return times, np.append(levels, 0.0)
        if float(levels[-1]) > lowest:
            return times, np.append(levels, lowest)
        if len(levels) < 2:
            raise InputError(
                "final_sigmas_type='sigma_min' wants a level above that: take a step more"
            )
        return times[:-1], levels
