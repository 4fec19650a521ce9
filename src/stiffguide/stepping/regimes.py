"""Two methods that share the rows of a solve: each loop goes on until its rows end, or leave.

Rows that leave wait until the others are done, and then go on together by the other method. So a
batch pays for one method at a time, and a row never learns what the others do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

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


class Standing(NamedTuple):
    """Where a shared solve is between two attempts."""

    live: Live
    here: int  # the method at work
    left: tuple[tuple[Watched, Tensor], ...]  # of each method so far: its state, and its rows
    shift: Shift  # the last one
    shifts: Shifts
    asked: Tensor  # (B,) bool, to be stopped while they wait
    alone: bool = False  # there is no other method


class Log(Protocol):
    """Keeps where a solve is, and may know where it was."""

    @property
    def place(self) -> Any:
        """Where it was, a `Standing` of plain tuples, or None."""
        ...

    def put(self, like: Standing) -> Standing:
        """The same as a place of this kind."""
        ...

    def look(self, s: Live, place: Callable[[], Any]) -> None:
        """See the state before an attempt, and keep the place if it is time to."""
        ...

    def keep(self, s: Live, place: Any) -> None:
        """Keep the place at the end."""
        ...


class Unlogged:
    """Keeps nothing."""

    place = None

    def put(self, like: Standing) -> Standing:
        """Nothing was kept."""
        return like

    def look(self, s: Live, place: Callable[[], Any]) -> None:
        """Nothing to see."""

    def keep(self, s: Live, place: Any) -> None:
        """Nothing to keep."""


def solve(
    first: Problem,
    other: Callable[[], Problem | None],
    s: Live,
    after: Callable[[Live], Tensor | None] | None = None,
    log: Log | None = None,
) -> tuple[Live, list[Regime], Shifts]:
    """Repeat attempts until no row is live; `other` makes the second problem, once it is needed.

    Where that is None, nobody leaves. An interrupt ends the live rows where they are.
    """
    log, none = log or Unlogged(), torch.zeros_like(s.status, dtype=torch.bool)
    regimes = [Regime(first, s.method, ~none)]
    at = Standing(s, 0, (), Shift(none, none, s.accepted, torch.zeros_like(s.status)), [], none)
    if log.place is not None:
        at = _restored(at, regimes, other, log)
    shifts = at.shifts
    while not at.alone:
        at = _loop(at, regimes, after, log)
        s, here = at.live, at.here
        shift = _leaving(s, at.shift, first=here == 0)
        regimes[here] = regimes[here]._replace(state=s.method)
        if not bool(shift.where.any()):
            log.keep(s, at)  # with the shift before: to go on from here is to find this end again
            return s, regimes, shifts
        if len(regimes) == 1:
            made = other()
            if made is None:
                at = at._replace(live=_staying(s), alone=True)
                break
            regimes.append(Regime(made, made.method.init(made.f, s.t, s.y), none))
        here = 1 - here
        s = _enter(regimes[1 - here], regimes[here], s, shift)
        regimes[here] = regimes[here]._replace(rows=regimes[here].rows | shift.where)
        regimes[1 - here] = regimes[1 - here]._replace(rows=regimes[1 - here].rows & ~shift.where)
        shifts.append((here, shift.where, s.t))
        at = at._replace(live=s, here=here, shift=shift, asked=none)
    return _stay(first, at, after, log), regimes, shifts


def _restored(
    at: Standing, regimes: list[Regime], other: Callable[[], Problem | None], log: Log
) -> Standing:
    """The place that was kept; `at` is that of the start, from which its names are."""
    _, here, left, *_, alone = log.place
    s = at.live
    if len(left) > 1 and (made := other()) is not None:
        regimes.append(Regime(made, made.method.init(made.f, s.t, s.y), at.asked))
    s = s._replace(method=s.method.inner if alone else regimes[here].state)
    found = log.put(at._replace(live=s, left=tuple((x.state, x.rows) for x in regimes)))
    for k, (state, rows) in enumerate(found.left):
        regimes[k] = regimes[k]._replace(state=state, rows=rows)
    return found


def _loop(
    at: Standing,
    regimes: list[Regime],
    after: Callable[[Live], Tensor | None] | None,
    log: Log,
) -> Standing:
    """The loop until every row has ended or leaves; who is to be stopped while it waits ends."""
    asked, s = at.asked, at.live
    left, latest = tuple((x.state, x.rows) for x in regimes), s

    def look(s: Live) -> Tensor | None:
        nonlocal asked, latest
        latest = s
        stop = None if after is None else after(s)
        if stop is not None:
            asked = asked | (stop & (s.status == LEAVING))
        return stop

    def step(p: Problem, s: Live) -> Live:
        log.look(s, lambda: at._replace(live=s, left=left, asked=asked))
        return _attempt(p, s)

    try:
        s = loop.solve(regimes[at.here].problem, s, look, step)
        interrupted = bool((s.status == int(Status.INTERRUPTED)).any())
    except KeyboardInterrupt:  # it came when all were done, or waited
        s, interrupted = latest, True
        if not bool((s.status == LEAVING).any()):
            raise
    waiting = s.status == LEAVING
    status = torch.where(waiting & asked, int(Status.EVENT), s.status)
    if interrupted:
        status = torch.where(waiting, int(Status.INTERRUPTED), status)
    return at._replace(live=s._replace(status=status), left=left, asked=asked)


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


def _staying(s: Live) -> Live:
    """The rows as they go on by the first method alone."""
    status = torch.where(s.status == LEAVING, int(Status.RUNNING), s.status)
    return s._replace(method=s.method.inner, status=status)


def _stay(
    p: Problem, at: Standing, after: Callable[[Live], Tensor | None] | None, log: Log
) -> Live:
    """The rest by the first method alone."""

    def step(p: Problem, s: Live) -> Live:
        log.look(s, lambda: at._replace(live=s))
        return attempt(p, s)

    plain = p._replace(method=p.method.inner)  # type: ignore[attr-defined]
    s = loop.solve(plain, at.live, after, step)
    log.keep(s, at._replace(live=s))
    return s
