"""Pairs that take their last stage for the slope at the end of the step, as torchdiffeq's do."""

from __future__ import annotations

from torch import Tensor

from stiffguide.methods.explicit_rk import ExplicitRK
from stiffguide.stepping.contracts import Field, State, Step
from stiffguide.stepping.tolerance import Tolerance
from stiffguide.tableaux.tableau import Tableau


class Reused(ExplicitRK):
    """An explicit pair whose last stage, at t1 but not at y1, is the first one of the next step.

    That saves an evaluation of f a step, keeps an order of 2 (a corrector without a last
    evaluation, Hairer I, III.8), and is what torchdiffeq's adaptive_heun and fehlberg2 are.
    """

    def __init__(self, tableau: Tableau) -> None:
        super().__init__(tableau)
        self.family = "predictor-corrector"  # no kernel is to make a Runge-Kutta method of it

    def step(
        self,
        f: Field,
        t0: Tensor,
        dt: Tensor,
        y0: Tensor,
        f0: Tensor,
        state: State,
        tolerance: Tolerance,
    ) -> Step:
        """See `Method`; f1 is the last stage."""
        found = super().step(f, t0, dt, y0, f0, state, tolerance)
        return found._replace(f1=found.stages[-1])
