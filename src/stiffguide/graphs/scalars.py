"""A node of a graph with the operators of Python, so that formulas can be written as formulas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from stiffguide.graphs.graph import Graph


class Scalar:
    """Node `number` of `graph`."""

    __slots__ = ("graph", "number")

    def __init__(self, graph: Graph, number: int) -> None:
        self.graph: Graph = graph
        self.number: int = number

    def apply(self, op: str, *others: Scalar | float) -> Scalar:
        """The operation `op` of this node and others."""
        numbers = [self._lift(other) for other in others]
        return Scalar(self.graph, self.graph.add(op, self.number, *numbers))

    def _lift(self, value: Scalar | float) -> int:
        return value.number if isinstance(value, Scalar) else self.graph.const(value)

    def _scalar(self, value: Scalar | float) -> Scalar:
        return value if isinstance(value, Scalar) else self.const(value)

    def const(self, value: float) -> Scalar:
        """A constant of the same graph."""
        return Scalar(self.graph, self.graph.const(value))

    @property
    def constant(self) -> float | None:
        """Its value, where that is known."""
        return self.graph.constant(self.number)

    def __add__(self, other: Scalar | float) -> Scalar:
        return self.apply("add", other)

    def __radd__(self, other: float) -> Scalar:
        return self.const(other).apply("add", self)

    def __sub__(self, other: Scalar | float) -> Scalar:
        return self.apply("sub", other)

    def __rsub__(self, other: float) -> Scalar:
        return self.const(other).apply("sub", self)

    def __mul__(self, other: Scalar | float) -> Scalar:
        return self.apply("mul", other)

    def __rmul__(self, other: float) -> Scalar:
        return self.const(other).apply("mul", self)

    def __truediv__(self, other: Scalar | float) -> Scalar:
        return self.apply("div", other)

    def __rtruediv__(self, other: float) -> Scalar:
        return self.const(other).apply("div", self)

    def __neg__(self) -> Scalar:
        return self.apply("neg")

    def __lt__(self, other: Scalar | float) -> Scalar:
        return self.apply("lt", other)

    def __le__(self, other: Scalar | float) -> Scalar:
        return self.apply("le", other)

    def __gt__(self, other: Scalar | float) -> Scalar:
        return self._scalar(other).apply("lt", self)

    def __ge__(self, other: Scalar | float) -> Scalar:
        return self._scalar(other).apply("le", self)

    def __and__(self, other: Scalar) -> Scalar:
        return self.apply("and", other)

    def __or__(self, other: Scalar) -> Scalar:
        return self.apply("or", other)

    def __invert__(self) -> Scalar:
        return self.apply("not")

    def equals(self, other: Scalar | float) -> Scalar:
        """1 where both are the same number."""
        return self.apply("eq", other)

    def differs(self, other: Scalar | float) -> Scalar:
        """1 where they are not the same number."""
        return self.apply("ne", other)

    def where(self, a: Scalar | float, b: Scalar | float) -> Scalar:
        """`a` where this condition holds, else `b`."""
        return self.apply("where", a, b)

    def power(self, exponent: Scalar | float) -> Scalar:
        """This to a power: products for small integers, which share their factors.

        torch takes the same for exponents up to 3; beyond, this differs by a few roundings. Half
        integers stay powers, for the sake of their derivatives at 0, and are printed as products.
        """
        c = exponent.constant if isinstance(exponent, Scalar) else float(exponent)
        if c is None or abs(c) > LARGEST_POWER or c == 0 or not float(2 * c).is_integer():
            return self.apply("pow", exponent)
        if c.is_integer():
            value = self._integer_power(int(abs(c)))
        else:
            value = self.apply("sqrt") if abs(c) == 0.5 else self.apply("pow", abs(c))
        return value if c > 0 else 1.0 / value

    def _integer_power(self, n: int) -> Scalar:
        if n == 1:
            return self
        root = self._integer_power(n // 2)
        return root * root * self if n % 2 else root * root


LARGEST_POWER = 16


def array(numbers: Any, shape: Sequence[int] = ()) -> Tensor:
    """Node numbers, in nested lists, as an array; on the CPU, whatever the default device is."""
    return torch.tensor(numbers, dtype=torch.int64, device="cpu").reshape(tuple(shape))


def total(terms: list[Scalar]) -> Scalar:
    """The sum of one or more terms."""
    graph = terms[0].graph
    return Scalar(graph, sum_of(graph, [term.number for term in terms]))


def sum_of(graph: Graph, terms: list[int]) -> int:
    """The sum of nodes in pairs, then pairs of pairs: short chains and small errors."""
    terms = [n for n in terms if graph.constant(n) != 0]
    if not terms:
        return graph.const(0.0)
    while len(terms) > 1:
        pairs = [graph.add("add", a, b) for a, b in zip(terms[::2], terms[1::2], strict=False)]
        terms = pairs + terms[len(terms) // 2 * 2 :]
    return terms[0]
