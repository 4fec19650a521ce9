"""Rules made of rules: only within a window of t, only where it is stiff, never too far, summed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from stiffguide.errors import InputError
from stiffguide.estimators import local_stiffness
from stiffguide.stepping.contracts import Guidance, Method, Move, State, Step
from stiffguide.tensors import rows


def _scaled(move: Move, factor: Tensor) -> Move:
    """A part of a move: factor (B,)."""
    dy = rows(factor, move.dy).to(move.dy.dtype) * move.dy
    df = None if move.df is None else rows(factor, move.df).to(move.df.dtype) * move.df
    return Move(dy, df, move.state)


class _Around:
    """What a rule around another one passes through."""

    rule: Guidance

    @property
    def needs_f1(self) -> bool:
        """As the rule inside."""
        return self.rule.needs_f1

    @property
    def needs_f_low(self) -> bool:
        """As the rule inside, and where the wrapper measures stiffness."""
        return self.rule.needs_f_low

    def bind(self, method: Method) -> Any:
        """Bind the rule inside."""
        return replace(self, rule=self.rule.bind(method))  # type: ignore[type-var]

    def init(self, t0: Tensor, y0: Tensor) -> State:
        """As the rule inside."""
        return self.rule.init(t0, y0)


@dataclass(frozen=True)
class Window(_Around):
    """Use the rule only in steps whose start lies in [low, high] of t.

    Raises InputError where low is not below high.
    """

    rule: Guidance
    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise InputError(f"Window: low must be below high, got {self.low} and {self.high}")

    def delta(self, step: Step, f1: Tensor | None, state: State) -> Move:
        """The move inside, nothing outside of the window."""
        inside = (step.t0 >= self.low) & (step.t0 <= self.high)
        return _scaled(self.rule.delta(step, f1, state), inside.to(step.t0.dtype))


@dataclass(frozen=True)
class Gate(_Around):
    """Use the rule where the local stiffness |dF|/|E| (1/[t]) exceeds a threshold.

    `width` 0 is a hard gate; else the rule fades in as a logistic function of
    log(stiffness/threshold)/width.

    Raises InputError for a threshold or a width that is none.
    """

    rule: Guidance
    threshold: float
    width: float = 0.0
    needs_f1: bool = True
    needs_f_low: bool = True

    def __post_init__(self) -> None:
        if self.threshold <= 0 or self.width < 0:
            raise InputError("Gate: needs threshold > 0 and width >= 0")

    def delta(self, step: Step, f1: Tensor | None, state: State) -> Move:
        """The move, times how far the gate is open."""
        assert f1 is not None
        assert step.error is not None
        assert step.f_low is not None
        stiffness = local_stiffness(step.error, f1 - step.f_low)
        if self.width == 0:
            part = (stiffness > self.threshold).to(stiffness.dtype)
        else:
            part = torch.sigmoid(torch.log(stiffness / self.threshold) / self.width)
        return _scaled(self.rule.delta(step, f1, state), part)


@dataclass(frozen=True)
class Cap(_Around):
    """Never move further than `largest` times the error, |dy| <= largest |E|.

    Raises InputError where `largest` is negative.
    """

    rule: Guidance
    largest: float = 1.0

    def __post_init__(self) -> None:
        if self.largest < 0:
            raise InputError(f"Cap: largest must not be negative, got {self.largest}")

    def delta(self, step: Step, f1: Tensor | None, state: State) -> Move:
        """The move, shortened where it is too long."""
        assert step.error is not None
        move = self.rule.delta(step, f1, state)
        length = torch.linalg.vector_norm(move.dy, dim=-1)
        limit = self.largest * torch.linalg.vector_norm(step.error, dim=-1)
        factor = torch.where(length > limit, limit / torch.where(length > 0, length, 1.0), 1.0)
        return _scaled(move, factor)


@dataclass(frozen=True)
class Sum:
    """The sum of the moves of several rules, all made from the same step.

    Raises InputError unless it is given a tuple of rules.
    """

    rules: tuple[Guidance, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.rules, tuple) or not self.rules:
            raise InputError("Sum: give a tuple of rules, such as Sum((rule_a, rule_b))")

    @property
    def needs_f1(self) -> bool:
        """If any of the rules does."""
        return any(rule.needs_f1 for rule in self.rules)

    @property
    def needs_f_low(self) -> bool:
        """If any of the rules does."""
        return any(rule.needs_f_low for rule in self.rules)

    def bind(self, method: Method) -> Sum:
        """Bind every rule."""
        return Sum(tuple(rule.bind(method) for rule in self.rules))

    def init(self, t0: Tensor, y0: Tensor) -> State:
        """The states of the rules."""
        return tuple(rule.init(t0, y0) for rule in self.rules)

    def delta(self, step: Step, f1: Tensor | None, state: State) -> Move:
        """Add up; f is evaluated anew unless every rule knows its part."""
        moves = [r.delta(step, f1, s) for r, s in zip(self.rules, state, strict=True)]
        dy = torch.stack([m.dy for m in moves]).sum(0)
        known = [m.df for m in moves if m.df is not None]
        df = torch.stack(known).sum(0) if len(known) == len(moves) else None
        return Move(dy, df, tuple(m.state for m in moves))
