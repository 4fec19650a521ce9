"""The system that an attempt of a backward difference formula solves, and what it is solved with.

Factors of W = M/c - J serve while c = dt/leading stays near that which they were made with, and J
until Newton fails with it, or it is old.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from stiffguide.methods.bdf import table as differences
from stiffguide.methods.bdf.corrector import (
    ITERATIONS,
    Corrected,
    Formula,
    Linear,
    correct,
    limit,
    scale_of,
    weight,
)
from stiffguide.methods.bdf.table import LEADING_OF, Array, by_row
from stiffguide.stepping.contracts import Field, Units
from stiffguide.stepping.guards import sound, turned
from stiffguide.stepping.tolerance import Tolerance
from stiffguide.tensors import rows, select

KEPT = (0.3, 1.4)  # of c over that of the factors: so long they serve, with a relaxed correction
DOUBTFUL = 0.2  # of c, between factors and attempt (CVODE's number)
PATIENT = 10  # iterations with a J of the attempt itself: no better one is to be had
AGE = 50  # steps after which J is made anew, for what changed unseen (CVODE's number)


class BdfState(NamedTuple):
    """What survives a step; arrays of numpy, but for what belongs to the linear systems."""

    table: Array  # (B, 8, F), backward differences of y
    order: Array  # (B,) int64 of the next attempt; 0 where a solve begins
    equal: Array  # (B,) int64, steps with this order and spacing
    dt: Array  # (B,) the spacing of the table
    due: Array  # (B,) the dt that the last step proposed; nan after none, or a failure
    jac: Tensor  # values of J
    age: Array  # (B,) int64, accepted steps since they were found
    factors: Any  # of W = M/c - J
    c: Array  # (B,) with this c; nan before there are any
    rate: Array  # (B,) the contraction seen with them; nan before
    seen: Array  # (B,) int64, the age of J when it was

    def chosen(self, mask: Tensor, old: BdfState) -> BdfState:
        """These rows where mask (B,) holds, else the old ones."""
        if len(mask) == 1:  # without a copy of the table
            return self if bool(mask) else old
        picked: list[Any] = [
            chosen(mask.numpy(), x, y) if isinstance(x, np.ndarray) else select(mask, x, y)
            for x, y in zip(self, old, strict=True)
        ]
        return BdfState(*picked)


class Attempt(NamedTuple):
    """What an attempt has come to."""

    rise: Array  # (B, F), y at its end above the prediction
    slope: Array  # (B, F), y' there
    ok: Array  # (B,) bool
    iterations: Array  # (B,) of Newton
    state: BdfState  # with the J and the factors that it ended with
    grown: Tensor | None  # (B,) bool
    work: Array  # (3, B) int64


class System(NamedTuple):
    """The systems of all rows."""

    f: Field
    t: Tensor  # (B,), the end of the attempt
    units: Units
    c: Array  # (B,)
    last: Array  # (B, F), the last step; 0 where there was none
    formula: Formula

    def solve(self, state: BdfState) -> Corrected:
        """By the factors of the state, in every row."""
        linear = Linear(
            lambda x: self.f.linear.solve(state.factors, torch.from_numpy(x)).numpy(),
            by_row(state.c, self.last),
            _known(state),
        )
        return correct(self.formula, linear, np.where(state.age > 0, ITERATIONS, PATIENT))

    def turned(self, state: BdfState) -> Tensor | None:
        """Rows (B,) bool in which a growing mode would be damped."""
        solve, last = self.f.linear.solve, torch.from_numpy(self.last)
        h = rows(self.units.dt, last).to(last.dtype)
        mass = self.f.linear.mass
        return turned(lambda d: solve(state.factors, d), last / h, h, self.units.scale, mass)


def system(
    f: Field,
    t0: Tensor,
    dt: Tensor,
    table: Array,
    order: Array,
    tolerance: Tolerance,
) -> System:
    """The systems of an attempt from tables at the spacing dt."""
    ahead, psi = differences.predicted(table, order)
    t1, scale = t0 + dt, scale_of(tolerance, ahead)
    c = dt.numpy() / LEADING_OF[order]
    formula = Formula(
        f=lambda x: f(t1, torch.from_numpy(x)).numpy(),
        weighed=lambda x: f.linear.weighed(torch.from_numpy(x)).numpy(),
        predicted=ahead,
        psi=psi,
        c=c[:, None].astype(ahead.dtype),
        weight=weight(scale),
        limit=limit(tolerance, ahead),
    )
    units = Units(dt, torch.from_numpy(scale))
    return System(f, t1, units, c, table[:, 1], formula)


def attempted(x: System, state: BdfState) -> Attempt:
    """The solution; where factors failed that could be better, once more with new ones."""
    old = state.age >= AGE
    state, work, fresh = linearised(x, state, old, old)
    grown = x.turned(state) if fresh else None
    found = x.solve(state)
    work[0] += found.iterations
    for _ in range(0 if found.ok.all() and grown is None else 2):
        failed = _improvable(x, state, found, grown)
        if not failed.any():
            break
        # of a failure with factors for another c, J need not be the reason
        off = np.abs(x.c / state.c - 1) > DOUBTFUL
        renew = failed & (state.age > 0) & ~off
        state, more, _ = linearised(x, state, renew, failed)
        again, asked = x.solve(state), x.turned(state)
        more[0] += failed * again.iterations
        found = Corrected(*(chosen(failed, n, o) for n, o in zip(again, found, strict=True)))
        grown, work = _either(torch.from_numpy(failed), asked, grown), work + more
    return Attempt(
        rise=found.rise,
        slope=found.slope,
        ok=found.ok,
        iterations=found.iterations,
        state=_watched(state, found),
        grown=grown,
        work=work,
    )


def _improvable(x: System, state: BdfState, found: Corrected, grown: Tensor | None) -> Array:
    """Rows (B,) bool that failed with a J or factors of another attempt."""
    failed = ~found.ok if grown is None else ~found.ok | grown.numpy()
    improvable: Array = failed & ((state.age > 0) | (state.c != x.c))
    return improvable


def linearised(
    x: System, state: BdfState, renew: Array, refactor: Array
) -> tuple[BdfState, Array, bool]:
    """The state with a new J in the rows `renew` (B,) and factors where they must be new.

    The work (3, B), and whether any factors are new.
    """
    work = np.zeros((3, len(renew)), np.int64)
    quotient = x.c / state.c
    refactor = refactor | renew | ~((quotient > KEPT[0]) & (quotient < KEPT[1]))
    if not refactor.any():
        return state, work, False
    y = torch.from_numpy(x.formula.predicted)
    if renew.any():
        found = x.f.linearise(x.t, y, x.units, time=False)
        # where J is not finite even so, Newton will not converge
        fresh, _ = sound(found, x.f, x.t, y, x.units)
        where = torch.from_numpy(renew)
        state = state._replace(
            jac=_renewed(where, fresh.jac, state.jac),
            age=np.where(renew, 0, state.age),
        )
        work[0] += renew * np.asarray(fresh.nfe)
        work[1] += renew
    where = torch.from_numpy(refactor)
    shift = torch.from_numpy(1 / x.c).to(y.dtype)
    factors = x.f.linear.factor(shift, state.jac, x.units.scale, where=where)
    work[2] += refactor
    state = state._replace(
        factors=_renewed(where, factors, state.factors),
        c=np.where(refactor, x.c, state.c),
        seen=np.where(refactor, 0, state.seen),
    )
    return state, work, True


def _known(state: BdfState) -> Array:
    """What contraction (B,) to reckon with, nan where none is known.

    J drifts away with the steps, and more or less evenly: of a contraction that was seen with a J
    of some age, no more than twice as much is left when it is twice as old. With the J of the
    attempt itself it is much faster, and tells nothing.
    """
    known = (state.seen > 0) & (state.age <= 2 * state.seen)
    found: Array = np.where(known, 2 * state.rate, np.nan)
    return found


def _watched(state: BdfState, found: Corrected) -> BdfState:
    """The state with the contraction of this attempt, where one was seen.

    A J that is not finite is of a prediction from which the next attempt keeps its distance.
    """
    if not found.ok.all():
        useless = ~found.ok & ~torch.isfinite(state.jac).flatten(1).all(-1).numpy()
        state = state._replace(age=np.where(useless, AGE, state.age))
    new = found.ok & ~np.isnan(found.rate)
    if not new.any():
        return state
    return state._replace(
        rate=np.where(new, found.rate, state.rate), seen=np.where(new, state.age, state.seen)
    )


def _renewed(where: Tensor, new: Any, old: Any) -> Any:
    return new if bool(where.all()) else select(where, new, old)


def _either(where: Tensor, new: Tensor | None, old: Tensor | None) -> Tensor | None:
    if new is None and old is None:
        return None
    nowhere = torch.zeros_like(where)
    return torch.where(where, nowhere if new is None else new, nowhere if old is None else old)


def chosen(mask: Array, new: Array, old: Array) -> Array:
    """The rows of `new` where mask (B,) holds."""
    if mask.all():
        return new
    return np.where(mask.reshape(-1, *(1,) * (new.ndim - 1)), new, old)
