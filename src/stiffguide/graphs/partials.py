"""What the derivative of a solve by parameters takes: those of f, of J and of df/dt."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from stiffguide.graphs.derive import Derived, derivatives
from stiffguide.graphs.graph import Graph
from stiffguide.graphs.node import Node

Entries = dict[tuple[int, int], int]  # (place, direction) -> node; what is missing is 0


class Partials(NamedTuple):
    """Nodes of one graph; `jac` and `dfdt` are those of `Derived`, in order of their places.

    Of each there is the derivative by the components of y and by the parameters asked for, which
    are numbered in the order asked; a place is a component of f, or one of `jac` or `dfdt`.
    """

    graph: Graph
    jac: dict[tuple[int, int], int]
    dfdt: dict[int, int]
    f_by_p: Entries
    jac_by_y: Entries
    jac_by_p: Entries
    dfdt_by_y: Entries
    dfdt_by_p: Entries


def partials(d: Derived, entries: Sequence[int]) -> Partials:
    """The derivatives by the parameters p[k] for k in `entries`.

    Raises UntraceableError where the graph grows too large.
    """
    size = len(d.outputs)
    asked = {entry: size + j for j, entry in enumerate(entries)}

    def as_state(node: Node) -> Node:
        own = node.op == "p" and node.index in asked
        return Node("y", index=asked[node.index]) if own else node

    def as_parameter(node: Node) -> Node:
        beyond = node.op == "y" and node.index >= size
        return Node("p", index=entries[node.index - size]) if beyond else node

    jac, dfdt = dict(sorted(d.jac.items())), dict(sorted(d.dfdt.items()))
    roots = [*d.outputs, *jac.values(), *dfdt.values()]
    graph, moved = _renamed(d.graph, roots, as_state)
    outputs = [moved[n] for n in roots]
    found, _ = derivatives(graph, outputs)
    graph, moved = _renamed(graph, [*outputs, *found.values()], as_parameter)
    found = {place: moved[n] for place, n in found.items()}
    outputs = [moved[n] for n in outputs]
    first, last = size, size + len(jac)
    return Partials(
        graph,
        dict(zip(jac, outputs[first:last], strict=True)),
        dict(zip(dfdt, outputs[last:], strict=True)),
        _part(found, range(size), size)[1],
        *_part(found, range(first, last), size),
        *_part(found, range(last, len(outputs)), size),
    )


def _part(found: Entries, outputs: range, size: int) -> tuple[Entries, Entries]:
    """The derivatives of some outputs by y, and by p; both are counted from 0."""
    by_y, by_p = Entries(), Entries()
    for (i, j), node in found.items():
        if i in outputs:
            place = i - outputs.start
            if j < size:
                by_y[place, j] = node
            else:
                by_p[place, j - size] = node
    return by_y, by_p


def _renamed(
    graph: Graph, roots: Iterable[int], leaf: Callable[[Node], Node]
) -> tuple[Graph, dict[int, int]]:
    """The nodes that roots are made of, with other leaves, and from old to new numbers."""
    made, moved = Graph(), dict[int, int]()
    for number in graph.needed(roots):
        node = graph.nodes[number]
        args = tuple([moved[a] for a in node.args])
        moved[number] = made.kept(leaf(node._replace(args=args)))
    return made, moved
