"""Rosenbrock methods: one linear system a stage, and no iteration that could fail."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from stiffguide.algebra.protocol import Factors, LinearSolver
from stiffguide.stepping.constraints import slope as derivative
from stiffguide.stepping.constraints import watched
from stiffguide.stepping.contracts import Field, Step, Units, Work, stage_times
from stiffguide.stepping.guards import sound, turned
from stiffguide.stepping.interpolate import hermite
from stiffguide.stepping.tolerance import Tolerance
from stiffguide.tableaux.exact import floats
from stiffguide.tableaux.rosenbrock import RosenbrockTableau
from stiffguide.tensors import combine, rows


class RosenbrockState(NamedTuple):
    """What survives a step."""

    secant: Tensor  # (B, F), (y1 - y0)/dt; 0 before the first


class System(NamedTuple):
    """The linear systems of an attempt: all stages share them."""

    h: Tensor  # (B, 1)
    linear: LinearSolver
    factors: Factors  # of W = M/(h gamma) - J
    slope: Tensor | None  # (B, F), df/dt

    def solve(self, rhs: Tensor) -> Tensor:
        """X (B, F) with W x = rhs."""
        return self.linear.solve(self.factors, rhs)


class Rosenbrock:
    """Hairer and Wanner II, IV.7, eq. (7.25): see `RosenbrockTableau` for the formulas."""

    family = "Rosenbrock"
    implicit = True
    multistep = False

    def __init__(self, tableau: RosenbrockTableau) -> None:
        self.tableau = tableau
        self.name: str = tableau.name
        self.order: int = tableau.order
        self.error_order: int | None = tableau.estimate_order
        self.dense_order: int = min(3, tableau.order)
        if tableau.dense_order is not None:
            self.dense_order = tableau.dense_order
        s = tableau.stages
        self._gamma = float(tableau.gamma)
        # the arguments of f and the coupling terms are two sums over the same vectors: one product
        self._sums = tuple(
            (floats(tableau.a[i][:i]), floats(tableau.big_c[i][:i])) for i in range(s)
        )
        self._at_start = tuple(not any(tableau.a[i]) and tableau.c[i] == 0 for i in range(s))
        self._c = floats(tableau.c)
        self._g = floats(tableau.g)
        self._b = floats(tableau.b)
        self._b_error = None if tableau.b_error is None else floats(tableau.b_error)
        self._dense = (
            None
            if tableau.dense is None
            else tuple(zip(*(floats(row) for row in tableau.dense), strict=True))
        )
        self._nfe = s - sum(self._at_start)

    def __repr__(self) -> str:
        return f"Rosenbrock({self.name})"

    def init(self, f: Field, t0: Tensor, y0: Tensor) -> RosenbrockState:
        """Every step linearises anew; nothing has moved yet."""
        return RosenbrockState(torch.zeros_like(y0))

    def step(
        self,
        f: Field,
        t0: Tensor,
        dt: Tensor,
        y0: Tensor,
        f0: Tensor,
        state: RosenbrockState,
        tolerance: Tolerance,
    ) -> Step:
        """Attempt one step in every row."""
        with torch.no_grad():
            units = Units(dt, tolerance.scale(y0))
        found = f.linearise(t0, y0, units, time=True)
        (jac, slope, nfe), ok = sound(found, f, t0, y0, units)
        h = rows(dt, y0).to(y0.dtype)
        shift = 1 / (h.squeeze(-1) * self._gamma)
        system = System(h, f.linear, f.linear.factor(shift, jac, units.scale), slope)
        with torch.no_grad():
            grown = turned(system.solve, state.secant, h, units.scale, f.linear.mass)
        stages, last, f_last = self._stages(f, stage_times(t0, dt, self._c), y0, f0, system)
        if self._b_error is None:
            shift, error = combine(self._b, stages), None
        else:
            shift, error = combine((self._b, self._b_error), stages)
        step = Step(
            t0=t0,
            dt=dt,
            y0=y0,
            f0=f0,
            y1=last if self.tableau.fsal and last is not None else y0 + shift,
            error=error,
            error_order=self.error_order,
            ok=ok,
            state=RosenbrockState((shift / h).detach()),
            work=Work(nfe=self._nfe + nfe, njac=1, nlu=1),
            stages=stages,
            f1=f_last if self.tableau.fsal else None,
            f=f if self._differentiates(f) else None,
            dense_nfe=2 if self._differentiates(f) else 0,
            grown=grown,
            jac=jac,
        )
        return step if self._dense is None else watched(f, step, self, system.solve)

    def _differentiates(self, f: Field) -> bool:
        """Whether the interpolant asks for y' where f is another thing."""
        return self._dense is None and f.linear.mass is not None

    def _stages(
        self, f: Field, times: Tensor, y0: Tensor, f0: Tensor, system: System
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """U (S, B, F); the last argument that f was evaluated at, and its value."""
        u: list[Tensor] = []
        y = value = None
        for i in range(self.tableau.stages):
            rhs = f0
            if i > 0:
                shift, coupling = combine(self._sums[i], torch.stack(u))
                if not self._at_start[i]:
                    y = y0 + shift
                    rhs = value = f(times[i], y)
                rhs = rhs + system.linear.weighed(coupling / system.h)
            if system.slope is not None and self._g[i] != 0:
                rhs = torch.addcmul(rhs, system.h, system.slope, value=self._g[i])
            u.append(system.solve(rhs))
        return torch.stack(u), y, value

    def retry(self, before: RosenbrockState, tried: RosenbrockState) -> RosenbrockState:
        """Nothing to remember of a rejection."""
        return before

    def displace(self, state: RosenbrockState, delta: Tensor) -> RosenbrockState:
        """The secant is of the step as the method made it."""
        return state

    def restart(self, state: RosenbrockState, where: Tensor) -> RosenbrockState:
        """Nothing has moved yet."""
        return RosenbrockState(torch.where(rows(where, state.secant), 0.0, state.secant))

    def interpolant(self, step: Step, f1: Tensor) -> Tensor:
        """Coefficients (D, B, F): the tableau's own, or cubic Hermite."""
        if self._dense is None:
            left, right = (step.f0, f1) if step.f is None else _ends(step.f, step, f1)
            return hermite(step.dt, step.y0, left, step.y1, right)
        return combine(self._dense, step.stages)


def _ends(f: Field, step: Step, f1: Tensor) -> tuple[Tensor, Tensor]:
    """y' (B, F) at both ends of a step."""
    left = derivative(f, step.t0, step.y0, step.f0, Units(step.dt, step.y0.abs()))
    t1 = step.t0 + step.dt
    return left, derivative(f, t1, step.y1, f1, Units(-step.dt, step.y1.abs()))
