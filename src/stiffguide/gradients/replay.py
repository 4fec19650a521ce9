"""Steps that end in events, and jumps after them, repeated with autograd.

The first pass has found the events; here their times are numbers t at which steps end. What moves
an event is told by the implicit function theorem: with the last step stretched by h, the event is
g(h), and dh = -dg / (dg/dh). The step is made once to find dg/dh, and again with the h that comes
of it, which is 0 and has a gradient: so it ends where the event does. After a jump the state is
carried back along f over the same h, and the next step starts at the number t.
"""

from __future__ import annotations

from copy import copy
from typing import NamedTuple

import torch
from torch import Tensor

from stiffguide.errors import InputError, Status
from stiffguide.gradients.implicit import crossing
from stiffguide.gradients.occasions import Occasion
from stiffguide.gradients.times import along
from stiffguide.stepping.attempt import attempt
from stiffguide.stepping.contracts import Table
from stiffguide.stepping.controllers import Grid
from stiffguide.stepping.events import Trigger
from stiffguide.stepping.live import Live, Problem, asked
from stiffguide.tensors import select

GRAZING = 1e-6  # of its mean rate in the step: an event that slow only touches zero


class Place(NamedTuple):
    """Where rows are: at t + h, h being 0 with the gradient of the event they have come to."""

    t: Tensor  # (B,)
    h: Tensor  # (B,)
    y: Tensor  # (B, F)


class Replay:
    """Attempts, with all that happened between them; as the loop's step it has a place in time."""

    ends: Tensor

    def __init__(self, p: Problem, happened: dict[int, list[Occasion]], ends: Tensor) -> None:
        self._triggers: tuple[Trigger, ...] = () if p.events is None else p.events.triggers
        self._jump_at = p.jump_at
        self._happened = happened
        self._steps = 0
        self.ends = ends  # (B,) when the rows ended
        self.grazed: Tensor | None = None  # (B, E) bool
        self.found: list[list[tuple[Tensor, ...]]] = [[] for _ in self._triggers]

    @property
    def uneventful(self) -> bool:
        """Whether nothing happens between the steps."""
        return not self._happened

    def apart(self, ends: Tensor) -> Replay:
        """The same as it stands, which has found nothing yet: for the steps from here on."""
        other = copy(self)
        other.ends, other.grazed, other.found = ends, None, [[] for _ in self._triggers]
        return other

    def join(self, later: Replay) -> None:
        """Take over what was found by one that is further on."""
        self.ends, self._steps = later.ends, later._steps
        for found, more in zip(self.found, later.found, strict=True):
            found += more
        if later.grazed is not None:
            self.grazed = later.grazed if self.grazed is None else self.grazed | later.grazed

    def begin(self, p: Problem, s: Live, start: Place) -> Live:
        """What happens before the first step, where rows are at `start`."""
        occasions = self._happened.get(0, [])
        return self._settle(p, s, start, occasions, None) if occasions else s

    def step(self, p: Problem, s: Live) -> Live:
        """One attempt, and what happens at its end."""
        if not self._happened:
            return attempt(p, s)
        self._steps += 1
        occasions = self._happened.get(self._steps, [])
        p = _on_grid(p, s)
        if not occasions:
            return attempt(p, s)
        fired, acts = _first(occasions)
        times = self._times(p, s, fired, occasions)
        h = torch.zeros_like(s.t)
        for k, t in times.items():
            h = torch.where(acts[:, k], t - t.detach(), h)
        after = _stretched(p, s, h)
        t = after.t.detach()
        for o in occasions:
            t = torch.where(o.which.any(-1) | o.stopped, o.t, t)
        for k, t_k in times.items():
            y = after.y
            if bool((fired[:, k] & ~acts[:, k]).any()):  # the row does not end, or jump, there
                other = _stretched(_unseen(p), s, t_k - t_k.detach())
                y = select(acts[:, k], y, other.y)
            self.found[k].append((fired[:, k], t_k, y))
        return self._settle(p, after, Place(t, h, after.y), occasions, fired)

    def tables(self, t0: Tensor, y0: Tensor) -> tuple[Table, ...]:
        """What has happened, event by event."""
        tables = []
        for found in self.found:
            if not found:
                tables.append(Table(t0.new_empty(0, dtype=torch.int64), t0[:0], y0[:0]))
                continue
            which, t, y = (torch.stack(x) for x in zip(*found, strict=True))
            row, time = torch.nonzero(which.T, as_tuple=True)
            tables.append(Table(row, t[time, row], y[time, row]))
        return tuple(tables)

    def _times(
        self, p: Problem, s: Live, fired: Tensor, occasions: list[Occasion]
    ) -> dict[int, Tensor]:
        """When the events (B, E) at the end of the next step happen (B,), by their numbers."""
        if not bool(fired.any()):
            return {}
        h = torch.zeros_like(s.t).requires_grad_()
        end = _stretched(_unseen(p), s, h)
        found = {}
        for k in torch.nonzero(fired.any(0)).flatten().tolist():
            event, mask = self._triggers[k], fired[:, k]
            value = event.value(end.t, end.y).to(s.t.dtype)
            rate = None
            if value.requires_grad:
                (rate,) = torch.autograd.grad(value.sum(), h, retain_graph=True, allow_unused=True)
            if rate is None:
                raise InputError(UNSEEN.format(name=event.name))
            with torch.no_grad():
                before = event.value(s.t, s.y).to(s.t.dtype)
            still = rate.abs() * (end.t.detach() - s.t).abs() <= GRAZING * before.abs()
            self._note(k, still & mask)
            t = end.t.detach()
            for o in occasions:
                t = torch.where(o.which[:, k], o.t, t)
            found[k] = crossing(value, torch.where(still, 0.0, rate), t)
        return found

    def _note(self, k: int, grazing: Tensor) -> None:
        if self.grazed is None:
            self.grazed = torch.zeros(
                len(grazing), len(self._triggers), dtype=torch.bool, device=grazing.device
            )
        self.grazed[:, k] |= grazing

    def _settle(
        self, p: Problem, s: Live, at: Place, occasions: list[Occasion], fired: Tensor | None
    ) -> Live:
        """Let the states be set anew, one after the other; events `fired` (B, E) are known."""
        jumped = turned = ended = torch.zeros_like(s.status, dtype=torch.bool)
        for o in occasions:
            over = o.ends.any(-1)
            if bool(over.any()):
                self.ends, ended = torch.where(over, at.t + at.h, self.ends), ended | over
            for k, event in enumerate(self._triggers):
                new = o.which[:, k] if fired is None else o.which[:, k] & ~fired[:, k]
                if bool(new.any()):
                    self.found[k].append((new, at.t + at.h, at.y))
                if event.jump is not None and bool(o.jumps[:, k].any()):
                    at = at._replace(y=select(o.jumps[:, k], event.jump(at.t + at.h, at.y), at.y))
            if self._jump_at is not None and bool(o.stopped.any()):
                at = _back(p, s, at, o.stopped)
                at = at._replace(y=select(o.stopped, self._jump_at(at.t, at.y), at.y))
            jumped, turned = jumped | o.anew, turned | o.stopped
            for output in p.outputs:
                if hasattr(output, "jump"):
                    output.jump(at.t + at.h, at.y, o.anew)
        s = s._replace(t=at.t)
        if not bool(jumped.any()):
            return s
        # who ended after a step did so at t + h
        y = select(ended & (self._steps > 0), at.y, _back(p, s, at, jumped).y)
        return self._restart(p, s, y, jumped, turned)

    def _restart(self, p: Problem, s: Live, y: Tensor, where: Tensor, turned: Tensor) -> Live:
        """The rows `where` (B,) go on from (s.t, y): see `events.restart`."""
        f0 = p.f(asked(s), y)
        rule = p.guidance
        return s._replace(
            y=select(where, y, s.y),
            f0=select(where, f0, s.f0),
            method=p.method.restart(s.method, where),
            guidance=() if rule is None else select(where, rule.init(s.t, y), s.guidance),
        )


