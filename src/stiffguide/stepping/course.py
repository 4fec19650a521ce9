"""What a row remembers of its way while two methods share it: see `sharing/`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]


class Course(NamedTuple):
    """Arrays by row (B,), on the CPU; the direction is (B, F)."""

    leaving: Array  # bool: the other method is to go on
    run: Array  # int64, attempts one after the other that speak for the other method
    calm: Array  # int64, and accepted ones since, that do not
    rejected: Array  # int64, attempts one after the other
    since: Array  # int64, attempts since this method took over
    patience: Array  # int64, the `run` after which the stiff method is tried
    probe: Array  # int64, attempts after which it is tried in any case
    dt: Array  # |dt| of the explicit method's last step, and then for its first one after a return
    begun: Array  # t at which this method took over
    spent: Array  # evaluations since then
    trial: Array  # int64: the stiff method has to show that it pays (1), nobody knows why (2)
    step: Array  # |dt| of the stiff method's last accepted attempt
    pull: Array  # |dt| times the spectral radius of J, as the last attempt saw it
    direction: Array  # (B, F) along which J is large, in units of the tolerance

    @classmethod
    def first(cls, rows: int, features: int, patience: int, probe: int) -> Course:
        """Before the first attempt."""
        no, none, zero = np.zeros(rows, np.bool_), np.zeros(rows, np.int64), np.zeros(rows)
        return cls(
            *(no, none, none, none, none),
            *(none + patience, none + probe),
            *(zero, zero, zero, none, zero, zero, np.zeros((rows, features))),
        )

    def where(self, mask: Array, old: Course) -> Course:
        """These rows where mask (B,) holds, else the old ones."""
        if len(mask) == 1:
            return self if mask[0] else old
        pairs = zip(self, old, strict=True)
        return Course(*(np.where(mask.reshape(-1, *(1,) * (x.ndim - 1)), x, y) for x, y in pairs))

    def chosen(self, mask: Tensor, old: Course) -> Course:
        """The same, by a tensor."""
        return self.where(mask.numpy(), old)


class Watched(NamedTuple):
    """The state of a method that another one may take over from."""

    inner: Any
    course: Course


# which method, in which rows (B,) bool, from t (B,); or in the only row, from a number
Shifts = list[tuple[int, Tensor | None, Any]]


class Stretches(NamedTuple):
    """Which of two methods went on in which rows, and from where."""

    names: tuple[str, str]  # all rows begin with the first
    t0: Tensor | float  # (B,)
    shifts: Shifts

    def by_row(self, rows: int) -> list[list[tuple[float, str]]]:
        """Where every row began and changed over, and to which method."""
        start = torch.as_tensor(self.t0, dtype=torch.float64).expand(rows).tolist()
        found = [[(t, self.names[0])] for t in start]
        for method, where, t in self.shifts:
            if where is None:
                found[0].append((t, self.names[method]))
                continue
            for row in torch.nonzero(where).flatten().tolist():
                found[row].append((float(t[row]), self.names[method]))
        return found
