"""One attempt in every row: no branch on data, a rejection is a `where`."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from stiffguide.errors import Status
from stiffguide.stepping import endings, events, jumps, shortest
from stiffguide.stepping.contracts import Moment, State, Step, Verdict, Work
from stiffguide.stepping.live import (
    Live,
    Problem,
    beyond,
    limited,
    next_stop,
    sliver,
    unasked,
)
from stiffguide.stepping.piece import Piece
from stiffguide.tensors import constant, finite, rows, select, transformed

ROUNDING = 1e-9  # a stop this close (relative to dt) is reached by this step
SHRINK = 0.25  # after an attempt that met values that are not finite
UNFELT = 1e-3  # of the tolerance: a jump of f that moves a step by less is none
IDLE = 1e-6  # of a step: how far a finished row moves, so that it stays where f is defined


class Clip(NamedTuple):
    """Where an attempt starts and where it aims."""

    live: Tensor  # (B,) bool
    last: Tensor  # (B,) bool: the attempt ends on the next stop
    target: Tensor  # (B,) that stop
    t0: Tensor  # (B,)
    dt: Tensor  # (B,)


class Outcome(NamedTuple):
    """What became of an attempt; a row that is not live has no part in it."""

    sound: Tensor  # (B,) bool: it ended on finite values
    usable: Tensor  # (B,) bool: and the method vouches for them
    accept: Tensor  # (B,) bool
    reached: Tensor  # (B,) bool: accepted, and on a stop
    arrived: Tensor  # (B,) bool: and that is t1
    dt_next: Tensor  # (B,)
    spared: Tensor  # (B,) bool: the controller is to forget what it saw


class Arrival(NamedTuple):
    """The end of an attempt, guidance included."""

    t1: Tensor
    y1: Tensor
    f1: Tensor
    guidance: State
    nfe: int  # evaluations beyond those of the step


class Departure(NamedTuple):
    """From where the next step starts, if this one is accepted."""

    f1: Tensor
    side: State  # see `Live`
    nfe: Tensor | int
    state: State


def attempt(p: Problem, s: Live) -> Live:
    """Try one step in every row and commit it where it is accepted."""
    if p.nonnegative is not None:
        p, s = p.nonnegative.bounding(p, s)
    clip = aim(p, s, s.status == int(Status.RUNNING))
    step = p.method.step(p.f, clip.t0, clip.dt, s.y, s.f0, s.method, p.tolerance)
    least, wide = shortest.least(p, s, clip), None
    step, verdict = judged(p, s, shortest.vouched(p, step, least))
    if least is not None:
        verdict, wide = shortest.granted(step, verdict, least)
    end = _arrive(p, s, step, clip)
    values = None if p.events is None else p.events.values(end.t1, end.y1)
    out = _outcome(p, s, step, clip, verdict, end, values)
    stuck, piece, seen = shortest.stuck(out, step, least), Piece(p, s, step, end), None
    if values is not None:
        moment = Moment(s.t, end.t1, s.y, end.y1, end.f1, out.accept, piece)
        seen = events.look(p, s, moment, values)
        out = _located(p, s, out, seen, clip)
    later = _depart(p, s, end, out.reached & ~out.arrived, step)
    stopped = _record(p, Moment(s.t, end.t1, s.y, end.y1, end.f1, out.accept, piece))
    t = torch.where(out.accept, end.t1, s.t)
    attempts = s.attempts + clip.live
    if p.on_attempt is not None:
        p.on_attempt(s.t, s.y, end.t1 - s.t, out.accept, clip.live)
    found = endings.endings(p, out, t, attempts, stopped) + stuck
    if seen is not None:
        found.append((seen.stuck, Status.CHATTERING))
    after = Live(
        t=t,
        y=select(out.accept, end.y1, s.y),
        f0=select(out.accept, later.f1, s.f0),
        dt=torch.where(out.arrived, clip.dt, torch.where(clip.live, out.dt_next, s.dt)),
        method=select(out.accept, later.state, p.method.retry(s.method, step.state)),
        controller=select(clip.live & ~out.spared, verdict.state, s.controller),
        guidance=select(out.accept, end.guidance, s.guidance),
        status=endings.ended(s.status, clip.live, found),
        stop=torch.clamp(s.stop + out.reached, max=p.stops.shape[1] - 1),
        attempts=attempts,
        accepted=s.accepted + out.accept,
        work=s.work + clip.live * _spent(step.work, end.nfe + piece.nfe + later.nfe, t),
        events=() if seen is None else select(clip.live, seen.state, s.events),
        side=select(out.accept, later.side, s.side),
        wide=() if wide is None else s.wide + (wide & out.accept),
    )
    if seen is None and p.jump_at is None:
        return after
    return jumps.settle(p, after, seen and seen.which, out.reached & ~out.arrived)


def aim(p: Problem, s: Live, live: Tensor) -> Clip:
    """The next attempt of the rows `live` (B,): up to the next stop at most.

    The others are computed, too. They idle inside their interval: forwards, or backwards at t1.
    """
    target = next_stop(p, s)
    left = target - s.t
    last = s.dt.abs() * (1 + ROUNDING) >= left.abs()
    at_end = left == 0
    if p.stops.shape[1] > 1:  # f may jump at a stop: the step before it must not see that
        inner = target != p.stops[:, -1]
        if p.open is not None:
            inner = inner | p.open.end
        short = sliver(torch.maximum(s.t.abs(), target.abs()), s.y) / left.abs()  # left may be 0
        short = torch.where(inner, torch.clamp(short, max=0.5), 0.0)  # an endless way has no part
        left = left * (1 - short.detach())
    if p.events is not None:
        event = s.events.target
        hunted = ~torch.isnan(event)
        target, last = torch.where(hunted, event, target), last | hunted
        way = event - s.t  # up to a stop, that is as long as the way to the stop
        left = torch.where(hunted & (way.abs() < left.abs()), way, left)
    dt = torch.where(last & ~at_end, left, s.dt)
    t0 = s.t
    if p.stops.shape[1] > 1:  # and the step after it begins beyond it
        half = dt.detach().abs() / 2
        skip = torch.clamp(s.side - s.t, -half, half)
        t0, dt = s.t + skip, dt - skip
    # t0 + dt is rounded: where t is large, the step must be as long as t really moves
    dt = torch.where(live, (t0 + dt) - t0, IDLE * dt)
    t0 = torch.where(at_end, s.t - dt, t0)
    if p.open is not None:
        apart = torch.copysign(torch.maximum(sliver(s.t, s.y), dt.abs()), dt)
        t0 = torch.where(at_end & p.open.end, t0 - apart, t0)
    return Clip(live, last, target, t0, dt)


def judged(p: Problem, s: Live, step: Step) -> tuple[Step, Verdict]:
    """The verdict, and the step that it is about, whose end may have to be another."""
    if p.nonnegative is not None:
        return p.nonnegative.judged(p, s, step)
    return step, p.controller.judge(step, p.tolerance, s.controller)


def _arrive(p: Problem, s: Live, step: Step, clip: Clip) -> Arrival:
    """f at the end of the step, and guidance between the two if there is any."""
    ended = clip.t0 + clip.dt
    t1 = torch.where(clip.last, clip.target, ended)
    at = t1 if p.stops.shape[1] == 1 else ended  # not beyond a jump
    rule, y1, f1, nfe = p.guidance, step.y1, step.f1, 0
    if rule is None:
        if f1 is None and _over(p, clip):
            f1 = s.f0
        elif f1 is None:
            f1, nfe = p.f(at, y1), 1
        return Arrival(t1, y1, f1, (), nfe)
    if rule.needs_f_low and step.f_low is None and step.error is not None:
        step, nfe = step._replace(f_low=p.f(at, y1 - step.error)), nfe + 1
    if rule.needs_f1 and f1 is None:
        f1, nfe = p.f(at, y1), nfe + 1
    move = rule.delta(step, f1, s.guidance)
    y1 = y1 + move.dy
    if move.df is None or f1 is None:
        return Arrival(t1, y1, p.f(at, y1), move.state, nfe + 1)
    return Arrival(t1, y1, f1 + move.df, move.state, nfe)


def _over(p: Problem, clip: Clip) -> bool:
    """Whether this is the last step of all rows, and nobody asks for f at its end."""
    if transformed() or clip.dt.device.type != "cpu" or not unasked(p):
        return False
    return bool((~clip.live | (clip.last & (clip.target == p.stops[:, -1]))).all())


def _outcome(
    p: Problem,
    s: Live,
    step: Step,
    clip: Clip,
    verdict: Verdict,
    end: Arrival,
    values: Tensor | None,
) -> Outcome:
    """The verdict, and what it could not see: values that are not finite, and stops."""
    sound = finite(end.y1, end.f1)
    if values is not None:
        sound = sound & ~torch.isnan(values).any(-1)
    usable = sound if step.ok is None else sound & step.ok
    accept = verdict.accept & usable & clip.live
    dt_next, short = verdict.dt_next, accept & clip.last
    if p.controller.adaptive:
        dt_next = torch.where(verdict.accept & ~usable, clip.dt * SHRINK, dt_next)
        # a step cut short says little about the next one
        short = short & (dt_next.abs() < s.dt.abs())
        dt_next = limited(p, torch.where(short, s.dt, dt_next))
    else:  # steps of given lengths go on to where they would have ended
        rest = s.t + s.dt - end.t1
        short = short & (rest.abs() > ROUNDING * s.dt.abs()) & (rest * s.dt > 0)
        dt_next = torch.where(short, rest, dt_next)
    reached = accept & clip.last
    if p.events is not None:  # the way to an event may end on a stop, too
        reached = reached & (clip.target == next_stop(p, s))
    arrived = reached & (clip.target == p.stops[:, -1])
    return Outcome(sound, usable, accept, reached, arrived, dt_next, short)


def _located(p: Problem, s: Live, out: Outcome, seen: events.Sighting, clip: Clip) -> Outcome:
    """The outcome, given events: attempts that only locate one are not committed, nor failures."""
    held, missed = seen.held, out.accept & ~torch.isnan(s.events.target) & ~seen.held
    dt_next, happens = torch.where(held, s.dt, out.dt_next), seen.which.any(-1)
    missed = missed & ~happens
    if p.controller.adaptive:
        dt_next = torch.where(happens & (s.events.wide != 0), s.events.wide, dt_next)
        closer = torch.maximum(clip.dt.abs() * events.CLOSER, s.dt.abs() * events.LEAST)
        dt_next = torch.where(missed, torch.sign(clip.dt) * closer, dt_next)
    return out._replace(
        accept=out.accept & ~held,
        reached=out.reached & ~held,
        arrived=out.arrived & ~held,
        dt_next=dt_next,
        spared=out.spared | held | missed,
    )


def _depart(p: Problem, s: Live, end: Arrival, turning: Tensor, step: Step) -> Departure:
    """How the next step starts in the rows `turning`, beyond the stop just reached."""
    if p.stops.shape[1] == 1:
        return Departure(end.f1, (), 0, step.state)
    side, ended = end.t1.detach(), step.t0 + step.dt.detach()
    if p.open is not None:
        side = torch.where(p.open.end & (side == p.stops[:, -1].detach()), ended, side)
    if side.device.type == "cpu" and not bool(turning.any()):
        return Departure(end.f1, side, 0, step.state)
    farther = torch.maximum(s.t.abs(), side.abs())
    side = torch.where(turning, side + beyond(farther, side - s.t, s.y), side)
    f1 = p.f(torch.where(turning, side, ended), end.y1)
    if p.f.linear.mass is not None:  # f says nothing of y', nor of a jump in units of y
        state = p.method.restart(step.state, turning)
        return Departure(select(turning, f1, end.f1), side, turning.long(), state)
    if not p.method.multistep:
        return Departure(select(turning, f1, end.f1), side, turning.long(), step.state)
    # what rests on steps before begins anew where f jumps,
    # not with the f1 of a step, which is as good as its iteration
    leap = rows(step.dt, f1).to(f1.dtype) * (f1 - p.f(step.t0 + step.dt, end.y1))
    jumps = turning & ~(p.tolerance.measure(leap, s.y, end.y1) < UNFELT)
    state = p.method.restart(step.state, jumps)
    return Departure(select(turning, f1, end.f1), side, 2 * turning.long(), state)


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
