"""What happened in the first pass of a solve, in the order in which the second one repeats it."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from stiffguide.errors import Status
from stiffguide.stepping.contracts import Moment
from stiffguide.stepping.live import Live, Problem
from stiffguide.stepping.output import Keeper, Kept


class Occasion(NamedTuple):
    """Events at one time of every row, and stops at which the state is set anew."""

    t: Tensor  # (B,)
    steps: Tensor  # (B,) int64, so many steps were made before
    which: Tensor  # (B, E) bool: events
    jumps: Tensor  # (B, E) bool: of these, those that set the state anew
    ends: Tensor  # (B, E) bool: of these, those that ended the row
    stopped: Tensor  # (B,) bool: `jump_at` sets the state anew

    def of(self, step: int) -> Occasion:
        """What of it happened after so many steps."""
        here = self.steps == step
        each = here.unsqueeze(1)
        which, jumps, ends = (x & each for x in (self.which, self.jumps, self.ends))
        return self._replace(which=which, jumps=jumps, ends=ends, stopped=self.stopped & here)

    @property
    def anew(self) -> Tensor:
        """Rows (B,) bool whose state is set anew."""
        return self.jumps.any(-1) | self.stopped


class Instants(Keeper):
    """An output of the first pass that keeps when its steps ended."""

    kept: ClassVar[Kept | None] = "instants"

    def start(self, t0: Tensor, t1: Tensor, y0: Tensor) -> None:
        """Keep the start."""
        self.pages: list[tuple[Tensor, ...]] = [(t0, torch.ones_like(t0, dtype=torch.bool))]

    def record(self, moment: Moment) -> Tensor | None:
        """Keep the end of the attempt."""
        self.pages.append((moment.t1.detach(), moment.accept))
        return None

    def result(self, t: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 1 + N) for N steps at most, and no states; rows with fewer stay at their end t."""
        ends, accept = (torch.stack(x, 1) for x in zip(*self.pages, strict=True))
        place = accept.cumsum(1) - 1
        times = t.unsqueeze(1).repeat(1, int(place.max()) + 1 if place.numel() else 1)
        row, attempt = torch.nonzero(accept, as_tuple=True)
        return times.index_put((row, place[row, attempt]), ends[row, attempt]), y.unsqueeze(1)


class Diary:
    """An output of the first pass that writes down what happens."""

    def __init__(self, p: Problem) -> None:
        triggers = () if p.events is None else p.events.triggers
        self._jumps = [x.jump is not None for x in triggers]
        self._limits = [x.terminal for x in triggers]
        self._jump_at = p.jump_at is not None

    def start(self, t0: Tensor, t1: Tensor, y0: Tensor) -> None:
        """Nothing has happened yet."""
        self._pages: list[Occasion] = []

    def record(self, moment: Moment) -> Tensor | None:
        """Steps alone are nothing to remember."""
        return None

    def result(self, t: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """No states."""
        return t.unsqueeze(1), y.unsqueeze(1)

    def happen(self, s: Live, which: Tensor | None, stopped: Tensor) -> None:
        """Keep what happens at (s.t, s.y), where s has counted it and has not jumped yet."""
        if which is None:
            which = stopped.new_zeros(len(stopped), len(self._jumps))
        goes_on = s.status == int(Status.RUNNING)
        limit = torch.tensor(self._limits, dtype=torch.int64, device=stopped.device)
        jumping = torch.tensor(self._jumps, dtype=torch.bool, device=stopped.device)
        counts = s.events.counts if self._limits else which.long()
        ends = which & (limit > 0) & (counts >= limit)
        jumps = which & jumping & goes_on.unsqueeze(1)
        stopped = stopped & goes_on & self._jump_at
        self._pages.append(Occasion(s.t, s.accepted, which, jumps, ends, stopped))

    def by_steps(self) -> dict[int, list[Occasion]]:
        """What happened after 0, 1, 2, ... steps of a row, in order."""
        found: dict[int, list[Occasion]] = {}
        for page in self._pages:
            some = page.which.any(-1) | page.stopped
            for step in torch.unique(page.steps[some]).tolist():
                found.setdefault(step, []).append(page.of(step))
        return found
