"""Explicit methods on given steps, as lean as can be: what `solve` would find, and no record of it.

Much of what is written for torchdiffeq samples networks in a few such steps, each of which is as
short as the records of a solve. Where anything is out of the ordinary, or not finite in the end,
nothing has happened: `solve` does it, and says what it was.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, cast

import torch
from torch import Tensor

from stiffguide.fronts.torchdiffeq import grids
from stiffguide.fronts.torchdiffeq.question import Question
from stiffguide.fronts.torchdiffeq.settings import Options
from stiffguide.fronts.torchdiffeq.state import fitted
from stiffguide.methods.explicit_rk import ExplicitRK, Pace
from stiffguide.stepping.contracts import Field, stage_times
from stiffguide.stepping.tolerance import Tolerance
from stiffguide.tableaux.exact import floats
from stiffguide.tensors import transformed

KNOWN = {"step_size", "grid_constructor", "norm", "interp", "perturb"}
ROOM = 2**24  # numbers in all stages together: more of them, with gradients, are for `solve`
NO_TOLERANCE = Tolerance(0.0, 1.0)  # nobody asks


def states(asked: Question) -> Tensor | None:
    """The states (T, *S) of a question; None where it is for `solve`."""
    y, method, options = asked.y0, asked.scheme.method, Options(asked.options)
    plain = type(method) is ExplicitRK and isinstance(y, Tensor) and not asked.callbacks
    if not plain or not KNOWN.issuperset(asked.options) or asked.t.requires_grad or transformed():
        return None
    assert isinstance(method, ExplicitRK)
    if not (y.is_floating_point() or y.is_complex()) or options.take("perturb", False):
        return None
    if options.take("interp", "linear") != "linear":
        return None
    times = grids.times(options, asked.func, y, asked.t)
    recorded = torch.is_grad_enabled()
    if recorded and y.numel() * len(times) * method.tableau.stages > ROOM:
        return None
    return Steps(asked.func, method, y, times).at(asked.t)


class Steps:
    """Steps between given times (N + 1,) from y (*S) on."""

    def __init__(self, func: Any, method: ExplicitRK, y: Tensor, times: Tensor) -> None:
        self._func, self._method, self._y = func, method, y
        self._times = times.double()

    def at(self, t: Tensor) -> Tensor | None:
        """The states at times t (T,) from the first to the last, on chords between the steps."""
        ends, wanted = self._times.tolist(), t.tolist()
        sign = 1.0 if ends[-1] > ends[0] else -1.0
        rising = [x * sign for x in ends]
        after = [bisect_left(rising, x * sign) for x in wanted]  # the end of the step it is in
        kept = self._made({0, *after, *(i - 1 for i in after if i)})
        if kept is None or not bool(torch.isfinite(kept[len(ends) - 1].detach()).all()):
            return None
        found = []
        for x, i in zip(wanted, after, strict=True):
            state = kept[i]
            if x != ends[i]:
                share = (x - ends[i - 1]) / (ends[i] - ends[i - 1])
                state = kept[i - 1] + share * (state - kept[i - 1])
            found.append(state)
        return torch.stack(found)

    def _made(self, wanted: set[int]) -> dict[int, Tensor] | None:
        """The states at the times of these numbers; None if func is not as it should be."""
        y, paces = self._y, self._paces()
        given = y.clone()  # which func may write to
        slope = self._value(paces[0].t0, given)
        if slope is None or given.is_inference() or given._version > 0:
            return None
        kept, last = {0: y}, len(paces) - 1
        f = cast(Field, self._f)  # of which only values are asked
        for i, pace in enumerate(paces):
            step = self._method.paced(f, pace, y, slope, (), NO_TOLERANCE)
            y = step.y1
            if i + 1 in wanted:
                kept[i + 1] = y
            if i < last:
                slope = step.f1 if step.f1 is not None else f(paces[i + 1].t0, y)
        return kept

    def _paces(self) -> list[Pace]:
        """The times of all steps, each of them () in the precision of y, and dt."""
        real = self._y.real.dtype
        begin, dt = self._times[:-1], self._times.diff()
        stages = stage_times(begin, dt, floats(self._method.tableau.c)).T.to(real)
        each = begin.to(real).unbind(0), dt.unbind(0), dt.to(self._y.dtype).unbind(0)
        return [Pace(*of) for of in zip(*each, (x.unbind(0) for x in stages), strict=True)]

    def _f(self, t: Tensor, y: Tensor) -> Tensor:
        value: Tensor = fitted(self._func(t, y), y)
        return value

    def _value(self, t: Tensor, y: Tensor) -> Tensor | None:
        """The first value of func, if it is one."""
        value = self._f(t, y)
        fits = isinstance(value, Tensor) and value.shape == y.shape
        return value if fits and value.dtype == y.dtype and value.device == y.device else None
