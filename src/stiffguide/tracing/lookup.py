"""Reading a table at a place that is computed: the entry is chosen by comparing with every place.

That is how tabulated forcing enters a field: `searchsorted` of t, and the entry on either side. An
index beyond the table, where torch would raise an exception, reads the first entry.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from stiffguide.graphs.graph import Graph
from stiffguide.graphs.refusal import UntraceableError
from stiffguide.graphs.scalars import Scalar, array, sum_of

LOOKUPS = frozenset({"index", "_unsafe_index", "index_select", "gather", "take"})
LONGEST = 256  # entries of the axis that is looked up
Shape = tuple[int, ...]


def indices_of(given: dict[str, Any]) -> list[Tensor]:
    """The indices of a lookup."""
    if "indices" not in given:
        return [given["index"]]
    return [index for index in given["indices"] if index is not None]


def axis_of(given: dict[str, Any]) -> int | None:
    """The axis that the one index of a lookup reads (None: the flattened tensor)."""
    if "indices" not in given:
        return given.get("dim")
    return next(k for k, index in enumerate(given["indices"]) if index is not None)


def merged(given: dict[str, Any]) -> tuple[Tensor, list[Tensor | None]]:
    """Source and indices where several neighbouring indices are one, into their flattened axes."""
    source, indices = given["self"], given["indices"]
    places = [k for k, index in enumerate(indices) if index is not None]
    if places[-1] - places[0] != len(places) - 1 or any(
        indices[k].dtype == torch.bool for k in places
    ):
        raise UntraceableError("f computes several indices at once, with others between them")
    place: Any = 0
    for k in places:
        index, n = indices[k], source.shape[k]
        place = place * n + torch.where(index < 0, index + n, index)
    return source.flatten(places[0], places[-1]), [*indices[: places[0]], place]


def look_up(
    graph: Graph, index: Tensor, axis: int | None, source: Shape, out: Shape, base: str,
    read: Callable[[int], Tensor],
) -> Tensor:  # fmt: skip
    """Node numbers of what `index` (node numbers) reads; `read(k)` are those for the place k."""
    length = torch.Size(source).numel() if axis is None else source[axis]
    if length > LONGEST:
        raise UntraceableError(f"f looks up a table of {length} entries; {LONGEST} are the most")
    if base in ("gather", "take") or axis is None:
        places = index
    else:
        axis %= len(source)
        places = index.reshape(*index.shape, *(1,) * (len(source) - axis - 1))
    chosen = read(0).flatten().tolist()
    wanted = [_wrapped(graph, n, length) for n in places.expand(out).flatten().tolist()]
    for k in range(1, length):
        here = graph.const(k)
        chosen = [
            graph.add("where", graph.add("eq", place, here), new, old)
            for place, new, old in zip(wanted, read(k).flatten().tolist(), chosen, strict=True)
        ]
    return array(chosen, out)


def _wrapped(graph: Graph, number: int, length: int) -> int:
    """A negative place counts from the end."""
    place = Scalar(graph, number)
    return (place < 0.0).where(place + float(length), place).number


def place_among(graph: Graph, a: dict[str, Any]) -> Tensor:
    """`searchsorted` and `bucketize`: how many of the sorted entries lie below each value."""
    steps = a["boundaries"] if "boundaries" in a else a["sorted_sequence"]
    values = a["self"]
    if steps.ndim != 1 or a.get("sorter") is not None:
        raise UntraceableError("f searches in more than one sorted sequence")
    below = "le" if a["right"] or a.get("side") == "right" else "lt"
    lists = [
        [graph.add(below, step, value) for step in steps.tolist()]
        for value in (
            values.flatten().tolist() if isinstance(values, Tensor) else [graph.const(values)]
        )
    ]
    shape = values.shape if isinstance(values, Tensor) else ()
    return array([sum_of(graph, row) for row in lists], shape)
