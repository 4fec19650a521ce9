"""ERK-Guid: the paper's rule (Error as Signal, arXiv 2603.03692, ICLR 2026)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from stiffguide.errors import InputError, UnsupportedError
from stiffguide.estimators import dominant_direction, inner, local_stiffness
from stiffguide.stepping.contracts import Method, Move, Step
from stiffguide.tensors import rows, select


def erk_guid_displacement(
    dx: Tensor, df: Tensor, f0: Tensor, h: Tensor, w_stiff: float, w_con: float
) -> Tensor:
    """h beta z^2 <f0, v> v (B, F) with v = df/|df|, rho = |df|/|dx|, z = w_stiff |h| rho.

    h (B,) is signed; beta is 1 where rho > w_con, else 0.
    """
    rho = local_stiffness(dx, df)
    v = dominant_direction(df)
    z = w_stiff * h.abs().to(rho.dtype) * rho
    size = torch.where(rho > w_con, h.to(rho.dtype) * z * z * inner(f0, v), 0.0)
    return rows(size, v) * v


class Pair(NamedTuple):
    """The embedded solution of the last step and f there."""

    y_low: Tensor  # (B, F)
    f_low: Tensor  # (B, F)
    known: Tensor  # (B,) bool


@dataclass(frozen=True)
class ErkGuid:
    """Moves y1 by dt beta z^2 <f0, v> v, with the pair that the step before has evaluated.

    `w_stiff` scales the stiffness estimate, `w_con` is the stiffness below which nothing is
    moved (1/[t]). The paper's settings: 32 steps 0.5-2.5 and 0.5; 16 steps 0.75, 0.3; 8 steps 0.5,
    0.1. Raises InputError if a weight is negative.
    """

    w_stiff: float = 1.0
    w_con: float = 0.5
    needs_f1: bool = False
    needs_f_low: bool = True

    def __post_init__(self) -> None:
        for name in ("w_stiff", "w_con"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise InputError(
                    f"ErkGuid: {name} must be finite and not negative, got {getattr(self, name)}"
                )

    def bind(self, method: Method) -> ErkGuid:
        """Any method with a pair will do."""
        if method.error_order is None:
            raise UnsupportedError(
                f"ErkGuid: {method.name} has no embedded pair to take a direction from; use 'heun' "
                "or another method with a pair"
            )
        return self

    def init(self, t0: Tensor, y0: Tensor) -> Pair:
        """No pair yet: the first step is not moved."""
        zero = torch.zeros_like(y0)
        return Pair(
            zero, zero.clone(), torch.zeros(y0.shape[0], dtype=torch.bool, device=y0.device)
        )

    def delta(self, step: Step, f1: Tensor | None, state: Pair) -> Move:
        """Move y1, by the method's own pair if it has one; f is to be evaluated there."""
        w, c = self.w_stiff, self.w_con
        if step.pair is not None:
            dx, df, dt = step.pair
            return Move(erk_guid_displacement(dx, df, step.f0, dt, w, c), None, state)
        assert step.error is not None
        assert step.f_low is not None
        dx, df = step.y0 - state.y_low, step.f0 - state.f_low
        move = erk_guid_displacement(dx, df, step.f0, step.dt, w, c)
        move = select(state.known, move, torch.zeros_like(move))
        pair = Pair(step.y1 - step.error, step.f_low, torch.ones_like(state.known))
        return Move(move, None, pair)
