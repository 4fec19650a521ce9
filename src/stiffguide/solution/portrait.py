"""A solution in a notebook: a table of how it went, and its first components as small curves."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stiffguide.errors import Status
from stiffguide.markup import Array, Html, grid, sparkline, table
from stiffguide.solution.curves import Curves, dense, rows_of, saved
from stiffguide.solution.solution import Solution
from stiffguide.solution.stats import Stats, brief

COMPONENTS, ROWS = 6, 4  # that are drawn
DECADES = 100.0  # last time over the first, from which t may be logarithmic


def portrait(x: Solution[Any]) -> Html:
    """The table, and below it the curves where more than one time is known."""
    return Html(table(f"Solution by {x.method}", _lines(x)) + _pictures(x))


def counts(stats: Stats) -> Html:
    """The counts of a solve, over its rows where it has several."""
    return table("Stats", [(name, _spread(value)) for name, value in _told(stats)])


def _told(stats: Stats) -> list[tuple[str, Any]]:
    return [*stats.as_dict().items(), ("backend", f"{stats.backend}: {stats.why}")]


def _spread(value: Any) -> str:
    if not isinstance(value, Tensor) or value.numel() == 1:
        return str(value if not isinstance(value, Tensor) else value.item())
    if not value.numel():
        return "no rows"
    low, high = int(value.min()), int(value.max())
    if low == high:
        return f"{low} in each row"
    return (
        f"{low} to {high} in a row, {int(value.median())} in the middle, {int(value.sum())} in all"
    )


def _lines(x: Solution[Any]) -> Iterator[tuple[str, object]]:
    rows, ok = x.layout.rows, int(x.success.sum())
    yield "end", x._ending() if ok < rows or x.messages else Status.SUCCESS.sentence
    if x.layout.batched:
        yield "rows", f"{ok} of {rows} succeeded"
    yield "t", f"{tuple(x.t.shape)}, {brief(x.t.detach())}"
    yield "y", _shapes(x)
    yield from ((name, _spread(count)) for name, count in x.stats.as_dict().items())
    yield "backend", x.backend
    if x.events:
        yield "events", ", ".join(str(len(one.t)) for one in x.events)
    if x.trajectory is not None:
        yield "dense", "solution.at(t)"
    if x.warnings:
        yield "warning", x._warning()


def _shapes(x: Solution[Any]) -> str:
    """Of one tensor, or how many components there are in what."""
    if isinstance(x.y, Tensor):
        return f"{tuple(x.y.shape)} {str(x.y.dtype).removeprefix('torch.')}"
    kind = str(x.layout.dtype).removeprefix("torch.")
    return f"{type(x.y).__name__} of {x.layout.features} components, {kind}"


def _pictures(x: Solution[Any]) -> str:
    if not x.layout.rows:
        return ""
    rows = rows_of(None, x.layout, ROWS)
    shown = list(range(min(COMPONENTS, x.layout.features)))
    found = saved(x, rows, shown)
    if found.t.shape[1] < 2:
        between = dense(x, rows, shown)
        if between is None:
            return ""
        found = between
    across, scale = _axis(found)
    lines = [
        [x.layout.component(i), *(_cell(across[r], found.y[r, :, i]) for r in range(len(rows)))]
        for i in shown
    ]
    header = [f"over {scale}", *(f"row {row}" if x.layout.batched else "" for row in rows)]
    more = [
        f"{hidden} more {what}"
        for hidden, what in (
            (x.layout.features - len(shown), "components"),
            (x.layout.rows - len(rows), "rows"),
        )
        if hidden
    ]
    return grid(header, lines) + (f"<p>and {', '.join(more)}</p>" if more else "")


def _cell(across: Array, y: Tensor) -> Html:
    """The curve of a component, and what it ranges over; of a complex one both parts."""
    if not y.is_floating_point() and not y.is_complex():
        y = y.double()
    parts = [y.real, y.imag] if y.is_complex() else [y]
    told = " and ".join(brief(part[torch.isfinite(part)]) for part in parts)
    return Html(f"{sparkline(across, [p.double().numpy() for p in parts], told)} {told}")


def _axis(found: Curves) -> tuple[Array, str]:
    """Times as they are drawn, and what that is: logarithmic where most lie near the start."""
    t: Array = found.t.numpy()
    known = t[np.isfinite(t)]
    later = known[known > 0]
    if known.size and known.min() >= 0 and later.size > 2 and bool((np.diff(known) >= 0).any()):
        first, last = float(later.min()), float(later.max())
        if last > DECADES * first and float(np.median(known)) * DECADES < last:
            with np.errstate(invalid="ignore", divide="ignore"):
                return np.log10(np.maximum(t, first)) - math.log10(first), "log t"
    return t, "t"
