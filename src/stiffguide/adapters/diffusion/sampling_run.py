"""The loop over a grid that every sampler goes through."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from stiffguide.adapters.diffusion.evaluator import Evaluator
from stiffguide.adapters.diffusion.noise import Source
from stiffguide.adapters.diffusion.result import Sample, verdict
from stiffguide.adapters.diffusion.sampler import Interval, Sampler
from stiffguide.adapters.diffusion.stochastic import Stochastic
from stiffguide.adapters.diffusion.stretches import Stretch, stretches
from stiffguide.adapters.diffusion.watch import Watch


@dataclass(frozen=True)
class SamplingRun:
    """A sampler, what it calls, and what happens between its steps."""

    sampler: Sampler
    evaluator: Evaluator
    levels: Tensor  # (N + 1,) on the CPU
    random: Stochastic
    source: Source
    watch: Watch

    @torch.no_grad()
    def integrate(self, x: Tensor) -> Sample:
        """From x (B, F) at the first level to the last."""
        parts = stretches(self.levels.tolist())
        turns = len({part.rises for part in parts}) > 1
        with self.watch.over(len(self.levels) - 1):
            for part in parts:
                x = self._climb(part, x) if turns and part.rises else self._along(part, x)
        status, message = verdict(self.evaluator, x)
        return Sample(
            x=x.reshape(self.watch.shape),
            nfe=self.evaluator.nfe,
            sigmas=self.levels,
            status=status,
            message=message,
            method=self.sampler.name,
            trajectory=self.watch.trajectory(x),
        )

    def _along(self, part: Stretch, x: Tensor) -> Tensor:
        """From x (B, F) at the first level of a stretch to the last, with a memory of its own."""
        state = self.sampler.init(x, part.levels)
        for j, i in enumerate(part.intervals):
            self.evaluator.step = i
            sigma, end, up = part.levels[j], part.levels[j + 1], 0.0
            start = self.random.raised(sigma, len(self.levels) - 1)
            x = self._noisier(x, math.sqrt(start**2 - sigma**2))
            if self.random.eta > 0 and end > 0:
                end, up = self.random.lowered(start, end)
            past = part.levels[max(0, j - 4) : j][::-1]
            interval = Interval(start, end, past, len(part.intervals) - j)
            ahead = self.sampler.step(self.evaluator, interval, x, state)
            x, state = self._noisier(ahead.x, up), ahead.state
            self.watch.saw(i, sigma, start, ahead.start, ahead.denoised)
        return x

    def _climb(self, part: Stretch, x: Tensor) -> Tensor:
        """Up again in the middle of a run, by Euler's method."""
        for j, i in enumerate(part.intervals):
            self.evaluator.step = i
            sigma = part.levels[j]
            denoised = self.evaluator(x, sigma)
            self.watch.saw(i, sigma, sigma, x, denoised)
            x = torch.lerp(denoised, x, part.levels[j + 1] / sigma)
        return x

    def _noisier(self, x: Tensor, sigma: float) -> Tensor:
        if sigma == 0:
            return x
        return torch.add(x, self.source.draw().flatten(1), alpha=sigma * self.random.s_noise)
