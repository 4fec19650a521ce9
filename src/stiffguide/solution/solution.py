"""The solution at the times asked for, how each row ended, and what can be made of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, NamedTuple

import torch
from torch import Tensor

from stiffguide.errors import InputError, SolveFailed, Status
from stiffguide.fields.layout import Layout
from stiffguide.inputs import Number, Times
from stiffguide.signatures import unknown_attribute
from stiffguide.solution.stats import Stats, brief
from stiffguide.stepping.course import Stretches
from stiffguide.stepping.trajectory import Trajectory
from stiffguide.tensors import listed

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # of typing it is only from Python 3.13 on

    from stiffguide.solution.arrays import Arrays
    from stiffguide.solution.curves import Chosen
    from stiffguide.solution.picture import Logarithmic

    Y = TypeVar("Y", default=Any)
else:
    from typing import TypeVar

    Y = TypeVar("Y")


class Occurrences(NamedTuple, Generic[Y]):
    """Every time that one event happened, by row and then by time."""

    row: Tensor  # (M,) int64
    t: Tensor  # (M,)
    y: Y  # (M, ...) in the shape or nesting of y0, before any jump


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

    def to_numpy(self) -> Arrays:
        """The solution in arrays of numpy, detached and on the CPU: `t`, `y` and all the rest."""
        from stiffguide.solution.arrays import arrays  # late: most solves ask for none of these

        return arrays(self)

    def plot(
        self,
        components: Chosen = None,
        *,
        rows: int | Sequence[int] | None = None,
        log: Logarithmic = "",
        axes: Any = None,
    ) -> Any:
        """Draw the components over time with matplotlib, and return the axes.

        The curve is the interpolant where dense=True kept one, else straight lines; a cross marks
        every event, and dashes are imaginary parts. Raises InputError where one time only was kept,
        or without matplotlib.

        components: places in the flat order of y0, names such as "y[2]", or keys of a state; by
            default the first ten. rows: likewise, those of a batch.
        log: the axes that are logarithmic, "t", "y" or "ty".
        axes: those of matplotlib to draw into; by default new ones.
        """
        from stiffguide.solution.picture import picture

        return picture(self, components, rows, log, axes)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all of it but the graph of autograd to an npz file, in the place of one there.

        `Solution.load` gives the same bits again, and `numpy.load(path)["y"]` the states alone. The
        file is there whole or not at all. Raises InputError where it cannot be written.
        """
        from stiffguide.solution.archive import save

        save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], like: Any = None) -> Solution[Any]:
        """Read what `save` wrote, on the CPU. A file is data: to read one runs nothing.

        like: a state nested as y0; only NamedTuples need it, which are tuples in a file. Raises
        InputError where there is no such file, or it is not whole.
        """
        from stiffguide.solution.archive import load

        return load(path, like)

    def _repr_html_(self) -> str:
        from stiffguide.solution.portrait import portrait

        return portrait(self)

    if not TYPE_CHECKING:
        __getattr__ = unknown_attribute

    def _state(self, flat: Tensor, *lead: int) -> Y:
        state: Y = self.layout.unflatten(flat, *lead)
        return state

    def __repr__(self) -> str:
        ok = int(self.success.sum())
        rows = self.layout.rows
        size = f"{rows} rows" if self.layout.batched else "one system"
        ends = "success" if ok == rows else f"{rows - ok} of {rows} rows failed"
        lines = [
            f"Solution by {self.method}: {ends}",
            f"  t {tuple(self.t.shape)} from {brief(self.t)}, {size} of {self.layout.features}",
            f"  {self.stats!r}",
        ]
        if ok < rows:
            lines.append(f"  {self._ending()}")
        if self.warnings:
            lines.append(f"  warning: {self._warning()}")
        return "\n".join(lines)
