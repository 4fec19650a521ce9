"""Memory that a native call reads its times from, and leaves what it kept in."""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

import torch
from torch import Tensor

F64 = torch.float64
STEPS = 1023  # of one row, that are kept without having been counted before
Ends: type[ctypes.Array[ctypes.c_double]] = ctypes.c_double * 3


class Times(NamedTuple):
    """Times (T,) to save at."""

    line: Tensor
    first: float
    last: float

    def between(self, t0: float, t1: float) -> bool:
        """Whether they lie between t0 and t1, given that they are in the order of some solve."""
        if t1 < t0:
            return t0 >= self.first >= self.last >= t1
        return t0 <= self.first <= self.last <= t1


class Steps(NamedTuple):
    """Room for the start of a solve of one row and the ends of its accepted steps."""

    t: Tensor  # (STEPS + 1,)
    y: Tensor  # (STEPS + 1, F)
    before: Tensor  # (STEPS, 1 + F), which nobody reads

    def places(self) -> tuple[int, ...]:
        """What a kernel is told of it."""
        features = self.y.shape[1]
        before, t, y = self.before.data_ptr(), self.t.data_ptr() + 8, self.y.data_ptr()
        return STEPS, before, t, before + 8 * STEPS, y + 8 * features, 0


def ends(t0: float, t1: float, rows: int) -> tuple[Any, int]:
    """t0, t1 and room for dt, for every row, and the address of it all."""
    if rows == 1:
        few = Ends(t0, t1)
        return few, ctypes.addressof(few)
    many = torch.empty((3, rows), dtype=F64)
    many[0], many[1] = t0, t1
    return many, many.data_ptr()


def table(given: Any, rows: int) -> Tensor:
    """The same as a tensor (3, B)."""
    if isinstance(given, Tensor):
        return given
    return torch.tensor(list(given), dtype=F64).reshape(3, rows)


def steps(y0: Tensor, t0: float) -> Steps:
    """Room that begins with the start y0 of one row."""
    start = y0.reshape(-1)
    n = start.shape[0]
    made = Steps(y0.new_empty(STEPS + 1), y0.new_empty(STEPS + 1, n), y0.new_empty(STEPS, 1 + n))
    made.t[0], made.y[0] = t0, start
    return made
