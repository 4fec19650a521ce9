"""The first steps of a formula of fixed order: by extrapolation of the implicit Euler method.

A formula of order k wants k values behind it, each as accurate as its own steps are: a start at
order 1 would leave an error of dt^2. So the first k steps are extrapolated from 1, 2, ..., k + 1
steps of the formula of order 1 (Deuflhard, SIAM Review 27 (1985); Hairer and Wanner II, IV.9). The
values stand dt apart, so that their differences need no change of the spacing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from stiffguide.methods.bdf import table as differences
from stiffguide.methods.bdf.corrector import Formula, Linear, correct, limit, weight
from stiffguide.methods.bdf.table import Array
from stiffguide.stepping.constraints import slope as derivative
from stiffguide.stepping.contracts import Field, Units
from stiffguide.stepping.guards import sound
from stiffguide.stepping.tolerance import Tolerance

ITERATIONS = 20  # J is that of t0, and predictions are poor
CLOSER = 0.1  # than a step asks of Newton: its errors are extrapolated, too


class Start(NamedTuple):
    """A step without a history."""

    y1: Array  # (B, F)
    error: Array  # (B, F) of order k
    value: Array  # (B, F), f(t1, y1)
    slope: Array  # (B, F), y' there
    ok: Array  # (B,) bool
    work: Array  # (3, B) int64


def started(
    f: Field, t0: Tensor, dt: Tensor, y0: Tensor, order: int, tolerance: Tolerance
) -> Start:
    """A step of order k + 1, and its distance to one of order k."""
    units = Units(dt, tolerance.scale(y0))
    found, _ = sound(f.linearise(t0, y0, units, time=False), f, t0, y0, units)
    work = np.zeros((3, len(y0)), np.int64)
    work[0] += np.asarray(found.nfe)
    work[1] += 1
    ok = np.ones(len(y0), np.bool_)
    before: list[Array] = []
    for parts in range(1, order + 2):
        y, fine, nfe = _euler(f, t0, y0, found.jac, units, parts, tolerance)
        ok &= fine
        work += np.stack((nfe, np.zeros_like(nfe), np.ones_like(nfe)))
        row = [y]
        for j in range(1, parts):
            row.append(row[-1] + (row[-1] - before[j - 1]) * ((parts - j) / j))
        before = row
    y1, error = before[-1], before[-1] - before[-2]
    value = f(t0 + dt, torch.from_numpy(y1))
    end = Units(-dt, units.scale)
    slope = derivative(f, t0 + dt, torch.from_numpy(y1), value, end).numpy()
    work[0] += 1
    # rounding of one component is that of all, in units of the tolerance
    worst = (np.abs(y1) * weight(units.scale.numpy())).max(-1, keepdims=True)
    rounding = _amplified(order + 1) * np.finfo(y1.dtype).eps * worst * units.scale.numpy()
    error = np.where(np.abs(error) > rounding, error, 0)
    return Start(y1, error, value.numpy(), slope, ok, work)


def _amplified(columns: int) -> float:
    """How much of a rounding of the solves their extrapolation may make, at most."""
    before = [1.0]
    for parts in range(2, columns + 1):
        row = [1.0]
        for j in range(1, parts):
            row.append(row[-1] + (row[-1] + before[j - 1]) * ((parts - j) / j))
        before = row
    return before[-1] + before[-2]


def _euler(
    f: Field,
    t0: Tensor,
    y0: Tensor,
    jac: Tensor,
    units: Units,
    parts: int,
    tolerance: Tolerance,
) -> tuple[Array, Array, Array]:
    """So many steps of equal length (B, F), whether all converged, and their evaluations (B,)."""
    tau = units.dt / parts
    factors = f.linear.factor((1 / tau).to(y0.dtype), jac, units.scale)

    def weighed(x: Array) -> Array:
        found: Array = f.linear.weighed(torch.from_numpy(x)).numpy()
        return found

    c = tau.numpy()[:, None].astype(y0.numpy().dtype)
    y, ok, nfe = y0.numpy(), np.ones(len(y0), np.bool_), np.zeros(len(y0), np.int64)
    for i in range(1, parts + 1):
        t = t0 + units.dt * (i / parts)
        formula = Formula(
            f=lambda x, t=t: f(t, torch.from_numpy(x)).numpy(),  # type: ignore[misc]
            weighed=weighed,
            predicted=y,
            psi=np.zeros_like(y),
            c=c,
            weight=weight(units.scale.numpy()),
            limit=limit(tolerance, y, CLOSER),
        )
        linear = Linear(
            lambda x: f.linear.solve(factors, torch.from_numpy(x)).numpy(),
            c,
            np.full(len(y), np.nan),
        )
        found = correct(formula, linear, np.full(len(y), ITERATIONS))
        # once more: extrapolation amplifies what is left
        last = linear.solve(formula.f(found.y) - weighed(found.slope))
        y, ok, nfe = found.y + last, ok & found.ok, nfe + found.iterations + 1
    return y, ok, nfe


def cubic(dt: Array, y0: Array, f0: Array, start: Start) -> Array:
    """A table (B, 8, F) at t1 of the polynomial with the values and slopes of both ends."""
    h = dt[:, None].astype(y0.dtype)
    rise, left, right = start.y1 - y0, h * f0, h * start.slope
    table = np.zeros((len(y0), differences.DIFFERENCES, y0.shape[1]), y0.dtype)
    # y0 + left x + (3 rise - 2 left - right) x^2 + (left + right - 2 rise) x^3 at x = 1, 0, -1, -2
    second, third = 3 * rise - 2 * left - right, left + right - 2 * rise
    table[:, 0], table[:, 1] = start.y1, rise
    table[:, 2], table[:, 3] = 2 * second, 6 * third
    return table
