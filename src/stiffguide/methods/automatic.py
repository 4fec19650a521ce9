"""Two methods that share a row: an explicit one where nothing is stiff, else an implicit one.

Either is wrapped in a method that steps as it does and, at every attempt, weighs what the other one
would cost. Costs are counted in evaluations of f, so that the same is chosen on every machine.

The explicit method knows the spectral radius of J along its last step for nothing: two of its
stages lie at the same time (Hairer and Wanner II, IV.2). It is *at its limit* where dt times that
exceeds a part of its stability limit, for under a PI controller dt settles below the limit. After
some attempts at the limit in a row the stiff method is tried, and after long without any, too:
stiffness that holds dt back may hide from the estimate. A trial has to pay, or the row goes back
and is more patient: what trials cost stays a small part of the whole, as in renting skis.

The stiff method has J: one product a step, of a direction that is kept, follows the spectral
radius. A row goes back where an
explicit step as long as that allows would cost less.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from stiffguide.methods.explicit_rk import ExplicitRK
from stiffguide.stepping.contracts import Controller, Field, Method, Step
from stiffguide.stepping.course import Array, Course, Watched
from stiffguide.stepping.tolerance import Tolerance
from stiffguide.tableaux.tableau import Tableau
from stiffguide.tensors import rows

AT_LIMIT = 0.65  # of the stability limit
SAFE = 0.7  # of it, for the step after a return
RUN = 8  # attempts at the limit before a trial; as many trials that were lost double it
MOST = 128
CALM = 3  # accepted attempts below the limit that make a run end
REJECTED = 3  # attempts in a row, after which further ones count: the edge of stability
PROBE = 10  # trials' worth of attempts, after which there is one in any case; doubled likewise
BACK = 5  # attempts that speak for the explicit method before a return
GAIN = 1.25  # a factor by which it has to be cheaper
F64 = torch.float64
BRIEF = 16  # attempts of the stiff method that were hardly worth coming for
TRIAL = 120  # evaluations of a trial,
SHORTEST, LONGEST = 4, 12  # in so many attempts;
SETTLED = 1.5  # of dt before, up to which it has found its length;
OVERTIME = 3  # trials after which it is judged all the same
WARM = 40  # of a multistep method, which begins at order 1
CHEAP = 20  # evaluations for a stiff step, up to which RUN attempts at the limit are enough
PROBING = 2  # a trial without a sign of stiffness
NUDGE = 0.1  # of the direction along which J is large, towards the last error


class Price(NamedTuple):
    """What attempts cost, in evaluations of f."""

    explicit: float
    stiff: float
    trial: int  # attempts of one

    @classmethod
    def of(cls, explicit: ExplicitRK, stiff: Method, each: float) -> Price:
        """Those of two methods, where an attempt of the stiff one costs so much."""
        trial = max(SHORTEST, min(LONGEST, round(TRIAL / each)))
        return cls(explicit.evaluations, each, WARM if stiff.multistep else trial)

    @property
    def worth(self) -> float:
        """Explicit attempts that cost as much as a trial."""
        return self.trial * self.stiff / self.explicit

    def first(self, rows: int, features: int) -> Course:
        """Before the first attempt."""
        run = RUN if self.stiff <= CHEAP else math.ceil(self.worth)
        return Course.first(rows, features, run, math.ceil(PROBE * self.worth))


class Pair(NamedTuple):
    """The methods that share the rows of a solve, and the controllers that suit them."""

    explicit: ExplicitRK
    stiff: Method
    controllers: tuple[Controller, Controller]
    price: Price

    @property
    def names(self) -> tuple[str, str]:
        """Of both, the explicit one first."""
        return self.explicit.name, self.stiff.name

    @property
    def name(self) -> str:
        """Both in one."""
        return f"auto ({self.explicit.name}, {self.stiff.name})"

    @property
    def limit(self) -> float:
        """The stability limit of the explicit one."""
        return stability_limit(self.explicit.tableau)


class _Wrapped:
    """Steps as the method inside does."""

    def __init__(self, inner: Method, price: Price) -> None:
        self.inner, self.price = inner, price
        self.name, self.family = inner.name, inner.family
        self.order, self.error_order = inner.order, inner.error_order
        self.implicit, self.multistep = inner.implicit, inner.multistep
        self.tableau = getattr(inner, "tableau", None)

    def __repr__(self) -> str:
        return repr(self.inner)

    @property
    def dense_order(self) -> int:
        """Order of the interpolant."""
        return self.inner.dense_order

    def init(self, f: Field, t0: Tensor, y0: Tensor) -> Watched:
        """The state of the method, and a course that begins."""
        return Watched(self.inner.init(f, t0, y0), self.price.first(*y0.shape))

    def step(
        self,
        f: Field,
        t0: Tensor,
        dt: Tensor,
        y0: Tensor,
        f0: Tensor,
        state: Watched,
        tolerance: Tolerance,
    ) -> Step:
        """Attempt one step in every row, and say what it tells of the course."""
        step = self.inner.step(f, t0, dt, y0, f0, state.inner, tolerance)
        course = self._after(f, step, state.course, tolerance)
        return step._replace(state=Watched(step.state, course))

    def _after(self, f: Field, step: Step, before: Course, tolerance: Tolerance) -> Course:
        """The course if the attempt is accepted."""
        raise NotImplementedError

    def displace(self, state: Watched, delta: Tensor) -> Watched:
        """As the method does it."""
        return state._replace(inner=self.inner.displace(state.inner, delta))

    def restart(self, state: Watched, where: Tensor) -> Watched:
        """As the method does it; what spoke for the other one is of before."""
        c, go_on = state.course, ~where.numpy()
        course = c._replace(run=c.run * go_on, calm=c.calm * go_on, rejected=c.rejected * go_on)
        return Watched(self.inner.restart(state.inner, where), course)

    def interpolant(self, step: Step, f1: Tensor) -> Tensor:
        """Coefficients (D, B, F) as the method makes them."""
        return self.inner.interpolant(step._replace(state=step.state.inner), f1)


class Explicit(_Wrapped):
    """An explicit Runge-Kutta method with two stages at the end of the step."""

    def __init__(self, inner: ExplicitRK, price: Price) -> None:
        super().__init__(inner, price)
        self.limit = stability_limit(inner.tableau)
        pair = ends(inner.tableau)
        assert pair is not None
        self._pair, self._apart = pair, apart(inner.tableau, pair)

    def _after(self, f: Field, step: Step, before: Course, tolerance: Tolerance) -> Course:
        pull, direction = self._pull(step, tolerance)
        seen = before._replace(pull=pull, direction=direction, dt=step.dt.abs().numpy())
        return self._watched(seen._replace(rejected=np.zeros_like(seen.rejected)), before)

    def _pull(self, step: Step, tolerance: Tolerance) -> tuple[Array, Array]:
        """|dt| times the spectral radius along the last two stages, and the way between them."""
        with torch.no_grad():
            k, (first, second) = step.stages, self._pair
            scale = tolerance.scale(step.y0, step.y1)
            weights = k.new_tensor(self._apart[: len(k)])
            apart = torch.tensordot(weights, k, 1) / scale
            change = (k[second] - k[first]) / scale
            # `apart` is without the factor dt
            return _known(_size(change) / _size(apart)), apart.to(F64).numpy()

    def _watched(self, seen: Course, before: Course) -> Course:
        """The course after an attempt that counts."""
        high = seen.pull > AT_LIMIT * self.limit
        calm = np.where(high, 0, before.calm + 1)
        run = np.where(high, before.run + 1, np.where(calm >= CALM, 0, before.run))
        since = before.since + 1
        leaving = (run >= before.patience) | (since >= before.probe)
        after = seen._replace(run=run, calm=calm, since=since, leaving=leaving)
        return after.where(~before.leaving, before)

    def retry(self, before: Watched, tried: Watched) -> Watched:
        """As the method does it; many rejections in a row are counted like accepted attempts."""
        old, seen = before.course, tried.course
        rejected = old.rejected + 1
        seen = old._replace(pull=seen.pull, rejected=rejected)
        counted = self._watched(seen, old).where(rejected > REJECTED, seen)
        course = counted.where(~old.leaving, old)
        return Watched(self.inner.retry(before.inner, tried.inner), course)

    def enter(self, old: Course, t: Array) -> Course:
        """The course of rows that come back from the stiff method."""
        none = np.zeros_like(old.since)
        failed = ~old.leaving & (old.trial > 0)
        more = np.minimum(2 * old.patience, MOST)
        return old._replace(
            leaving=np.zeros_like(old.leaving),
            run=none,
            calm=none,
            rejected=none,
            since=none,
            patience=np.where(failed, more, old.patience),
            trial=np.zeros_like(old.trial),
        )


class Stiff(_Wrapped):
    """An implicit method, whose steps say which J they used."""

    def __init__(self, inner: Method, price: Price, limit: float, jacobian: float) -> None:
        """`limit` is the explicit method's; a Jacobian costs so many evaluations."""
        super().__init__(inner, price)
        self._limit, self._jacobian = limit, jacobian

    def _after(self, f: Field, step: Step, before: Course, tolerance: Tolerance) -> Course:
        radius, direction = self._radius(f, step, before, tolerance)
        spent = before.spent + self._spent(step, f)
        since, dt = before.since + 1, step.dt.abs().numpy()
        possible = np.minimum(dt, SAFE * self._limit / np.maximum(radius, 1e-300))
        # what a step has cost on average: a Jacobian serves several
        cheaper = self.price.explicit / possible * GAIN < spent / since / dt
        run = np.where(cheaper, before.run + 1, 0)
        way = (step.t0 + step.dt).numpy() - before.begun
        # not while dt finds its length: the first one was the explicit method's
        settled = (dt <= SETTLED * before.step) & (before.rejected == 0)
        due = since >= np.where(settled, 1, OVERTIME) * self.price.trial
        judged = (before.trial > 0) & due
        with np.errstate(all="ignore"):
            pace = self.price.explicit / before.dt
            lost = judged & (spent / np.abs(way) > pace) & (spent / since / dt > pace)
        back = (run >= BACK) | lost
        hasty = back & (lost | (since <= BRIEF))
        won = np.where(judged & ~lost, before.probe // 2, before.probe)
        probe = np.where(hasty, 2 * before.probe, np.maximum(won, self.price.trial))
        after = before._replace(
            leaving=back,
            run=run,
            since=since,
            spent=spent,
            dt=np.where(back, possible, before.dt),
            trial=np.where(judged, 0, before.trial),
            step=dt,
            rejected=np.zeros_like(before.rejected),
            direction=direction,
            patience=np.where(hasty, np.minimum(2 * before.patience, MOST), before.patience),
            probe=np.where(before.trial == PROBING, probe, before.probe),
        )
        return after.where(~before.leaving, before)

    def _spent(self, step: Step, f: Field) -> Array:
        """Evaluations (B,) of an attempt and what comes after it."""
        nfe, njac = (
            x.numpy() if isinstance(x, Tensor) else np.full(len(step.y0), x)
            for x in (step.work.nfe, step.work.njac)
        )
        more: Any = nfe + self._jacobian * njac + (step.f1 is None)
        return np.asarray(more, np.float64)

    def _radius(
        self, f: Field, step: Step, before: Course, tolerance: Tolerance
    ) -> tuple[Array, Array]:
        """The spectral radius (B,) by a power iteration that goes on from step to step."""
        assert step.jac is not None
        with torch.no_grad():
            scale = tolerance.scale(step.y0, step.y1)
            v = torch.from_numpy(before.direction).to(scale.dtype)
            if step.error is not None:
                e = step.error / scale
                e = v + e * rows(NUDGE / _size(e), e)
                v = torch.where(rows(_usable(e), e), e, v)
            start = torch.linspace(1.0, 2.0, v.shape[-1], dtype=v.dtype)
            v = torch.where(rows(_usable(v), v), v, start)
            v = v / rows(_size(v), v)
            w = f.linear.product(step.jac, v * scale) / scale
            radius = _size(w)
            v = torch.where(rows(_usable(w), w), w / rows(radius, w), v)
            return _known(radius), v.to(F64).numpy()

    def retry(self, before: Watched, tried: Watched) -> Watched:
        """As the method does it; what the attempt cost is spent."""
        old, seen = before.course, tried.course
        course = old._replace(since=seen.since, spent=seen.spent, rejected=old.rejected + 1)
        course = course.where(~old.leaving, old)
        return Watched(self.inner.retry(before.inner, tried.inner), course)

    def enter(self, old: Course, t: Array) -> Course:
        """The course of rows that come from the explicit method."""
        none, zero = np.zeros_like(old.since), np.zeros_like(old.spent)
        probing = old.run < old.patience
        size = np.linalg.norm(old.direction, axis=-1, keepdims=True)
        direction = np.divide(old.direction, size, out=0 * old.direction, where=size > 0)
        return old._replace(
            leaving=np.zeros_like(old.leaving),
            run=none,
            rejected=none,
            since=none,
            begun=t,
            step=zero,
            direction=direction,
            spent=zero,
            trial=np.where(probing, PROBING, 1),
        )


def _size(v: Tensor) -> Tensor:
    """(B,) of (B, F)."""
    size: Tensor = torch.linalg.vector_norm(v, dim=-1)
    return size


def _usable(v: Tensor) -> Tensor:
    """Rows (B,) of (B, F) that have a direction."""
    size = _size(v)
    return (size > 0) & (size < math.inf)


def _known(x: Tensor) -> Array:
    """Numbers (B,), 0 where they are not finite."""
    return torch.nan_to_num(x, nan=0.0, posinf=0.0).to(F64).numpy()


def ends(tableau: Tableau) -> tuple[int, int] | None:
    """Two stages at the end of a step, if there are two."""
    found = [i for i, node in enumerate(tableau.c) if node == 1][:2]
    return (found[0], found[1]) if len(found) == 2 else None


def apart(tableau: Tableau, pair: tuple[int, int]) -> tuple[float, ...]:
    """The weights of the way from the state of the first to that of the second, over dt."""
    first, second = (tableau.a[i] for i in pair)
    return tuple(float(x - y) for x, y in zip(second, first, strict=True))


@cache
def stability_limit(tableau: Tableau) -> float:
    """The largest x with |R(-s)| <= 1 in [0, x], as `stability` has it exactly, but at once."""
    a, b = (np.array(x, dtype=np.float64) for x in (tableau.a, tableau.b))
    terms, v = [1.0], np.ones(len(b))
    for k in range(len(b)):
        terms.append(float(b @ v) * (-1.0) ** (k + 1))
        v = a @ v
    found = []
    for level in (1.0, -1.0):
        roots = np.roots(np.array([*terms[:0:-1], terms[0] - level]))
        real = roots[np.abs(roots.imag) < 1e-9].real
        found += [float(x) for x in real if x > 1e-6]
    return min(found)
