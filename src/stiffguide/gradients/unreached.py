"""A row that failed has no gradient: where it stopped is not what was asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from stiffguide.errors import Status
from stiffguide.saying import warn
from stiffguide.tensors import rows, transformed


def without_gradient(y: Tensor, status: Tensor, *, batched: bool) -> Tensor:
    """The states y (B, T, F), with nan for a gradient in rows that failed; warns of them.

    `status` (B,) tells how the rows ended. Who interrupts a solve wants what was reached.
    """
    if not (y.requires_grad or transformed()):
        return y
    wanted = [int(s) for s in Status if s.ok or s is Status.INTERRUPTED]
    failed = ~torch.isin(status, torch.tensor(wanted, device=status.device))
    if not bool(failed.any()):
        return y
    warn(_sentence(failed, status, batched))
    return _unreached(y, failed)


def _sentence(failed: Tensor, status: Tensor, batched: bool) -> str:
    which = torch.nonzero(failed).flatten().tolist()
    who = f"row {which[0]}" if batched else "the solve"
    more, its = len(which) - 1, "its gradient is"
    text = f"{who} failed ({Status(int(status[which[0]])).sentence})"
    if more:
        text += f", and {more} more"
        its = "their gradients are"
    return (
        f"{text}: {its} nan. Leave failed rows out of a loss by `solution.success`, "
        "or raise by `raise_if_failed`"
    )


class Unreached(torch.autograd.Function):
    """States as they are; a gradient that arrives at a failed row becomes nan."""

    generate_vmap_rule = True

    @staticmethod
    def forward(y: Tensor, failed: Tensor) -> Tensor:
        """The states themselves."""
        return y.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        """What failed."""
        ctx.save_for_backward(inputs[1])
        ctx.save_for_forward(inputs[1])

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:
        """What has moved at a failed row was not reached."""
        (failed,) = ctx.saved_tensors
        return torch.where(rows(failed, tangent) & (tangent != 0), float("nan"), tangent)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """No loss asks for a row whose gradient is 0: it was left out."""
        (failed,) = ctx.saved_tensors
        asked = rows(failed, gradient) & (gradient != 0)
        return torch.where(asked, float("nan"), gradient), None


_unreached: Callable[[Tensor, Tensor], Tensor] = Unreached.apply
