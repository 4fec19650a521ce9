"""Constants of a graph that differ from trace to trace, as parameters: one kernel for all of them.

For numbers that have to be seen to be used, as by `torch.tensor([k])`, or that f computes from
others out of sight: where two traces of a code differ in constants alone, these are entries of the
table. f is traced again when its numbers change, but nothing is built.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from stiffguide.graphs.graph import Graph
from stiffguide.graphs.node import Node
from stiffguide.tracing.sources import Parameter
from stiffguide.tracing.traced_field import Traced, named


def varied(made: Traced, known: Sequence[Traced]) -> Traced:
    """A trace with parameters for the constants in which it differs from an earlier one."""
    for traced in known:
        places = _places(made.plain, traced)
        if places and made.groups == traced.groups:
            return _with_parameters(made, places)
    return made


def _places(graph: Graph, traced: Traced) -> list[int]:
    """The constants that differ from those of a trace, or have before; none if more differs."""
    if len(graph.nodes) != len(traced.plain.nodes):
        return []
    places = set(traced.varied)
    for k, (new, old) in enumerate(zip(graph.nodes, traced.plain.nodes, strict=True)):
        if k in places:
            if new.op != "const":
                return []
        elif new != old:
            if not new.op == old.op == "const":
                return []
            places.add(k)
    return sorted(places)


def _with_parameters(made: Traced, places: Sequence[int]) -> Traced:
    source, count = len(made.leaves), len(made.parameters)
    nodes = list(made.plain.nodes)
    for k, place in enumerate(places):
        nodes[place] = Node("p", index=count + k)
    graph = Graph(nodes, {node: k for k, node in enumerate(nodes)})
    return replace(
        made,
        plain=graph,
        parameters=[*_moved(made), *(Parameter(source, k, False) for k in range(len(places)))],
        key=named(graph, made.groups),
        varied=tuple(places),
        numbers=tuple(made.plain.nodes[place].value for place in places),
    )


def _moved(made: Traced) -> list[Parameter]:
    """The parameters, with a source between the arguments and the captured tensors."""
    first = len(made.leaves)
    return [replace(p, source=p.source + (p.source >= first)) for p in made.parameters]
