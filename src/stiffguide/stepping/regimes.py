"""Two methods that share the rows of a solve: each loop goes on until its rows end, or leave.

Rows that leave wait until the others are done, and then go on together by the other method. So a
batch pays for one method at a time, and a row never learns what the others do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from stiffguide.errors import Status
from stiffguide.stepping import loop
from stiffguide.stepping.attempt import attempt
from stiffguide.stepping.contracts import Method
from stiffguide.stepping.course import Array, Course, Shifts, Watched
from stiffguide.stepping.live import Live, Problem, asked, first_dt, limited
from stiffguide.tensors import finite, select

LEAVING = -2  # the status of rows that wait for the other method
FALLS = 3  # failures of the first method in a row of a batch, before the next one ends it
FAILURES = (int(Status.DT_TOO_SMALL), int(Status.NON_FINITE))  # that the other one may not share


class Shared(Method, Protocol):
    """A method that says when another one is to go on."""

    def enter(self, old: Course, t: Array) -> Course:
        """The course (B,) of rows that come from the other one at t (B,)."""
        ...


class Regime(NamedTuple):
    """A method at work, and the rows as it left them."""

    problem: Problem
    state: Watched
    rows: Tensor  # (B,) bool: the last method of these


class Shift(NamedTuple):
    """Rows that change over, and how."""

    where: Tensor  # (B,) bool
    failed: Tensor  # (B,) bool: after a failure
    accepted: Tensor  # (B,) steps before it
    falls: Tensor  # (B,) failures of the first method so far


def solve(
    first: Problem,
    other: Callable[[], Problem | None],
    s: Live,
    after: Callable[[Live], Tensor | None] | None = None,
) -> tuple[Live, list[Regime], Shifts]:
    """Repeat attempts until no row is live; `other` makes the second problem, once it is needed.

    Where that is None, nobody leaves. An interrupt ends the live rows where they are.
    """
    regimes = [Regime(first, s.method, torch.ones_like(s.status, dtype=torch.bool))]
    shifts: Shifts = []
    none = torch.zeros_like(regimes[0].rows)
    here, shift = 0, Shift(none, none, s.accepted, torch.zeros_like(s.status))
    while True:
        s = _loop(regimes[here].problem, s, after)
        shift = _leaving(s, shift, first=here == 0)
        regimes[here] = regimes[here]._replace(state=s.method)
        if not bool(shift.where.any()):
            return s, regimes, shifts
        if len(regimes) == 1:
            made = other()
            if made is None:
                return _stay(first, s, after), regimes, shifts
            regimes.append(Regime(made, made.method.init(made.f, s.t, s.y), none))
        here = 1 - here
        s = _enter(regimes[1 - here], regimes[here], s, shift)
        regimes[here] = regimes[here]._replace(rows=regimes[here].rows | shift.where)
        regimes[1 - here] = regimes[1 - here]._replace(rows=regimes[1 - here].rows & ~shift.where)
        shifts.append((here, shift.where, s.t))


def _loop(p: Problem, s: Live, after: Callable[[Live], Tensor | None] | None) -> Live:
    """The loop until every row has ended or leaves; who is to be stopped while it waits ends."""
    asked, latest = torch.zeros_like(s.status, dtype=torch.bool), s

    def look(s: Live) -> Tensor | None:
        nonlocal asked, latest
        latest = s
        stop = None if after is None else after(s)
        if stop is not None:
            asked = asked | (stop & (s.status == LEAVING))
        return stop

    try:
        s = loop.solve(p, s, look, _attempt)
        interrupted = bool((s.status == int(Status.INTERRUPTED)).any())
    except KeyboardInterrupt:  # it came when all were done, or waited
        s, interrupted = latest, True
        if not bool((s.status == LEAVING).any()):
            raise
    waiting = s.status == LEAVING
    status = torch.where(waiting & asked, int(Status.EVENT), s.status)
    if interrupted:
        status = torch.where(waiting, int(Status.INTERRUPTED), status)
    return s._replace(status=status)


def _attempt(p: Problem, s: Live) -> Live:
    """An attempt, after which rows leave that want to; not on their way to an event."""
    s = attempt(p, s)
    leaving: Array = s.method.course.leaving
    if not leaving.any():
        return s
    which = torch.from_numpy(leaving) & (s.status == int(Status.RUNNING))
    if p.events is not None:
        which = which & torch.isnan(s.events.target)
    return s._replace(status=torch.where(which, LEAVING, s.status))


def _leaving(s: Live, last: Shift, *, first: bool) -> Shift:
    """The rows that go on by the other method: that want to, or failed.

    But not twice in place, and not for ever: where both fail soon, that is how the row ends.
    """
    moved = s.accepted > last.accepted
    failed = (s.status == FAILURES[0]) | (s.status == FAILURES[1])
    failed = failed & (moved | ~last.failed) & (s.attempts > 0) & finite(s.y, s.f0)
    if first:
        failed = failed & (last.falls < FALLS)
    where = failed | (s.status == LEAVING)
    if bool((s.status == int(Status.INTERRUPTED)).any()):
        where, failed = torch.zeros_like(where), torch.zeros_like(where)
    return Shift(where, failed, s.accepted, last.falls + (failed if first else 0))


def _enter(last: Regime, to: Regime, s: Live, shift: Shift) -> Live:
    """The rows go on by another method, as a solve that begins where they are."""
    p, where = to.problem, shift.where
    method: Shared = p.method  # type: ignore[assignment]
    course = method.enter(s.method.course, s.t.numpy()).chosen(where, to.state.course)
    t1, f0, dt = p.stops[:, -1], s.f0, s.dt
    nfe = torch.zeros_like(s.status)
    if last.problem.method.multistep:  # whose f0 is as good as its iteration
        f0, nfe = select(where, p.f(asked(s), s.y), f0), nfe + where
    if not p.method.implicit:
        dt = torch.sign(t1 - s.t) * torch.from_numpy(course.dt)
    if bool(shift.failed.any()):
        fresh, more = first_dt(p._replace(first_step=None), asked(s), s.y, f0)
        dt, nfe = torch.where(shift.failed, fresh, dt), nfe + shift.failed * more
    dt, controller = p.controller.init(s.t, t1, dt)
    work = s.work.clone()
    work[0] += nfe
    return s._replace(
        f0=f0,
        dt=torch.where(where, limited(p, dt), s.dt),
        method=Watched(p.method.restart(to.state, where).inner, course),
        controller=select(where, controller, s.controller),
        status=torch.where(where, int(Status.RUNNING), s.status),
        work=work,
    )


def _stay(p: Problem, s: Live, after: Callable[[Live], Tensor | None] | None) -> Live:
    """The rest by the first method alone."""
    status = torch.where(s.status == LEAVING, int(Status.RUNNING), s.status)
    plain = p._replace(method=p.method.inner)  # type: ignore[attr-defined]
    s = loop.solve(plain, s._replace(method=s.method.inner, status=status), after)
    return s
