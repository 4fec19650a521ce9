"""The loop over a grid that every sampler goes through."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from stiffguide.adapters.diffusion.evaluator import Evaluator
from stiffguide.adapters.diffusion.noise import Source
from stiffguide.adapters.diffusion.result import Sample, verdict
from stiffguide.adapters.diffusion.sampler import Advance, Interval, Sampler
from stiffguide.adapters.diffusion.splitting import Motion, Noise, ancestral
from stiffguide.adapters.diffusion.stochastic import Stochastic
from stiffguide.adapters.diffusion.stretches import Stretch, stretches
from stiffguide.adapters.diffusion.watch import Watch
from stiffguide.stepping.contracts import State


@dataclass(frozen=True)
class SamplingRun:
    """A sampler, what it calls, and what happens between its steps."""

    sampler: Sampler
    evaluator: Evaluator
    levels: Tensor  # (N + 1,) on the CPU
    random: Stochastic
    source: Source  # of churn
    motion: Motion  # of eta, (B, ...)
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
            sigma, end = part.levels[j], part.levels[j + 1]
            start = self.random.raised(sigma, len(self.levels) - 1)
            x = self._churned(x, math.sqrt(start**2 - sigma**2))
            past = part.levels[max(0, j - 4) : j][::-1]
            interval = Interval(start, end, past, len(part.intervals) - j)
            ahead = self._noisy_step(interval, x, state)
            x, state = ahead.x, ahead.state
            self.watch.saw(i, sigma, start, ahead.start, ahead.denoised)
        return x

    def _noisy_step(self, interval: Interval, x: Tensor, state: State) -> Advance:
        """One step, with the noise that eta adds to its end, if any."""
        start, end = interval.start, interval.end
        if not self.random.acts(start):
            return self.sampler.step(self.evaluator, interval, x, state)
        noise = Noise(self.random.eta, self.random.s_noise, self._motion)
        if self.sampler.splitting == "sde":
            return self.sampler.step(self.evaluator, interval._replace(noise=noise), x, state)
        if end == 0:
            return self.sampler.step(self.evaluator, interval, x, state)
        lower, up = ancestral(start, end, noise.eta)
        ahead = self.sampler.step(self.evaluator, interval._replace(end=lower), x, state)
        return ahead._replace(x=ahead.x + noise.scaled(start, end, up))

    def _motion(self, start: float, end: float) -> Tensor:
        """The motion with flat rows (B, F)."""
        noise = self.motion(start, end)
        return noise.reshape(len(noise), -1)

    def _climb(self, part: Stretch, x: Tensor) -> Tensor:
        """Up again in the middle of a run, by Euler's method."""
        for j, i in enumerate(part.intervals):
            self.evaluator.step = i
            sigma = part.levels[j]
            denoised = self.evaluator(x, sigma)
            self.watch.saw(i, sigma, sigma, x, denoised)
            x = torch.lerp(denoised, x, part.levels[j + 1] / sigma)
        return x

    def _churned(self, x: Tensor, sigma: float) -> Tensor:
        if sigma == 0:
            return x
        return torch.add(x, self.source.draw().flatten(1), alpha=sigma * self.random.s_noise)
