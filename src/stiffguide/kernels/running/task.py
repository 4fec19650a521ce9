"""What a kernel is given, and what it gives back."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from stiffguide.stepping.controllers import PID

EPS = 2.0**-52


class Happening(NamedTuple):
    """What E events and the jumps do; a jump is a number of the traced ones, or -1 for none."""

    direction: Tensor  # (E,) of the crossings that count
    limit: Tensor  # (E,) int64, how often each may happen before it ends a row; 0: as it will
    jump: Tensor  # (E,) int64
    at_stops: int


class Task(NamedTuple):
    """What is to be solved, in float64; shapes as in `contracts`."""

    t0: Tensor  # (B,)
    t1: Tensor  # (B,)
    y0: Tensor  # (B, F)
    parameters: Tensor  # (P,) or (B, P)
    rtol: Tensor  # (1 or B, 1 or F)
    atol: Tensor
    controller: PID
    max_step: float
    first_step: float | None
    max_attempts: int
    times: Tensor | None = None  # (1 or B, T), to save at
    stops: Tensor | None = None  # (B, K), to step on, t1 last; None where that is the only one
    eps: float = EPS  # of the state's own dtype
    happening: Happening | None = None
    rules: Tensor | None = None  # of methods that share the rows: `Rules` of native/state.h
    explicit: PID | None = None  # the controller of the explicit one, then

    @property
    def rows(self) -> int:
        """B."""
        return self.y0.shape[0]


class Pieces(NamedTuple):
    """Accepted steps, N the largest number of them; a row with fewer ends in steps of no length."""

    before: Tensor  # (N, B)
    after: Tensor  # (N, B)
    y0: Tensor  # (N, B, F)
    y1: Tensor  # (N, B, F)
    coefficients: Tensor | None  # (N, D, B, F)

    @property
    def degree(self) -> int:
        """D, or 0."""
        return 0 if self.coefficients is None else self.coefficients.shape[1]


class Pauses(NamedTuple):
    """Where rows pause, and what they go on with."""

    until: Tensor | None  # (B,) int64: the attempts; None where they go on to their end
    carried: Tensor  # (B, C), see `carried` of emitting/cpp.py


class Happened(NamedTuple):
    """Events in all rows, as they came: `total` of them, of which there is room for R."""

    total: Tensor  # (1,) int64
    row: Tensor  # (R,) int64
    event: Tensor  # (R,) int64
    t: Tensor  # (R,)
    y: Tensor  # (R, F)
    kept: Tensor  # (B,) int64, accepted steps and jumps
    sides: Tensor  # (B, E), these as in `EventState`
    since: Tensor  # (B,)
    streak: Tensor  # (B,) int64

    @property
    def full(self) -> bool:
        """Whether there was more than there was room for."""
        return int(self.total) > len(self.row)


class Derivatives(NamedTuple):
    """Derivatives of the states in D directions; what no row has come to is nan."""

    end: Tensor  # (B, F, D)
    saved: Tensor | None  # (B, T, F, D)
    kept: Tensor | None  # (N, B, F, D), after every accepted step
    ruined: Tensor  # (B,) int64: 1 where a row ended because they are not finite
    addresses: Tensor  # (4,) int64, of these

    @staticmethod
    def of(task: Task, ended: Ended, count: int) -> Derivatives:
        """Room for them."""
        (b, f), nan = task.y0.shape, float("nan")
        end = task.y0.new_full((b, f, count), nan)
        saved, kept = (
            None if x is None else x.new_full((*x.shape, count), nan)
            for x in (ended.saved, None if ended.pieces is None else ended.pieces.y1)
        )
        ruined = torch.zeros(b, dtype=torch.int64)
        parts = (end, saved, kept, ruined)
        places = [0 if x is None else x.data_ptr() for x in parts]
        return Derivatives(*parts, torch.tensor(places, dtype=torch.int64))


class Shifts:
    """Which part of a kernel went on, in which rows (B,) bool, and from where (B,).

    Of a single row these may be None and a number.
    """

    def __init__(self, rows: int) -> None:
        self.found: list[tuple[int, Tensor | None, Any]] = []
        self._rows = rows
        self._last: Tensor | None = None

    def note(self, part: int, waiting: Tensor, t: Tensor) -> None:
        """Rows `waiting` go on by that part, from t (B, 1)."""
        if self._last is None:
            self._last = torch.zeros(self._rows, dtype=torch.int64)
        new = waiting & (self._last != part)
        if bool(new.any()):
            self.found.append((part, new, t.squeeze(1).clone()))
            self._last = torch.where(new, part, self._last)

    def packed(self) -> tuple[Any, ...]:
        """What it is made of."""
        return self.found, self._last

    def unpacked(self, packed: tuple[Any, ...]) -> Shifts:
        """The same, made of that."""
        made = Shifts(self._rows)
        made.found, made._last = packed
        return made

    def clear(self) -> None:
        """Begin anew."""
        self.found.clear()
        self._last = None


class Ended(NamedTuple):
    """Where every row ended, and what that took."""

    t: Tensor  # (B, 1)
    y: Tensor  # (B, 1, F)
    dt: Tensor  # (B,)
    counts: Tensor  # (6, B) int64: status, accepted, attempts, nfe, njac, nlu
    saved: Tensor | None  # (B, T, F)
    pieces: Pieces | None = None
    pauses: Pauses | None = None
    happened: Happened | None = None
    shifts: Shifts | None = None  # where methods share the rows
    derivatives: Derivatives | None = None
