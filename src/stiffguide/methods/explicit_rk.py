"""Explicit Runge-Kutta methods: one step for every explicit tableau."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from stiffguide.continuous import continuous_extension
from stiffguide.contracts import Field, State, Step, Tolerance, Work, stage_times
from stiffguide.errors import TableauError
from stiffguide.exact import floats
from stiffguide.tableau import Tableau
from stiffguide.tensors import combine, rows


class ExplicitRK:
    """k_i = f(t0 + c_i dt, y0 + dt sum_{j<i} a_ij k_j), y1 = y0 + dt sum b_i k_i (Kutta 1901)."""

    family = "explicit RK"
    implicit = False

    def __init__(self, tableau: Tableau) -> None:
        if not tableau.explicit:
            raise TableauError(f"{tableau.name}: a is not strictly lower triangular")
        self.tableau = tableau
        self.name = tableau.name
        self.order = tableau.order
        self.error_order = tableau.estimate_order
        self._a = tuple(floats(row[:i]) for i, row in enumerate(tableau.a))
        self._b = floats(tableau.b)
        self._c = floats(tableau.c)
        self._b_error = None if tableau.b_error is None else floats(tableau.b_error)

    def __repr__(self) -> str:
        return f"ExplicitRK({self.name})"

    @cached_property
    def _dense(self) -> tuple[tuple[tuple[float, ...], ...], int]:
        weights, order = continuous_extension(self.tableau)
        return tuple(zip(*(floats(row) for row in weights), strict=True)), order

    @property
    def dense_order(self) -> int:
        """Order of the continuous extension."""
        return self._dense[1]

    def init(self, t0: Tensor, y0: Tensor) -> State:
        """Nothing is carried from step to step but f1, which is the loop's."""
        return ()

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
        """Attempt one step in every row."""
        h = rows(dt, y0).to(y0.dtype)
        times = stage_times(t0, dt, self._c)
        k = [f0]
        y = y0
        for i in range(1, self.tableau.stages):
            y = torch.addcmul(y0, h, combine(self._a[i], torch.stack(k)))
            k.append(f(times[i], y))
        stages = torch.stack(k)
        fsal = self.tableau.fsal
        y1 = y if fsal else torch.addcmul(y0, h, combine(self._b, stages))
        error = None if self._b_error is None else h * combine(self._b_error, stages)
        return Step(
            t0=t0,
            dt=dt,
            y0=y0,
            f0=f0,
            y1=y1,
            error=error,
            error_order=self.error_order,
            ok=None,
            state=state,
            work=Work(nfe=self.tableau.stages - 1),
            stages=stages,
            f1=k[-1] if fsal else None,
        )

    def retry(self, before: State, tried: State) -> State:
        """Nothing to remember of a rejection."""
        return before

    def displace(self, state: State, delta: Tensor) -> State:
        """Nothing here depends on where y1 is."""
        return state

    def interpolant(self, step: Step, f1: Tensor) -> Tensor:
        """Coefficients (D, B, F) of the continuous extension."""
        weights = self._dense[0]
        stages = step.stages
        if len(weights[0]) > stages.shape[0]:
            stages = torch.cat((stages, f1.unsqueeze(0)))
        return rows(step.dt, step.y0).to(step.y0.dtype) * combine(weights, stages)
