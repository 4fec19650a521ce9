"""The simplified Newton iteration of a multistep formula, in every row at once, as arrays of numpy.

The formula is c f(t1, predicted + d) = M (psi + d). What is left of it, divided by c, goes through
W^-1 = (M/c' - J)^-1, where factors made with c' serve for a nearby c, too: then an iteration leaves
1 - omega (1/c - lambda)/(1/c' - lambda) of an error in a mode lambda. The quotient lies between 1
(stiff modes) and c'/c (slow ones) whatever the mode, so omega = 2/(1 + c'/c) leaves no more than
|c - c'|/(c + c') of any of them (CVODE's relaxation: Hindmarsh et al., ACM TOMS 31 (2005)).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from stiffguide.stepping.tolerance import Tolerance
from stiffguide.tensors import magnitude

Array = NDArray[Any]

ITERATIONS = 4
LOOSEST = 0.03  # of the tolerance, which the iteration may leave; less where rtol is small,
STRICTEST = 1e-8  # but not for ever: from there on it is this one's root


def itself(v: Array) -> Array:
    """V where M is the identity."""
    return v


class Formula(NamedTuple):
    """The systems of an attempt."""

    f: Callable[[Array], Array]  # f(t1, y), (B, F) -> (B, F)
    predicted: Array  # (B, F)
    psi: Array  # (B, F)
    c: Array  # (B, 1)
    weight: Array  # (B, F), 1 over the tolerance on y
    limit: Array  # (B,) of it, that the iteration may leave
    weighed: Callable[[Array], Array] = itself  # M v


class Linear(NamedTuple):
    """The approximate inverse."""

    solve: Callable[[Array], Array]  # W^-1, (B, F) -> (B, F)
    c: Array  # (B, 1) it was made with
    rate: Array  # (B,) a contraction to reckon with before one is seen, or nan


class Corrected(NamedTuple):
    """Where the iteration ended."""

    y: Array  # (B, F)
    rise: Array  # (B, F), y - predicted
    slope: Array  # (B, F), (psi + rise)/c, which is y' at a root
    ok: Array  # (B,) bool
    rate: Array  # (B,) the slowest contraction seen; nan where none was
    iterations: Array  # (B,) int64


def correct(formula: Formula, linear: Linear, most: Array) -> Corrected:
    """Solve the formula in every row, in at most so many iterations (B,).

    A row ends where theta/(1 - theta) of the last correction is below its limit, with theta the
    contraction (Hairer and Wanner II, IV.8), or where it can no longer come there in time. The
    first correction may be enough where a contraction is known from steps before. It does not end
    with a correction that takes a component through zero, beyond which f may not be defined.
    """
    y, inverse = formula.predicted, 1 / formula.c
    base = slope = formula.psi * inverse
    rise: Array | None = None
    omega = None if (linear.c == formula.c).all() else 2 / (1 + linear.c * inverse)
    course = Course(formula, linear, most)
    for m in range(int(most.max()) + 1):
        step = linear.solve(formula.f(y) - formula.weighed(slope))
        if omega is not None:
            step = step * omega
        live = course.after(m, size_of(step * formula.weight))
        if live is None:
            break
        if not live.all():
            step = np.where(live[:, None], step, 0)
        before, y, rise = y, y + step, step if rise is None else rise + step
        slope = base + rise * inverse
        if course.ended(y * before):
            break
    # a row that met what is not finite has no slope
    slope = slope if course.sound.all() else np.where(course.sound[:, None], slope, np.nan)
    rise = np.zeros_like(y) if rise is None else rise
    return Corrected(y, rise, slope, course.ok, course.slowest, course.count)


class Course:
    """How the iterations of all rows go: sizes of corrections, and what follows from them."""

    def __init__(self, formula: Formula, linear: Linear, most: Array) -> None:
        self._limit, self._most = formula.limit, most
        self._bound = np.abs((formula.c - linear.c) / (formula.c + linear.c))[:, 0]
        self._rate = np.maximum(linear.rate, self._bound)
        self.slowest: Array = np.full(len(most), np.nan)
        self._last, self._live = self.slowest, np.ones(len(most), np.bool_)
        self.ok: Array = np.zeros(len(most), np.bool_)
        self.sound: Array = self._live
        self.count: Array = np.zeros(len(most), np.int64)

    def after(self, m: int, size: Array) -> Array | None:
        """The rows (B,) bool that take their correction number m of this size; None: none does."""
        live = self._live
        self.count = self.count + live
        finite = size < np.inf  # not so where it is nan
        self.sound = self.sound & (finite | ~live)
        if m:
            theta = size / self._last
            hopeless = theta ** (self._most - m) / (1 - theta) * size > self._limit
            self._rate = np.fmax(theta, self._bound)
            self.slowest = np.where(live, np.fmax(self.slowest, theta), self.slowest)
            live = live & (theta < 1) & ~hopeless
        self._live, self._last = live & finite, size
        return self._live if self._live.any() else None

    def ended(self, products: Array) -> bool:
        """Whether no row goes on; `products` (B, F) are those of states before and after."""
        size, rate, live = self._last, self._rate, self._live
        done = live & ((rate / (1 - rate) * size < self._limit) | (size == 0))
        if not done.any():
            return False
        done &= ~(products < 0).any(-1)
        self.ok, self._live = self.ok | done, live & ~done
        return not self._live.any()


def scale_of(tolerance: Tolerance, *states: Array) -> Array:
    """The tolerance on states (B, F): `Tolerance.scale`, in numpy where it is two numbers."""
    rtol, atol = tolerance.rtol, tolerance.atol
    plain = isinstance(rtol, float) and isinstance(atol, float) and tolerance.size is magnitude
    if not plain:
        return tolerance.scale(*map(torch.from_numpy, states)).numpy()
    size = np.abs(states[0])
    for y in states[1:]:
        size = np.maximum(size, np.abs(y))
    scale: Array = atol + rtol * size
    return scale


def weight(scale: Array) -> Array:
    """1 over the tolerance (B, F), where there is one."""
    found: Array = 1 / np.maximum(scale, np.finfo(scale.dtype).tiny)
    return found


def limit(tolerance: Tolerance, y: Array, part: float = 1.0) -> Array:
    """What Newton may leave of the tolerance (B,): as in the codes of these formulas, or a part."""
    rtol, eps = tolerance.rtol, float(np.finfo(y.dtype).eps)
    if isinstance(rtol, float):
        return np.full(len(y), _limit(rtol, eps, part))
    least = torch.atleast_2d(rtol).amin(-1).expand(len(y)).tolist()
    return np.array([_limit(x, eps, part) for x in least])


@lru_cache
def _limit(rtol: float, eps: float, part: float) -> float:
    rounding = 10 * eps / rtol if rtol > 0 else 0.0
    return max(rounding, part * math.sqrt(min(max(rtol, STRICTEST), LOOSEST**2)))


def size_of(x: Array) -> Array:
    """Root mean square over the features (B,)."""
    size: Array = np.sqrt(np.einsum("bf,bf->b", x, x) / x.shape[1])
    return size
