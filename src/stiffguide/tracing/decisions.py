"""Branches on numbers, followed both ways: f runs once for every path, and the paths are merged.

A run asks what each condition is to be (`Path.decide`). The first run hears True each time; every
such answer that was new opens another run, in which it is False. Depth first, so that equal
conditions on one path are asked for once, and what both sides share is one node of the graph.
"""

from __future__ import annotations

import dis
from collections.abc import Callable, Sequence

from stiffguide.graphs.graph import Graph
from stiffguide.graphs.refusal import UntraceableError

MOST = 64  # paths, and new conditions on one of them
LONGEST = 10_000  # questions of one run, repeated ones too: a loop may ask the same for ever


class Path:
    """The answers of one run: those it was given, then True.

    The last one given opened this path. One path too many is `refused` there, inside f, so that
    the exception knows the line.
    """

    def __init__(self, graph: Graph, given: Sequence[bool] = (), *, refused: bool = False) -> None:
        self._graph = graph
        self._given = given
        self._end = len(given) - 1 if refused else MOST
        self._asked = 0
        self._known: dict[int, bool] = {}  # by condition
        self.conditions: list[int] = []  # that had to be decided, in their order

    @property
    def answers(self) -> list[bool]:
        """What was decided for each of `conditions`."""
        return [self._known[number] for number in self.conditions]

    def decide(self, condition: int) -> bool:
        """The truth of a node on this path; raises UntraceableError where there are too many."""
        self._asked += 1
        if self._asked > LONGEST:
            raise UntraceableError(ENDLESS)
        fixed = self._graph.constant(condition)
        if fixed is not None:
            return bool(fixed)
        node = self._graph.nodes[condition]
        if node.op == "not":
            return not self.decide(node.args[0])
        if condition not in self._known:
            place = len(self.conditions)
            if place == self._end:
                raise UntraceableError(TOO_MANY)
            self._known[condition] = self._given[place] if place < len(self._given) else True
            self.conditions.append(condition)
        return self._known[condition]


TOO_MANY = (
    f"f branches on numbers in more than {MOST} ways, by an if or while on values of t or y "
    "(torch.where or numpy.where can choose instead)"
)
ENDLESS = (
    f"f asks for the truth of numbers over {LONGEST} times in a call, perhaps in a loop that ends "
    "for some of them only"
)


def meant(error: Exception) -> bool:
    """Whether code raised an exception on purpose, or read beyond the end of a sequence.

    On a path of its own that means: f has no value there. Any other exception is a mistake.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or isinstance(error, UntraceableError):
        return False
    raising = trace.tb_frame.f_code.co_code[trace.tb_lasti] == dis.opmap["RAISE_VARARGS"]
    beyond = "out of range" in str(error) or "out of bounds" in str(error)
    return raising or (isinstance(error, IndexError) and beyond)


def merged(graph: Graph, run: Callable[[Path], list[int]]) -> list[int]:
    """The nodes that `run` gives on the path that the numbers choose; all runs grow `graph`.

    Raises UntraceableError where there are more than `MOST` paths.
    """
    return _Exploration(graph, run).values([])


class _Exploration:
    """The runs so far. A class, because a closure that calls itself would outlive its use."""

    def __init__(self, graph: Graph, run: Callable[[Path], list[int]]) -> None:
        self._graph = graph
        self._run = run
        self._runs = 0

    def values(self, given: list[bool]) -> list[int]:
        """The merged values of all paths that begin with some answers."""
        self._runs += 1
        path = Path(self._graph, given, refused=self._runs > MOST)
        found = self._run(path)
        if self._runs > MOST:
            raise UntraceableError(TOO_MANY)
        answers = path.answers
        for k in range(len(answers) - 1, len(given) - 1, -1):  # the last condition first
            other = self.values([*answers[:k], False])
            found = [
                a if a == b else self._graph.add("where", path.conditions[k], a, b)
                for a, b in zip(found, other, strict=True)
            ]
        return found
