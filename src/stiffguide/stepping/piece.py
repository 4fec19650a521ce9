"""The interpolant of an attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from stiffguide.stepping.contracts import Step
from stiffguide.stepping.interpolate import hermite
from stiffguide.stepping.live import Live, Problem

if TYPE_CHECKING:
    from stiffguide.stepping.attempt import Arrival


class Piece:
    """Made when asked for, once, and what that cost."""

    def __init__(self, p: Problem, s: Live, step: Step, end: Arrival) -> None:
        self._of = p, s, step, end
        self._made: Tensor | None = None
        self.nfe: int = 0

    def __call__(self) -> Tensor:
        """Coefficients (D, B, F)."""
        if self._made is None:
            p, s, step, end = self._of
            if p.guidance is not None:  # the stages know nothing of where guidance moved y1
                self._made = hermite(end.t1 - s.t, s.y, s.f0, end.y1, end.f1)
            else:
                self._made = p.method.interpolant(step, end.f1)
                self.nfe = step.dense_nfe
        return self._made
