"""What a solve returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, NamedTuple

import torch
from torch import Tensor

from stiffguide.errors import InputError, Interrupted, SolveFailed, Status
from stiffguide.fields import parts
from stiffguide.fields.layout import Layout
from stiffguide.inputs import Number, Times
from stiffguide.stepping.contracts import Slopes, Table
from stiffguide.stepping.course import Stretches
from stiffguide.stepping.trajectory import Trajectory
from stiffguide.tensors import listed

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # of typing it is only from Python 3.13 on

    Y = TypeVar("Y", default=Any)
else:
    from typing import TypeVar

    Y = TypeVar("Y")


class Occurrences(NamedTuple, Generic[Y]):
    """Every time that one event happened, by row and then by time."""

    row: Tensor  # (M,) int64
    t: Tensor  # (M,)
    y: Y  # (M, ...) in the shape or nesting of y0, before any jump


class Result(NamedTuple):
    """What a backend found for flat states."""

    t: Tensor  # (B, T)
    y: Tensor  # (B, T, F)
    counts: Tensor  # (6, B) int64: status, accepted, attempts, nfe, njac, nlu
    messages: dict[int, str]
    warnings: dict[int, tuple[str, ...]]
    trajectory: Trajectory | None
    backend: str
    why: str  # it was this one
    events: tuple[Table, ...] = ()
    linear_solver: str = ""  # and what decided for it; "" where there is none to choose
    stretches: Stretches | None = None  # of methods that shared the rows
    method: str = ""  # where that is not the one of the problem
    slopes: Slopes | None = None


class Stats:
    """Counts per row, (B,) int64, or scalars when not batched; and what did the work."""

    NAMES = ("accepted", "rejected", "nfe", "njac", "nlu")

    def __init__(
        self,
        table: Tensor,
        backend: str,
        why: str,
        linear_solver: str = "",
        stretches: Stretches | None = None,
    ) -> None:
        # taken apart when somebody asks: tensors cost a small solve dearly
        self._table = table  # (6, B) or (6,): status, accepted, attempts, nfe, njac, nlu
        self.backend = backend
        """"kernel" or "eager", whichever solved."""
        self.why = why
        """Why it was that one, in a sentence."""
        self.linear_solver = linear_solver
        """What solved the linear systems of an implicit method in the eager loop, and why that."""
        self._stretches = stretches

    @property
    def methods(self) -> list[Any]:
        """What "auto" chose, and when: (t, name) for every change, first the one at t0.

        A list for each row when batched, as in `[(0.0, 'tsit5'), (0.0031, 'rodas5p')]`; empty where
        one method solved all.
        """
        if self._stretches is None:
            return []
        found = self._stretches.by_row(self._table[0].numel())
        return found if self._table.ndim > 1 else found[0]

    @property
    def accepted(self) -> Tensor:
        """Steps taken."""
        return self._table[1]

    @property
    def rejected(self) -> Tensor:
        """Attempts that failed."""
        return self._table[2] - self._table[1]

    @property
    def nfe(self) -> Tensor:
        """Evaluations of f."""
        return self._table[3]

    @property
    def njac(self) -> Tensor:
        """Jacobians."""
        return self._table[4]

    @property
    def nlu(self) -> Tensor:
        """Factorisations."""
        return self._table[5]

    def as_dict(self) -> dict[str, Tensor]:
        """All counts by their names."""
        return {name: getattr(self, name) for name in self.NAMES}

    def __repr__(self) -> str:
        counts = (f"{name}={_brief(count)}" for name, count in self.as_dict().items())
        return f"Stats({', '.join(counts)}, backend={self.backend!r})"


@dataclass(frozen=True)
class Solution(Generic[Y]):
    """The solution at the times asked for, and how each row ended.

    t (B, T) float64 and y (B, T, ...) with the shape or nesting of y0; without the B axis when the
    solve was not batched. `messages` has one sentence
    for every row that did not reach its end, and `warnings` the sentences about rows whose figures
    may mean less than their status says. `events` has a table for every event that was given.

    dy_dp (B, T, ..., P), nested as y is, has the derivatives by the P numbers among the arguments
    that `sensitivities` named, which `sensitivity_names` calls by name; dy_dy0 (B, T, F, F) those
    of all components by all of y0, in their flat order. None where they were not asked for.
    """

    t: Tensor
    y: Y
    counts: Tensor  # (6, B) or (6,) int64: status, accepted, attempts, nfe, njac, nlu
    method: str
    messages: dict[int, str]
    layout: Layout
    trajectory: Trajectory | None = None
    warnings: dict[int, tuple[str, ...]] = field(default_factory=dict)
    backend: str = "eager"
    why: str = ""
    events: tuple[Occurrences[Y], ...] = ()
    linear_solver: str = ""
    stretches: Stretches | None = None
    dy_dp: Any = None
    dy_dy0: Tensor | None = None
    sensitivity_names: tuple[str, ...] = ()

    @property
    def status(self) -> Tensor:
        """How each row ended (B,) int64: values of `errors.Status`."""
        return self.counts[0]

    @property
    def stats(self) -> Stats:
        """What each row took."""
        return Stats(self.counts, self.backend, self.why, self.linear_solver, self.stretches)

    @property
    def success(self) -> Tensor:
        """Rows (B,) bool that reached what was asked of them."""
        return (self.status == int(Status.SUCCESS)) | (self.status == int(Status.EVENT))

    @property
    def message(self) -> str:
        """How the whole solve went: the first failure, or how it ended, and the first warning."""
        return self._ending() + (f". Warning: {self._warning()}" if self.warnings else "")

    def _warning(self) -> str:
        row, sentences = next(iter(self.warnings.items()))
        who = f"row {row}: " if self.layout.batched else ""
        others = len(self.warnings) - 1
        return who + "; ".join(sentences) + (f" (and {others} more rows)" if others else "")

    def _ending(self) -> str:
        bad = [row for row in self.messages if not bool(self.success.reshape(-1)[row])]
        if not bad:
            if self.messages:
                return next(iter(self.messages.values()))
            return "every row " * (self.status.ndim > 0) + Status.SUCCESS.sentence
        more = f" (and {len(bad) - 1} more rows failed)" if len(bad) > 1 else ""
        return self.messages[bad[0]] + more

    def raise_if_failed(self) -> Solution[Y]:
        """Return self, or raise SolveFailed with the sentence of the first failed row."""
        # no row failed without a message; asked first, because a tensor takes longer to ask
        if self.messages and not bool(self.success.all()):
            raise SolveFailed(self.message)
        return self

    def at(self, t: Number | Times) -> Y:
        """The state at any time, needs dense=True; outside of the interval it is nan.

        Not batched: t of shape (*T) gives (*T, ...). Batched: t of shape (), (T,) for all rows or
        (B, T) gives (B, ...), (B, T, ...). Raises InputError without dense output.
        """
        if self.trajectory is None:
            raise InputError("at: this solve kept no interpolant; solve again with dense=True")
        times = torch.as_tensor(listed(t), dtype=torch.float64, device=self.t.device)
        rows = self.layout.rows
        if not self.layout.batched:
            flat = self.trajectory.at(times.reshape(1, -1))
            if not times.ndim:
                return self._state(flat[0, 0])
            return self._state(flat[0], *times.shape)
        if times.ndim > 2 or (times.ndim == 2 and times.shape[0] not in (1, rows)):
            raise InputError(f"at: t has shape {tuple(times.shape)}; give (), (T,) or ({rows}, T)")
        table = torch.atleast_2d(times).expand(rows, -1)
        flat = self.trajectory.at(table)
        if times.ndim == 0:
            return self._state(flat[:, 0], rows)
        return self._state(flat, rows, table.shape[1])

    def _state(self, flat: Tensor, *lead: int) -> Y:
        state: Y = self.layout.unflatten(flat, *lead)
        return state

    def __repr__(self) -> str:
        ok = int(self.success.sum())
        rows = self.layout.rows
        ends = "success" if ok == rows else f"{rows - ok} of {rows} rows failed"
        lines = [
            f"Solution by {self.method}: {ends}",
            f"  t {tuple(self.t.shape)} from {_brief(self.t)}",
            f"  {self.stats!r}",
        ]
        if ok < rows:
            lines.append(f"  {self._ending()}")
        if self.warnings:
            lines.append(f"  warning: {self._warning()}")
        return "\n".join(lines)


def _brief(values: Tensor) -> str:
    if values.numel() == 1:
        return f"{values.item():g}"
    known = values[~torch.isnan(values)] if values.is_floating_point() else values
    if known.numel() == 0:
        return "nothing"
    return f"{known.min().item():g} to {known.max().item():g}"


def presented(x: Result, layout: Layout, method: str) -> Solution:
    """A result in the user's layout; raises Interrupted, with it, where a row was interrupted."""
    y, trajectory, states = x.y, x.trajectory, [table.y for table in x.events]
    if layout.split:
        layout, y, trajectory = layout.whole(), parts.join(y), _joined(trajectory)
        states = [parts.join(state) for state in states]
    shape = x.t.shape if layout.batched else x.t.shape[1:]
    found: Solution = Solution(
        t=x.t if layout.batched else x.t.squeeze(0),
        y=layout.unflatten(y, *shape),
        counts=x.counts if layout.batched else x.counts.squeeze(1),
        method=method,
        messages=x.messages,
        layout=layout,
        trajectory=trajectory,
        warnings=x.warnings,
        backend=x.backend,
        why=x.why,
        linear_solver=x.linear_solver,
        stretches=x.stretches,
        events=tuple(
            Occurrences(table.row, table.t, layout.unflatten(state, len(state)))
            for table, state in zip(x.events, states, strict=True)
        ),
        **_derivatives(x.slopes, layout),
    )
    if x.messages and bool((x.counts[0] == int(Status.INTERRUPTED)).any()):
        raise Interrupted(found.message, found)
    return found


def _derivatives(x: Slopes | None, layout: Layout) -> dict[str, Any]:
    """Those of a solution, in the user's layout."""
    if x is None:
        return {}
    found = (x.by_p, x.by_y0)
    by_p, by_y0 = (d if d is None or layout.batched else d.squeeze(0) for d in found)
    by_p = None if by_p is None else layout.unflatten_columns(by_p)
    return {"dy_dp": by_p, "dy_dy0": by_y0, "sensitivity_names": x.names}


def _joined(x: Trajectory | None) -> Trajectory | None:
    """The trajectory of complex numbers from that of their parts."""
    if x is None:
        return None
    y0, y1, coefficients = map(parts.join, (x.y0, x.y1, x.coefficients))
    return x._replace(y0=y0, y1=y1, coefficients=coefficients)
