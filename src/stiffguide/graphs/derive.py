"""Derivatives of a scalar graph by the forward mode, with the zeros left out.

Every node carries the derivatives by t and by those components of y that it depends on; the
factors of the chain rule are nodes of the same graph, so that f, J and df/dt share what they have
in common. At a kink the derivative is the one that torch takes; a branch that is not taken has no
part in it; and what 0 times infinity is, `borders` knows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from stiffguide.graphs.borders import FLAT, Borders, Tangent
from stiffguide.graphs.graph import Graph
from stiffguide.graphs.node import Node
from stiffguide.graphs.refusal import UntraceableError
from stiffguide.graphs.scalars import Scalar

TIME = -1  # the place of t among the directions 0, 1, ... of y
LARGEST_DERIVED = 50_000  # nodes; a compiler takes half a minute for so many

Factor = Callable[..., Scalar]  # (value, arguments...) -> derivative by one argument


class Derived(NamedTuple):
    """A field and its derivatives in one graph.

    `outputs[i]` is the node of f_i; `jac` and `dfdt` name nodes for the entries that are not zero
    by structure.
    """

    graph: Graph
    outputs: list[int]
    jac: dict[tuple[int, int], int]
    dfdt: dict[int, int]


def derived(plain: Graph, values: Sequence[int]) -> Derived:
    """The derivatives of a graph whose nodes are all needed, in a graph of their own."""
    graph = plain.copy()
    jac, dfdt = derivatives(graph, values)
    graph, moved, _ = graph.pruned([*values, *jac.values(), *dfdt.values()])
    return Derived(
        graph,
        [moved[n] for n in values],
        {place: moved[n] for place, n in jac.items()},
        {i: moved[n] for i, n in dfdt.items()},
    )


def derivatives(
    graph: Graph, outputs: Sequence[int]
) -> tuple[dict[tuple[int, int], int], dict[int, int]]:
    """Nodes for d f_i / d y_j by (i, j) and d f_i / d t by i, added to the graph."""
    tangents: dict[int, Tangent] = {}
    borders = Borders(graph)
    for number in graph.needed(outputs):
        tangents[number] = _tangent(borders, graph, number, tangents)
        if len(graph.nodes) > LARGEST_DERIVED:
            raise UntraceableError(
                f"kernel: the Jacobian of f takes more than {LARGEST_DERIVED} scalar operations, "
                "too many to compile: use backend='eager', or a method that needs no Jacobian"
            )
    found = [(i, j, node) for i, n in enumerate(outputs) for j, node in tangents[n].items()]
    kept = sorted((i, j, node) for i, j, node in found if graph.constant(node) != 0)
    jac = {(i, j): node for i, j, node in kept if j != TIME}
    return jac, {i: node for i, j, node in kept if j == TIME}


def _tangent(borders: Borders, graph: Graph, number: int, tangents: dict[int, Tangent]) -> Tangent:
    node = graph.nodes[number]
    if node.op == "y":
        return {node.index: graph.const(1.0)}
    if node.op == "t":
        return {TIME: graph.const(1.0)}
    given = [tangents[a] for a in node.args]
    if not any(given) or node.op in FLAT:
        return {}
    if node.op in CHOICES:
        tangent = CHOICES[node.op](graph, node, given)
    else:
        tangent = _chain(borders, graph, number, given)
    return {j: n for j, n in tangent.items() if graph.constant(n) != 0}


def _chain(borders: Borders, graph: Graph, number: int, given: list[Tangent]) -> Tangent:
    """sum over arguments of (derivative by the argument) (its tangent)."""
    node = graph.nodes[number]
    value, arguments = Scalar(graph, number), [Scalar(graph, a) for a in node.args]
    tangent: Tangent = {}
    for place, (factor, inner) in enumerate(zip(FACTORS[node.op], given, strict=True)):
        if not inner:
            continue
        outer = factor(value, *arguments).number
        for j, term in borders.products(number, place, outer, inner).items():
            tangent[j] = graph.add("add", tangent[j], term) if j in tangent else term
    return tangent


def _where(graph: Graph, node: Node, given: list[Tangent]) -> Tangent:
    condition, zero = node.args[0], graph.const(0.0)
    _, a, b = given
    return {j: graph.add("where", condition, a.get(j, zero), b.get(j, zero)) for j in {**a, **b}}


def _extreme(graph: Graph, node: Node, given: list[Tangent]) -> Tangent:
    x, y = (Scalar(graph, n) for n in node.args)
    first = x < y if node.op == "min" else y < x
    tangent, zero = {}, graph.const(0.0)
    for j in {**given[0], **given[1]}:
        a, b = (Scalar(graph, g.get(j, zero)) for g in given)
        tangent[j] = x.equals(y).where(0.5 * (a + b), first.where(a, b)).number
    return tangent


def _power_by_base(value: Scalar, x: Scalar, y: Scalar) -> Scalar:
    c = y.constant
    if c is not None:
        return c * x.power(c - 1) if c != 1 else y
    return y * x.apply("pow", y.equals(0).where(0.0, y - 1.0))  # x^0: 0, also at x = 0


def _power_by_exponent(value: Scalar, x: Scalar, y: Scalar) -> Scalar:
    return (x.equals(0) & (y >= 0)).where(0.0, value * x.apply("log"))


def _angle(other: Scalar, y: Scalar, x: Scalar) -> Scalar:
    square = x * x + y * y
    return square.equals(0).where(0.0, other / square)  # as that of a norm at 0


def _one(value: Scalar, *_: Scalar) -> Scalar:
    return value.const(1.0)


# Those that choose among the tangents of their arguments.
CHOICES: dict[str, Callable[[Graph, Node, list[Tangent]], Tangent]] = {
    "where": _where,
    "min": _extreme,
    "max": _extreme,
}
FACTORS: dict[str, tuple[Factor, ...]] = {
    "add": (_one, _one),
    "sub": (_one, lambda v, x, y: v.const(-1.0)),
    "neg": (lambda v, x: v.const(-1.0),),
    "mul": (lambda v, x, y: y, lambda v, x, y: x),
    "div": (lambda v, x, y: 1.0 / y, lambda v, x, y: -(v * (1.0 / y))),
    "pow": (_power_by_base, _power_by_exponent),
    "fmod": (_one, lambda v, x, y: ((v - x) / y).apply("round")),
    "atan2": (lambda v, y, x: _angle(x, y, x), lambda v, y, x: -_angle(y, y, x)),
    "sqrt": (lambda v, x: 0.5 / v,),
    "exp": (lambda v, x: v,),
    "expm1": (lambda v, x: v + 1.0,),
    "log": (lambda v, x: 1.0 / x,),
    "log1p": (lambda v, x: 1.0 / (x + 1.0),),
    "abs": (lambda v, x: x.apply("sign"),),
    "sin": (lambda v, x: x.apply("cos"),),
    "cos": (lambda v, x: -x.apply("sin"),),
    "tan": (lambda v, x: 1.0 + v * v,),
    "asin": (lambda v, x: 1.0 / (1.0 - x * x).apply("sqrt"),),
    "acos": (lambda v, x: -(1.0 / (1.0 - x * x).apply("sqrt")),),
    "atan": (lambda v, x: 1.0 / (1.0 + x * x),),
    "sinh": (lambda v, x: x.apply("cosh"),),
    "cosh": (lambda v, x: x.apply("sinh"),),
    "tanh": (lambda v, x: 1.0 - v * v,),
    "asinh": (lambda v, x: 1.0 / (1.0 + x * x).apply("sqrt"),),
    "acosh": (lambda v, x: 1.0 / (x * x - 1.0).apply("sqrt"),),
    "atanh": (lambda v, x: 1.0 / (1.0 - x * x),),
    "erf": (lambda v, x: (2 / math.sqrt(math.pi)) * (-(x * x)).apply("exp"),),
    "erfc": (lambda v, x: (-2 / math.sqrt(math.pi)) * (-(x * x)).apply("exp"),),
}
