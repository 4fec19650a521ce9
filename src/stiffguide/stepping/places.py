"""Where one row is among the times at which it is to be kept: Python asks faster than torch."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise

import torch
from torch import Tensor

from stiffguide.stepping.contracts import Moment


class Alone:
    """The times of one row: where it is among them."""

    def __init__(self, ahead: Tensor, sign: Tensor) -> None:
        self._ahead: list[float] = ahead[0].detach().tolist()  # rising
        self._sign = float(sign)
        self._times = (ahead * sign)[0]
        self._column = torch.arange(len(self._ahead))
        self._row = torch.zeros_like(self._column)

    def after(self, place: int, moment: Moment) -> int:
        """How many times are over after an attempt, before which it were so many."""
        return self._upto(moment.t1.detach().item()) if bool(moment.accept) else place

    def inside(self, begin: int, end: int, moment: Moment) -> tuple[Tensor, Tensor, Tensor]:
        """Rows, columns and theta (M,) of these times in an accepted step."""
        theta = (self._times[begin:end] - moment.t0) / (moment.t1 - moment.t0)
        return self._row[begin:end], self._column[begin:end], theta

    def due(self, place: int, ends: Tensor) -> list[bool]:
        """Which of N steps of these ends (N, 1) have times in them, after so many times."""
        places = [place, *map(self._upto, ends.detach().flatten().tolist())]
        return [after > before for before, after in pairwise(places)]

    def _upto(self, t: float) -> int:
        return bisect_right(self._ahead, t * self._sign)
