"""Whether a pattern has every entry of a Jacobian, asked of f itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from stiffguide.algebra.pattern import Indices
from stiffguide.algebra.rowwise import Rowwise

Flat = Callable[[Tensor, Tensor], Tensor]  # f(t (B,), y (B, F)) -> (B, F)

OFF = 0.1  # of what the entries say: a difference that is off by more has a reason
NOISE = 64  # roundings of f, by the size of its terms
ASKED = 8  # rows that are looked into, where J v is off
NAMED = 64  # entries that are found before a pattern is made anew


class Outside(Exception):
    """f depends on what the pattern says that it does not."""

    t: Tensor
    y: Tensor

    def __init__(self, places: list[tuple[int, int]], t: Tensor, y: Tensor) -> None:
        super().__init__(f"f[{places[0][0]}] depends on y[{places[0][1]}]")
        self.places = places  # (i, j): some of the entries that the pattern lacks
        self.t, self.y = t, y  # (B,), (B, F): where that was seen


def outside(
    f: Flat, linear: Rowwise, t: Tensor, y: Tensor, base: Tensor, jac: Tensor, step: Tensor
) -> None:
    """Raise Outside if f (B, F), which is `base` at y, changes by more than J says; one evaluation.

    All components move at once, by a random part of `step` (B, F), so that a difference that is
    off has lost an entry or lies across a kink of f (an upwind switch between equal neighbours).
    Which of both is then asked without any doubt: a component of f that changes although nothing
    moved that the pattern knows of has an entry that it lacks.
    """
    draw = torch.Generator().manual_seed(0)
    share = 0.5 + 0.5 * torch.rand(y.shape, generator=draw, dtype=torch.float64).to(y.dtype)
    moved = (y + share * step) - y
    change = f(t, y + moved) - base
    told, size = linear.product(jac, moved), linear.product(jac.abs(), moved.abs())
    noise = NOISE * torch.finfo(y.dtype).eps * (base.abs() + linear.product(jac.abs(), y.abs()))
    off = (change - told).abs() - (OFF * size + noise)
    wrong = off > 0  # what is not finite is for others to judge
    if not bool(wrong.any()):
        return
    worst = off.where(wrong, -1.0).amax(0)
    for i in worst.argsort(descending=True)[:ASKED].tolist():
        if worst[i] > 0 and (places := _lacking(f, linear, t, y, base, noise, moved, i)):
            raise Outside(places, t, y)


def _lacking(
    f: Flat,
    linear: Rowwise,
    t: Tensor,
    y: Tensor,
    base: Tensor,
    noise: Tensor,
    moved: Tensor,
    i: int,
) -> list[tuple[int, int]]:
    """Entries (i, j) outside the pattern on which component i of f depends."""
    pattern = linear.pattern
    known = pattern.columns[pattern.rows == i]
    strangers = np.setdiff1d(np.arange(pattern.n), known)

    def changes(columns: Indices) -> bool:
        where = torch.zeros(pattern.n, dtype=torch.bool)
        where[torch.from_numpy(columns)] = True
        there = f(t, torch.where(where, y + moved, y))
        return bool(((there - base)[:, i].abs() > noise[:, i]).any())

    found: list[tuple[int, int]] = []
    while len(found) < NAMED and changes(strangers):
        low, high = 0, len(strangers)  # nothing changes by the first `low`, it does by `high`
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if changes(strangers[:middle]) else (middle, high)
        found.append((i, int(strangers[low])))
        strangers = np.delete(strangers, low)
    return found
