"""Nodes of a scalar graph as lines of code, the same for every target.

The text speaks of values `V` and masks `M` and of functions such as `v_exp` and `sel`; what these
are (a double, several vectors, a thread's register) is said by the header of the target. Numbers
between two functions are of the type `R`, what `V` is made of: compilers take half as long with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from stiffguide.graphs.graph import Graph
from stiffguide.graphs.node import Node

TRUTHS = frozenset({"lt", "le", "eq", "ne", "and", "or", "not"})
INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
LARGEST_POWER = 16  # integer and half-integer powers up to this are products

Names = dict[int, str]


def literal(value: float) -> str:
    """A double in C."""
    if math.isnan(value):
        return '__builtin_nan("")'
    if math.isinf(value):
        return "(-__builtin_inf())" if value < 0 else "__builtin_inf()"
    text = repr(float(value))
    return f"({text})" if value < 0 else text


class Given(Protocol):
    """How C++ names what a graph is given."""

    def place(self, entry: int) -> tuple[str, bool]:
        """The name of a parameter, and whether it is one number for all lanes."""
        ...

    def constant(self, value: float) -> str:
        """The name of a constant."""
        ...


class Printer:
    """Prints the nodes that some roots need, each once, as `R v7 = ...;`."""

    def __init__(self, graph: Graph, parameters: Given) -> None:
        self._graph = graph
        self._parameters = parameters
        self._plain: set[int] = set()  # those that are one number for all lanes
        self.names: Names = {}

    def value(self, number: int) -> str:
        """The name of a node as a number."""
        name = self.names[number]
        return f"RAW(truth({name}))" if self._graph.nodes[number].op in TRUTHS else name

    def mask(self, number: int) -> str:
        """The name of a node as a condition."""
        if self._graph.nodes[number].op in TRUTHS:
            return self.names[number]
        return f"ne(V({self.names[number]}), 0.0)"

    def line(self, number: int) -> str | None:
        """The statement that computes a node; None if it needs none."""
        node = self._graph.nodes[number]
        if node.op == "const":
            self.names[number] = self._parameters.constant(node.value)
            self._plain.add(number)
        elif node.op == "p":
            place, shared = self._parameters.place(node.index)
            self.names[number] = place if shared else f"RAW({place})"
            self._plain.update([number] if shared else [])
        elif node.op in ("t", "y"):
            self.names[number] = "RAW(t)" if node.op == "t" else f"RAW(y[{node.index}])"
        else:
            kind, letter = ("M", "m") if node.op in TRUTHS else ("R", "v")
            text = self._text(node)
            self.names[number] = f"{letter}{number}"
            return f"{kind} {letter}{number} = {text};"
        return None

    def given(self, number: int, place: str) -> str:
        """The statement that reads a node which was stored as a number."""
        if self._graph.nodes[number].op in TRUTHS:
            self.names[number] = f"m{number}"
            return f"M m{number} = ne({place}, 0.0);"
        self.names[number] = f"v{number}"
        return f"R v{number} = RAW({place});"

    def lines(self, numbers: Sequence[int]) -> list[str]:
        """The statements of several nodes, in their order."""
        found = [self.line(number) for number in numbers]
        return [text for text in found if text is not None]

    def _text(self, node: Node) -> str:
        op = node.op
        if op in ("and", "or"):
            sign = "&" if op == "and" else "|"
            return f" {sign} ".join(self.mask(a) for a in node.args)
        if op == "not":
            return f"~{self.mask(node.args[0])}"
        if op == "where":
            condition, a, b = node.args
            return f"RAW(sel({self.mask(condition)}, V({self.value(a)}), V({self.value(b)})))"
        args = [self.value(a) for a in node.args]
        if op in INFIX or op == "neg":
            text = f"{args[0]} {INFIX[op]} {args[1]}" if op in INFIX else f"-{args[0]}"
            return f"RAW(V({text}))" if self._plain.issuperset(node.args) else text
        if op in TRUTHS:
            return f"{op}(V({args[0]}), V({args[1]}))"
        if op == "pow":
            return self._power(node, args)
        return f"RAW(v_{op}({', '.join(f'V({a})' for a in args)}))"

    def _power(self, node: Node, args: list[str]) -> str:
        exponent = self._graph.nodes[node.args[1]]
        base = f"V({args[0]})"
        if exponent.op != "const":
            return f"RAW(v_pow({base}, V({args[1]})))"
        e = exponent.value
        if 0 < abs(e) <= LARGEST_POWER and (2 * e).is_integer():
            whole, half = divmod(abs(e), 1)
            factors = [f"power<{int(whole)}>({base})"] if whole else []
            factors += [f"v_sqrt({base})"] if half else []
            product = f"RAW({' * '.join(factors)})"
            return product if e > 0 else f"1.0 / {product}"
        return f"RAW(v_pow({base}, V({literal(e)})))"
