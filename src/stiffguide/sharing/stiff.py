"""The implicit method that shares its rows with an explicit one.

It has J: one product a step, of a direction that is kept, follows the spectral radius. A row goes
back where an explicit step as long as that allows would cost less, or where its trial is lost.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stiffguide.sharing.pair import MOST, Price
from stiffguide.sharing.wrapped import Wrapped
from stiffguide.stepping.contracts import Field, Method, Step
from stiffguide.stepping.course import Array, Course, Watched
from stiffguide.stepping.tolerance import Tolerance
from stiffguide.tensors import rows

SAFE = 0.7  # of the stability limit, for the step after a return
BACK = 5  # attempts that speak for the explicit method before a return
GAIN = 1.25  # a factor by which it has to be cheaper
BRIEF = 16  # attempts that were hardly worth coming for
SETTLED = 1.5  # of dt before, up to which it has found its length;
OVERTIME = 3  # trials after which it is judged all the same
PROBING = 2  # a trial without a sign of stiffness
NUDGE = 0.1  # of the direction along which J is large, towards the last error
F64 = torch.float64


class Stiff(Wrapped):
    """An implicit method, whose steps say which J they used."""

    def __init__(self, inner: Method, price: Price, limit: float, jacobian: float) -> None:
        """`limit` is the explicit method's; a Jacobian costs so many evaluations."""
        super().__init__(inner, price)
        self._limit, self._jacobian = limit, jacobian

    def _after(self, f: Field, step: Step, before: Course, tolerance: Tolerance) -> Course:
        radius, direction = self._radius(f, step, before, tolerance)
        spent = before.spent + self._spent(step)
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

    def _spent(self, step: Step) -> Array:
        """Evaluations (B,) of an attempt and what comes after it."""
        if self.family == "Rosenbrock":  # always the same, whoever finds the Jacobian
            return np.full(len(step.y0), self.price.stiff)
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
