"""Where steps of given lengths begin and end: what attempts would find, told beforehand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from stiffguide.stepping.attempt import ROUNDING
from stiffguide.stepping.controllers import Fixed, Grid
from stiffguide.stepping.live import Live, Problem
from stiffguide.tensors import transformed


class Strides(NamedTuple):
    """N steps: numbers where all rows make the same ones, else arrays (B,)."""

    t0: list[Any]
    dt: list[Any]
    t1: list[Any]
    dt_next: list[Any]
    finish: bool  # the last one ends every row

    def tensors(self, device: torch.device) -> tuple[Tensor, ...]:
        """t0, dt and t1 (N, B), or (N, 1)."""
        given = torch.from_numpy(np.asarray(self[:3], dtype=np.float64)).to(device)
        return given.reshape(3, len(self.t0), -1).unbind(0)


def strides(p: Problem, s: Live, most: int) -> Strides:
    """The steps from here on, at most so many, that rows make together.

    They come to an end before any that is the last of some rows only.
    """
    t, dt, end = (x.detach() for x in (s.t, s.dt, p.stops[:, -1]))
    if _shared(p, t, dt, end):
        now, step, last = (x[0].item() for x in (t, dt, end))
        return _followed(now, step, last, _gaps(p, s, most, shared=True), bool, bool)
    gaps = _gaps(p, s, most, shared=False)
    return _followed(_array(t), _array(dt), _array(end), gaps, np.all, np.any)


def _array(x: Tensor) -> Any:
    return np.asarray(x.tolist()) if transformed() else x.cpu().numpy()


def _shared(p: Problem, *values: Tensor) -> bool:
    """Whether all rows make the same steps."""
    if isinstance(p.controller, Grid) and p.controller.times.shape[0] > 1:
        return False
    return len(values[0]) == 1 or all(bool((x == x[0]).all()) for x in values)


def _gaps(p: Problem, s: Live, most: int, *, shared: bool) -> Iterator[Any]:
    """What a controller proposes after each of so many steps."""
    if isinstance(p.controller, Fixed):
        dt = torch.sign(s.dt.detach()) * p.controller.dt
        return repeat(dt[0].item() if shared else _array(dt), most)
    assert isinstance(p.controller, Grid)
    place = int(s.controller.place[0])
    times = p.controller.times.detach()[:, place : place + most + 1]
    gaps = np.zeros((times.shape[0], most))  # none after the last
    gaps[:, : times.shape[1] - 1] = _array(times.diff(dim=1))
    return iter(gaps[0].tolist() if shared else gaps.T)


def _followed(
    t: Any, dt: Any, end: Any, gaps: Iterator[Any], every: Callable[[Any], Any], some: Any
) -> Strides:
    """Steps as `attempt.aim` and `attempt._outcome` make them, one after the other."""
    found = Strides([], [], [], [], finish=False)
    for dt_next in gaps:
        left = end - t
        last = abs(dt) * (1 + ROUNDING) >= abs(left)
        final = bool(every(last))
        if not final and some(last):
            break
        dt = (t + (left if final else dt)) - t
        if some(dt == 0):
            break
        found.t0.append(t)
        found.dt.append(dt)
        t = t + dt
        found.t1.append(end if final else t)
        found.dt_next.append(dt if final else dt_next)
        if final:
            return found._replace(finish=True)
        dt = dt_next
    return found
