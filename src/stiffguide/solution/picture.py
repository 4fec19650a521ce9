"""A solution drawn by matplotlib."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from stiffguide.errors import InputError
from stiffguide.solution.curves import (
    NOTHING,
    Chosen,
    Curves,
    components_of,
    dense,
    flat,
    rows_of,
    saved,
)
from stiffguide.solution.solution import Solution

MOST = 10  # components, and rows, that are drawn where none are named
MARKED = 100  # times up to which each is marked
Logarithmic = Literal["", "t", "y", "ty"]


def picture(
    x: Solution[Any],
    components: Chosen,
    rows: int | Sequence[int] | None,
    log: Logarithmic,
    axes: Any,
) -> Any:
    """The axes, with a curve for every component of every row."""
    if log not in ("", "t", "y", "ty"):
        raise InputError(f'log: give "t", "y", "ty" or "", not {log!r}')
    if not x.layout.rows:
        raise InputError("plot: this solve has no rows")
    places = components_of(components, x.layout, MOST)
    which = rows_of(rows, x.layout, MOST)
    points, curve = saved(x, which, places), dense(x, which, places)
    if curve is None and points.t.shape[1] < 2:
        raise InputError(NOTHING.format(what="plot"))
    made = _axes() if axes is None else axes
    for k, (name, r, c) in enumerate(_names(x, which, places)):
        _draw(made, points, curve, (r, c), name, f"C{k % 10}")
        _mark(made, x, (which[r], places[c]), f"C{k % 10}")
    for axis, scale in (("t", made.set_xscale), ("y", made.set_yscale)):
        if axis in log:
            scale("log", nonpositive="mask")
    made.set_xlabel("t")
    counts = (
        (components, len(places), x.layout.features, "components"),
        (rows, len(which), x.layout.rows, "rows"),
    )
    hidden = [f"{n} of {of} {what}" for given, n, of, what in counts if given is None and n < of]
    _describe(made, len(which) * len(places), hidden)
    return made


def _axes() -> Any:
    try:
        from matplotlib import pyplot
    except ModuleNotFoundError as error:
        raise InputError("a picture needs matplotlib: pip install 'stiffguide[plot]'") from error
    return pyplot.subplots(layout="constrained")[1]


def _names(
    x: Solution[Any], which: Sequence[int], places: Sequence[int]
) -> Iterator[tuple[str, int, int]]:
    """What every curve is called, and the row and the component in `Curves` that it is."""
    for r, row in enumerate(which):
        for c, place in enumerate(places):
            own = x.layout.component(place)
            yield (f"row {row}: {own}" if x.layout.batched else own), r, c


def _draw(
    axes: Any, points: Curves, curve: Curves | None, at: tuple[int, int], name: str, colour: str
) -> None:
    """One component of one row, its imaginary part dashed."""
    r, c = at
    line, dots = (curve or points), (points if points.t.shape[1] <= MARKED else None)
    for part, told, style in _parts(line.y[r, :, c], name):
        axes.plot(line.t[r].numpy(), part.numpy(), style, color=colour, label=told, linewidth=1.3)
    if dots is not None:
        for part, _, _ in _parts(dots.y[r, :, c], name):
            axes.plot(dots.t[r].numpy(), part.numpy(), "o", color=colour, markersize=3)


def _mark(axes: Any, x: Solution[Any], at: tuple[int, int], colour: str) -> None:
    """A cross at every event of one row, where this component was then."""
    row, place = at
    for one in x.events:
        here = (one.row == row).cpu()
        t, y = one.t.detach().cpu()[here], flat(one.y, x.layout, one.t.shape)[here, place]
        for part, _, _ in _parts(y, ""):
            axes.plot(t.numpy(), part.numpy(), "x", color=colour, markersize=6)


def _parts(y: Tensor, name: str) -> list[tuple[Tensor, str, str]]:
    """A component as it is drawn: numbers, what they are called, the style of the line."""
    if not y.is_complex():
        return [(y.float() if y.dtype == torch.bfloat16 else y, name, "-")]
    return [(y.real, f"real part of {name}", "-"), (y.imag, f"imaginary part of {name}", "--")]


def _describe(axes: Any, curves: int, hidden: Sequence[str]) -> None:
    """A legend, and what was left out without being asked to."""
    if curves <= 2 * MOST:
        axes.legend(fontsize="small")
    if hidden:
        axes.set_title(f"the first {' and '.join(hidden)}", fontsize="medium")
