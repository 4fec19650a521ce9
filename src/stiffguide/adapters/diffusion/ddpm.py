"""The discrete schedules of DDPM, as tables with interpolation."""

from __future__ import annotations

import math
import warnings
from functools import cached_property

import torch
from torch import Tensor

from stiffguide.adapters.diffusion.schedule import VariancePreserving, double
from stiffguide.errors import InputError, StiffguideWarning
from stiffguide.tensors import lasting, transformed

# what half precision makes of the end of a table is no time outside of it
BESIDE = 1.01
Ends = tuple[float, float]


class DDPMTable(VariancePreserving):
    """A discrete schedule: betas (T,), t the index from 0 to T - 1.

    Between the entries log(sigma/alpha) is linear in t. Beyond them `time` stays at the ends, and
    `level` goes on in a straight line; both warn.

    Raises InputError for betas that are not (T,) inside (0, 1).
    """

    def __init__(self, betas: Tensor) -> None:
        betas = double(betas)
        if betas.ndim != 1 or len(betas) < 2 or not bool(((betas > 0) & (betas < 1)).all()):
            raise InputError("DDPMTable: betas must be (T,) with T >= 2 and values inside (0, 1)")
        self.betas = betas
        self.t_max: float = float(len(betas) - 1)

    def __repr__(self) -> str:
        low, high = self.levels[0].item(), self.levels[-1].item()
        return f"DDPMTable({len(self.betas)} steps, levels {low:.4g} to {high:.4g})"

    @classmethod
    def linear(cls, steps: int = 1000, low: float = 1e-4, high: float = 0.02) -> DDPMTable:
        """The betas of DDPM (Ho et al., arXiv 2006.11239)."""
        return cls(torch.linspace(low, high, steps, dtype=torch.float64))

    @classmethod
    def scaled_linear(
        cls, steps: int = 1000, low: float = 0.00085, high: float = 0.012
    ) -> DDPMTable:
        """The betas of latent diffusion."""
        return cls(torch.linspace(low**0.5, high**0.5, steps, dtype=torch.float64) ** 2)

    @classmethod
    def cosine(cls, steps: int = 1000, largest: float = 0.999) -> DDPMTable:
        """The betas of the cosine schedule, capped at `largest`."""
        t = torch.arange(steps + 1, dtype=torch.float64) / steps
        left = torch.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2
        return cls(torch.clamp(1 - left[1:] / left[:-1], max=largest))

    @cached_property
    def levels(self) -> Tensor:
        """sigma/alpha (T,) of the entries, rising."""
        with lasting():
            log_kept = torch.cumsum(torch.log1p(-self.betas), 0)
            return torch.sqrt(torch.expm1(-log_kept))

    @cached_property
    def _log_levels(self) -> Tensor:
        with lasting():
            return torch.log(self.levels)

    def range(self) -> Ends:
        """The levels of the first entry and the last."""
        return float(self.levels[0]), float(self.levels[-1])

    def level(self, t: Tensor | float) -> Tensor:
        """sigma/alpha; a StiffguideWarning for times beyond the entries."""
        t = double(t)
        self._warn("a time", t, (0.0, self.t_max), (-0.5, self.t_max * BESIDE))
        return super().level(t)

    def _warn(self, what: str, values: Tensor, ends: Ends, bounds: Ends) -> None:
        """Say, once for each end, that values lie beyond it and its bound."""
        if torch.compiler.is_compiling() or transformed():  # what is seen there has no values
            return
        beyond = {
            f"below {ends[0]:.4g}": values < bounds[0],
            f"above {ends[1]:.4g}": values > bounds[1],
        }
        for where, outside in beyond.items():
            if bool(outside.any()):
                warnings.warn(
                    f"{what} {where}, an end of {self!r}, is asked for, where no network was "
                    "trained: take a grid inside, grid.karras(n, *schedule.range()) say",
                    StiffguideWarning,
                    stacklevel=3,
                )

    def _segment(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """(log level, its slope) at t."""
        table = self._log_levels.to(t.device)
        low = torch.clamp(t.floor(), 0, len(table) - 2).to(torch.int64)
        slope = table[low + 1] - table[low]
        return table[low] + (t - low) * slope, slope

    def level_squared(self, t: Tensor) -> Tensor:
        """The interpolated level, squared."""
        return torch.exp(2 * self._segment(t)[0])

    def d_log_alpha(self, t: Tensor) -> Tensor:
        """-sigma^2 d(log level)/dt."""
        square = self.level_squared(t)
        return -square / (1 + square) * self._segment(t)[1]

    def time(self, level: Tensor | float) -> Tensor:
        """The interpolated index; a StiffguideWarning for levels beyond the entries."""
        level = double(level)
        first, last = self.range()
        bounds = (first / BESIDE, last * BESIDE)
        self._warn("a level", level, (first, last), bounds)
        log_level = torch.log(level)
        table = self._log_levels.to(log_level.device)
        low = torch.searchsorted(table, log_level.contiguous(), right=True) - 1
        low = torch.clamp(low, 0, len(table) - 2)
        part = (log_level - table[low]) / (table[low + 1] - table[low])
        return low + torch.clamp(part, 0.0, 1.0)
