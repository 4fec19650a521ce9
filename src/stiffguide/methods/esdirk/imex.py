"""Implicit-explicit methods: an ESDIRK part for what is stiff, an explicit part for the rest.

Stage i solves z = dt gamma f_I(t_i, base_i + z) by Newton's iteration as ESDIRK methods do, where
base_i = y0 + dt sum_j<i (a^I_ij k^I_j + a^E_ij k^E_j); then k^E_i = f_E(t_i, base_i + z) is
evaluated, once. Both parts share b, so that y1 = y0 + dt sum_i b_i (k^I_i + k^E_i). Where f_I is
linear with constant coefficients, one Jacobian serves the whole solve, and one iteration a stage.
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
from stiffguide.methods.esdirk.systems import System, economy, relaxation
from stiffguide.stepping.contracts import Field, SplitField, Step, Units, Work, stage_times
from stiffguide.stepping.guards import turned
from stiffguide.stepping.interpolate import extrapolation
from stiffguide.stepping.tolerance import Tolerance
from stiffguide.tableaux.additive import AdditivePair
from stiffguide.tableaux.exact import floats
from stiffguide.tableaux.stability import is_a_stable
from stiffguide.tensors import combine, rows, transformed

NOTHING = (1.0, 1.0)  # dt in parts of the one that cheap factors were made with


class ImexState(NamedTuple):
    """What survives a step."""

    jac: Tensor  # (B, ...), values of the Jacobian of the implicit part
    factors: Factors  # of W made with dt
    dt: Tensor  # (B,)
    keep: Tensor  # (B,) bool: jac may be used again
    secant: Tensor  # (B, F), (y1 - y0)/dt; 0 before the first step


class Stages(NamedTuple):
    """Stage derivatives, and how Newton's iterations went."""

    k: Tensor  # (S, B, F), the sums of both parts
    seen: newton.Convergence


