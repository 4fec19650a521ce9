"""HTML for notebooks: tables, and curves as small as a word, in the colour of the text around them.

Whatever is not `Html` is text, and escaped. Nothing has a colour of its own, so that pages may be
dark or light.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stiffguide.errors import printable

Array = NDArray[Any]

WIDTH, HEIGHT, EDGE = 120, 28, 2  # of a curve, and what is left free around it, in pixels
LETTERS = 400  # of a cell
CELL = "text-align:left;vertical-align:middle"
# without it, old pages have tables in a colour of their own
TABLE = '<table style="color:inherit">'
LINE = 'fill="none" stroke="currentColor" stroke-linecap="round" stroke-linejoin="round"'


class Html(str):
    """Text that is HTML already."""


def html(value: object) -> Html:
    """A value as HTML, cut where it is long."""
    if isinstance(value, Html):
        return value
    text = str(value)
    cut = text if len(text) <= LETTERS else text[: LETTERS - 3] + "..."
    return Html(escape(printable(cut.encode("utf-8", "backslashreplace").decode())))


def table(title: object, lines: Iterable[tuple[object, object]]) -> Html:
    """A table of two columns: what it is, and its value."""
    body = "".join(_line((what, value)) for what, value in lines)
    return Html(f"{TABLE}<caption {_style()}>{html(title)}</caption><tbody>{body}</tbody></table>")


def grid(header: Sequence[object], lines: Iterable[Sequence[object]]) -> Html:
    """A table with a line of names above it; the first cell of every line is a name, too."""
    names = "".join(f'<th scope="col" {_style()}>{html(name)}</th>' for name in header)
    body = "".join(map(_line, lines))
    return Html(f"{TABLE}<thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>")


def _line(cells: Sequence[object]) -> str:
    first, *rest = map(html, cells)
    others = "".join(f"<td {_style()}>{cell}</td>" for cell in rest)
    return f'<tr><th scope="row" {_style()}>{first}</th>{others}</tr>'


def _style() -> str:
    return f'style="{CELL}"'


def sparkline(x: Array, curves: Sequence[Array], label: str) -> Html:
    """Curves (T,) over x (T,) as SVG: the first one drawn through, the others dashed.

    They share one scale; what is not finite is a gap.
    """
    known = [np.isfinite(x) & np.isfinite(y) for y in curves]
    if not any(k.any() for k in known):
        return html("nothing finite")
    across = _scaled(x, np.any(known, axis=0), WIDTH)
    # of numbers near the largest one, the range would be infinite
    size = max(float(np.abs(y[k]).max()) for y, k in zip(curves, known, strict=True) if k.any())
    whole = np.concatenate([y / (size or 1.0) for y in curves])
    down = HEIGHT - _scaled(whole, np.concatenate(known), HEIGHT)
    paths = []
    for i, (part, k) in enumerate(zip(np.split(down, len(curves)), known, strict=True)):
        dashes = ' stroke-dasharray="3 2"' if i else ""
        paths.append(f'<path d="{_path(across, part, k)}" stroke-width="1.3" {LINE}{dashes}/>')
    told = html(label)
    return Html(
        f'<svg width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'style="vertical-align:middle" aria-label="{told}"><title>{told}</title>'
        f"{''.join(paths)}</svg>"
    )


def _scaled(values: Array, known: Array, length: int) -> Array:
    """From the edge to the other one; in the middle, where all are the same."""
    low, high = values[known].min(), values[known].max()
    if high == low:
        return np.where(known, length / 2, np.nan)
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(EDGE + (length - 2 * EDGE) * ((values - low) / (high - low)))


def _path(across: Array, down: Array, known: Array) -> str:
    """Lines through the points, of which a pixel's width keeps the highest and the lowest."""
    places = np.flatnonzero(known)
    if not len(places):
        return ""
    pixel = across[places].astype(np.int64)
    order = np.lexsort((down[places], pixel))
    apart = np.diff(pixel[order]) != 0
    first, last = np.append(True, apart), np.append(apart, True)
    ends = [places[0], places[-1]]
    kept = np.unique(np.concatenate((places[order[first | last]], ends)))
    pieces = np.cumsum(~known)[kept]
    begins = np.append(True, np.diff(pieces) != 0)
    alone = begins & np.append(begins[1:], True)
    return "".join(
        f"{'M' if begin else 'L'}{x:.1f} {y:.1f}{'h0' if dot else ''}"
        for x, y, begin, dot in zip(across[kept], down[kept], begins, alone, strict=True)
    )
