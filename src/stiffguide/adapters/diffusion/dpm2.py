"""DPM-Solver-2: the midpoint rule in log sigma (Lu et al., arXiv 2206.00927), as EDM writes it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from stiffguide.adapters.diffusion.sampler import (
    Advance,
    Denoise,
    Interval,
    Splitting,
    bind_pair_rule,
    level,
    pair_step,
    slope,
)
from stiffguide.stepping.contracts import Guidance, Secant, State


@dataclass(frozen=True)
class Dpm2:
    """x_mid = x + (sigma_mid - sigma) f(x), x1 = x + h f(x_mid), sigma_mid the geometric mean.

    The pair of ERK-Guid is x and x_mid of the same step, so that the first step has one too.
    """

    rule: Guidance | None = None
    name: str = "dpm2"
    order: int = 2
    error_order: int | None = 1
    memory: bool = False
    splitting: Splitting | None = "ancestral"
    reversible: bool = True

    def bind(self, rule: Guidance) -> Dpm2:
        """With this rule, which moves x1."""
        return replace(self, rule=bind_pair_rule(rule, self))

    def init(self, x: Tensor, levels: Sequence[float]) -> State:
        """The rule's state."""
        return () if self.rule is None else self.rule.init(level(0.0, x), x)

    def step(self, denoise: Denoise, interval: Interval, x: Tensor, state: State) -> Advance:
        """Two evaluations; one in a step to 0."""
        a, b = interval.start, interval.end
        denoised = denoise(x, a)
        if b == 0:
            return Advance(denoised, x, denoised, state)
        f = slope(x, denoised, a)
        middle = math.sqrt(a * b)
        x_mid = torch.add(x, f, alpha=middle - a)
        f_mid = slope(x_mid, denoise(x_mid, middle), middle)
        x1 = torch.add(x, f_mid, alpha=b - a)
        if self.rule is not None:
            pair = Secant(x - x_mid, f - f_mid, level(b - a, x))
            move = self.rule.delta(pair_step(interval, x, f, x1, pair), None, state)
            x1, state = x1 + move.dy, move.state
        return Advance(x1, x, denoised, state)
