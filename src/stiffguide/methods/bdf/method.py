"""Numerical differentiation formulas of orders 1 to 5, each row at its own order and step.

Steps are quasi-constant: a table of backward differences at one spacing, which changes as seldom as
order and dt do. `system` solves for the next value; here order and dt are chosen.

Shampine and Reichelt, SIAM J. Sci. Comput. 18 (1997) 1-22; Byrne and Hindmarsh, ACM TOMS 1 (1975).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from stiffguide.catalogue.backward_differences import ORDERS
from stiffguide.errors import InputError
from stiffguide.methods.bdf import table as differences
from stiffguide.methods.bdf.corrector import ITERATIONS, scale_of, size_of, weight
from stiffguide.methods.bdf.place import LONGEST, Place, after, place_of
from stiffguide.methods.bdf.start import cubic, started
from stiffguide.methods.bdf.system import AGE, BdfState, attempted, system
from stiffguide.methods.bdf.table import ERROR_OF, Array, by_row, of_order
from stiffguide.stepping.constraints import slope as derivative
from stiffguide.stepping.contracts import Field, Step, Units, Work
from stiffguide.stepping.tolerance import Tolerance
from stiffguide.tensors import rms, select

SAFETY = 0.9
GAIN = 1.2  # a growth that pays for new differences, and factors
LOSS = 0.9


class Given(NamedTuple):
    """What an attempt is given."""

    f: Field
    t0: Tensor
    dt: Tensor
    y0: Tensor
    f0: Tensor
    state: BdfState
    tolerance: Tolerance

    def step(self, **found: Any) -> Step:
        """An attempt that found this."""
        return Step(t0=self.t0, dt=self.dt, y0=self.y0, f0=self.f0, **found)


class Measure:
    """How large errors (B, F) are in units of the tolerance (B,): `Tolerance.measure`."""

    def __init__(self, tolerance: Tolerance, y0: Array, y1: Array) -> None:
        self._tolerance, self._states = tolerance, (y0, y1)
        self._weight = weight(scale_of(tolerance, y0, y1)) if tolerance.used is rms else None

    def __call__(self, error: Array) -> Array:
        """The norm, acceptable up to 1."""
        if self._weight is not None:
            return size_of(error * self._weight)
        states = map(torch.from_numpy, self._states)
        return self._tolerance.measure(torch.from_numpy(error), *states).numpy()


class BDF:
    """`order` is kept, or, where it is None, follows the errors from 1 to 5.

    Raises InputError for an order that is not 1 to 5.
    """

    family = "BDF"
    implicit = True
    multistep = True

    def __init__(self, order: int | None = None) -> None:
        if order is not None and order not in ORDERS:
            raise InputError(
                f"BDF: order is 1 to {ORDERS[-1]}, or None to let it vary, not {order}"
            )
        self.fixed_order = order
        self.name: str = "bdf" if order is None else f"bdf{order}"
        self.order = order or ORDERS[-1]
        self.error_order: int | None = order or 1  # that of the first step
        self.dense_order: int = min(3, order) if order else self.order  # cubic in the first steps

    def __repr__(self) -> str:
        return f"BDF({'' if self.fixed_order is None else f'order={self.fixed_order}'})"

    def init(self, f: Field, t0: Tensor, y0: Tensor) -> BdfState:
        """No differences, no J, no factors."""
        rows, _ = y0.shape
        nothing, none = np.full(rows, np.nan), np.zeros(rows, np.int64)
        return BdfState(
            table=np.zeros((rows, differences.DIFFERENCES, y0.shape[1]), y0.numpy().dtype),
            order=none,
            equal=none,
            dt=np.zeros(rows),
            due=nothing,
            jac=f.linear.zeros(y0),
            age=none + AGE,
            factors=f.linear.empty(y0),
            c=nothing,
            rate=nothing,
            seen=none,
        )

    def step(
        self,
        f: Field,
        t0: Tensor,
        dt: Tensor,
        y0: Tensor,
        f0: Tensor,
        state: BdfState,
        tolerance: Tolerance,
    ) -> Step:
        """Attempt one step in every row; where old factors failed, once more with new ones."""
        with torch.no_grad(), np.errstate(all="ignore"):
            given = Given(f, t0, dt, y0, f0, state, tolerance)
            least = 1 if self._direct else 0
            place = place_of(state, dt.numpy(), y0.numpy(), lambda: _slope(given).numpy(), least)
            early = place.order < self.order
            if self._direct or not early.any():
                return self._formula(given, place)
            begun = self._start(given, place)
            if early.all():
                return begun
            place = place._replace(order=np.maximum(place.order, 1))
            return _choose(torch.from_numpy(early), begun, self._formula(given, place))

    @property
    def _direct(self) -> bool:
        """Whether it begins at order 1, with f0 for a difference."""
        return self.fixed_order in (None, 1)

    def _formula(self, x: Given, place: Place) -> Step:
        """A step by the formulas."""
        goal = system(x.f, x.t0, x.dt, place.table, place.order, x.tolerance)
        tried, order = attempted(goal, x.state), place.order
        table = differences.advanced(place.table, order, tried.rise)
        measure = Measure(x.tolerance, x.y0.numpy(), table[:, 0])
        error = by_row(ERROR_OF[order], tried.rise) * tried.rise
        own = measure(error)
        passed = tried.ok & (own <= 1)
        if tried.grown is not None:
            passed &= ~tried.grown.numpy()
        sizes = self._sizes(measure, order, own, passed & (place.equal >= order), table)
        change, growth = _next(order, sizes, tried.iterations)
        known = np.where(passed, growth, np.nan)
        later = after(tried.state, x.dt.numpy(), place, table, order + change, known)
        return x.step(
            y1=torch.from_numpy(table[:, 0].copy()),  # who keeps it keeps no table
            error=torch.from_numpy(error),
            error_order=torch.from_numpy(order),
            ok=None if tried.ok.all() else torch.from_numpy(tried.ok),
            state=later._replace(age=later.age + 1),
            work=_spent(tried.work),
            stages=torch.from_numpy(table).transpose(0, 1),
            f1=x.f.linear.weighed(torch.from_numpy(tried.slope)),
            grown=tried.grown,
            growth=torch.from_numpy(growth),
            size=torch.from_numpy(own),
            jac=later.jac,
        )

    def _start(self, x: Given, place: Place) -> Step:
        """A step by extrapolation, which gives the table one order more."""
        found = started(x.f, x.t0, x.dt, x.y0, self.order, x.tolerance)
        rise = found.y1 - differences.summed(place.table, place.order)
        table = differences.advanced(place.table, place.order, rise)
        measure = Measure(x.tolerance, x.y0.numpy(), table[:, 0])
        own, growth = measure(found.error), np.ones(len(rise))
        passed = found.ok & (own <= 1)
        place, known = place._replace(kept=np.zeros_like(passed)), np.where(passed, 1.0, np.nan)
        later = after(x.state, x.dt.numpy(), place, table, place.order + 1, known)
        dense = cubic(x.dt.numpy(), x.y0.numpy(), _slope(x).numpy(), found)
        return x.step(
            y1=torch.from_numpy(table[:, 0].copy()),  # who keeps it keeps no table
            error=torch.from_numpy(found.error),
            error_order=torch.full_like(x.t0, self.order, dtype=torch.int64),
            ok=torch.from_numpy(found.ok),
            state=later._replace(age=later.age + 1),
            work=_spent(found.work),
            stages=torch.from_numpy(dense).transpose(0, 1),
            f1=torch.from_numpy(found.value),
            growth=torch.from_numpy(growth),
            size=torch.from_numpy(own),
            jac=later.jac,
        )

    def _sizes(
        self, measure: Measure, order: Array, own: Array, ripe: Array, table: Array
    ) -> Array | None:
        """The errors (3, B) of an order less, the same and one more, nan where none is asked."""
        if not ripe.any():
            return None
        sizes = np.full((3, len(order)), np.nan)
        sizes[1] = np.where(ripe, own, np.nan)
        if self.fixed_order is None:
            for row, by, last in ((0, -1, ORDERS[0]), (2, 1, ORDERS[-1])):
                there = ripe & (order != last)
                if there.any():
                    other = np.where(there, order + by, order)
                    difference = of_order(table, other + 1)
                    found = measure(by_row(ERROR_OF[other], table) * difference)
                    sizes[row] = np.where(there, found, np.nan)
        return sizes

    def retry(self, before: BdfState, tried: BdfState) -> BdfState:
        """The differences before, with the Jacobian found since; it is of the same step."""
        return tried._replace(
            table=before.table,
            order=before.order,
            equal=before.equal,
            dt=before.dt,
            due=np.where(np.isnan(tried.due), np.nan, before.due),
            age=tried.age - 1,
        )

    def displace(self, state: BdfState, delta: Tensor) -> BdfState:
        """Of a component that was moved no more is known than where it is now."""
        table, by = state.table, delta.numpy()
        moved = np.where((by != 0)[:, None], 0, table)
        moved[:, 0] = table[:, 0] + by
        # dt may have to follow it, as after a failure
        due = np.where((by != 0).any(-1), np.nan, state.due)
        return state._replace(table=moved, due=due)

    def restart(self, state: BdfState, where: Tensor) -> BdfState:
        """What was before says nothing of what comes."""
        new = where.numpy()
        return state._replace(
            order=np.where(new, 0, state.order),
            due=np.where(new, np.nan, state.due),
            age=np.where(new, AGE, state.age),
        )

    def interpolant(self, step: Step, f1: Tensor) -> Tensor:
        """Coefficients (D, B, F) of the polynomials through the values that made the step."""
        assert isinstance(step.error_order, Tensor)
        table = step.stages.transpose(0, 1).numpy()
        return torch.from_numpy(differences.along(table, step.error_order.numpy()))


def _slope(x: Given) -> Tensor:
    """y' (B, F) at the start of an attempt."""
    return derivative(x.f, x.t0, x.y0, x.f0, Units(x.dt, x.tolerance.scale(x.y0)))