class Imex:
    """Kennedy and Carpenter, Appl. Numer. Math. 44 (2003) 139-181.

    Raises TableauError for a pair without an ESDIRK part with one gamma, or without a dense output.
    """

    family = "IMEX"
    implicit = True
    multistep = False

    def __init__(self, pair: AdditivePair) -> None:
        tableau, explicit = pair.implicit, pair.explicit
        sound = tableau.singly_diagonal and tableau.explicit_first_stage
        if tableau.gamma is None or not sound or tableau.dense is None:
            raise TableauError(f"{pair.name}: needs an ESDIRK part with one gamma and a dense one")
        self.pair = pair
        self.name: str = pair.name
        self.order: int = tableau.order
        self.error_order: int | None = tableau.estimate_order
        self.dense_order: int = tableau.dense_order or 1
        self._gamma = float(tableau.gamma)
        lower = [explicit.a[i][:i] + tableau.a[i][:i] for i in range(tableau.stages)]
        self._a = tuple(map(floats, lower))  # of the explicit part, then of the implicit one
        self._b = floats(tableau.b)
        self._c = floats(tableau.c)
        self._b_error = None if tableau.b_error is None else floats(tableau.b_error)
        self._guess = tuple(extrapolation(self._c, i) for i in range(tableau.stages))
        self._dense = tuple(zip(*map(floats, tableau.dense), strict=True))

    def __repr__(self) -> str:
        return f"Imex({self.name})"

    @cached_property
    def _filter(self) -> bool:
        """Whether the embedded method is unstable where the main one is not: see `Esdirk`."""
        tableau = self.pair.implicit
        return tableau.b_hat is not None and not is_a_stable(tableau, tableau.b_hat)

    def init(self, f: Field, t0: Tensor, y0: Tensor) -> ImexState:
        """Nothing is known yet: `keep` is False in every row."""
        return ImexState(
            jac=f.linear.zeros(y0),
            factors=f.linear.empty(y0),
            dt=torch.zeros_like(t0),
            keep=torch.zeros_like(t0, dtype=torch.bool),
            secant=torch.zeros_like(y0),
        )

    def step(
        self,
        f: SplitField,
        t0: Tensor,
        dt: Tensor,
        y0: Tensor,
        f0: Tensor,
        state: ImexState,
        tolerance: Tolerance,
    ) -> Step:
        """Attempt one step in every row; where an old J failed, once more with a new one."""
        units = Units(dt, tolerance.scale(y0).detach())
        # factors of a band cost no more than the iterations that old ones would take
        lag = NOTHING if f.linear.name == "band" else economy(f).lag

        def renew(state: ImexState) -> tuple[ImexState, Work]:
            return renewed(f, t0, units, y0, state, self._gamma, lag)

        def stages(state: ImexState) -> Step:
            return self._attempt(f, t0, dt, y0, f0, state, units.scale)

        return attempted(stages, renew, state)

    def _attempt(
        self,
        f: SplitField,
        t0: Tensor,
        dt: Tensor,
        y0: Tensor,
        f0: Tensor,
        state: ImexState,
        scale: Tensor,
    ) -> Step:
        h = rows(dt, y0).to(y0.dtype)
        relax = relaxation(f, dt, state.dt, y0)
        system = System(f.implicit, h, h * self._gamma, state.jac, state.factors, relax, scale)
        with torch.no_grad():
            grown = turned(system.solve, state.secant, h, scale)
        k, seen = self._stages(f, system, stage_times(t0, dt, self._c), y0, f0, state.keep)
        y1 = torch.addcmul(y0, h, combine(self._b, k))
        keep, secant = seen.ok & (seen.rate < economy(f).rate), (y1 - y0) / h
        return Step(
            t0=t0,
            dt=dt,
            y0=y0,
            f0=f0,
            y1=y1,
            error=self._error(system, k),
            error_order=self.error_order,
            ok=seen.ok,
            state=state._replace(keep=keep, secant=secant.detach()),
            work=Work(nfe=seen.nfe + len(self._c)),
            stages=k,
            grown=grown,
            jac=state.jac,
        )

    def _stages(
        self, f: SplitField, s: System, times: Tensor, y0: Tensor, f0: Tensor, kept: Tensor
    ) -> Stages:
        """All stages; in rows `kept` (B,) J is from another step."""
        doubt = kept if y0.device.type == "cpu" else None
        seen, known = newton.Convergence.none(kept, s.scale), None
        start = f.explicit(times[0], y0)
        explicit, implicit = [start], [f0 - start]
        for i in range(1, len(self._c)):
            base = torch.addcmul(y0, s.h, combine(self._a[i], torch.stack(explicit + implicit)))
            with torch.no_grad():
                slopes = torch.stack((implicit[0], *implicit))
                guess = s.h_gamma * combine(self._guess[i], slopes)
                root = s.root(times[i], base, guess, doubt, known)
            # f may come to depend on a parameter in the middle of a step
            recorded = torch.is_grad_enabled() or transformed()
            z = s.attach(times[i], base, root.z) if recorded else root.z
            # an old J shows at the first stage whether it contracts, and how fast
            doubt, known, seen = None, root.left(known), seen.after(root)
            implicit.append(z / s.h_gamma)
            explicit.append(f.explicit(times[i], base + z))
        return Stages(torch.stack(explicit) + torch.stack(implicit), seen)

    def _error(self, system: System, k: Tensor) -> Tensor | None:
        """Main minus embedded solution (B, F), filtered where that is needed."""
        if self._b_error is None:
            return None
        error = system.h * combine(self._b_error, k)
        return system.filtered(error) if self._filter else error

    def retry(self, before: ImexState, tried: ImexState) -> ImexState:
        """A rejected step leaves its Jacobian: it belongs to the same y0."""
        return tried._replace(keep=torch.ones_like(tried.keep), secant=before.secant)

    def displace(self, state: ImexState, delta: Tensor) -> ImexState:
        """The Jacobian is an approximation anyway."""
        return state

    def restart(self, state: ImexState, where: Tensor) -> ImexState:
        """Nothing is known, and nothing has moved."""
        secant = state.secant.masked_fill(rows(where, state.secant), 0.0)
        return state._replace(keep=state.keep & ~where, secant=secant)

    def interpolant(self, step: Step, f1: Tensor) -> Tensor:
        """Coefficients (D, B, F) of the continuous extension."""
        return rows(step.dt, step.y0).to(step.y0.dtype) * combine(self._dense, step.stages)
