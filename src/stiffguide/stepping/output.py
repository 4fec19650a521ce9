"""What a solve keeps: the end, given times, every step, an interpolant; or a steady state."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor

from stiffguide.errors import InputError
from stiffguide.inputs import Times
from stiffguide.stepping.contracts import Moment, Output
from stiffguide.stepping.interpolate import evaluate
from stiffguide.stepping.places import Alone
from stiffguide.stepping.tolerance import Tolerance
from stiffguide.stepping.trajectory import Trajectory
from stiffguide.tensors import listed, real_dtype, rows, transformed

SETTLED = 0.1  # of the way from y0: what f may add in as long a time, at rest

Kept = Literal["end", "times", "steps", "pieces", "instants", "chords"]


class Keeper:
    """An output that says what it keeps, if it does nothing else, so that a kernel can keep it.

    And what of it `moves` with the steps, so that a solve can go on from what was so far. A
    subclass inherits neither: it may stop rows, or keep more, which None allows for.
    """

    kept: ClassVar[Kept | None] = None
    moves: ClassVar[tuple[str, ...] | None] = None  # names of attributes that are data
    pages: list[tuple[Tensor, ...]]  # in the order of the attempts

    def __init_subclass__(cls) -> None:
        cls.kept, cls.moves = (cls.__dict__.get(name) for name in ("kept", "moves"))

    def apart(self) -> Self:
        """The same as it stands, which has kept nothing yet: for the steps from here on."""
        other = copy(self)
        other.pages = []
        return other


def kept(output: Output) -> Kept | None:
    """What an output keeps, or None where it does something of its own, such as to stop rows."""
    return getattr(output, "kept", None)


class End(Keeper):
    """Keep the end of each row only: T = 1."""

    kept: ClassVar[Kept | None] = "end"
    moves: ClassVar[tuple[str, ...] | None] = ("pages",)

    def start(self, t0: Tensor, t1: Tensor, y0: Tensor) -> None:
        """Nothing to prepare."""
        self.pages: list[tuple[Tensor, ...]] = []

    def record(self, moment: Moment) -> Tensor | None:
        """Nothing to keep on the way."""
        return None

    def result(self, t: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Where each row ended: (B, 1), (B, 1, F)."""
        return t.unsqueeze(1), y.unsqueeze(1)


class SteadyState(End):
    """Stop a row where f would no longer change y, and keep that point.

    That is where, after two accepted steps in a row, |f| times the time is at most atol + rtol |y|
    in the root mean square. The time is what has gone by since t0 or, if that is longer and t1 is
    finite, what is left until t1: so the rule is the same in all units of t, and a slow start is
    not taken for rest; nor is one by short steps, for with an infinite t1 it must be at most a
    tenth of the way from y0. By default rtol and atol are the solve's; bad ones raise InputError.
    """

    rtol: float | None
    atol: float | None
    pages: list[tuple[Tensor, ...]]

    moves: ClassVar[tuple[str, ...] | None] = ("pages", "_calm")

    def __init__(self, rtol: float | None = None, atol: float | None = None) -> None:
        given = [tol for tol in (rtol, atol) if tol is not None]
        if any(tol < 0 for tol in given) or (len(given) == 2 and sum(given) == 0):
            raise InputError("SteadyState: rtol and atol must be non-negative, and not both zero")
        self.rtol, self.atol = rtol, atol
        self._tolerance = Tolerance(0.0, 0.0)  # bound when a solve begins

    def bind(self, tolerance: Tolerance) -> SteadyState:
        """The same, with the tolerances of a solve where it has none of its own."""
        bound = copy(self)
        bound._tolerance = replace(
            tolerance,
            rtol=tolerance.rtol if self.rtol is None else self.rtol,
            atol=tolerance.atol if self.atol is None else self.atol,
            given=None,
        )
        return bound

    def start(self, t0: Tensor, t1: Tensor, y0: Tensor) -> None:
        """No step has ended at rest yet."""
        self._t0, self._t1, self._y0 = t0, t1, y0
        self._calm, self.pages = torch.zeros_like(t0, dtype=torch.int64), []

    def record(self, moment: Moment) -> Tensor | None:
        """Stop the rows that were at rest twice."""
        left, gone = (self._t1 - moment.t1).abs(), (moment.t1 - self._t0).abs()
        time = torch.maximum(gone, torch.where(torch.isinf(left), 0, left))
        change = moment.f1.abs() * rows(time, moment.f1).to(real_dtype(moment.f1.dtype))
        size, way = (self._tolerance.measure(x, moment.y1) for x in (change, moment.y1 - self._y0))
        rest = (size <= 1) & (torch.isfinite(left) | (size <= SETTLED * way))
        # once may be f on its way through zero
        self._calm = torch.where(moment.accept, (self._calm + 1) * rest, self._calm)
        return moment.accept & (self._calm > 1)


