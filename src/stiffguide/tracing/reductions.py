"""Sums, products, extremes, norms and the like along axes of arrays of node numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from math import prod

from torch import Tensor

from stiffguide.graphs.graph import Graph
from stiffguide.graphs.scalars import Scalar, array, total

Dims = Sequence[int] | int | None
Fold = Callable[[list[Scalar]], Scalar]


def along(
    graph: Graph, numbers: Tensor, dims: Dims, keepdim: bool, fold: Fold, empty: float = 0.0
) -> Tensor:
    """Fold the entries along some axes (none or an empty list: all) into one."""
    if isinstance(dims, int):
        dims = [dims]
    axes = [d % max(numbers.ndim, 1) for d in dims] if dims else list(range(numbers.ndim))
    kept = [d for d in range(numbers.ndim) if d not in axes]
    shape = [numbers.shape[d] for d in kept]
    lists = numbers.permute([*kept, *axes]).reshape(prod(shape), -1).tolist()
    nothing = graph.const(empty)
    folded = [fold([Scalar(graph, n) for n in r]).number if r else nothing for r in lists]
    result = array(folded, shape)
    for axis in sorted(axes) if keepdim else ():
        result = result.unsqueeze(axis)
    return result


def running(graph: Graph, numbers: Tensor, dim: int, op: str) -> Tensor:
    """The fold of everything up to each entry of an axis, by an operation of the graph."""
    return accumulated(graph, numbers, dim, lambda a, b: a.apply(op, b))


def accumulated(
    graph: Graph, numbers: Tensor, dim: int, join: Callable[[Scalar, Scalar], Scalar]
) -> Tensor:
    """The fold of everything up to each entry of an axis."""
    if numbers.ndim == 0 or numbers.numel() == 0:
        return numbers.clone()
    moved = numbers.movedim(dim, -1)
    rows = []
    for row in moved.reshape(-1, moved.shape[-1]).tolist():
        partial = [Scalar(graph, row[0])]
        for number in row[1:]:
            partial.append(join(partial[-1], Scalar(graph, number)))
        rows.append([x.number for x in partial])
    return array(rows, moved.shape).movedim(-1, dim)


def mean(values: list[Scalar]) -> Scalar:
    """The arithmetic mean."""
    return total(values) / float(len(values))


def product(values: list[Scalar]) -> Scalar:
    """The product."""
    return reduce(lambda a, b: a * b, values)


def largest(values: list[Scalar]) -> Scalar:
    """The maximum."""
    return reduce(lambda a, b: a.apply("max", b), values)


def smallest(values: list[Scalar]) -> Scalar:
    """The minimum."""
    return reduce(lambda a, b: a.apply("min", b), values)


def every(values: list[Scalar]) -> Scalar:
    """Whether all hold."""
    return reduce(lambda a, b: a & b, values, values[0].const(1.0))


def some(values: list[Scalar]) -> Scalar:
    """Whether one holds."""
    return reduce(lambda a, b: a | b, values, values[0].const(0.0))


def variance(correction: float) -> Fold:
    """The mean squared distance from the mean, over n - correction."""

    def fold(values: list[Scalar]) -> Scalar:
        centre = mean(values)
        squares = [(v - centre) * (v - centre) for v in values]
        return total(squares) / max(len(values) - correction, 0.0)

    return fold


def root(square: Scalar) -> Scalar:
    """The root of a sum of squares; its derivative at 0 is 0, as torch has it."""
    return square.equals(0.0).where(0.0, square.apply("sqrt"))


def norm(order: float) -> Fold:
    """The norm of a vector; its derivative at 0 is 0, as torch has it."""

    def fold(values: list[Scalar]) -> Scalar:
        sizes = [v.apply("abs") for v in values]
        if order == float("inf"):
            return largest(sizes)
        if order == float("-inf"):
            return smallest(sizes)
        if order == 0:
            return total([v.differs(0.0) for v in values])
        if order == 1:
            return total(sizes)
        if order == 2:
            return root(total([v * v for v in values]))
        powers = total([v.power(order) for v in sizes])
        return powers.equals(0.0).where(0.0, powers.apply("pow", 1 / order))

    return fold


def softmax(graph: Graph, numbers: Tensor, dim: int, log: bool) -> Tensor:
    """exp(x - max x) / sum of these, or its logarithm."""
    if numbers.ndim == 0:
        return array(graph.const(0.0 if log else 1.0))
    moved = numbers.movedim(dim, -1)
    rows = []
    for row in moved.reshape(-1, moved.shape[-1]).tolist():
        values = [Scalar(graph, n) for n in row]
        shifted = [v - largest(values) for v in values]
        powers = [v.apply("exp") for v in shifted]
        whole = total(powers)
        if log:
            rows.append([(v - whole.apply("log")).number for v in shifted])
        else:
            rows.append([(v / whole).number for v in powers])
    return array(rows, moved.shape).movedim(-1, dim)
