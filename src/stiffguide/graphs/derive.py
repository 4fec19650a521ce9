"""Derivatives of a scalar graph, with the zeros left out: the shorter of two ways to the same.

In forward mode every node carries its tangent, the derivatives by t and by those components of y
that it depends on; vertex elimination multiplies the same factors in another order. The factors
are nodes of the same graph, so that f, J and df/dt share what they have in common. At a kink the
derivative is the one that torch takes; a branch that is not taken has no part in it; and what 0
times infinity is, `borders` knows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from stiffguide.graphs.borders import FLAT, Borders, Tangent
from stiffguide.graphs.graph import Graph
from stiffguide.graphs.node import Node
from stiffguide.graphs.refusal import UntraceableError
from stiffguide.graphs.scalars import Scalar
from stiffguide.graphs.vertex_elimination import Edges, Linearised

TIME = -1  # the place of t among the directions 0, 1, ... of y
LARGEST_DERIVED = 100_000  # nodes; a compiler takes less than a minute for so many
LARGEST_TRIED = 5 * LARGEST_DERIVED  # nodes by forward mode, of which elimination may save most

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
    """The derivatives of some nodes, in a graph of their own that reads the same t, y and p."""
    graph = plain.copy()
    jac, dfdt = derivatives(graph, values)
    graph, moved = graph.part([*values, *jac.values(), *dfdt.values()])
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
    borders = Borders(graph)
    tangents = by_forward_mode(borders, outputs)
    eliminated = by_elimination(borders, outputs, tangents)
    forward = {n: tangents[n] for n in outputs}
    found = min(forward, eliminated, key=partial(size, graph))  # forward mode where both are equal
    _limit(size(graph, found), LARGEST_DERIVED)
    entries = sorted((i, j, node) for i, n in enumerate(outputs) for j, node in found[n].items())
    jac = {(i, j): node for i, j, node in entries if j != TIME}
    return jac, {i: node for i, j, node in entries if j == TIME}


def size(graph: Graph, found: Mapping[int, Tangent]) -> int:
    """How many nodes some nodes and their tangents are made of."""
    slopes = [slope for tangent in found.values() for slope in tangent.values()]
    return len(graph.needed([*found, *slopes]))


def _limit(nodes: int, largest: int) -> None:
    if nodes > largest:
        raise UntraceableError(
            f"kernel: the Jacobian of f takes more than {LARGEST_DERIVED} scalar operations, "
            "too many to compile: use backend='eager', or a method that needs no Jacobian"
        )


def by_forward_mode(borders: Borders, outputs: Sequence[int]) -> dict[int, Tangent]:
    """The tangents of all nodes that outputs are made of."""
    graph, tangents = borders.graph, dict[int, Tangent]()
    for number in graph.needed(outputs):
        tangents[number] = _tangent(borders, number, tangents)
        _limit(len(graph.nodes), LARGEST_TRIED)
    return tangents


def by_elimination(
    borders: Borders, outputs: Sequence[int], tangents: Mapping[int, Tangent]
) -> dict[int, Tangent]:
    """The tangents of the outputs with the zeros that they have by forward mode.

    Nodes whose products depend on the direction, or that lose one, keep the tangents of forward
    mode, and so do those with one direction: one edge. Those of all others are sums of products:
    where they are finite, every factor on the way is, and an infinite one shows in any order, but
    where a branch that is not taken, or a guard, makes the product 0. So orders differ by rounding
    alone, and by the overflow of a product that a small tangent would have kept down.
    """
    graph = borders.graph
    leaves = {n: _direction(graph.nodes[n]) for n in tangents if graph.nodes[n].op in ("t", "y")}
    places = {j: n for n, j in leaves.items()}
    edges: dict[int, Edges] = {~n: {n: graph.const(1.0)} for n in outputs}  # outputs may go on
    for n, tangent in tangents.items():
        if _is_free(borders, n, tangents):
            edges[n] = _slopes(borders, n, tangents)
        elif n not in leaves:
            edges[n] = {places[j]: slope for j, slope in tangent.items()}
    found = Linearised(borders, edges, sinks=[~n for n in outputs]).eliminate()
    by_leaf = {n: {leaves[u]: slope for u, slope in found[~n].items()} for n in outputs}
    return {n: {j: by_leaf[n].get(j, slope) for j, slope in tangents[n].items()} for n in outputs}


def _is_free(borders: Borders, number: int, tangents: Mapping[int, Tangent]) -> bool:
    """Whether a tangent is the sum over all arguments of slope times tangent in any direction."""
    node = borders.graph.nodes[number]
    if node.op in FLAT or number in borders.tied or len(tangents[number]) <= 1:
        return False
    return {j for a in node.args for j in tangents[a]} == set(tangents[number])


def _slopes(borders: Borders, number: int, tangents: Mapping[int, Tangent]) -> Edges:
    """The derivatives of a node by those of its arguments that have tangents."""
    graph, slopes = borders.graph, Edges()
    node = graph.nodes[number]
    for place, a in enumerate(node.args):
        if not tangents[a]:
            continue
        if node.op in CHOICES:  # the tangent that it would have by this argument alone
            alone = [{TIME: graph.const(float(k == place))} for k in range(len(node.args))]
            slope = CHOICES[node.op](graph, node, alone)[TIME]
        else:
            slope = borders.slope(number, place, _slope(graph, number, place))
        slopes[a] = graph.add("add", slopes[a], slope) if a in slopes else slope
    return {a: slope for a, slope in slopes.items() if graph.constant(slope) != 0}


def _slope(graph: Graph, number: int, place: int) -> int:
    """The derivative of a node by an argument."""
    node = graph.nodes[number]
    value, arguments = Scalar(graph, number), [Scalar(graph, a) for a in node.args]
    return FACTORS[node.op][place](value, *arguments).number


def _direction(node: Node) -> int:
    return TIME if node.op == "t" else node.index


def _tangent(borders: Borders, number: int, tangents: Mapping[int, Tangent]) -> Tangent:
    graph, node = borders.graph, borders.graph.nodes[number]
    if node.op in ("t", "y"):
        return {_direction(node): graph.const(1.0)}
    given = [tangents[a] for a in node.args]
    if not any(given) or node.op in FLAT:
        return {}
    if node.op in CHOICES:
        tangent = CHOICES[node.op](graph, node, given)
    else:
        tangent = _chain(borders, number, given)
    return {j: n for j, n in tangent.items() if graph.constant(n) != 0}


def _chain(borders: Borders, number: int, given: list[Tangent]) -> Tangent:
    """sum over arguments of (derivative by the argument) (its tangent)."""
    graph = borders.graph
    tangent: Tangent = {}
    for place, inner in enumerate(given):
        if not inner:
            continue
        outer = _slope(graph, number, place)
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
