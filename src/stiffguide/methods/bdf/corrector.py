"""The simplified Newton iteration of a multistep formula, in every row at once, as arrays of numpy.

The formula is c f(t1, predicted + d) = psi + d. What is left of it, divided by c, goes through
W^-1 = (I/c' - J)^-1, where factors made with c' serve for a nearby c, too: then an iteration leaves
1 - omega (1/c - lambda)/(1/c' - lambda) of an error in a mode lambda. The quotient lies between 1
(stiff modes) and c'/c (slow ones) whatever the mode, so omega = 2/(1 + c'/c) leaves no more than
|c - c'|/(c + c') of any of them (CVODE's relaxation: Hindmarsh et al., ACM TOMS 31 (2005)).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stiffguide.stepping.contracts import Tolerance

Array = NDArray[Any]

ITERATIONS = 4
LOOSEST = 0.03  # of the tolerance, which the iteration may leave; less where rtol is small,
STRICTEST = 1e-8  # but not for ever: from there on it is this one's root


class Formula(NamedTuple):
    """The systems of an attempt."""

    f: Callable[[Array], Array]  # f(t1, y), (B, F) -> (B, F)
    predicted: Array  # (B, F)
    psi: Array  # (B, F)
    c: Array  # (B, 1)
    weight: Array  # (B, F), 1 over the tolerance on y
    limit: Array  # (B,) of it, that the iteration may leave


class Linear(NamedTuple):
    """The approximate inverse."""

    solve: Callable[[Array], Array]  # W^-1, (B, F) -> (B, F)
    c: Array  # (B, 1) it was made with
    rate: Array  # (B,) a contraction to reckon with before one is seen, or nan


class Corrected(NamedTuple):
    """Where the iteration ended."""

    y: Array  # (B, F)
    rise: Array  # (B, F), y - predicted
    slope: Array  # (B, F), (psi + rise)/c, which is f(t1, y) at a root
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
    base = formula.psi * inverse
    slope, rise = base, np.zeros_like(y)
    omega = 2 / (1 + linear.c * inverse)
    relaxed = bool((linear.c != formula.c).any())
    bound = np.abs((formula.c - linear.c) / (formula.c + linear.c))[:, 0]
    rate, last = np.maximum(linear.rate, bound), np.full(len(y), np.nan)
    slowest = last
    live, ok = np.ones(len(y), np.bool_), np.zeros(len(y), np.bool_)
    count = np.zeros(len(y), np.int64)
    for m in range(int(most.max()) + 1):
        step = linear.solve(formula.f(y) - slope)
        if relaxed:
            step = step * omega
        size = _rms(step * formula.weight)
        count += live
        if m:
            theta = size / last
            rate, slowest = np.fmax(theta, bound), np.where(live, np.fmax(slowest, theta), slowest)
            hopeless = theta ** (most - m) / (1 - theta) * size > formula.limit
            live = live & (theta < 1) & ~hopeless
        live = live & (size < np.inf)  # not so where it is nan
        if not live.any():
            break
        every = bool(live.all())
        before, rise = y, rise + step if every else np.where(live[:, None], rise + step, rise)
        y = y + step if every else np.where(live[:, None], y + step, y)
        slope = base + rise * inverse
        done = live & ((rate / (1 - rate) * size < formula.limit) | (size == 0))
        if done.any():
            done &= ~((y < 0) & (before > 0) | (y > 0) & (before < 0)).any(-1)
        ok, live, last = ok | done, live & ~done, size
        if not live.any():
            break
    # a row that met what is not finite has no slope
    slope = np.where((ok | (size < np.inf))[:, None], slope, np.nan) if not ok.all() else slope
    return Corrected(y, rise, slope, ok, slowest, count)


def weight(scale: Tensor) -> Array:
    """1 over the tolerance (B, F), where there is one."""
    size: Array = scale.numpy()
    found: Array = 1 / np.maximum(size, np.finfo(size.dtype).tiny)
    return found


def limit(tolerance: Tolerance, y: Tensor, part: float = 1.0) -> Array:
    """What Newton may leave of the tolerance (B,): as in the codes of these formulas, or a part."""
    rtol = torch.as_tensor(tolerance.rtol, dtype=torch.float64)
    least = torch.atleast_2d(rtol).amin(-1).expand(len(y)).numpy()
    rounding = np.where(least > 0, 10 * torch.finfo(y.dtype).eps / least, 0.0)
    found: Array = np.maximum(rounding, part * np.sqrt(np.clip(least, STRICTEST, LOOSEST**2)))
    return found


def _rms(x: Array) -> Array:
    size: Array = np.sqrt(np.einsum("bf,bf->b", x, x) / x.shape[1])
    return size
