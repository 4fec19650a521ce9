"""Scalar programs that many entries share: what each computes, over slots that differ by entry.

The programs stand in one graph, in which y[k] and p[k] are slot k: a component of the state, or a
number of a table. Which component, or which number, is known to each entry by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from stiffguide.graphs.graph import Graph
from stiffguide.graphs.refusal import UntraceableError
from stiffguide.graphs.scalars import Scalar

LARGEST = 2_000  # nodes of a program
LARGEST_GRAPH = 80_000  # of all of them


class Program(NamedTuple):
    """A node of the common graph, and for every slot whether it is a component of the state."""

    root: int
    kinds: tuple[bool, ...]


class Placed(NamedTuple):
    """A program whose slots are `places` of a larger program."""

    program: int
    places: tuple[int, ...]


@dataclass
class Programs:
    """All programs of a field; equal ones are one."""

    graph: Graph = field(default_factory=Graph)
    programs: list[Program] = field(default_factory=list)
    _known: dict[Program, int] = field(default_factory=dict)
    _placed: dict[Placed, int] = field(default_factory=dict)
    _needed: dict[int, list[int]] = field(default_factory=dict)  # by root

    def __post_init__(self) -> None:
        self.zero: int = self.const(0.0)

    def const(self, value: float) -> int:
        """A constant, without a slot."""
        return self._number(Program(self.graph.const(value), ()))

    def time(self) -> int:
        """t."""
        return self._number(Program(self.graph.add("t"), ()))

    def leaf(self, *, state: bool) -> int:
        """What reads one slot."""
        return self._number(Program(self._slot(0, state), (state,)))

    def kinds(self, program: int) -> tuple[bool, ...]:
        """For every slot, whether it is a component of the state."""
        return self.programs[program].kinds

    def joined(
        self, formula: Callable[..., Scalar], operands: Sequence[Any], kinds: Sequence[bool]
    ) -> tuple[int, list[int]]:
        """The program of a formula of others over common slots, and which of these it reads.

        `operands` are `Placed` programs, numbers, and whatever else the formula is given.
        """
        given = [Scalar(self.graph, self._at(x)) if isinstance(x, Placed) else x for x in operands]
        root = formula(*(self._scalar(x) for x in given)).number
        needed = self._parts(root)
        if len(needed) > LARGEST or len(self.graph.nodes) > LARGEST_GRAPH:
            raise UntraceableError(f"an entry of f takes more than {LARGEST} scalar operations")
        nodes = self.graph.nodes
        used = sorted({nodes[n].index for n in needed if nodes[n].op in ("y", "p")})
        if used != list(range(len(used))):
            places = {slot: k for k, slot in enumerate(used)}
            root = self._moved(root, [places.get(slot, 0) for slot in range(len(kinds))])
        return self._number(Program(root, tuple(kinds[slot] for slot in used))), used

    def _scalar(self, value: Any) -> Any:
        number = isinstance(value, (int, float))
        return Scalar(self.graph, self.graph.const(value)) if number else value

    def _at(self, placed: Placed) -> int:
        """The node of a program at some places."""
        root = self.programs[placed.program].root
        if placed.places == tuple(range(len(placed.places))):
            return root
        if placed not in self._placed:
            self._placed[placed] = self._moved(root, placed.places)
        return self._placed[placed]

    def _moved(self, root: int, places: Sequence[int]) -> int:
        """The same node with places[k] for slot k."""
        moved: dict[int, int] = {}
        for number in self._parts(root):
            op, args, _, index = self.graph.nodes[number]
            if op in ("y", "p"):
                moved[number] = self._slot(places[index], op == "y")
            elif args:
                moved[number] = self.graph.add(op, *(moved[a] for a in args))
            else:
                moved[number] = number
        return moved[root]

    def _parts(self, root: int) -> list[int]:
        """The nodes of a node, in topological order; the graph may be far larger."""
        if root not in self._needed:
            found, stack = {root}, [root]
            while stack:
                new = set(self.graph.nodes[stack.pop()].args) - found
                found |= new
                stack += new
            self._needed[root] = sorted(found)
        return self._needed[root]

    def _slot(self, index: int, state: bool) -> int:
        return self.graph.add("y" if state else "p", index=index)

    def _number(self, program: Program) -> int:
        number = self._known.setdefault(program, len(self.programs))
        if number == len(self.programs):
            self.programs.append(program)
        return number
