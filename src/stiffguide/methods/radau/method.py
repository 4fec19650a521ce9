"""Fully implicit Runge-Kutta methods: Radau IIA, Gauss, and others that tableaux say.

The increments z = Y - y0 of all stages solve one system, by simplified Newton with the J of one
point. J is kept from step to step while the iteration contracts fast with it, and the factors while
dt stays, too; the polynomial through the stages of a step predicts those of the next. With a pair
dt follows an estimate that is filtered by the first of the factors.

Hairer and Wanner, Solving Ordinary Differential Equations II, IV.5 and IV.8.
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from stiffguide.catalogue.collocation import RADAU_IIA5
from stiffguide.methods.radau import estimate, scheme
from stiffguide.methods.radau.attempt import RadauState, Start, attempted
from stiffguide.methods.radau.estimate import Estimate
from stiffguide.methods.radau.system import System
from stiffguide.stepping.constraints import slope as derivative
from stiffguide.stepping.constraints import watched
from stiffguide.stepping.contracts import Field, Step, Units
from stiffguide.stepping.tolerance import Tolerance
from stiffguide.tableaux.tableau import Tableau
from stiffguide.tensors import combine, rows


class FullyImplicit:
    """Any tableau whose stages are coupled: see `Method` for the meanings."""

    implicit = True
    multistep = False

    def __init__(
        self,
        tableau: Tableau,
        given: Estimate | None = None,
        name: str = "",
        family: str = "fully implicit RK",
    ) -> None:
        self.tableau = tableau
        self.name: str = name or tableau.name
        self.family = family
        self.order: int = tableau.order
        self._estimate = given or estimate.of(tableau)
        self.error_order: int | None = None if self._estimate is None else self._estimate.order
        self._scheme = scheme.scheme(tableau)

    def __repr__(self) -> str:
        return f"FullyImplicit({self.name})"

    @cached_property
    def _dense(self) -> scheme.Dense:
        return scheme.dense(self.tableau)

    @property
    def dense_order(self) -> int:
        """Order of the continuous extension."""
        return self._dense.order

    def init(self, f: Field, t0: Tensor, y0: Tensor) -> RadauState:
        """Nothing is known yet: `keep` is False in every row."""
        whole = y0.to(y0.dtype.to_complex())
        shifts = self._scheme.spectrum.shifts
        return RadauState(
            jac=f.linear.zeros(y0),
            factors=tuple(f.linear.empty(whole if shift.imag else y0) for shift in shifts),
            dt=torch.zeros_like(t0),
            keep=torch.zeros_like(t0, dtype=torch.bool),
            slopes=y0.new_zeros(y0.shape[0], self.tableau.stages, y0.shape[1]),
            last=torch.zeros_like(t0),
            secant=torch.zeros_like(y0),
        )

    def step(
        self,
        f: Field,
        t0: Tensor,
        dt: Tensor,
        y0: Tensor,
        f0: Tensor,
        state: RadauState,
        tolerance: Tolerance,
    ) -> Step:
        """Attempt one step in every row; where an old J failed, once more with a new one."""
        units = Units(dt, tolerance.scale(y0))
        step, system = self._tried(f, t0, y0, f0, state, units)
        shift = self._scheme.spectrum.shifts[0].real
        return watched(f, step, self, lambda rhs: system.filtered(rhs) / shift)

    def _tried(
        self, f: Field, t0: Tensor, y0: Tensor, f0: Tensor, state: RadauState, units: Units
    ) -> tuple[Step, System]:
        """The step by itself, and the linear systems that it solved."""
        dt = units.dt
        slope = f0 if self._scheme.from_f0 is None else derivative(f, t0, y0, f0, units)
        start = Start(f, self._scheme, t0, y0, slope, units, given=self._estimate is None)
        with torch.no_grad():
            found, work = attempted(start, state)
        system = start.system(found.state)
        # f may come to depend on a parameter in the middle of a step
        z = system.attach(found.root.z) if torch.is_grad_enabled() else found.root.z
        k, accurate = system.slopes(z), self.tableau.stiffly_accurate
        if self._scheme.from_f0 is not None:
            k = torch.cat((slope.unsqueeze(1), k), 1)
        stages = k.transpose(0, 1)
        rise = system.h * combine(self._scheme.b, stages)
        y1 = system.states(z)[:, -1] if accurate else y0 + rise
        secant = ((y1 - y0) / system.h).detach()
        step = Step(
            t0=t0,
            dt=dt,
            y0=y0,
            f0=f0,
            y1=y1,
            error=self._error(system, f0, k),
            error_order=self.error_order,
            ok=found.root.ok,
            state=found.state._replace(slopes=k.detach(), last=dt.detach(), secant=secant),
            work=work,
            stages=stages,
            f1=f.linear.weighed(stages[-1]) if accurate else None,
            f=f,  # whose M the interpolant may need
            grown=found.grown,
        )
        return step, system

    def _error(self, system: System, f0: Tensor, slopes: Tensor) -> Tensor | None:
        """Main minus embedded solution (B, F), filtered.

        Of a mode that the step damps at once this keeps its size. A second estimate, with f at the
        embedded solution for f0 (Hairer and Wanner II, IV.8.20), would let it pass, and also what
        fast modes make of the curvature of a solution: 400 tolerances were taken for a third.
        """
        if self._estimate is None:
            return None
        inner = combine(self._estimate.weights, system.weighed(slopes).transpose(0, 1))
        return system.filtered(inner + self._estimate.start * f0)

    def retry(self, before: RadauState, tried: RadauState) -> RadauState:
        """A rejected step leaves its Jacobian: it belongs to the same y0."""
        return tried._replace(
            keep=torch.ones_like(tried.keep),
            slopes=before.slopes,
            last=before.last,
            secant=before.secant,
        )

    def displace(self, state: RadauState, delta: Tensor) -> RadauState:
        """The Jacobian is an approximation anyway, and slopes only predict."""
        return state

    def restart(self, state: RadauState, where: Tensor) -> RadauState:
        """Nothing is known, and nothing has moved."""
        return state._replace(
            keep=state.keep & ~where,
            last=state.last.masked_fill(where, 0.0),
            secant=state.secant.masked_fill(rows(where, state.secant), 0.0),
        )

    def interpolant(self, step: Step, f1: Tensor) -> Tensor:
        """Coefficients (D, B, F) of the continuous extension."""
        weights, stages = self._dense.weights, step.stages
        if len(weights[0]) > len(stages):
            assert step.f is not None
            end = Units(-step.dt, step.y1.abs())
            f1 = derivative(step.f, step.t0 + step.dt, step.y1, f1, end)
            stages = torch.cat((stages, f1.unsqueeze(0)))
        return rows(step.dt, step.y0).to(step.y0.dtype) * combine(weights, stages)


def radau5() -> FullyImplicit:
    """Radau IIA of order 5 with an estimate of order 3, as in the code RADAU5."""
    return FullyImplicit(RADAU_IIA5, estimate.beside(RADAU_IIA5), "radau5", "Radau")
