"""Simplified Newton iteration in every row at once; a row that is done is frozen.

Stopping after Hairer and Wanner II, IV.8: with theta the observed contraction, the remaining error
is at most theta/(1 - theta) times the last correction. This file knows neither t nor a tableau.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from stiffguide.tensors import rms, rows

MAX_ITERATIONS = 10
ITERATIONS_WITHOUT_SYNC = 6  # on an accelerator: no question is asked of the data
UNSEEN = 0.25  # theta/(1 - theta) to reckon with before a contraction was seen
SETTLED = 0.5  # a contraction that reaches the rounding of z in earnest
DIVERGED = 2.0  # a contraction beyond this is none; the first ones may exceed 1 on the way in
TOLERANCE = 1e-2  # of the error tolerance: below it the error estimate would see the iteration


class Root(NamedTuple):
    """Where the iteration ended."""

    z: Tensor  # (B, F)
    ok: Tensor  # (B,) bool, converged
    rate: Tensor  # (B,) worst contraction theta seen; 0 if one iteration was enough
    iterations: Tensor  # (B,) int64


def solve(
    residual: Callable[[Tensor], Tensor],
    solve_linear: Callable[[Tensor], Tensor],
    z: Tensor,
    scale: Tensor,
    doubt: Tensor | None = None,
) -> Root:
    """Find residual(z) = 0 by z <- z - solve_linear(residual(z)), from the guess z (B, F).

    `scale` (B, F) is the tolerance on z. In rows (B,) of `doubt` the linear solve may be out of
    date: a small first correction proves nothing there, the contraction must be seen.
    """
    sync = z.device.type == "cpu"
    norm = rms(z.abs() / scale)
    floor = 4 * torch.finfo(scale.dtype).eps * norm
    small = torch.clamp(floor, max=1.0)
    live = torch.ones_like(norm, dtype=torch.bool)
    ok = torch.zeros_like(live)
    rate = torch.zeros_like(norm)
    iterations = torch.zeros_like(norm, dtype=torch.int64)
    for m in range(MAX_ITERATIONS if sync else ITERATIONS_WITHOUT_SYNC):
        last = norm
        correction = solve_linear(residual(z))
        norm = rms(correction.abs() / scale)
        iterations = iterations + live
        z = torch.where(rows(live, z), z - correction, z)
        # At the rounding of z there is nothing left to correct. But a correction of many
        # tolerances says so only where the iteration was seen to contract: with a Jacobian of
        # 1e38 it cannot move, and the guess would win.
        if m == 0:
            done = norm * UNSEEN <= TOLERANCE
            done = done if doubt is None else done & ~doubt
        else:
            theta = norm / last
            rate = torch.where(live, torch.maximum(rate, theta), rate)
            done = norm * theta <= TOLERANCE * (1 - theta)
            done = done | ((norm <= floor) & (theta < SETTLED))
        done = done | (norm <= small)
        ok = ok | (live & done)
        live = live & ~done
        if m > 0:  # nan compares false: it must not look like progress
            live = live & (theta < DIVERGED)
        if sync and not bool(live.any()):
            break
    return Root(z, ok, rate, iterations)
