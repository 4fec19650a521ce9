"""Events and jumps of a solve in the terms of kernels: what is traced, given, and left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from stiffguide import events
from stiffguide.kernels.request import Request
from stiffguide.kernels.running.task import Ended, Happened, Happening
from stiffguide.stepping.contracts import Table
from stiffguide.stepping.events import EventState
from stiffguide.tracing.together import Together


def traced(r: Request) -> Any:
    """What is to be traced: f, with events and jumps where there are some."""
    if not r.events and r.jump_at is None:
        return r.f
    return Together(r.f, tuple(event for event, _ in r.events), tuple(_jumps(r)))


def _jumps(r: Request) -> list[Callable[..., Any]]:
    jumps = [jump for _, jump in r.events if jump is not None]
    return jumps if r.jump_at is None else [*jumps, r.jump_at]


def check(r: Request) -> None:
    """Try events and jumps where the solve begins; raises InputError where they cannot be used."""
    if r.events or r.jump_at is not None:
        events.check(r.problem.events, r.problem.jump_at, r.layout, r.t0, r.y0)


def given(r: Request) -> Happening | None:
    """How events and jumps are to be taken."""
    if not r.events and r.jump_at is None:
        return None
    triggers = () if r.problem.events is None else r.problem.events.triggers
    numbers = iter(range(len(_jumps(r))))
    jump = [-1 if own is None else next(numbers) for _, own in r.events]
    place = r.y0.device
    return Happening(
        torch.tensor([x.direction for x in triggers], dtype=torch.float64, device=place),
        torch.tensor([x.terminal for x in triggers], dtype=torch.int64, device=place),
        torch.tensor(jump, dtype=torch.int64, device=place),
        -1 if r.jump_at is None else next(numbers),
    )


def tables(ended: Ended, dtype: torch.dtype) -> tuple[Table, ...]:
    """What happened, event by event, sorted by row; in a row it came in the order of time."""
    x = ended.happened
    if x is None:
        return ()
    return tuple(_table(x, k, dtype) for k in range(x.sides.shape[1]))


def _table(x: Happened, k: int, dtype: torch.dtype) -> Table:
    which = _of(x, k)
    which = which[torch.argsort(x.row[which], stable=True)]
    return Table(x.row[which], x.t[which], x.y[which].to(dtype))


def _of(x: Happened, k: int) -> Tensor:
    """The places where event k stands."""
    end = min(int(x.total), len(x.row))
    return torch.nonzero(x.event[:end] == k).squeeze(1)


def state(r: Request, x: Happened | None) -> EventState | tuple[()]:
    """What the rows know of their events in the end."""
    if x is None or not x.sides.shape[1]:
        return ()
    b, e = x.sides.shape
    counts = [torch.bincount(x.row[_of(x, k)], minlength=b) for k in range(e)]
    none = torch.zeros_like(x.streak)
    return EventState(
        value=x.sides,
        side=x.sides,
        counts=torch.stack(counts, -1),
        target=torch.full_like(x.since, torch.nan),
        hunts=none,
        wide=torch.zeros_like(x.since),
        misses=none,
        fresh=torch.zeros_like(x.sides, dtype=torch.bool),
        repeats=torch.zeros_like(x.sides, dtype=torch.int64),
        begun=r.t0,
        since=x.since,
        streak=x.streak,
    )
