"""Events: where a function of (t, y) crosses zero; `jumps` has what happens there.

The interpolant of an accepted attempt only proposes where a crossing lies. Unless that is the end
of the attempt, nothing is committed: the row tries again from where it was, to the proposal. So
what is committed is a step that ends at the event, with the accuracy of steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from stiffguide.stepping.contracts import Moment, Table
from stiffguide.stepping.crossings import Along, ahead, crossings
from stiffguide.stepping.live import Live, Problem, next_stop

HUNTS = 8  # attempts towards one event, after which it is where the last of them ended
CLOSER = 0.125  # of an attempt that ended just before its event: from there on interpolants of
# shorter steps have to do, for those of long ones may propose ever less of the rest of the way;
LEAST = 0.01  # of the dt that there was: so much of it has to do
NEARER = 4.0  # times as close is close enough, for every step that missed an event
SAME = 4  # roundings of t: events this close happen together,
TURNS = 2  # changes of sides that an event may seem to make where it has just happened
BESIDE = 16  # times as close to a stop, they are at it: between the two their sign is rounding


class Trigger(NamedTuple):
    """An event on flat states."""

    value: Callable[[Tensor, Tensor], Tensor]  # of t (B,) and y (B, F): (B,)
    direction: float  # of the crossings that count: up (> 0), down (< 0), both (0)
    terminal: int  # how often it happens to a row before that stops; 0: as often as it will
    jump: Callable[[Tensor, Tensor], Tensor] | None  # to the state (B, F) after it
    name: str = "an event"


class Happened(NamedTuple):
    """Events at one time of every row, as they are kept."""

    which: Tensor  # (B, E) bool
    t: Tensor  # (B,)
    y: Tensor  # (B, F), before any jump
    jumped: Tensor  # (B,) bool


class Watched:
    """The events of a solve, and what has happened so far."""

    moves: ClassVar[tuple[str, ...]] = ("happened",)

    def __init__(self, triggers: tuple[Trigger, ...]) -> None:
        self.triggers = triggers
        self.happened: list[Happened] = []

    @property
    def terminal(self) -> bool:
        """Whether any may end a row."""
        return any(x.terminal for x in self.triggers)

    def values(self, t: Tensor, y: Tensor) -> Tensor:
        """All events (B, E) at t (B,), y (B, F), in the precision of time."""
        return torch.stack([x.value(t, y).to(t.dtype) for x in self.triggers], -1)

    def direction(self, like: Tensor) -> Tensor:
        """That of every event (E,)."""
        return like.new_tensor([x.direction for x in self.triggers])

    def start(self, t0: Tensor, y0: Tensor) -> EventState:
        """Forget the solve before, and take sides at the start."""
        self.happened = []
        values = self.values(t0, y0)
        none = torch.zeros_like(t0, dtype=torch.int64)
        return EventState(
            value=values,
            side=torch.sign(values),
            fresh=torch.zeros_like(values, dtype=torch.bool),
            counts=torch.zeros_like(values, dtype=torch.int64),
            repeats=torch.zeros_like(values, dtype=torch.int64),
            target=torch.full_like(t0, torch.nan),
            hunts=none,
            wide=torch.zeros_like(t0),
            misses=none.clone(),
            begun=t0.clone(),
            since=t0.clone(),
            streak=none.clone(),
        )

    def tables(self, t0: Tensor, y0: Tensor) -> tuple[Table, ...]:
        """What has happened, event by event."""
        if not self.happened:
            none = Table(t0.new_empty(0, dtype=torch.int64), t0[:0], y0[:0])
            return (none,) * len(self.triggers)
        which, t, y, _ = (torch.stack(x) for x in zip(*self.happened, strict=True))
        found = []
        for k in range(len(self.triggers)):
            row, time = torch.nonzero(which[..., k].T, as_tuple=True)
            found.append(Table(row, t[time, row], y[time, row]))
        return tuple(found)


class EventState(NamedTuple):
    """What a row knows of its events."""

    value: Tensor  # (B, E) at t
    side: Tensor  # (B, E) on which it is; after an event that of the crossing, whatever the value
    fresh: Tensor  # (B, E) bool: it has set the state anew at this t, and no step was made since
    counts: Tensor  # (B, E) int64, how often each has happened
    repeats: Tensor  # (B, E) int64, how often it has seemed to happen at this t, or 0
    target: Tensor  # (B,) where the next attempt is to end, or nan
    hunts: Tensor  # (B,) int64, attempts that went to a target
    wide: Tensor  # (B,) the dt that the row had before, or 0
    misses: Tensor  # (B,) int64, steps in a row that went to a target and ended just before it
    begun: Tensor  # (B,) t0
    since: Tensor  # (B,) the first of the last events, which came
    streak: Tensor  # (B,) int64 so many in a row


class Sighting(NamedTuple):
    """What an attempt shows of events."""

    held: Tensor  # (B,) bool: it is not to be committed
    which: Tensor  # (B, E) bool: these happen, at its start where it is held, else at its end
    stuck: Tensor  # (B,) bool: one happens again, before time can move
    state: EventState


class Roots(NamedTuple):
    """Where the events of an attempt cross, in units of its length."""

    root: Tensor  # (B, E) theta, inf where there is none
    goes: Tensor  # (B, E) the side after it
    side: Tensor  # (B, E) the side at the end, where there is none
    length: Tensor  # (B,) of the attempt
    close: Tensor  # (B,) times that are one
    early: Tensor  # (B,) times that are that of the start
    again: Tensor  # (B, E) bool: it has happened there already, and only changes sides


def look(p: Problem, s: Live, moment: Moment, values: Tensor) -> Sighting:
    """What happens in an attempt that would be committed where `moment.accept` says so.

    `values` are the events (B, E) at its end.
    """
    old, accept = s.events, moment.accept
    nothing = torch.zeros_like(old.counts, dtype=torch.bool)
    zero = torch.zeros_like(old.hunts)
    idle = old._replace(target=zero * torch.nan, hunts=zero, wide=zero * 0.0, misses=zero)
    if accept.device.type == "cpu" and not bool(accept.any()):
        return Sighting(torch.zeros_like(accept), nothing, torch.zeros_like(accept), idle)
    x = _roots(p, s, moment, values)
    first = x.root.amin(-1)
    found, at_start = torch.isfinite(first), first * x.length <= x.early
    at_end = ((1 - first).abs() * x.length <= x.close) | (old.hunts >= HUNTS)
    held = found & (at_start | ~at_end)
    with_first = (x.root - first.unsqueeze(1)) * x.length.unsqueeze(1) <= x.close.unsqueeze(1)
    with_first = with_first & torch.isfinite(x.root)
    which = torch.where((found & at_start).unsqueeze(1), with_first, nothing)
    which = torch.where((found & ~held).unsqueeze(1), with_first | (x.root <= 1), which)
    stuck = (which & old.fresh).any(-1) & held
    turns = which & ~stuck.unsqueeze(1)
    which = turns & ~x.again
    # of those that are one, the last: there the others have happened, too
    last = torch.where(with_first, x.root, 0.0).amax(-1)
    hunting, committed = held & ~at_start, (accept & ~held).unsqueeze(1)
    missed = accept & ~found & ~torch.isnan(old.target)
    wide = torch.where(old.wide != 0, old.wide, s.dt)
    state = idle._replace(
        value=torch.where(committed, values, old.value),
        fresh=old.fresh & ~committed,
        side=torch.where(turns, x.goes, torch.where(committed, x.side, old.side)),
        repeats=torch.where(which, 1, (old.repeats + turns) * ~committed),
        target=torch.where(hunting, _at(p, s, moment, last), torch.nan),
        hunts=torch.where(hunting, old.hunts + 1, 0),
        wide=torch.where(hunting | missed, wide, idle.wide),
        misses=torch.where(hunting | missed, old.misses + missed, 0),
    )
    return Sighting(held, which, stuck, state)


def _at(p: Problem, s: Live, moment: Moment, theta: Tensor) -> Tensor:
    """The time (B,) at theta of an attempt; beside the stop, or by rounding beyond it, the stop."""
    t, stop = moment.t0 + theta * (moment.t1 - moment.t0), next_stop(p, s)
    beyond = (t - stop) * torch.sign(moment.t1 - moment.t0)
    eps = torch.finfo(s.y.dtype).eps
    return torch.where(beyond >= -BESIDE * SAME * eps * t.abs(), stop, t)


def _roots(p: Problem, s: Live, moment: Moment, values: Tensor) -> Roots:
    """The first crossings in an attempt; where it shows none, those a little ahead.

    These count where the attempt went to a target, and where it ends on a stop, at which events
    that are at one time with it have to happen.
    """
    assert p.events is not None
    old, t0, t1 = s.events, moment.t0, moment.t1
    length, direction = (t1 - t0).abs(), p.events.direction(t0)
    close, stop = (
        SAME * torch.finfo(s.y.dtype).eps * torch.maximum(t0.abs(), t1.abs()),
        next_stop(p, s),
    )
    close = torch.where(t1 == stop, BESIDE * close, close)
    width = torch.clamp(close / length / 2, 2.0**-52, 1.0)
    along = Along(
        [x.value for x in p.events.triggers], t0, t1, moment.y0, moment.y1, moment.interpolant()
    )
    root, goes, side = crossings(along, old.side, (old.value, values), direction, width)
    root = torch.where(moment.accept.unsqueeze(1), root, torch.inf)
    short = (~torch.isnan(old.target) & (old.hunts < HUNTS)) | (t1 == stop)
    short = short & moment.accept & torch.isinf(root).all(-1)
    if t0.device.type != "cpu" or bool(short.any()):
        rest = ahead(along, side, values, direction)
        far = ((stop - t0).abs() + close) / length
        near = short.unsqueeze(1) & torch.isfinite(rest) & (rest <= far.unsqueeze(1))
        root, goes = torch.where(near, rest, root), torch.where(near, -side, goes)
    # what moves t may be too short to move y: then one step would miss the event after the other
    early = close * NEARER ** torch.clamp(old.misses, max=HUNTS)
    again = (old.repeats > 0) & (root * length.unsqueeze(1) <= early.unsqueeze(1))
    noise = again & (old.repeats > TURNS)
    end = torch.where((values != 0) & ~torch.isnan(values), torch.sign(values), old.side)
    root, side = torch.where(noise, torch.inf, root), torch.where(noise, end, side)
    return Roots(root, goes, side, length, close, early, again & ~noise)