UNSEEN = (
    "{name} happened, and autograd does not see how it depends on t or y: compute it from them by "
    "torch operations, or use torch.no_grad() or detach"
)


def _first(occasions: list[Occasion]) -> tuple[Tensor, Tensor]:
    """Events (B, E) at the end of a step, before any jump; and of each row the one that acts.

    That one ends the row, or is the first to set its state anew.
    """
    fired = acts = torch.zeros_like(occasions[0].which)
    fresh = torch.ones_like(occasions[0].stopped)
    for o in occasions:
        mask = fresh.unsqueeze(1)
        fired = fired | (o.which & mask)
        doing = (o.ends | (o.jumps & ~o.ends.any(-1, keepdim=True))) & mask
        acts = acts | (doing & (doing.cumsum(-1) == 1))
        fresh = fresh & ~o.anew
    return fired, acts


def _on_grid(p: Problem, s: Live) -> Problem:
    """The same problem, where a step to a time just before a stop does not go on to the stop."""
    assert isinstance(p.controller, Grid)
    place, stop = s.controller.place.unsqueeze(1), s.stop.unsqueeze(1)
    to_stop = p.controller.times.gather(1, place) == p.stops.gather(1, stop)
    beyond = (s.t + 4 * s.dt).unsqueeze(1)
    leave = to_stop | (s.status != int(Status.RUNNING)).unsqueeze(1)
    return p._replace(stops=torch.where(leave, p.stops, beyond))


def _stretched(p: Problem, s: Live, h: Tensor) -> Live:
    """An attempt that ends h (B,) later, which is 0."""
    return attempt(p._replace(stops=p.stops + h.unsqueeze(1)), s._replace(dt=s.dt + h))


def _unseen(p: Problem) -> Problem:
    """The same problem where nobody looks, and t1 is a number."""
    return p._replace(outputs=(), stops=p.stops.detach())


def _back(p: Problem, s: Live, at: Place, where: Tensor) -> Place:
    """The rows `where` (B,) at the number t: carried along the solution over -h."""
    if not at.h.requires_grad:
        return at
    y = along(p.f, asked(s), at.y, torch.where(where, -at.h, 0.0))
    return Place(at.t, torch.where(where, 0.0, at.h), y)