class AtTimes(Keeper):
    """Keep the solution at given times: (T,) for all rows or (B, T), sorted from t0 towards t1.

    Times that a row did not reach are nan. Raises InputError for none, or one that is not finite.
    """

    kept: ClassVar[Kept | None] = "times"
    moves: ClassVar[tuple[str, ...] | None] = ("pages", "_next", "_place")

    def __init__(self, times: Times) -> None:
        self.times: Tensor = torch.as_tensor(listed(times), dtype=torch.float64)
        if self.times.ndim not in (1, 2) or self.times.shape[-1] == 0:
            raise InputError("save_at: needs at least one time, shape (T,) or (B, T)")
        if not bool(torch.isfinite(self.times).all()):
            raise InputError("save_at: the times must be finite")

    def start(self, t0: Tensor, t1: Tensor, y0: Tensor) -> None:
        """Check the times against the interval and keep those at t0."""
        rows, sign = t0.shape[0], torch.where(t1 < t0, -1.0, 1.0).unsqueeze(1)
        times = torch.atleast_2d(self.times).to(t0.device)
        if times.shape[0] not in (1, rows):
            raise InputError(f"save_at: {times.shape[0]} rows of times for {rows} rows of y0")
        ahead = (times * sign).expand(rows, -1)
        if bool((ahead.diff(dim=1) < 0).any()):
            raise InputError("save_at: the times must be sorted from t0 towards t1")
        first, last = (t0 * sign[:, 0]).unsqueeze(1), (t1 * sign[:, 0]).unsqueeze(1)
        if bool(((ahead < first) | (ahead > last)).any()):
            raise InputError(
                f"save_at: every time must lie between t0 and t1, here {_span(t0, t1)}; "
                f"the times run from {times.min().item():g} to {times.max().item():g}"
            )
        self._ahead, self._sign = ahead.contiguous(), sign
        self.pages: list[tuple[Tensor, ...]] = []  # rows, columns, values
        self._next = torch.searchsorted(self._ahead, first.contiguous(), right=True).squeeze(1)
        row, column = _slots(torch.zeros_like(self._next), self._next)
        self._keep(row, column, y0[row])
        self._shape = (rows, ahead.shape[1], y0.shape[-1])
        # of one row Python asks faster than torch
        alone = rows == 1 and t0.device.type == "cpu" and not transformed()
        self._alone, self._place = Alone(ahead, sign) if alone else None, len(column)

    def _keep(self, row: Tensor, column: Tensor, value: Tensor) -> None:
        self.pages.append((row, column, value))  # at once: an interrupt may come at any time

    def record(self, moment: Moment) -> Tensor | None:
        """Interpolate at the times inside the accepted steps."""
        if self._alone is not None:
            begin, end = self._place, self._alone.after(self._place, moment)
            if end > begin:
                row, column, theta = self._alone.inside(begin, end, moment)
                self._keep(row, column, evaluate(self.piece(moment), theta, moment.y0, moment.y1))
                self._place = end
            return None
        reached = (moment.t1.unsqueeze(1) * self._sign).contiguous()
        upto = torch.searchsorted(self._ahead, reached, right=True).squeeze(1)
        upto = torch.where(moment.accept, upto, self._next)
        if bool((upto > self._next).any()):
            row, column = _slots(self._next, upto)
            wanted = (self._ahead * self._sign)[row, column]
            theta = (wanted - moment.t0[row]) / (moment.t1 - moment.t0)[row]
            coefficients = self.piece(moment)[:, row]
            value = evaluate(coefficients, theta, moment.y0[row], moment.y1[row])
            self._keep(row, column, value)
            self._next = upto
        return None

    def due(self, ends: Tensor) -> list[bool]:
        """Which of N accepted steps, the next ones, of these ends (N, B) have times in them."""
        if self._alone is not None:
            return self._alone.due(self._place, ends)
        upto = torch.searchsorted(self._ahead, (ends.T * self._sign).contiguous(), right=True)
        before = torch.cat((self._next.unsqueeze(1), upto[:, :-1]), 1)
        found: list[bool] = (upto > before).any(0).tolist()
        return found

    def piece(self, moment: Moment) -> Tensor:
        """Coefficients (D, B, F) of the polynomials between both ends of a step."""
        return moment.interpolant()

    def result(self, t: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T), (B, T, F)."""
        empty = torch.full(self._shape, float("nan"), dtype=y.dtype, device=y.device)
        row, column, value = (torch.cat(parts) for parts in zip(*self.pages, strict=True))
        states = empty.index_put((row, column), value)
        return self._ahead * self._sign, states


class Chords(AtTimes):
    """Keep the solution at given times, on straight lines between the ends of the steps."""

    kept: ClassVar[Kept | None] = "chords"
    moves: ClassVar[tuple[str, ...] | None] = ("pages", "_next", "_place")

    def piece(self, moment: Moment) -> Tensor:
        """Coefficients (1, B, F) of theta."""
        return (moment.y1 - moment.y0).unsqueeze(0)


class EveryStep(Keeper):
    """Keep the start and the end of every accepted step; rows with fewer steps end in nan."""

    kept: ClassVar[Kept | None] = "steps"
    moves: ClassVar[tuple[str, ...] | None] = ("pages",)

    def start(self, t0: Tensor, t1: Tensor, y0: Tensor) -> None:
        """Keep the start."""
        self.pages: list[tuple[Tensor, ...]] = [(t0, y0, torch.ones_like(t0, dtype=torch.bool))]

    def record(self, moment: Moment) -> Tensor | None:
        """Keep the attempt; the rejected rows are dropped in the end."""
        self.pages.append((moment.t1, moment.y1, moment.accept))
        return None

    def jump(self, t: Tensor, y: Tensor, where: Tensor) -> None:
        """Keep the state (B, F) after a jump, too, at the time (B,) of the step's end."""
        self.pages.append((t, y, where))

    def result(self, t: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T), (B, T, F) with T = 1 + the largest number of accepted steps."""
        ends, reached, accept = (torch.stack(x, 1) for x in zip(*self.pages, strict=True))
        place = accept.cumsum(1) - 1
        row, attempt = torch.nonzero(accept, as_tuple=True)
        column = place[row, attempt]
        shape = (accept.shape[0], int(column.max()) + 1 if column.numel() else 0)
        times = torch.full(shape, torch.nan, dtype=t.dtype, device=t.device)
        times = times.index_put((row, column), ends[row, attempt])
        states = torch.full((*shape, y.shape[-1]), torch.nan, dtype=y.dtype, device=y.device)
        states = states.index_put((row, column), reached[row, attempt])
        return times, states


class Dense(End):
    """Keep the interpolant of every attempt; `trajectory` turns them into a function of t."""

    kept: ClassVar[Kept | None] = "pieces"
    moves: ClassVar[tuple[str, ...] | None] = ("pages",)

    def start(self, t0: Tensor, t1: Tensor, y0: Tensor) -> None:
        """Nothing is kept yet."""
        self._t0, self._t1, self._y0 = t0, t1, y0
        self.pages: list[tuple[Tensor, ...]] = []

    def record(self, moment: Moment) -> Tensor | None:
        """Keep the piece; a rejected row leaves one of no length, which is never looked up."""
        if not bool(moment.accept.any()):
            return None
        after = torch.where(moment.accept, moment.t1, moment.t0)
        self.pages.append((moment.t0, after, moment.y0, moment.y1, moment.interpolant()))
        return None

    def trajectory(self) -> Trajectory:
        """The solution as a function of time."""
        still = (self._t0, self._t0, self._y0, self._y0, torch.zeros_like(self._y0).unsqueeze(0))
        pieces = self.pages or [still]
        most = max(len(piece[-1]) for piece in pieces)  # methods may have shared the rows
        pieces = [(*piece[:-1], _padded(piece[-1], most)) for piece in pieces]
        before, after, y0, y1, coefficients = (torch.stack(p) for p in zip(*pieces, strict=True))
        sign = torch.where(self._t1 < self._t0, -1.0, 1.0)
        return Trajectory(before, after, y0, y1, coefficients, sign)


def _slots(start: Tensor, stop: Tensor) -> tuple[Tensor, Tensor]:
    """All (row, column) with start[row] <= column < stop[row]."""
    count = stop - start
    row = torch.repeat_interleave(torch.arange(count.shape[0], device=count.device), count)
    offset = torch.arange(row.shape[0], device=count.device) - (count.cumsum(0) - count)[row]
    return row, start[row] + offset


def _padded(coefficients: Tensor, degree: int) -> Tensor:
    """The same polynomials (D, ...) with coefficients that are 0, of so high a degree."""
    missing = degree - len(coefficients)
    if not missing:
        return coefficients
    return torch.cat((coefficients, coefficients.new_zeros(missing, *coefficients.shape[1:])))


def _span(t0: Tensor, t1: Tensor) -> str:
    return f"{float(t0[0]):g} and {float(t1[0]):g}" if t0.shape[0] else "nothing"
