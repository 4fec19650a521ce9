"""Scalar expression graphs: what a traced field becomes, and what the emitters print.

A graph is a list of nodes in topological order; a node is an operation on earlier nodes. Equal
nodes are one node (hash-consing), constants fold when they meet, and arithmetic with 0 and 1 is
simplified, so that a Jacobian derived from a graph has the sparsity of the field.

Arithmetic is IEEE float64. A simplification may flip the sign of a zero, and it may take 0 x for 0
and x - x for 0, where an infinite or nan x would have given nan; it changes no other result.
`min` and `max` give nan where an argument is nan and `sign` gives 0, as torch's do; comparisons
with nan are false, except `ne`. `fmod` has the sign of its first argument, `round` takes ties to
even. A condition is false at 0 and true elsewhere; comparisons, `and`, `or`, `not` give 0 or 1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stiffguide.graphs import arithmetic
from stiffguide.graphs.node import ARITY, COMMUTATIVE, LEAVES, Node
from stiffguide.graphs.simplify import RULES


@dataclass
class Graph:
    """Nodes in topological order; `add` returns the number of an equal node if there is one."""

    nodes: list[Node] = field(default_factory=list)
    _seen: dict[Node, int] = field(default_factory=dict)

    def add(self, op: str, *args: int, value: float = 0.0, index: int = 0) -> int:
        """The number of a node with the value of this operation, as simple as the rules allow."""
        if len(args) != ARITY[op]:
            raise TypeError(f"{op} takes {ARITY[op]} arguments, not {len(args)}")
        if op == "const":
            return self._number(Node(op, value=arithmetic.canonical(value)))
        if op in LEAVES:
            return self._number(Node(op, index=index))
        nodes = self.nodes
        for a in args:
            if nodes[a].op != "const":
                break
        else:
            return self.const(arithmetic.fold(op, [nodes[a].value for a in args]))
        rule = RULES.get(op)
        simpler = None if rule is None else rule(self, *args)
        if simpler is not None:
            return simpler
        return self._number(Node(op, tuple(sorted(args)) if op in COMMUTATIVE else args))

    def const(self, value: float) -> int:
        """The number of a constant."""
        return self.add("const", value=value)

    def constant(self, number: int) -> float | None:
        """The value of a node that is a constant."""
        node = self.nodes[number]
        return node.value if node.op == "const" else None

    def kept(self, node: Node) -> int:
        """The number of this very node: no rule is applied to it."""
        return self._number(node)

    def _number(self, node: Node) -> int:
        number = self._seen.setdefault(node, len(self.nodes))
        if number == len(self.nodes):
            self.nodes.append(node)
        return number

    def copy(self) -> Graph:
        """A graph of the same nodes that can grow by itself."""
        return Graph(self.nodes.copy(), self._seen.copy())

    def needed(self, roots: Iterable[int]) -> list[int]:
        """The nodes that `roots` are made of, in topological order."""
        alive = set(roots)
        for number in range(max(alive, default=-1), -1, -1):
            if number in alive:
                alive.update(self.nodes[number].args)
        return sorted(alive)

    def part(self, roots: Iterable[int]) -> tuple[Graph, dict[int, int]]:
        """A graph of the needed nodes only, and from old to new numbers; p[k] is still p[k]."""
        graph, moved = Graph(), dict[int, int]()
        for number in self.needed(roots):
            op, args, value, index = self.nodes[number]
            # no rule is applied again: the new node is the old one under another number
            moved[number] = graph._number(Node(op, tuple([moved[a] for a in args]), value, index))
        return graph, moved

    def pruned(self, roots: Iterable[int]) -> tuple[Graph, dict[int, int], list[int]]:
        """The same without the entries p[k] that are not needed, and those that are.

        In the new graph p[k] is what p[entries[k]] was.
        """
        found, moved = self.part(roots)
        entries = sorted(node.index for node in found.nodes if node.op == "p")
        place = {entry: k for k, entry in enumerate(entries)}
        graph = Graph()
        for node in found.nodes:
            graph._number(node._replace(index=place[node.index]) if node.op == "p" else node)
        return graph, moved, entries

    def text(self) -> str:
        """One line a node; equal texts mean equal graphs, in every process."""
        return "\n".join(
            f"{op} {' '.join(map(str, args))} {value.hex()} {index}"
            for op, args, value, index in self.nodes
        )

    def evaluate(self, roots: Sequence[int], t: Any, y: Any, p: Any = ()) -> list[Any]:
        """Values of `roots` at t (...), y (..., F) and p (..., P): all numpy, or all torch.

        With numbers and sequences of numbers the values are numpy scalars.
        """
        y, p, ops = arithmetic.prepare(t, y, p)
        values: dict[int, Any] = {}
        with np.errstate(all="ignore"):
            for number in self.needed(roots):
                node = self.nodes[number]
                if node.op == "const":
                    values[number] = ops.constant(node.value)
                elif node.op == "t":
                    values[number] = t
                elif node.op in LEAVES:
                    values[number] = (y if node.op == "y" else p)[..., node.index]
                else:
                    values[number] = ops.apply(node.op, [values[a] for a in node.args])
        return [values[r] for r in roots]


def digest(*texts: str) -> str:
    """A name for a content: the sha256 of some texts."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()
