"""What a backend finds, and how it becomes what a solve returns."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from stiffguide.errors import Interrupted, Status
from stiffguide.fields import parts
from stiffguide.fields.layout import Layout
from stiffguide.solution.solution import Occurrences, Solution
from stiffguide.stepping.contracts import Slopes, Table
from stiffguide.stepping.course import Stretches
from stiffguide.stepping.trajectory import Trajectory


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
