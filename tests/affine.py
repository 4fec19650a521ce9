"""Exact means and covariances of samplers with noise on Gaussian data: no draws.

For D = mean + C/(C + sigma^2) (x - mean) a sampler is affine in its start and its noises (EMG, too:
its estimate of C is then exact). Run on
rows of which each has one of them switched on, it tells its responses, and these its moments.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from stiffguide.adapters.diffusion.evaluator import Evaluator
from stiffguide.adapters.diffusion.noise import Source
from stiffguide.adapters.diffusion.sampler import Sampler
from stiffguide.adapters.diffusion.sampling_run import SamplingRun
from stiffguide.adapters.diffusion.stochastic import Stochastic
from stiffguide.adapters.diffusion.watch import Watch

F64 = torch.float64


class Switched:
    """A motion whose independent increments are switched on one a row, from row 2 on.

    Row 0 has the mean of the start and row 1 its deviation. An interval that begins in one asked
    for before is a sum over the pieces between: pieces end where anything ends.
    """

    def __init__(self, cuts: Sequence[float]) -> None:
        self.cuts = sorted(cuts, reverse=True)
        self.rows = len(cuts) + 1

    def __call__(self, start: float, end: float) -> Tensor:
        first, last = (min(self.cuts, key=lambda c, x=x: abs(c - x)) for x in (start, end))
        inside = [c for c in self.cuts if last <= c <= first]
        noise = torch.zeros(self.rows, 1, dtype=F64)
        whole = last**-2 - first**-2
        for a, b in pairwise(inside):
            noise[2 + self.cuts.index(a)] = math.sqrt((b**-2 - a**-2) / whole)
        return noise


class Moments(NamedTuple):
    """Of the end state."""

    mean: float
    variance: float


def moments(
    sampler: Sampler, levels: Tensor, eta: float, center: float, c: float, offset: float = 0.0
) -> Moments:
    """Of the samples of data N(center, c) that start with the law of the data at levels[0].

    offset: the start is off by as much.
    """
    ends = levels.tolist()
    middles = [math.sqrt(a * b) for a, b in pairwise(ends) if b > 0]
    motion = Switched([x for x in (*ends, *middles) if x > 0])
    start = torch.zeros(motion.rows, 1, dtype=F64)
    start[0], start[1] = center + offset, math.sqrt(c + ends[0] ** 2)
    means = torch.zeros(motion.rows, 1, dtype=F64)
    means[0] = center

    def denoiser(x: Tensor, sigma: Tensor) -> Tensor:
        return means + (c / (c + sigma**2)).unsqueeze(-1) * (x - means)

    shape = tuple(start.shape)
    run = SamplingRun(
        sampler,
        Evaluator(denoiser, shape),
        levels,
        Stochastic(eta=eta),
        Source(None, shape, F64, torch.device("cpu")),
        motion,
        Watch(None, False, "end", shape),
    )
    found = run.integrate(start).x[:, 0]
    return Moments(float(found[0]), float((found[1:] ** 2).sum()))
