"""Diagonally implicit Runge-Kutta methods with one gamma: SDIRK, ESDIRK, implicit Euler, ...

Stage i solves z = dt gamma f(t_i, base_i + z) by simplified Newton with W = I/(dt gamma) - J, one
factorisation for all stages; k_i = z/(dt gamma). J is kept from step to step while Newton contracts
fast with it, and the factors while dt stays, too (Hairer and Wanner II, IV.8).
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from stiffguide.algebra import newton
from stiffguide.algebra.protocol import Factors
from stiffguide.errors import TableauError
from stiffguide.methods.esdirk.matrices import attempted, renewed
from stiffguide.methods.esdirk.systems import Slope, System, departing, economy, relaxation
from stiffguide.stepping.constraints import slope as derivative
from stiffguide.stepping.constraints import watched
from stiffguide.stepping.contracts import Field, Step, Units, Work, stage_times
from stiffguide.stepping.guards import turned
from stiffguide.stepping.interpolate import extrapolation
from stiffguide.stepping.tolerance import Tolerance
from stiffguide.tableaux.continuous import damped_extension
from stiffguide.tableaux.exact import floats
from stiffguide.tableaux.stability import is_a_stable
from stiffguide.tableaux.tableau import Tableau
from stiffguide.tensors import combine, rows, transformed


class EsdirkState(NamedTuple):
    """What survives a step."""

    jac: Tensor  # (B, ...), values of the Jacobian
    factors: Factors  # of W made with dt
    dt: Tensor  # (B,), not that of the step where factors serve longer
    keep: Tensor  # (B,) bool: jac may be used again
    secant: Tensor  # (B, F), (y1 - y0)/dt; 0 before the first step
    slope: Slope = ()  # y' at its end


class Dense(NamedTuple):
    """The continuous extension, by powers of theta (see `continuous.Damped`)."""

    weights: tuple[tuple[float, ...], ...]
    filters: tuple[tuple[float, ...], ...]
    order: int


class Esdirk:
    """Kennedy and Carpenter, NASA/TM-2016-219173; Kvaerno, BIT 44 (2004).

    Raises TableauError for a tableau that is not lower triangular with one gamma.
    """

    implicit = True
    multistep = False

    def __init__(self, tableau: Tableau) -> None:
        if not tableau.singly_diagonal or tableau.gamma is None:
            raise TableauError(
                f"{tableau.name}: needs a lower triangular with one gamma in all stages but an "
                "explicit first one"
            )
        self.tableau = tableau
        self.name: str = tableau.name
        self.family = "ESDIRK" if tableau.explicit_first_stage else "SDIRK"
        self.order: int = tableau.order
        self.error_order: int | None = tableau.estimate_order
        self._gamma = float(tableau.gamma)
        self._a = tuple(floats(row[:i]) for i, row in enumerate(tableau.a))
        self._b = floats(tableau.b)
        self._c = floats(tableau.c)
        self._b_error = None if tableau.b_error is None else floats(tableau.b_error)
        self._implicit = tuple(tableau.a[i][i] != 0 for i in range(tableau.stages))
        self._guess = tuple(extrapolation(self._c, i) for i in range(tableau.stages))

    def __repr__(self) -> str:
        return f"Esdirk({self.name})"

    @cached_property
    def _filter(self) -> bool:
        """Whether the embedded method is unstable where the main one is not.

        Then it is filtered by (I - dt gamma J)^-1 (Hosea and Shampine 1996, section 4).
        """
        hat = self.tableau.b_hat
        return hat is not None and not is_a_stable(self.tableau, hat)

    @cached_property
    def _dense(self) -> Dense:
        weights, filters, order = damped_extension(self.tableau)
        by_degree = tuple(zip(*(floats(row) for row in weights), strict=True))
        return Dense(by_degree, tuple(floats(row) for row in filters), order)

    @property
    def dense_order(self) -> int:
        """Order of the continuous extension."""
        return self._dense.order

    def init(self, f: Field, t0: Tensor, y0: Tensor) -> EsdirkState:
        """Nothing is known yet: `keep` is False in every row."""
        return EsdirkState(
            jac=f.linear.zeros(y0),
            factors=f.linear.empty(y0),
            dt=torch.zeros_like(t0),
            keep=torch.zeros_like(t0, dtype=torch.bool),
            secant=torch.zeros_like(y0),
            slope=() if f.linear.mass is None else torch.full_like(y0, torch.nan),
        )

    def step(
        self,
        f: Field,
        t0: Tensor,
        dt: Tensor,
        y0: Tensor,
        f0: Tensor,
        state: EsdirkState,
        tolerance: Tolerance,
    ) -> Step:
        """Attempt one step in every row; where an old J failed, once more with a new one."""
        units = Units(dt, tolerance.scale(y0).detach())
        state = state._replace(slope=departing(f, t0, y0, f0, units, state.slope))

        def renew(state: EsdirkState) -> tuple[EsdirkState, Work]:
            return renewed(f, t0, units, y0, state, self._gamma, economy(f).lag)

        def stages(state: EsdirkState) -> Step:
            return self._stages(f, t0, dt, y0, f0, state, units.scale)

        return attempted(stages, renew, state)

    def _stages(
        self,
        f: Field,
        t0: Tensor,
        dt: Tensor,
        y0: Tensor,
        f0: Tensor,
        state: EsdirkState,
        scale: Tensor,
    ) -> Step:
        h = rows(dt, y0).to(y0.dtype)
        relax = relaxation(f, dt, state.dt, y0)
        system = System(f, h, h * self._gamma, state.jac, state.factors, relax, scale)
        with torch.no_grad():
            grown = turned(system.solve, state.secant, h, scale, f.linear.mass)
        seen = newton.Convergence.none(state.keep, system.scale)
        start = state.slope if isinstance(state.slope, Tensor) else f0
        k, y, seen = self._sweep(system, stage_times(t0, dt, self._c), y0, start, state.keep, seen)
        stages = torch.stack(k)
        accurate, companion = self.tableau.stiffly_accurate, self.tableau.companion_stage
        y1 = y if accurate else torch.addcmul(y0, h, combine(self._b, stages))
        keep, secant = seen.ok & (seen.rate < economy(f).rate), (y1 - y0) / h
        step = Step(
            t0=t0,
            dt=dt,
            y0=y0,
            f0=f0,
            y1=y1,
            error=self._error(system, stages),
            error_order=self.error_order,
            ok=seen.ok,
            state=state._replace(keep=keep, secant=secant.detach(), slope=self._arrived(state, k)),
            work=Work(nfe=seen.nfe),
            stages=stages,
            f1=f.linear.weighed(k[-1]) if self.tableau.fsal else None,
            f_low=None if companion is None or self._filter else k[companion],
            f=f,  # whose linear systems the interpolant solves
            grown=grown,
            jac=state.jac,
        )
        return watched(f, step, self, system.solve)

    def _arrived(self, state: EsdirkState, k: list[Tensor]) -> Slope:
        """y' at the end of the step, where that is a stage's."""
        if not isinstance(state.slope, Tensor):
            return ()
        return k[-1] if self.tableau.stiffly_accurate else torch.full_like(k[-1], torch.nan)

    def _sweep(
        self,
        s: System,
        times: Tensor,
        y0: Tensor,
        start: Tensor,
        kept: Tensor,
        seen: newton.Convergence,
    ) -> tuple[list[Tensor], Tensor, newton.Convergence]:
        """All k, the last y; `start` is y' at y0, in rows `kept` (B,) J is from another step."""
        doubt = kept if y0.device.type == "cpu" else None
        k: list[Tensor] = []
        y = y0
        for i in range(self.tableau.stages):
            if not self._implicit[i]:  # an explicit first stage
                k.append(start)
                continue
            base = y0
            if i > 0:
                base = torch.addcmul(y0, s.h, combine(self._a[i], torch.stack(k)))
            with torch.no_grad():
                guess = s.h_gamma * combine(self._guess[i], torch.stack((start, *k)))
                root = s.root(times[i], base, guess, doubt)
            # f may come to depend on a parameter in the middle of a step
            recorded = torch.is_grad_enabled() or transformed()
            z = s.attach(times[i], base, root.z) if recorded else root.z
            # an old J shows at the first stage whether it contracts
            doubt, seen = None, seen.after(root)
            y = base + z
            k.append(z / s.h_gamma)
        return k, y, seen

    def _error(self, system: System, stages: Tensor) -> Tensor | None:
        """Main minus embedded solution (B, F), filtered where that is needed."""
        if self._b_error is None:
            return None
        error = system.h * combine(self._b_error, stages)
        return system.filtered(error) if self._filter else error

    def retry(self, before: EsdirkState, tried: EsdirkState) -> EsdirkState:
        """A rejected step leaves its Jacobian: it belongs to the same y0."""
        keep = torch.ones_like(tried.keep)
        return tried._replace(keep=keep, secant=before.secant, slope=before.slope)

    def displace(self, state: EsdirkState, delta: Tensor) -> EsdirkState:
        """The Jacobian is an approximation anyway."""
        return state

    def restart(self, state: EsdirkState, where: Tensor) -> EsdirkState:
        """Nothing is known, and nothing has moved."""
        secant, slope = state.secant.masked_fill(rows(where, state.secant), 0.0), state.slope
        if isinstance(slope, Tensor):
            slope = slope.masked_fill(rows(where, slope), torch.nan)
        return state._replace(keep=state.keep & ~where, secant=secant, slope=slope)

    def interpolant(self, step: Step, f1: Tensor) -> Tensor:
        """Coefficients (D, B, F) of the continuous extension."""
        weights, filters, _ = self._dense
        h, stages = rows(step.dt, step.y0).to(step.y0.dtype), step.stages
        if filters:
            # to a gradient W is a constant: its share is that of an error in an error
            assert step.f is not None
            h_gamma, state = h * self._gamma, step.state
            relax = relaxation(step.f, step.dt, state.dt, step.y0)
            system = System(step.f, h, h_gamma, state.jac, state.factors, relax, h)
            damped = map(system.damped, combine(filters, stages).unbind(0))
            stages = torch.cat((stages, torch.stack(list(damped))))
        elif len(weights[0]) > stages.shape[0]:
            assert step.f is not None
            end = Units(-step.dt, step.y1.abs())
            f1 = derivative(step.f, step.t0 + step.dt, step.y1, f1, end)
            stages = torch.cat((stages, f1.unsqueeze(0)))
        return h * combine(weights, stages)
