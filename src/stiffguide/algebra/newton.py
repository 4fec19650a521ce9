"""Simplified Newton iteration in every row at once; a row that is done is frozen.

Stopping after Hairer and Wanner II, IV.8: with theta the observed contraction, the remaining error
is at most theta/(1 - theta) times the last correction. This file knows neither t nor a tableau.

`attach` makes a root differentiable, twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from stiffguide.errors import UnsupportedError
from stiffguide.tensors import rms, rows

MAX_ITERATIONS = 10
ITERATIONS_WITHOUT_SYNC = 6  # on an accelerator: no question is asked of the data
UNSEEN = 0.25  # theta/(1 - theta) to reckon with before a contraction was seen
SETTLED = 0.5  # a contraction that reaches the rounding of z in earnest
DIVERGED = 2.0  # a contraction beyond this is none; the first ones may exceed 1 on the way in
TOLERANCE = 1e-2  # of the error tolerance: below it the error estimate would see the iteration


class Root(NamedTuple):
    """Where the iteration ended."""

    z: Tensor  # (B, F)
    ok: Tensor  # (B,) bool, converged
    rate: Tensor  # (B,) worst contraction theta seen; 0 if one iteration was enough
    iterations: Tensor  # (B,) int64

    def left(self, known: Tensor | None) -> Tensor:
        """What remains of an error (B,), in parts of the correction before it.

        Of an iteration that was over before it showed, what was `known` before.
        """
        before = torch.full_like(self.rate, UNSEEN) if known is None else known
        remains = torch.where(self.rate < 1, self.rate / (1 - self.rate), before)
        return torch.where(self.iterations > 1, remains, before)


class Convergence(NamedTuple):
    """What the iterations of several systems have shown so far."""

    ok: Tensor  # (B,) bool, all converged
    rate: Tensor  # (B,) the slowest contraction
    nfe: Tensor  # (B,) int64

    @classmethod
    def none(cls, flag: Tensor, scale: Tensor) -> Convergence:
        """Before the first stage; `flag` (B,) bool and `scale` (B, F) give place and dtype."""
        return cls(
            torch.ones_like(flag),
            torch.zeros(flag.shape, dtype=scale.dtype, device=scale.device),
            torch.zeros_like(flag, dtype=torch.int64),
        )

    def after(self, root: Root) -> Convergence:
        """With one more stage."""
        return Convergence(
            self.ok & root.ok, torch.maximum(self.rate, root.rate), self.nfe + root.iterations
        )


def solve(
    residual: Callable[[Tensor], Tensor],
    solve_linear: Callable[[Tensor], Tensor],
    z: Tensor,
    scale: Tensor,
    doubt: Tensor | None = None,
    known: Tensor | None = None,
) -> Root:
    """Find residual(z) = 0 by z <- z - solve_linear(residual(z)), from the guess z (B, F).

    `scale` (B, F) is the tolerance on z. In rows (B,) of `doubt` the linear solve may be out of
    date: a small first correction proves nothing there, the contraction must be seen. `known` (B,)
    is what the first correction is believed to leave of the error, if another system told.
    """
    sync = z.device.type == "cpu"
    norm = rms(z.abs() / scale)
    rounding = 4 * torch.finfo(scale.dtype).eps
    floor = rounding * norm
    live = torch.ones_like(norm, dtype=torch.bool)
    ok = torch.zeros_like(live)
    rate = torch.zeros_like(norm)
    iterations = torch.zeros_like(norm, dtype=torch.int64)
    for m in range(MAX_ITERATIONS if sync else ITERATIONS_WITHOUT_SYNC):
        last = norm
        correction = solve_linear(residual(z))
        norm = rms(correction.abs() / scale)
        iterations = iterations + live
        z = torch.where(rows(live, z), z - correction, z)
        floor = torch.maximum(floor, rounding * rms(z.abs() / scale))  # a guess may be 0
        # At the rounding of z there is nothing left to correct. But a correction of many
        # tolerances says so only where the iteration was seen to contract: with a Jacobian of
        # 1e38 it cannot move, and the guess would win.
        if m == 0:
            done = norm * (UNSEEN if known is None else known) <= TOLERANCE
            done = done if doubt is None else done & ~doubt
        else:
            theta = norm / last
            rate = torch.where(live, torch.maximum(rate, theta), rate)
            done = norm * theta <= TOLERANCE * (1 - theta)
            done = done | ((norm <= floor) & (theta < SETTLED))
        done = done | (norm <= torch.clamp(floor, max=1.0))
        ok = ok | (live & done)
        live = live & ~done
        if m > 0:  # nan compares false: it must not look like progress
            live = live & (theta < DIVERGED)
        if sync and not bool(live.any()):
            break
    return Root(z, ok, rate, iterations)


def attach(
    z: Tensor,
    left: Tensor,
    residual: Callable[[Tensor], Tensor],
    solve_transposed: Callable[[Tensor], Tensor],
) -> Tensor:
    """The root z (B, F) again, as a function of all that the residual depends on.

    At a root one Newton step has the first derivatives of the implicit function theorem, and a
    second one with the same linear system the second derivatives. `left` is residual(z), recorded;
    the linear solve is that with the transposed derivative of the residual at z.
    """
    step: Callable[..., Tensor] = NewtonStep.apply
    once = step(z, left, None, solve_transposed)
    return step(z, residual(once), once, solve_transposed)


def attached(
    z: Tensor, residual: Callable[[Tensor], Tensor], solve: Callable[[Tensor], Tensor]
) -> Tensor:
    """The same by operations that torch.func and forward mode go through."""
    z = z.detach()
    for _ in range(2):
        z = z - solve(residual(z))
    return z


class NewtonStep(torch.autograd.Function):
    """start - W^-1 left, where that is the root z to rounding; without a start, from z itself.

    Where a Newton step starts is of no matter to first order. So a step without a start, which is
    where another one starts, passes a gradient on only if second derivatives may be asked for.
    """

    @staticmethod
    def forward(
        ctx: Any,
        z: Tensor,
        left: Tensor,
        start: Tensor | None,
        solve_transposed: Callable[[Tensor], Tensor],
    ) -> Tensor:
        """Z, without a computation."""
        ctx.solve_transposed = solve_transposed
        ctx.first = start is None
        ctx.twice = False
        return z.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """To the residual by the transposed system, to the start as it is."""
        if ctx.first and torch.is_grad_enabled():
            ctx.twice = True
            gradient = _ceiling(gradient, 1)
        elif ctx.first and not ctx.twice:
            return None, None, None, None
        by_left = -ctx.solve_transposed(gradient)
        return None, by_left, None if ctx.first else gradient, None


class Ceiling(torch.autograd.Function):
    """The identity, which may be differentiated so many times; then it raises."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, more: int) -> Tensor:
        """The gradient itself."""
        ctx.more = more
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Again the identity, and once less."""
        if ctx.more == 0:
            raise UnsupportedError(
                "third derivatives of a solve by an implicit Runge-Kutta method would not be "
                "exact: use method='rodas5p', or an explicit method such as 'tsit5'"
            )
        again = torch.is_grad_enabled()
        return _ceiling(gradient, ctx.more - 1) if again else gradient, None


_ceiling: Callable[[Tensor, int], Tensor] = Ceiling.apply
