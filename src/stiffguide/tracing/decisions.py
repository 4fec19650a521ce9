"""Branches on numbers, followed both ways: f runs once for every path, and the paths are merged.

A run asks what each condition is to be (`Path.decide`). The first run hears True each time; every
such answer that was new opens another run, in which it is False. Depth first, so that equal
conditions on one path are asked for once, and what both sides share is one node of the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stiffguide.graphs.graph import Graph
from stiffguide.graphs.refusal import UntraceableError

MOST = 64  # paths, and new conditions on one of them


class Path:
    """The answers of one run: those it was given, then True."""

    def __init__(self, graph: Graph, given: Sequence[bool] = ()) -> None:
        self._graph = graph
        self._given = given
        self._known: dict[int, bool] = {}  # by condition
        self.conditions: list[int] = []  # that had to be decided, in their order

    @property
    def answers(self) -> list[bool]:
        """What was decided for each of `conditions`."""
        return [self._known[number] for number in self.conditions]

    def decide(self, condition: int) -> bool:
        """The truth of a node on this path; raises UntraceableError where there are too many."""
        fixed = self._graph.constant(condition)
        if fixed is not None:
            return bool(fixed)
        node = self._graph.nodes[condition]
        if node.op == "not":
            return not self.decide(node.args[0])
        if condition not in self._known:
            place = len(self.conditions)
            if place == MOST:
                raise UntraceableError(TOO_MANY)
            self._known[condition] = self._given[place] if place < len(self._given) else True
            self.conditions.append(condition)
        return self._known[condition]


TOO_MANY = (
    f"f branches on numbers in more than {MOST} ways, by an if or while on values of t or y "
    "(torch.where or numpy.where can choose instead)"
)


def merged(graph: Graph, run: Callable[[Path], list[int]]) -> list[int]:
    """The nodes that `run` gives on the path that the numbers choose; all runs grow `graph`.

    Raises UntraceableError where there are more than `MOST` paths.
    """
    runs = 0

    def explore(given: list[bool]) -> list[int]:
        nonlocal runs
        runs += 1
        if runs > MOST:
            raise UntraceableError(TOO_MANY)
        path = Path(graph, given)
        values = run(path)
        answers = path.answers
        for k in range(len(answers) - 1, len(given) - 1, -1):  # the last condition first
            other = explore([*answers[:k], False])
            values = [
                a if a == b else graph.add("where", path.conditions[k], a, b)
                for a, b in zip(values, other, strict=True)
            ]
        return values

    return explore([])
