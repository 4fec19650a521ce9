"""The time at which a function of a solution is zero, as a function of all that it depends on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from stiffguide.errors import UnsupportedError


class Crossing(torch.autograd.Function):
    """A root t (B,) of an event g (B,) whose rate dg/dt (B,) is known: dt = -dg / rate.

    Where the rate is 0 the root has no derivative: nan, if someone asks.
    """

    @staticmethod
    def forward(ctx: Any, g: Tensor, rate: Tensor, t: Tensor) -> Tensor:
        """The root itself."""
        ctx.save_for_backward(rate)
        return t.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Nothing to rows that nobody asks."""
        if torch.is_grad_enabled():
            raise UnsupportedError(
                "second derivatives through events would not be exact: differentiate once, without "
                "create_graph"
            )
        (rate,) = ctx.saved_tensors
        share = torch.where(rate == 0, torch.nan, -gradient / rate)
        return torch.where(gradient == 0, 0.0, share), None, None


crossing: Callable[[Tensor, Tensor, Tensor], Tensor] = Crossing.apply
