"""The path that one run of a torch field takes, beside the one that its real numbers would take.

On every path f computes with the real numbers of one point. Beyond a branch that those numbers
would not take, only the shapes and the nodes of what it computes mean anything.
"""

from __future__ import annotations

from stiffguide.graphs.refusal import UntraceableError
from stiffguide.tracing.decisions import Path
from stiffguide.tracing.sources import Sources

ROWS = (
    "f branches on a value that each row has its own of, by an if or while on a tensor, and all "
    "rows would go one way (torch.where chooses for each)"
)


class Course:
    """Answers what f asks of its numbers, and knows whether they would have answered the same."""

    real: bool

    def __init__(self, path: Path, sources: Sources, *, batched: bool) -> None:
        self._path = path
        self._sources = sources
        self._batched = batched
        self.real = True

    def decide(self, condition: int, truth: bool) -> bool:
        """The answer for a node that is `truth` at the real numbers."""
        if self._batched and self._by_row(condition):
            raise UntraceableError(ROWS)
        answer = self._path.decide(condition)
        self.real &= answer == truth
        return answer

    def _by_row(self, condition: int) -> bool:
        graph = self._sources.graph
        used = [graph.nodes[n] for n in graph.needed([condition])]
        return any(
            node.op in ("t", "y")
            or (node.op == "p" and self._sources.parameters[node.index].per_row)
            for node in used
        )
