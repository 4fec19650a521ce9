"""Gradients through a solve by a kernel: the exact adjoint of its steps, as a node of autograd.

The table of parameters is differentiable by all that f is built of: arguments, captured tensors,
parameters of modules.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from stiffguide.errors import UnsupportedError
from stiffguide.kernels.request import Request
from stiffguide.kernels.running.adjoint import Adjoint, Cotangents, Tapes
from stiffguide.kernels.running.run import Kernel
from stiffguide.kernels.running.task import Ended, Task
from stiffguide.tracing import cotangents

F64 = torch.float64
TWICE = (
    "second derivatives go through the eager loop only, and this solve was a kernel's: give "
    "gradient='direct'"
)


@dataclass(frozen=True)
class History:
    """A solve that can be gone back."""

    kernel: Adjoint
    task: Task
    ended: Ended
    tapes: Tapes


def of(kernel: Kernel, r: Request) -> Adjoint:
    """The kernel with an adjoint, of the stiff method alone; raises UnsupportedError."""
    single = kernel.parts[-1]
    if not single.traced.differentiable:
        cotangents.compare(single.traced, r.f, r.args, r.layout, r.t0, r.y0)
    key = (single.traced.key, single.method.name)
    known = _ADJOINTS.get(key)
    if known is None or (known.method is not single.method and known.method != single.method):
        known = _ADJOINTS[key] = Adjoint(single.traced, single.method)
    elif known.traced is not single.traced:  # one graph, other captured tensors
        known = _ADJOINTS[key] = replace(known, traced=single.traced)
    return known


_ADJOINTS: dict[tuple[str, str], Adjoint] = {}


def forget() -> None:
    """Drop the kernels that are loaded."""
    _ADJOINTS.clear()


def attached(y: Tensor, r: Request, history: History) -> Tensor:
    """The states y (B, T, F) that a kernel has left, with their history."""
    table = history.kernel.traced.parameter_table(r.args, r.layout.rows, history=True)
    return _steps(history, y, r.y0.to(F64), table)


class _Steps(torch.autograd.Function):
    """States as they are; their cotangents go back along the steps."""

    @staticmethod
    def forward(ctx: Any, history: History, y: Tensor, y0: Tensor, table: Tensor) -> Tensor:
        """The states."""
        ctx.history = history
        ctx.save_for_backward(y0, table)
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, bar: Tensor) -> tuple[Tensor | None, ...]:
        """To y0 and to the parameters."""
        x, (y0, table) = ctx.history, ctx.saved_tensors
        seeds = bar.detach().to(F64).contiguous()
        ends = x.task.times is None
        given = Cotangents(seeds if ends else None, None if ends else seeds)
        by_y0, by_table = x.kernel.reverse(x.task, x.ended, x.tapes, given)
        if torch.is_grad_enabled():  # someone means to differentiate the gradient
            by_y0, by_table = _once(by_y0, bar, y0, table), _once(by_table, bar, y0, table)
        return None, None, by_y0, by_table


class _Once(torch.autograd.Function):
    """A gradient as it is, which has no derivative of its own."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, *_: Tensor) -> Tensor:
        """The gradient."""
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor | None, ...]:
        """Raises."""
        raise UnsupportedError(TWICE)


_steps: Callable[[History, Tensor, Tensor, Tensor], Tensor] = _Steps.apply
_once: Callable[..., Tensor] = _Once.apply
