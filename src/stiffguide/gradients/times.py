"""Times that require a gradient: where a solve begins and ends, and where it is looked at.

The steps of the recorded pass lie at numbers. The last one hangs on t1, as it stretches with it:
that derivative is as exact as the step, while f(t1, y1) magnifies the error of y1 by the stiffness.
A saved time hangs on the interpolant. At t0 the state is exact, and so is f there: y0 is carried
along the solution to the number t0, over no length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from stiffguide.stepping.contracts import Field, Output
from stiffguide.stepping.output import AtTimes, End, EveryStep
from stiffguide.tensors import real_dtype, rows, tangles


class Span(NamedTuple):
    """t0 and t1 (B,) with the histories that they were given with."""

    t0: Tensor
    t1: Tensor
    opened: Tensor | None = None  # (B,) numbers, where f is asked in the place of t0

    @property
    def _first(self) -> Tensor:
        return self.t0.detach() if self.opened is None else self.opened

    def differentiable(self, outputs: Iterable[Output]) -> bool:
        """Whether an end, or a time at which the solution is kept, requires a gradient."""
        return tangles(*self, *(o.times for o in outputs if isinstance(o, AtTimes)))

    def start(self, f: Field, y0: Tensor) -> Tensor:
        """y0 (B, F), given at t0, as the state at the number t0."""
        if not tangles(self.t0):
            return y0
        h = nothing(self.t0)
        return along(f, self._first + h, y0, -h)

    def at_start(self, f: Field, y0: Tensor) -> Tensor:
        """The state at t0 again, from that at the number t0."""
        return along(f, self._first, y0, nothing(self.t0)) if tangles(self.t0) else y0

    def stops(self, stops: Tensor, ends: Tensor) -> Tensor:
        """Times (B, K) to step on, the last of them where a row ended (B,): t1, or before it."""
        ends = ends.unsqueeze(1)
        sign = torch.where(self.t1 < self.t0, -1.0, 1.0).unsqueeze(1)
        return torch.where(stops * sign >= ends * sign, ends, stops)

    def kept(
        self, f: Field, output: Output, ends: Tensor, t: Tensor, y: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Times (B, T) and states (B, T, F) of an output with all that they owe to times.

        `ends` (B,) is when the rows ended. What stands at t0 has not come from any step.
        """
        if not isinstance(output, (AtTimes, End, EveryStep)):
            return t, y
        t0, t1, ends = (x.unsqueeze(1) for x in (self.t0, self.t1, ends))
        if not isinstance(output, AtTimes):
            t = torch.where(t == ends, ends, torch.where(t == t0, t0, t))
        # a state that was not reached hangs on the times as well: `unreached` looks for that
        y = y + 0.0 * (nothing(t) + nothing(t1)).unsqueeze(-1).to(real_dtype(y.dtype))
        first = t == t0
        if isinstance(output, EveryStep):
            first = first & (torch.arange(t.shape[1], device=t.device) == 0)
        if not (tangles(t) and bool(first.any())):
            return t, y
        states = list(y.unbind(1))
        for i in torch.nonzero(first.any(0)).flatten().tolist():
            h = torch.where(first[:, i], nothing(t[:, i]), 0.0)
            moved = along(f, self._first, states[i], h)
            states[i] = torch.where(first[:, i].unsqueeze(1), moved, states[i])
        return t, torch.stack(states, 1)


def along(f: Field, t: Tensor, y: Tensor, h: Tensor) -> Tensor:
    """y (B, F) at t (B,), carried along the solution for h (B,), which is 0 and has a gradient.

    Three derivatives by h are exact: Heun's method of order 3 (Hairer I, II.1.1).
    """
    first = last = f(t, y)
    length = rows(h, y).to(real_dtype(y.dtype))
    for node in (1 / 3, 2 / 3):
        last = f(t + node * h, y + node * length * last)
    return _carried(y, length, (first + 3 * last) / 4)


class Carried(torch.autograd.Function):
    """y + length slope for a length of 0: y itself, whatever the slope is."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, length: Tensor, slope: Tensor) -> Tensor:
        """The states y (B, F)."""
        ctx.save_for_backward(length, slope)
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """To the slope, whose share is 0, only where someone differentiates again."""
        length, slope = ctx.saved_tensors
        share = torch.where(gradient == 0, 0.0, gradient * slope.conj()).real
        again = torch.is_grad_enabled()
        return gradient, share.sum(-1, keepdim=True), gradient * length if again else None


_carried: Callable[[Tensor, Tensor, Tensor], Tensor] = Carried.apply


def nothing(t: Tensor) -> Tensor:
    """0 with the gradient of t (B, ...); what is not finite has none."""
    return torch.where(torch.isfinite(t), t - t.detach(), 0.0)
