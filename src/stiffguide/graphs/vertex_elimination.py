"""Vertex elimination: the product of all local derivatives of a graph, in a cheap order.

In the linearised graph an edge holds the derivative of a node by an argument. To eliminate a
vertex is to lead its predecessors past it to its successors, |predecessors| |successors| products
(its Markowitz degree); in the end the edges from the leaves to the sinks are the Jacobian. Taking
a vertex of least degree each time is far cheaper than forward mode where few nodes lie between
many inputs and many outputs (Griewank and Walther, Evaluating Derivatives, 2008, chapters 9, 10).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from stiffguide.graphs.borders import Borders

Edges = dict[int, int]  # predecessor -> node that holds the derivative by it


class Linearised:
    """Vertices and their edges; the leaves are those that no edge leads to."""

    def __init__(self, borders: Borders, edges: dict[int, Edges], sinks: Iterable[int]) -> None:
        """`edges[v]` lead to v; `sinks` stay, and have no successors."""
        self._borders = borders
        self._edges = {v: dict(into) for v, into in edges.items()}
        self._successors: dict[int, set[int]] = {v: set() for v in edges}
        self._inner = edges.keys() - set(sinks)
        for v, into in edges.items():
            for u in into:
                self._successors.setdefault(u, set()).add(v)

    def eliminate(self) -> dict[int, Edges]:
        """The edges of the sinks, all of them from leaves, when no other vertex is left."""
        heap = [(self._degree(v), v) for v in self._inner]
        heapq.heapify(heap)
        while heap:
            degree, v = heapq.heappop(heap)
            if v not in self._inner or degree != self._degree(v):
                continue  # an entry from before a neighbour went; a newer one is in the heap
            self._inner.remove(v)
            for u in self._bypass(v) & self._inner:
                heapq.heappush(heap, (self._degree(u), u))
        return self._edges

    def _degree(self, v: int) -> int:
        return len(self._edges[v]) * len(self._successors[v])

    def _bypass(self, v: int) -> set[int]:
        """Eliminates v and returns its neighbours."""
        graph, into, successors = self._borders.graph, self._edges.pop(v), self._successors.pop(v)
        for u in into:
            self._successors[u].remove(v)
        for w in sorted(successors):  # sets have no order, and graphs are to be the same each time
            edges = self._edges[w]
            outer = edges.pop(v)
            for u, inner in into.items():
                product = self._borders.product(outer, inner)
                edges[u] = graph.add("add", edges[u], product) if u in edges else product
                self._successors[u].add(w)
                if graph.constant(edges[u]) == 0:
                    del edges[u]
                    self._successors[u].remove(w)
        return {*into, *successors}
