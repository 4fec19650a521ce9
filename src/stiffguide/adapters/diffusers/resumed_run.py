"""A sampler that is driven from outside, one evaluation at a time.

A pipeline owns the calls of its model: it brings a value and wants to know where the next one is
needed. A sampler calls a denoiser. `ResumedRun` turns the one into the other by replay: a step is
run with the values known so far, and stops where it asks for one more. Samplers are functions of
their arguments, so that running the start of a step twice changes nothing; it costs no evaluation,
only the step's own arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from stiffguide.adapters.diffusion.sampler import Advance, Interval, Sampler
from stiffguide.adapters.diffusion.stretches import Stretch, stretches
from stiffguide.errors import InputError, UnsupportedError

PAST = 4  # levels that a sampler may look back


class ModelCall(NamedTuple):
    """One evaluation of the model in a run."""

    level: float
    step: int
    first: bool  # whether a step begins with it


class _Wanted(Exception):
    """A step needs one more value."""

    def __init__(self, x: Tensor, level: float) -> None:
        self.x, self.level = x, level


class ResumedRun:
    """A run of a sampler over levels that fall; states are flat, (B, F)."""

    def __init__(self, sampler: Sampler, levels: Sequence[float]) -> None:
        self._sampler, self._levels = sampler, tuple(levels)
        self._step = 0
        self._x: Tensor | None = None
        self._asked: Tensor | None = None
        self._known: list[Tensor] = []
        self._state: Any = None

    @property
    def between_steps(self) -> bool:
        """Whether the next value begins a step."""
        return not self._known

    def fits(self, x: Tensor) -> bool:
        """Whether x is of the batch that the run is about."""
        seen = self._x
        return seen is None or (seen.shape, seen.device) == (x.shape, x.device)

    def take(self, x: Tensor, denoised: Tensor) -> Tensor:
        """Where the next evaluation is needed, after D at x, both (B, F).

        Where a step begins, x counts, even if it is not where the last step ended. Within a step
        the slope (x - D)/sigma counts, so that a pipeline may have rounded or changed x.
        """
        if self._x is None:
            self._state = self._sampler.init(x, self._levels)
        else:  # what the run remembers is in the dtype in which it began
            x, denoised = x.to(self._x.dtype), denoised.to(self._x.dtype)
        if self.between_steps:
            self._x = x
        else:
            assert self._asked is not None
            denoised = self._asked - (x - denoised)
        self._known.append(denoised)
        try:
            ahead = self._run()
        except _Wanted as wanted:
            self._asked = wanted.x
            return wanted.x
        self._step, self._known = self._step + 1, []
        self._x, self._state = ahead.x, ahead.state
        return ahead.x

    def _run(self) -> Advance:
        assert self._x is not None
        known = iter(self._known)

        def denoise(x: Tensor, level: float) -> Tensor:
            for value in known:
                return value
            raise _Wanted(x, level)

        i = self._step
        past = self._levels[max(0, i - PAST) : i][::-1]
        left = len(self._levels) - 1 - i
        interval = Interval(self._levels[i], self._levels[i + 1], past, left)
        return self._sampler.step(denoise, interval, self._x, self._state)


def one_a_step(levels: Sequence[float]) -> tuple[ModelCall, ...]:
    """The calls of a multistep sampler."""
    return tuple(ModelCall(level, i, True) for i, level in enumerate(levels[:-1]))


def two_a_step(levels: Sequence[float]) -> tuple[ModelCall, ...]:
    """The calls of Heun's method: both ends of every step, but no call at 0.

    One in a step that does not fall: nothing happens in it, or it is Euler's.
    """
    found = []
    for i in range(len(levels) - 1):
        found.append(ModelCall(levels[i], i, True))
        if 0 < levels[i + 1] < levels[i]:
            found.append(ModelCall(levels[i + 1], i, False))
    return tuple(found)


@torch.no_grad()
def rehearsed(sampler: Sampler, levels: Sequence[float]) -> tuple[ModelCall, ...]:
    """The calls of any sampler, found by running it on two numbers.

    Raises UnsupportedError if a step does not begin with a call at its start.
    """
    calls = {i: [ModelCall(level, i, True)] for i, level in enumerate(levels[:-1])}
    for part in stretches(levels):
        if not part.rises:
            calls.update(_calls_along(sampler, part))
    return tuple(call for i in sorted(calls) for call in calls[i])


def _calls_along(sampler: Sampler, part: Stretch) -> dict[int, list[ModelCall]]:
    """The calls of every step of a stretch."""
    calls: dict[int, list[ModelCall]] = {}
    levels = part.levels
    x = torch.tensor([[1.0, -0.5]], dtype=torch.float64) * levels[0]
    state = sampler.init(x, levels)
    for j, i in enumerate(part.intervals):
        made: list[ModelCall] = []

        def denoise(x: Tensor, level: float, i: int = i, made: list[ModelCall] = made) -> Tensor:
            made.append(ModelCall(level, i, not made))
            return x / (1 + level * level)

        past = levels[max(0, j - PAST) : j][::-1]
        interval = Interval(levels[j], levels[j + 1], past, len(levels) - 1 - j)
        ahead = sampler.step(denoise, interval, x, state)
        x, state, calls[i] = ahead.x, ahead.state, made
        if not made or made[0].level != levels[j]:
            raise UnsupportedError(
                f"{sampler.name} does not begin its steps with the model at their start, as a "
                "pipeline does; use adapters.diffusion.sample"
            )
    return calls


def euler(x: Tensor, denoised: Tensor, level: float, target: float) -> Tensor:
    """From one level to another along the slope of D at x."""
    if level == target:
        return x
    return torch.lerp(denoised, x, target / level)


def refuse_part_of_a_step(shape: Sequence[int]) -> InputError:
    """The batch changed in the middle of a step."""
    return InputError(
        f"a batch of shape {tuple(shape)} came in the middle of a step of another one; call "
        "set_timesteps before a new batch"
    )
