"""Derivatives of a field by differences, nudged in the units of the problem.

No nudge is an absolute number: f in other units of t and y has the same Jacobian in those units.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from stiffguide.stepping.contracts import Linearisation, Units
from stiffguide.tensors import finite, real_dtype, rows

NEAR_ZERO = 0.1  # tolerances: far enough for f to tell, and nothing to the user

Flat = Callable[[Tensor, Tensor], Tensor]  # f(t (B,), y (B, F)) -> (B, F)


def differences(f: Flat, t: Tensor, y: Tensor, units: Units, *, time: bool) -> Linearisation:
    """The Jacobian at (t, y) and, with `time`, the derivative by t; one evaluation a column.

    Upwards, or downwards in the rows where f is finite at y and not above it.
    """
    base = f(t, y)
    nudge = nudges(y, base, units)
    columns = range(y.shape[-1])
    points = [_moved(y, j, nudge) for j in columns]
    values = [f(t, point) for point in points]
    nfe = 1 + len(values)
    outside = finite(base).unsqueeze(-1) & ~torch.stack([finite(v) for v in values], -1)
    if bool(outside.any()):
        nudge = torch.where(outside, -nudge, nudge)
        for j in torch.nonzero(outside.any(0)).flatten().tolist():
            points[j] = _moved(y, j, nudge)
            # made anew in every row: autograd must not meet what is not finite
            values[j] = f(t, points[j])
            nfe += 1
    jac = torch.stack(
        [(values[j] - base) / (points[j] - y)[:, j, None] for j in columns],  # what was added
        -1,
    )
    if not time:
        return Linearisation(jac, None, nfe)
    slope, more = difference_in_time(f, t, y, base, units.dt)
    return Linearisation(jac, slope, nfe + more)


def difference_in_time(
    f: Flat, t: Tensor, y: Tensor, base: Tensor, dt: Tensor
) -> tuple[Tensor, int]:
    """df/dt (B, F), given f(t, y), and the evaluations that it took.

    Into the step about to be made or, in the rows where f is finite at t and not there, away.
    """
    precision = real_dtype(y.dtype)  # f sees t so
    eps = torch.finfo(precision).eps
    # balances the rounding of t in f, eps |t| / nudge, with what f bends, nudge / dt
    nudge = torch.sqrt(eps * torch.maximum(t.abs(), dt.abs())) * torch.sqrt(dt.abs())
    nudge = torch.copysign(torch.maximum(nudge, 4 * eps * t.abs()), dt)
    later, nfe = t + nudge, 1
    value = f(later, y)
    outside = finite(base) & ~finite(value)
    if bool(outside.any()):
        later, nfe = t + torch.where(outside, -nudge, nudge), 2
        value = f(later, y)
    width = later.to(precision) - t.to(precision)
    return (value - base) / width.unsqueeze(-1), nfe


def nudges(y: Tensor, base: Tensor, units: Units) -> Tensor:
    """How far each component (B, F) is moved, given f(t, y).

    Half the digits of y, and of the way that y goes in this step: to what the step makes of it,
    the rounding of f then does no more than half of its digits. A component below its tolerance
    moves by a part of that, so that also a derivative that is infinite at 0 has a sensible slope.
    """
    with torch.no_grad():
        half = torch.finfo(real_dtype(y.dtype)).eps ** 0.5
        size = y.abs()
        way = (rows(units.dt, y).to(y.dtype) * base).abs().nan_to_num(0.0, 0.0)
        share = (units.scale / size).nan_to_num(0.0).clamp(max=1.0)  # 0/0: purely relative
        nudge = torch.maximum(size, way).mul(half).maximum(NEAR_ZERO * share * units.scale)
        # a component that is 0, stays 0 and has no tolerance: as the largest one, or any
        least = nudge.amax(-1, keepdim=True)
        return torch.where(nudge > 0, nudge, torch.where(least > 0, least, half))


def _moved(y: Tensor, j: int, nudge: Tensor) -> Tensor:
    """y (B, F) with component j nudged."""
    moved = y.clone()
    moved[:, j] += nudge[:, j]
    return moved
