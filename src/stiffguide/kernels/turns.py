"""How two native calls share the one row of a small solve, and what is said of it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from stiffguide.kernels.running.run import FEW
from stiffguide.kernels.running.task import Ended, Shifts
from stiffguide.kernels.running.threads import NO_MEMORY, QUEUES
from stiffguide.sharing.pair import Pair
from stiffguide.stepping.course import Stretches


class Lazily:
    """A native call whose arguments are packed when it is first made."""

    def __init__(self, function: Any, packed: Callable[[], bytes]) -> None:
        self._function, self._packed = function, packed
        self._given = b""

    def __call__(self) -> int:
        """What the call returns."""
        self._given = self._given or self._packed()
        code: int = self._function(self._given)
        return code


def take_turns(runs: Sequence[Callable[[], int]], ended: Ended, flags: Any) -> None:
    """As `alternate` does, for a single row and in less time."""
    status, t = ctypes.c_int64.from_address(ended.counts.data_ptr()), ended.t.data_ptr()
    assert ended.shifts is not None
    while status.value < 0:
        part = QUEUES.index(status.value)
        ended.shifts.found.append((part, None, ctypes.c_double.from_address(t).value))
        flags[0], flags[2] = 0, 1
        if runs[part]():
            raise MemoryError(NO_MEMORY)


def stretches(pair: Pair | None, t0: Tensor | float, ended: Ended) -> Stretches | None:
    """Which method went on where, in a solve from t0 (B,), if two share the rows."""
    if pair is None or ended.shifts is None:
        return None
    return Stretches(pair.names, t0, ended.shifts.found)


def failed(counts: Tensor, rows: int) -> bool:
    """Whether any row did not succeed, from counts (6, B) or (6,): SUCCESS is 0."""
    if rows > FEW:  # of few rows, python asks faster than torch
        return bool(counts[0].any())
    status = counts.tolist()[0]
    return any(status) if isinstance(status, list) else status != 0


def last(shifts: Shifts, rows: int) -> Tensor:
    """The part (B,) that went on last in every row."""
    found = torch.zeros(rows, dtype=torch.int64)
    for part, where, _ in shifts.found:
        found = torch.where(torch.tensor(True) if where is None else where, part, found)
    return found
