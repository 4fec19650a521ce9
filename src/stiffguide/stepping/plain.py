"""Steps of given lengths while every row is live: many of them without masks, looked at together.

What is finite, and vouched for by the method in every step, is what as many attempts would leave.
Anything else is as if it had not been: nobody has seen it, and attempts go on from before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

import torch
from torch import Tensor

from stiffguide.errors import Status
from stiffguide.stepping.attempt import Arrival, attempt
from stiffguide.stepping.contracts import Moment, Step, Work
from stiffguide.stepping.controllers import Fixed, Grid, GridState
from stiffguide.stepping.live import Live, Problem, unasked
from stiffguide.stepping.output import AtTimes, End, kept
from stiffguide.stepping.piece import Piece
from stiffguide.stepping.strides import Strides, strides
from stiffguide.tensors import real_dtype, transformed

STEPS = 512  # that are made without the loop,
TIMES = 2**18  # if the times of their stages are no more numbers than these
TOGETHER = 64  # steps that are looked at together,
NUMBERS = 2**17  # if their states are no more numbers,
SECONDS = 1.0  # and take no longer

Seen = Callable[[Tensor, Tensor], None]  # t (N, B) and y (N, B, F) after N steps


def serves(p: Problem) -> bool:
    """Whether nothing but a controller that knows them beforehand decides what the steps are."""
    happens = (p.guidance, p.events, p.jump_at, p.nonnegative, p.on_attempt) != (None,) * 5
    given = type(p.controller) in (Fixed, Grid) and p.max_step == float("inf")
    if happens or not given or p.stops.shape[1] > 1:
        return False
    return all(kept(output) is not None for output in p.outputs)


class Unmasked:
    """A step of the loop that makes as many at a time as can be made without it."""

    def __init__(self, p: Problem, seen: Seen | None = None, most: int = STEPS) -> None:
        self._seen = seen
        self._most = most
        self._served = serves(p)  # else what is left is for attempts
        self._interrupted = False

    def __call__(self, p: Problem, s: Live) -> Live:
        """Many steps, or one attempt."""
        if self._interrupted:
            raise KeyboardInterrupt
        ahead = self._ahead(p, s) if self._served else None
        if ahead is not None and ahead.t0:
            walk = Walk(p, s, ahead, self._seen)
            self._served, self._interrupted = walk.made()
            if walk.steps:
                return walk.after()
            if self._interrupted:
                raise KeyboardInterrupt
        self._served = False
        return attempt(p, s)

    def _ahead(self, p: Problem, s: Live) -> Strides | None:
        if not bool((s.status == int(Status.RUNNING)).all()):
            return None
        left = p.max_attempts - 1 - int(s.attempts.max())  # the last one says that it is
        return strides(p, s, min(self._most, max(1, TIMES // (16 * len(s.t))), left))


class Walk:
    """Steps from a state on."""

    steps: int

    def __init__(self, p: Problem, s: Live, ahead: Strides, seen: Seen | None) -> None:
        self._p, self._s, self._ahead, self._seen = p, s, ahead, seen
        self._outputs = [output for output in p.outputs if type(output) is not End]
        # a method may know how to prepare many steps at once: see `ExplicitRK`
        self._paced: Any = p.method if hasattr(p.method, "paces") else None
        self._everywhere = torch.ones_like(s.status, dtype=torch.bool)
        self._table = ahead.tensors(s.t.device)
        if isinstance(p.controller, Grid) and p.controller.times.requires_grad:
            place = int(s.controller.place[0]) - 1
            times = p.controller.times[:, place : place + len(ahead.t0) + 1].T
            moves = (times[:-1], times.diff(dim=0), times[1:])
            self._table = tuple(
                x + (m - m.detach()) for x, m in zip(self._table, moves, strict=True)
            )
        self._t1 = self._table[2].expand(-1, len(s.t))
        self._made: list[tuple[Step, Tensor]] = []  # not looked at, and f1 (B, F)
        self._last: tuple[Step, Tensor] | None = None  # that was
        self._works: list[Work] = []
        self._nfe, self._late = 0, 0  # beyond those, in steps that were looked at and not yet
        self.steps = 0  # that are sound

    def made(self) -> tuple[bool, bool]:
        """Make the steps; whether all were sound, and whether the keyboard interrupted them."""
        p, y, f0, state = self._p, self._s.y, self._s.f0, self._s.method
        make: Any = self._paced.paced if self._paced else p.method.step
        together = max(1, min(TOGETHER, NUMBERS // (2 * y.numel())))
        since = monotonic()
        last = len(self._ahead.t0) - 1 if self._ahead.finish and unasked(p) else -1
        try:
            for i, (through, at) in enumerate(self._times()):
                step = make(p.f, *through, y, f0, state, p.tolerance)
                f1 = step.f1
                if f1 is None and i != last:
                    f1, self._late = p.f(at, step.y1), self._late + 1
                f1 = f0 if f1 is None else f1  # which nobody asks for
                self._made.append((step, f1))
                y, f0, state = step.y1, f1, step.state
                if len(self._made) == together or monotonic() > since + SECONDS:
                    if not self._look():
                        return False, False
                    if monotonic() > since + SECONDS:
                        return True, False
        except KeyboardInterrupt:
            if self._made and self._finishes(self.steps + len(self._made)):
                self._made.pop()  # who was interrupted has not come to the end
            return self._look(), True
        return self._look(), False

    def _times(self) -> Iterator[tuple[tuple[Any, ...], Tensor]]:
        """What a step is told of its way, and t1 (B,); the end of the last may have a history."""
        paced, y, end, rows = self._paced, self._s.y, self._p.stops[:, -1], len(self._s.t)
        t0, dt, t1 = self._table
        if paced:
            ways: list[Any] = list(zip(paced.paces(t0, dt, y), strict=True))
            at = list(t1.to(real_dtype(y.dtype)).expand(-1, rows).unbind(0))
        else:
            ways = list(zip(*(x.expand(-1, rows).unbind(0) for x in (t0, dt)), strict=True))
            at = list(self._t1.unbind(0))
        if self._ahead.finish and (end.requires_grad or transformed()):
            start = t0[-1].expand(rows)
            last = start, (start + (end - start)) - start
            ways[-1], at[-1] = (paced.pace(*last, y),) if paced else last, end
        return zip(ways, at, strict=True)

    def _finishes(self, steps: int) -> bool:
        """Whether so many steps end every row."""
        return self._ahead.finish and steps == len(self._t1)

    def _end(self, i: int) -> Tensor:
        """t1 (B,) of a step."""
        return self._p.stops[:, -1] if self._finishes(i + 1) else self._t1[i]

    def _look(self) -> bool:
        """Show the steps to outputs, and to whoever else is to see them, if they are sound."""
        if not self._made:
            return True
        made, self._made = self._made, []
        with torch.no_grad():
            met = torch.stack([step.y1 for step, _ in made] + [f1 for _, f1 in made])
            # far cheaper than a norm, and a sum of finite numbers that is not costs a few attempts
            total = met.sum(dtype=torch.promote_types(met.dtype, torch.float32)).item()
            doubts = [step.ok for step, _ in made if step.ok is not None]
            if total - total != 0 or (doubts and not bool(torch.stack(doubts).all())):
                return False
            if self._seen is not None:
                self._seen(self._t1[self.steps : self.steps + len(made)], met[: len(made)])
        if self._outputs:
            self._show(made)
        self._works += [step.work for step, _ in made]
        self._nfe, self._late = self._nfe + self._late, 0
        self._last, self.steps = made[-1], self.steps + len(made)
        return True

    def _show(self, made: list[tuple[Step, Tensor]]) -> None:
        """Show steps to the outputs that want them, of which interpolants may evaluate f."""
        first, many = self.steps, len(made)
        ends = self._t1[first : first + many]
        wanted = [
            output.due(ends) if isinstance(output, AtTimes) else [True] * many
            for output in self._outputs
        ]
        for i, (step, f1) in enumerate(made):
            if not any(due[i] for due in wanted):
                continue
            t1 = self._end(first + i)
            piece = Piece(self._p, self._s, step, Arrival(t1, step.y1, f1, (), 0))
            moment = Moment(step.t0, t1, step.y0, step.y1, f1, self._everywhere, piece)
            for output, due in zip(self._outputs, wanted, strict=True):
                if due[i]:
                    output.record(moment)
            self._nfe += piece.nfe

    def after(self) -> Live:
        """The state after the steps."""
        assert self._last is not None
        s, n, (step, f1) = self._s, self.steps, self._last
        controller, done = s.controller, s.status
        if isinstance(self._p.controller, Grid):
            most = self._p.controller.times.shape[1] - 1
            controller = GridState(torch.clamp(controller.place + n, max=most))
        if self._finishes(n):
            done = torch.full_like(done, int(Status.SUCCESS))
        dt = torch.as_tensor(self._ahead.dt_next[n - 1], dtype=s.dt.dtype, device=s.dt.device)
        nfe, *others = (sum(column) for column in zip(*self._works, strict=True))
        spent = [torch.as_tensor(x, device=s.work.device) for x in (nfe + self._nfe, *others)]
        return s._replace(
            t=self._end(n - 1),
            y=step.y1,
            f0=f1,
            dt=dt.expand_as(s.dt),
            method=step.state,
            controller=controller,
            status=done,
            attempts=s.attempts + n,
            accepted=s.accepted + n,
            work=s.work + torch.stack([x.expand_as(s.status) for x in spent]),
        )