def _next(order: Array, sizes: Array | None, iterations: Array) -> tuple[Array, Array]:
    """How to change order and dt (B,), by the errors (3, B) of the orders around this one."""
    if sizes is None:
        return np.zeros_like(order), np.ones(len(order))
    factors = sizes ** (-1 / (order + np.array([[0], [1], [2]])))
    factors = np.nan_to_num(factors, nan=0.0, posinf=np.inf)
    change = factors.argmax(0) - 1
    # a single iteration owes that to those before, and says nothing of its ease
    slowness = 2 * ITERATIONS + np.maximum(iterations, 2)
    safety = SAFETY * (2 * ITERATIONS + 1) / slowness
    growth = np.minimum(LONGEST, safety * factors.max(0))
    pays = (growth >= GAIN) | ((change != 0) & (growth > 1)) | (growth < LOSS)
    pays &= ~np.isnan(sizes[1])
    return np.where(pays, change, 0), np.where(pays, growth, 1.0)


def _spent(work: Array) -> Work:
    """Of each row (3, B); of a single one as numbers, which costs less."""
    if work.shape[1] == 1:
        return Work(*work[:, 0].tolist())
    return Work(*map(torch.from_numpy, work))


def _choose(mask: Tensor, new: Step, old: Step) -> Step:
    """The rows of `new` where mask holds; `stages` has its rows on the second axis."""
    if old.ok is None:
        old = old._replace(ok=torch.ones_like(mask))
    fields = ("y1", "error", "error_order", "ok", "state", "work", "f1", "growth", "size", "jac")
    picked = {name: select(mask, getattr(new, name), getattr(old, name)) for name in fields}
    stages = torch.where(mask.unsqueeze(-1), new.stages, old.stages)
    grown = None if old.grown is None else old.grown & ~mask
    return old._replace(stages=stages, grown=grown, **picked)
