"""Heun's method along a grid, with Euler's as its companion (Karras et al., arXiv 2206.00364).

Two evaluations a step. Its two slopes and the slope that the next step starts with are all that a
guidance rule needs: rules cost no evaluation here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from stiffguide import methods
from stiffguide.adapters.diffusion.sampler import (
    Advance,
    Denoise,
    Interval,
    Splitting,
    level,
    slope,
)
from stiffguide.stepping.contracts import Guidance, State, Step, Work


class HeunState(NamedTuple):
    """The step before, where the rule reads it at its end, and the rule's own state."""

    step: Step | None
    rule: State


@dataclass(frozen=True)
class Heun:
    """y_low = x + h f(x), x1 = x + h (f(x) + f(y_low))/2, and a rule that moves x1."""

    rule: Guidance | None = None
    name: str = "heun"
    order: int = 2
    error_order: int | None = 1
    memory: bool = False
    splitting: Splitting | None = "ancestral"
    reversible: bool = True

    def bind(self, rule: Guidance) -> Heun:
        """With this rule, made for the Heun-Euler pair."""
        return replace(self, rule=rule.bind(methods.get("heun")))

    def init(self, x: Tensor, levels: Sequence[float]) -> HeunState:
        """No step yet."""
        rule = () if self.rule is None else self.rule.init(level(0.0, x), x)
        return HeunState(None, rule)

    def step(self, denoise: Denoise, interval: Interval, x: Tensor, state: HeunState) -> Advance:
        """Two evaluations; one in a step to 0."""
        a, b = interval.start, interval.end
        denoised = denoise(x, a)
        f = slope(x, denoised, a)
        if self.rule is not None and self.rule.needs_f1 and state.step is not None:
            x, f, state = self._settle(denoise, a, x, f, state.step, state.rule)
            denoised = torch.add(x, f, alpha=-a)
        if b == 0:
            return Advance(denoised, x, denoised, state)
        y_low = torch.add(x, f, alpha=b - a)
        f_low = slope(y_low, denoise(y_low, b), b)
        error = (f_low - f) * ((b - a) / 2)
        x1 = y_low + error
        if self.rule is not None:
            step = _record(interval, x, f, x1, error, f_low)
            if self.rule.needs_f1:
                state = HeunState(step, state.rule)
            else:
                move = self.rule.delta(step, None, state.rule)
                x1, state = x1 + move.dy, HeunState(None, move.state)
        return Advance(x1, x, denoised, state)

    def _settle(
        self, denoise: Denoise, a: float, x: Tensor, f: Tensor, step: Step, state: State
    ) -> tuple[Tensor, Tensor, HeunState]:
        """Move the end of the step before, now that the slope there is known."""
        assert self.rule is not None
        move = self.rule.delta(step, f, state)
        x = x + move.dy
        f = slope(x, denoise(x, a), a) if move.df is None else f + move.df
        return x, f, HeunState(None, move.state)


def _record(
    interval: Interval, x: Tensor, f: Tensor, x1: Tensor, error: Tensor, f_low: Tensor
) -> Step:
    return Step(
        t0=level(interval.start, x),
        dt=level(interval.end - interval.start, x),
        y0=x,
        f0=f,
        y1=x1,
        error=error,
        error_order=1,
        ok=None,
        state=(),
        work=Work(nfe=1),
        stages=f_low.unsqueeze(0),
        f_low=f_low,
    )
