"""Reverse mode on scalar graphs: from cotangents of some nodes to those of the leaves.

The factors of the chain rule are those of `derive`, with its conventions at kinks; what is new is
the order (Griewank and Walther 2008, chapter 3). A cotangent that is 0 stays 0 where a factor may
be infinite: nothing that is asked for hangs on that node (see `borders`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from stiffguide.graphs.borders import FLAT, Borders
from stiffguide.graphs.derive import FACTORS
from stiffguide.graphs.graph import Graph
from stiffguide.graphs.scalars import Scalar, sum_of

EVERYTHING = ("y", "p")  # the leaves that are asked for


def pullback(
    graph: Graph, seeds: Sequence[tuple[int, int]], kinds: Sequence[str] = EVERYTHING
) -> dict[int, int]:
    """Nodes for the derivative of sum seed x root by each leaf of `kinds`, added to the graph.

    `seeds` are pairs (root, node of its cotangent); cotangents are constants. Returned by leaf.
    """
    needed = graph.needed([root for root, _ in seeds])
    active = _active(graph, needed, kinds)
    borders = Borders(graph)
    bars: dict[int, list[int]] = {}
    for root, seed in seeds:
        bars.setdefault(root, []).append(seed)
    found: dict[int, int] = {}
    for number in reversed(needed):
        if number not in active or number not in bars:
            continue
        bar = sum_of(graph, bars.pop(number))
        node = graph.nodes[number]
        if node.op in kinds:
            found[number] = bar
        elif graph.constant(bar) != 0:
            for argument, share in _shares(borders, number, bar, active):
                bars.setdefault(argument, []).append(share)
    return {leaf: bar for leaf, bar in found.items() if graph.constant(bar) != 0}


def _active(graph: Graph, needed: Sequence[int], kinds: Sequence[str]) -> set[int]:
    """The nodes through which a root depends smoothly on a leaf of `kinds`."""
    active: set[int] = set()
    for number in needed:
        node = graph.nodes[number]
        arguments = node.args[1:] if node.op == "where" else node.args
        inner = node.op not in FLAT and any(a in active for a in arguments)
        if node.op in kinds or inner:
            active.add(number)
    return active


def _shares(borders: Borders, number: int, bar: int, active: set[int]) -> list[tuple[int, int]]:
    """What the arguments of a node get of its cotangent."""
    graph, node = borders.graph, borders.graph.nodes[number]
    if node.op in CHOICES:
        shares = CHOICES[node.op](Scalar(graph, bar), *(Scalar(graph, a) for a in node.args))
        return [(a, s.number) for a, s in shares if a in active]
    value, arguments = Scalar(graph, number), [Scalar(graph, a) for a in node.args]
    found = []
    for place, argument in enumerate(node.args):
        if argument in active:
            factor = FACTORS[node.op][place](value, *arguments).number
            found.append((argument, borders.share(number, place, factor, bar)))
    return found


def _where(bar: Scalar, condition: Scalar, a: Scalar, b: Scalar) -> list[tuple[int, Scalar]]:
    return [(a.number, condition.where(bar, 0.0)), (b.number, condition.where(0.0, bar))]


def _extreme(bar: Scalar, x: Scalar, y: Scalar, first: Scalar) -> list[tuple[int, Scalar]]:
    same, half = x.equals(y), 0.5 * bar
    left, right = first.where(bar, 0.0), first.where(0.0, bar)
    return [(x.number, same.where(half, left)), (y.number, same.where(half, right))]


# Those that choose among their arguments.
CHOICES: dict[str, Callable[..., list[tuple[int, Scalar]]]] = {
    "where": _where,
    "min": lambda bar, x, y: _extreme(bar, x, y, x < y),
    "max": lambda bar, x, y: _extreme(bar, x, y, y < x),
}


def gathered(graph: Graph, found: Mapping[int, int], op: str) -> dict[int, int]:
    """Of what `pullback` found, the leaves of one kind by their index."""
    return {
        graph.nodes[leaf].index: bar for leaf, bar in found.items() if graph.nodes[leaf].op == op
    }
