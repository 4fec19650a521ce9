"""Explicit Runge-Kutta methods: one step for every explicit tableau."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from stiffguide.errors import TableauError
from stiffguide.stepping.contracts import Field, State, Step, Work, stage_times
from stiffguide.stepping.tolerance import Tolerance
from stiffguide.tableaux.continuous import continuous_extension
from stiffguide.tableaux.exact import floats
from stiffguide.tableaux.tableau import Tableau
from stiffguide.tensors import combine, rows


class ExplicitRK:
    """k_i = f(t0 + c_i dt, y0 + dt sum_{j<i} a_ij k_j), y1 = y0 + dt sum b_i k_i (Kutta 1901)."""

    family = "explicit RK"
    implicit = False
    multistep = False

    def __init__(self, tableau: Tableau) -> None:
        if not tableau.explicit:
            raise TableauError(f"{tableau.name}: a is not strictly lower triangular")
        self.tableau = tableau
        self.name = tableau.name
        self.order = tableau.order
        self.error_order = tableau.estimate_order
        lower = None if tableau.lower is None else tableau.lower.b_error
        end = [j for j, row in enumerate(tableau.a) if row == tableau.b and tableau.c[j] == 1]
        weights = [w for w in (tableau.b, tableau.b_error, lower) if w is not None]
        used = [j for j in range(tableau.stages) if any(w[j] for w in weights)]
        companion = tableau.companion_stage
        low = [] if companion is None else [companion]
        n = 1 + max([*used, *end, *low])  # what follows serves the interpolant alone
        self._needed = n
        self._end = end[0] if end else None
        self._companion = companion
        self._a = tuple(floats(row[:i]) for i, row in enumerate(tableau.a))
        self._b = floats(tableau.b[:n])
        self._c = floats(tableau.c)
        self._b_error = None if tableau.b_error is None else floats(tableau.b_error[:n])
        self._b_lower = None if lower is None else floats(lower[:n])

    def __repr__(self) -> str:
        return f"ExplicitRK({self.name})"

    @property
    def evaluations(self) -> int:
        """Of f, in every accepted step."""
        return self._needed - (self._end is not None)

    @cached_property
    def _dense(self) -> tuple[tuple[tuple[float, ...], ...], int]:
        weights, order = continuous_extension(self.tableau)
        return tuple(zip(*(floats(row) for row in weights), strict=True)), order

    @property
    def dense_order(self) -> int:
        """Order of the continuous extension."""
        return self._dense[1]

    def init(self, f: Field, t0: Tensor, y0: Tensor) -> State:
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
        k = [f0]
        y = self._extend(k, self._needed, f, t0, dt, y0)
        stages = torch.stack(k)
        closed = self._end == self._needed - 1
        y1 = y if closed else torch.addcmul(y0, h, combine(self._b, stages))
        late = self.tableau.stages - self._needed
        return Step(
            t0=t0,
            dt=dt,
            y0=y0,
            f0=f0,
            y1=y1,
            error=self._error(stages, h, y0, y1, tolerance),
            error_order=self.error_order,
            ok=None,
            state=state,
            work=Work(nfe=self._needed - 1),
            stages=stages,
            f1=None if self._end is None else k[self._end],
            f_low=None if self._companion is None else k[self._companion],
            f=f if late else None,
            dense_nfe=late,
        )

    def _extend(
        self, k: list[Tensor], count: int, f: Field, t0: Tensor, dt: Tensor, y0: Tensor
    ) -> Tensor:
        """Evaluate stages until there are `count` of them; where the last one was taken."""
        h = rows(dt, y0).to(y0.dtype)
        times = stage_times(t0, dt, self._c)
        y = y0
        for i in range(len(k), count):
            y = torch.addcmul(y0, h, combine(self._a[i], torch.stack(k)))
            k.append(f(times[i], y))
        return y

    def _error(
        self, stages: Tensor, h: Tensor, y0: Tensor, y1: Tensor, tolerance: Tolerance
    ) -> Tensor | None:
        if self._b_error is None:
            return None
        error = h * combine(self._b_error, stages)
        if self._b_lower is None:
            return error
        # Hairer and Wanner's DOP853 (I, II.10): err = err5^2 / sqrt(err5^2 + 0.01 err3^2)
        high = tolerance.measure(error, y0, y1)
        low = tolerance.measure(h * combine(self._b_lower, stages), y0, y1)
        size = torch.hypot(high, 0.1 * low)
        return error * rows(torch.where(size == 0, 0.0, high / size), y0)

    def retry(self, before: State, tried: State) -> State:
        """Nothing to remember of a rejection."""
        return before

    def displace(self, state: State, delta: Tensor) -> State:
        """Nothing here depends on where y1 is."""
        return state

    def restart(self, state: State, where: Tensor) -> State:
        """Nothing is carried from step to step."""
        return state

    def interpolant(self, step: Step, f1: Tensor) -> Tensor:
        """Coefficients (D, B, F) of the continuous extension."""
        weights, stages = self._dense[0], step.stages
        if step.f is not None:
            k = list(stages.unbind(0))
            self._extend(k, self.tableau.stages, step.f, step.t0, step.dt, step.y0)
            stages = torch.stack(k)
        if len(weights[0]) > stages.shape[0]:
            stages = torch.cat((stages, f1.unsqueeze(0)))
        return rows(step.dt, step.y0).to(step.y0.dtype) * combine(weights, stages)
