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
        visited = self.levels.tolist()
        steps = len(visited) - 1
        state = self.sampler.init(x, visited)
        with self.watch.over(steps):
            for i in range(steps):
                self.evaluator.step = i
                sigma, end, up = visited[i], visited[i + 1], 0.0
                start = self.random.raised(sigma, steps)
                x = self._noisier(x, math.sqrt(start**2 - sigma**2))
                if self.random.eta > 0 and end > 0:
                    end, up = self.random.lowered(start, end)
                past = tuple(visited[max(0, i - 4) : i][::-1])
                interval = Interval(start, end, past, steps - i)
                ahead = self.sampler.step(self.evaluator, interval, x, state)
                x, state = self._noisier(ahead.x, up), ahead.state
                self.watch.saw(i, sigma, start, ahead.start, ahead.denoised)
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

    def _noisier(self, x: Tensor, sigma: float) -> Tensor:
        if sigma == 0:
            return x
        return torch.add(x, self.source.draw().flatten(1), alpha=sigma * self.random.s_noise)
