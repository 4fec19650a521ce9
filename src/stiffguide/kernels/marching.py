"""A solve by native steps in place of the loop in torch, where it asks for no more.

That is one row with sparse linear systems, by the numerical differentiation formulas of varying
order, with outputs of any kind; f is loops, or called in Python. What is done, and in which order,
is as in `stepping.attempt`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stiffguide.algebra.rowwise import Rowwise
from stiffguide.errors import Status
from stiffguide.kernels import hooks
from stiffguide.kernels.called import CalledField
from stiffguide.kernels.looped import LoopedField
from stiffguide.kernels.running.march import LEFT, PAUSED, March, Solver
from stiffguide.methods.bdf.method import BDF
from stiffguide.methods.bdf.system import AGE
from stiffguide.methods.bdf.table import along
from stiffguide.stepping.contracts import Moment, Output
from stiffguide.stepping.controllers import PID
from stiffguide.stepping.live import Live, Problem
from stiffguide.stepping.output import AtTimes, kept
from stiffguide.tensors import magnitude, rms

AT_ONCE, TOGETHER = 64, 2**20  # attempts between two looks for an interrupt; fewer of many unknowns
NARROW = 48  # diagonals beside the main one, from which on LAPACK's blocks pay
ENDINGS = {int(status) + 1: status for status in Status}  # as native code names the endings


def marches(p: Problem, s: Live) -> bool:
    """Whether a solve that has begun asks for nothing beyond what native steps do."""
    plain = p.events is None and p.jump_at is None and p.guidance is None and p.nonnegative is None
    usual = p.tolerance.norm is rms and p.tolerance.size is magnitude and not hooks.asked(p)
    one = len(s.t) == 1 and p.stops.shape[1] == 1 and int(s.attempts) == 0
    return (
        plain
        and usual
        and one
        and isinstance(p.method, BDF)
        and p.method.fixed_order is None
        and type(p.controller) is PID
        and p.controller.adaptive
        and isinstance(p.f.linear, Rowwise)
        and (not isinstance(p.f, LoopedField) or p.f.linear.pattern == p.f.loops.pattern)
    )


def march(p: Problem, s: Live, look: Callable[[int], None] = lambda _: None) -> Live:
    """A solve that `marches`, from its first attempt to its end; an interrupt ends it where it is.

    RUNNING where J is not finite: from there the loop in torch goes on, with a new method's state.
    `look` is told of attempts that were made.
    """
    if int(s.status) != int(Status.RUNNING):
        return s
    made, status = _begun(p, s), Status.RUNNING
    x, wanted = made.state, _Wanted(p.outputs, made.state.sign)
    most = max(min(AT_ONCE, TOGETHER // s.y.shape[1]), 1)
    try:
        while status == Status.RUNNING:
            x.wanted, before = wanted.after(x.t), x.attempts
            found = made.go(most)
            look(x.attempts - before)
            if found == LEFT:
                break
            stopped = found == PAUSED and _recorded(p, made)
            if x.ended:
                status = ENDINGS[x.ended]
            if stopped and status != Status.SUCCESS:
                status = Status.EVENT
    except KeyboardInterrupt:
        status = Status.INTERRUPTED
    return _ended(p, s, made, status)


def _begun(p: Problem, s: Live) -> March:
    """Native steps before the first of them."""
    assert isinstance(p.f.linear, Rowwise)
    assert isinstance(p.controller, PID)
    rtol, atol = (
        torch.as_tensor(x, dtype=s.y.dtype).expand(s.y.shape)[0].numpy()
        for x in (p.tolerance.rtol, p.tolerance.atol)
    )
    called = CalledField(p.f, p.f.linear, p.tolerance, s.y.numpy().dtype)
    of = p.f.loops if isinstance(p.f, LoopedField) else called
    made, controller = March(of, rtol, atol, _solver(p.f.linear)), p.controller
    called.steps = made
    x, t1 = made.state, float(p.stops)
    x.t1, x.sign = t1, -1.0 if t1 < float(s.t) else 1.0
    x.max_step, x.until = p.max_step, p.max_attempts
    x.least = float(torch.as_tensor(p.tolerance.rtol, dtype=torch.float64).min())
    x.safety, x.min_factor = controller.safety, controller.min_factor
    x.max_factor = controller.max_factor
    made.start(float(s.t), float(s.dt), s.y[0].numpy(), s.f0[0].numpy(), AGE)
    return made


def _solver(linear: Rowwise) -> Solver | None:
    """The library of the linear systems; None for narrow bands, which native code factorises."""
    if linear.name == "band" and sum(linear.pattern.bandwidth) <= NARROW:
        return None
    return Solver(linear.library.factorise, lambda made, b: made.solve(b, False))


class _Wanted:
    """Which accepted steps the outputs are to see: those that pass a time, or all."""

    def __init__(self, outputs: tuple[Output, ...], sign: float) -> None:
        others = [o for o in outputs if kept(o) != "end"]
        self._all = any(not isinstance(o, AtTimes) for o in others)
        times = [o.times.reshape(-1).numpy() * sign for o in others if isinstance(o, AtTimes)]
        self._times = np.sort(np.concatenate([*times, np.zeros(0)]))
        self._sign = sign

    def after(self, t: float) -> float:
        """The first time beyond t in the direction of the solve, as native code counts it."""
        if self._all:
            return -math.inf
        place = np.searchsorted(self._times, t * self._sign, side="right")
        return float(self._times[place]) if place < len(self._times) else math.inf


def _recorded(p: Problem, made: March) -> bool:
    """Show the outputs the step that was accepted last; whether one of them stops the solve."""

    def interpolant() -> Tensor:
        table, order = made.recent
        return torch.from_numpy(along(table[None], np.array([order])))

    start, end, slope = (_row(made.arrays[name]) for name in ("y0", "y", "f0"))
    t0, t1 = (torch.tensor([t], dtype=torch.float64) for t in (made.state.start, made.state.t))
    moment = Moment(t0, t1, start, end, slope, torch.tensor([True]), interpolant)
    stops = [output.record(moment) for output in p.outputs]
    return any(stop is not None and bool(stop) for stop in stops)


def _row(array: NDArray[Any]) -> Tensor:
    """(1, F), which native code does not write to."""
    return torch.from_numpy(array.copy())[None]


def _ended(p: Problem, s: Live, made: March, status: Status) -> Live:
    """Where the row is."""
    x = made.state
    t, dt = (torch.tensor([v], dtype=s.t.dtype) for v in (x.t, x.dt))
    y = _row(made.arrays["y"])
    return s._replace(
        t=t,
        y=y,
        f0=_row(made.arrays["f0"]),
        dt=dt,
        method=p.method.init(p.f, t, y),
        status=torch.tensor([int(status)]),
        attempts=s.attempts + x.attempts,
        accepted=s.accepted + x.accepted,
        work=s.work + torch.tensor([[made.nfe], [x.njac], [x.nlu]]),
    )
