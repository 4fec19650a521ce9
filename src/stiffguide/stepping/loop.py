"""One attempt in every row, and the only loop in the package.

An attempt has no branch on data: a rejection is a `where`. What every row needs stands in
`Problem` (constant) and `Live` (committed row by row).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from stiffguide.errors import Status
from stiffguide.stepping.contracts import (
    Controller,
    Field,
    Guidance,
    Method,
    Moment,
    Output,
    State,
    Step,
    Tolerance,
    Work,
)
from stiffguide.stepping.interpolate import hermite
from stiffguide.tensors import constant, finite, select

ATTEMPTS_BETWEEN_CHECKS = 16  # on an accelerator, where asking "any row live?" stops the queue
ROUNDING = 1e-9  # a stop this close (relative to dt) is reached by this step
SHRINK = 0.25  # after an attempt that met values that are not finite
IDLE = 1e-6  # of a step: how far a finished row moves, so that it stays where f is defined


class Problem(NamedTuple):
    """What stays the same during a solve."""

    f: Field
    method: Method
    controller: Controller
    guidance: Guidance | None
    outputs: tuple[Output, ...]
    tolerance: Tolerance
    stops: Tensor  # (B, K) times to step on exactly, in order; the last is t1
    max_step: float
    max_attempts: int


class Live(NamedTuple):
    """What changes, row by row."""

    t: Tensor  # (B,) float64
    y: Tensor  # (B, F)
    f0: Tensor  # (B, F), f(t, y)
    dt: Tensor  # (B,) the next attempt, signed
    method: State
    controller: State
    guidance: State
    status: Tensor  # (B,) int64, see errors.Status
    stop: Tensor  # (B,) int64, index into stops
    attempts: Tensor  # (B,) int64
    accepted: Tensor  # (B,) int64
    work: Tensor  # (3, B) int64: nfe, njac, nlu


def begin(p: Problem, t0: Tensor, y0: Tensor, f0: Tensor, dt: Tensor, nfe: int) -> Live:
    """The state before the first attempt; `nfe` evaluations were spent on f0 and dt."""
    dt, controller = p.controller.init(t0, p.stops[:, -1], dt)
    zero = torch.zeros_like(t0, dtype=torch.int64)
    status = torch.full_like(zero, int(Status.RUNNING))
    status = torch.where(p.stops[:, -1] == t0, int(Status.SUCCESS), status)
    status = torch.where(finite(y0, f0), status, int(Status.NON_FINITE))
    # a row without an interval is computed all the same: give it a step that harms nobody
    idle = torch.clamp(t0.abs(), min=1.0) * 1e-12
    work = torch.zeros((3, t0.shape[0]), dtype=torch.int64, device=t0.device)
    work[0] += nfe
    return Live(
        t=t0.clone(),
        y=y0.clone(),
        f0=f0,
        dt=torch.where(dt == 0, idle, _limit(dt, p.max_step)),
        method=p.method.init(t0, y0),
        controller=controller,
        guidance=() if p.guidance is None else p.guidance.init(t0, y0),
        status=status,
        stop=zero,
        attempts=zero.clone(),
        accepted=zero.clone(),
        work=work,
    )


class Clip(NamedTuple):
    """Where an attempt starts and where it aims."""

    live: Tensor  # (B,) bool
    last: Tensor  # (B,) bool: the attempt ends on the next stop
    target: Tensor  # (B,) that stop
    t0: Tensor  # (B,)
    dt: Tensor  # (B,)


class Arrival(NamedTuple):
    """The end of an attempt, guidance included."""

    t1: Tensor
    y1: Tensor
    f1: Tensor
    guidance: State
    nfe: int  # evaluations beyond those of the step


def attempt(p: Problem, s: Live) -> Live:
    """Try one step in every row and commit it where it is accepted."""
    clip = aim(p, s, s.status == int(Status.RUNNING))
    step = p.method.step(p.f, clip.t0, clip.dt, s.y, s.f0, s.method, p.tolerance)
    verdict = p.controller.judge(step, p.tolerance, s.controller)
    end = _arrive(p, s, step, clip)

    sound = finite(end.y1, end.f1)
    usable = sound if step.ok is None else sound & step.ok
    accept = verdict.accept & usable & clip.live
    dt_next = verdict.dt_next
    if p.controller.adaptive:
        # the verdict cannot see what f1 and guidance did
        dt_next = torch.where(verdict.accept & ~usable, clip.dt * SHRINK, dt_next)
        # a step cut short by a stop says little about the next one
        cut = accept & clip.last & (dt_next.abs() < s.dt.abs())
        dt_next = _limit(torch.where(cut, s.dt, dt_next), p.max_step)

    reached = accept & clip.last
    arrived = reached & (clip.target == p.stops[:, -1])
    f1 = end.f1
    turned: Tensor | int = 0
    if p.stops.shape[1] > 1:
        f1, turned = _depart(p, s, end, reached & ~arrived)
    t = torch.where(accept, end.t1, s.t)
    attempts = s.attempts + clip.live
    piece = Piece(p, s, step, end)
    stopped = _record(p, Moment(s.t, end.t1, s.y, end.y1, end.f1, accept, piece))
    # what a row can end by, the weightiest last
    endings = [(attempts >= p.max_attempts, Status.MAX_ATTEMPTS)]
    if p.controller.adaptive:
        lost = dt_next.abs() <= _resolution(t)
        endings += [(lost & sound, Status.DT_TOO_SMALL), (lost & ~sound, Status.NON_FINITE)]
    else:
        endings += [(~usable, Status.NOT_CONVERGED), (~sound, Status.NON_FINITE)]
    if stopped is not None:
        endings.append((stopped, Status.EVENT))
    endings.append((arrived, Status.SUCCESS))

    return Live(
        t=t,
        y=select(accept, end.y1, s.y),
        f0=select(accept, f1, s.f0),
        dt=torch.where(arrived, clip.dt, torch.where(clip.live, dt_next, s.dt)),
        method=select(accept, step.state, p.method.retry(s.method, step.state)),
        controller=select(clip.live, verdict.state, s.controller),
        guidance=select(accept, end.guidance, s.guidance),
        status=_ended(s.status, clip.live, endings),
        stop=torch.clamp(s.stop + reached, max=p.stops.shape[1] - 1),
        attempts=attempts,
        accepted=s.accepted + accept,
        work=s.work + clip.live * _spent(step.work, end.nfe + piece.nfe + turned, t),
    )


def solve(p: Problem, s: Live, after: Callable[[Live], Tensor | None] | None = None) -> Live:
    """Repeat attempts until no row is live; `after` may name rows (B,) to stop.

    An interrupt from the keyboard ends the live rows where they are.
    """
    every = 1 if s.t.device.type == "cpu" else ATTEMPTS_BETWEEN_CHECKS
    try:
        while bool((s.status == int(Status.RUNNING)).any()):
            for _ in range(every):
                s = attempt(p, s)
            stop = None if after is None else after(s)
            if stop is not None:
                s = _end(s, stop, Status.EVENT)
    except KeyboardInterrupt:
        s = _end(s, torch.ones_like(s.status, dtype=torch.bool), Status.INTERRUPTED)
    return s


def aim(p: Problem, s: Live, live: Tensor) -> Clip:
    """The next attempt of the rows `live` (B,): up to the next stop at most.

    The others are computed, too. They idle inside their interval: forwards, or backwards at t1.
    """
    target = p.stops.gather(1, s.stop.unsqueeze(1)).squeeze(1)
    left = target - s.t
    last = s.dt.abs() * (1 + ROUNDING) >= left.abs()
    at_end = left == 0
    if p.stops.shape[1] > 1:  # f may jump at a stop: the step before it must not see that
        inner = target != p.stops[:, -1]
        left = left * (1 - inner * torch.clamp(_sliver(s, target) / left.abs(), max=0.5))
    dt = torch.where(last & ~at_end, left, s.dt)
    # s.t + dt is rounded: where t is large, the step must be as long as t really moves
    dt = torch.where(live, (s.t + dt) - s.t, IDLE * dt)
    t0 = torch.where(at_end, s.t - dt, s.t)
    return Clip(live, last, target, t0, dt)


def _arrive(p: Problem, s: Live, step: Step, clip: Clip) -> Arrival:
    """f at the end of the step, and guidance between the two if there is any."""
    ended = clip.t0 + clip.dt
    t1 = torch.where(clip.last, clip.target, ended)
    at = t1 if p.stops.shape[1] == 1 else ended  # not beyond a jump
    rule, y1, f1, nfe = p.guidance, step.y1, step.f1, 0
    if rule is None:
        if f1 is None:
            f1, nfe = p.f(at, y1), 1
        return Arrival(t1, y1, f1, (), nfe)
    if rule.needs_f_low and step.f_low is None and step.error is not None:
        step, nfe = step._replace(f_low=p.f(at, y1 - step.error)), nfe + 1
    if rule.needs_f1 and f1 is None:
        f1, nfe = p.f(at, y1), nfe + 1
    move = rule.delta(step, f1, s.guidance)
    y1 = y1 + move.y1
    if move.f1 is None or f1 is None:
        return Arrival(t1, y1, p.f(at, y1), move.state, nfe + 1)
    return Arrival(t1, y1, f1 + move.f1, move.state, nfe)


def _depart(p: Problem, s: Live, end: Arrival, turning: Tensor) -> tuple[Tensor, Tensor | int]:
    """f where the next step starts, in the rows `turning` beyond the stop just reached; its nfe."""
    if end.t1.device.type == "cpu" and not bool(turning.any()):
        return end.f1, 0
    beyond = end.t1 + torch.sign(end.t1 - s.t) * _sliver(s, end.t1)
    return select(turning, p.f(beyond, end.y1), end.f1), turning.long()


def _sliver(s: Live, stop: Tensor) -> Tensor:
    """A length of time (B,) that f can tell, and the solution cannot."""
    eps = torch.finfo(s.y.dtype).eps
    return 4 * eps * torch.maximum(s.t.abs(), stop.abs())


class Piece:
    """The interpolant of an attempt: made when asked for, once, and what that cost."""

    def __init__(self, p: Problem, s: Live, step: Step, end: Arrival) -> None:
        self._of = p, s, step, end
        self._made: Tensor | None = None
        self.nfe = 0

    def __call__(self) -> Tensor:
        """Coefficients (D, B, F)."""
        if self._made is None:
            p, s, step, end = self._of
            if p.guidance is not None:  # the stages know nothing of where guidance moved y1
                self._made = hermite(end.t1 - s.t, s.y, s.f0, end.y1, end.f1)
            else:
                self._made = p.method.interpolant(step, end.f1)
                self.nfe = step.dense_nfe
        return self._made


def _record(p: Problem, moment: Moment) -> Tensor | None:
    stopped = None
    for output in p.outputs:
        stop = output.record(moment)
        if stop is not None:
            stopped = stop if stopped is None else stopped | stop
    return stopped


def _spent(work: Work, more: Tensor | int, t: Tensor) -> Tensor:
    """The attempt's evaluations, Jacobians and factorisations: (3, 1) or (3, B)."""
    counts = (work.nfe + more, work.njac, work.nlu)
    if all(isinstance(n, int) for n in counts):
        return constant(tuple((n,) for n in counts), torch.int64, t.device)
    return torch.stack(
        [n if isinstance(n, Tensor) else torch.full_like(t, n, dtype=torch.int64) for n in counts]
    )


def _ended(status: Tensor, live: Tensor, endings: list[tuple[Tensor, Status]]) -> Tensor:
    """The status of the rows (B,) after an attempt; a later ending outweighs the ones before."""
    for which, ending in endings:
        status = torch.where(live & which, int(ending), status)
    return status


def _end(s: Live, which: Tensor, status: Status) -> Live:
    running = s.status == int(Status.RUNNING)
    return s._replace(status=torch.where(running & which, int(status), s.status))


def _resolution(t: Tensor) -> Tensor:
    """Steps this short no longer move t (B,)."""
    return torch.clamp(4 * torch.finfo(t.dtype).eps * t.abs(), min=1e-300)


def _limit(dt: Tensor, longest: float) -> Tensor:
    return dt if longest == float("inf") else torch.clamp(dt, -longest, longest)
