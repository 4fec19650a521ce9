"""Where a product of the chain rule is 0, though one of its factors may be infinite.

A derivative is infinite at a border (sqrt at 0) or where something overflows (exp), and f may be
smooth there all the same. In IEEE arithmetic 0 inf is nan; here it is 0 where calculus says so:

- g(u) where u does not move at all, whatever g' is: u = clamp(y, min=0) below 0;
- u v where u is 0: (u v)' = u' v if u is differentiable and v continuous;
- 1/d, tanh d and the like where d overflowed by an exponential: they are flat there.

Elsewhere 0 inf stays nan, for only a limit could tell: sqrt(y)^2 at 0.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from stiffguide.graphs.arithmetic import TRUTHS
from stiffguide.graphs.graph import Graph
from stiffguide.graphs.node import LEAVES, Node

FLAT = frozenset({"sign", "floor", "ceil", "trunc", "round", *TRUTHS})  # derivative 0, if any
STEEP = frozenset({"sqrt", "asin", "acos", "acosh"})  # infinite derivative at a finite value
TALL = frozenset({"exp", "expm1", "sinh", "cosh"})  # overflow
POLES = frozenset({"log", "log1p", "tan", "atanh"})  # infinite at a finite argument
SATURATED = frozenset({"tanh", "atan", "erf", "erfc", "exp", "expm1"})  # finite at an infinite one

Tangent = dict[int, int]  # direction (a component of y, or -1 for t) -> node


class Trait(NamedTuple):
    """What is known of a node at finite arguments; where in doubt, the first four are true."""

    reach: int  # a bit for each component of y, and the first for t: what it depends on
    steep: bool = False  # may have an infinite derivative where it is finite itself
    tall: bool = False  # may overflow, by an exponential
    pole: bool = False  # may be infinite, by a pole
    positive: bool = False  # never below 0
    negative: bool = False  # never above 0
    clear: bool = False  # above 0


class Borders:
    """The traits of a graph that grows, and its guarded products."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._never = graph.const(0.0)
        self._traits: dict[int, Trait] = {}
        self._stills: dict[int, int] = {}
        self.guards: dict[tuple[int, int], int] = {}  # by node and place: where its slope is void
        self.tied: set[int] = set()  # nodes with a product that depends on the direction

    def products(self, number: int, place: int, outer: int, inner: Tangent) -> Tangent:
        """The derivative `outer` of a node by one of its arguments, times the argument's own."""
        graph, node, never = self.graph, self.graph.nodes[number], self._never
        trait, factor = self._trait(node.args[place]), self._trait(outer)
        steep = _steep_in(graph, node, place, trait)
        none, shared = never, 0
        if node.op == "mul" and trait.steep:
            none, shared = graph.add("eq", outer, never), factor.reach if factor.steep else 0
        elif trait.tall and not (trait.pole or trait.steep) and _saturates(graph, node, place):
            none = graph.add("eq", outer, never)
        if none != never:
            self.guards[number, place] = none
        infinite = steep or factor.pole or factor.tall
        tangent = {}
        for j, n in inner.items():
            own = bool(shared & _bit(j))
            void = never if own else none
            if infinite:
                slope = steep and not self._trait(n).reach & _bit(j)
                still = graph.add("eq", n, never) if slope else self._still(n)
                void = graph.add("or", void, still)
                own = own or (slope and still != never)
            tangent[j] = self._unless(void, graph.add("mul", outer, n))
            if own:
                self.tied.add(number)
        return tangent

    def slope(self, number: int, place: int, outer: int) -> int:
        """The derivative of a node by an argument, 0 where it is void for every direction."""
        return self._unless(self.guards.get((number, place), self._never), outer)

    def share(self, number: int, place: int, outer: int, bar: int) -> int:
        """The cotangent `bar` of a node times its derivative `outer` by one of its arguments."""
        graph, node = self.graph, self.graph.nodes[number]
        factor, void = self._trait(outer), self._never
        if (
            factor.pole
            or factor.tall
            or _steep_in(graph, node, place, self._trait(node.args[place]))
        ):
            void = graph.add("eq", bar, self._never)
        return self._unless(void, graph.add("mul", outer, bar))

    def product(self, outer: int, inner: int) -> int:
        """The product of two derivatives, 0 where one is by the branches that are taken."""
        nodes, void = self.graph.nodes, self._never
        for choice, other in ((outer, inner), (inner, outer)):
            if nodes[choice].op in TRUTHS:
                return self.graph.add("where", choice, other, self._never)
        for one, other in ((outer, inner), (inner, outer)):
            if self._still(one) != self._never and not self._tame(other):
                void = self.graph.add("or", void, self._still(one))
        return self._unless(void, self.graph.add("mul", outer, inner))

    def _unless(self, void: int, value: int) -> int:
        return value if void == self._never else self.graph.add("where", void, self._never, value)

    def _tame(self, number: int) -> bool:
        """Whether a node is finite whatever the state is, for certain."""
        node = self.graph.nodes[number]
        if node.op == "const":
            return math.isfinite(node.value)
        return node.op in LEAVES or node.op in TRUTHS

    def _still(self, slope: int) -> int:
        """Where a derivative is 0 by the branches that are taken, and not at a point alone."""
        stack = [slope]
        while stack:
            number = stack[-1]
            parts = [a for a in _parts(self.graph.nodes[number]) if a not in self._stills]
            stack += parts
            if not parts:
                self._stills[stack.pop()] = self._absent(number)
        return self._stills[slope]

    def _absent(self, number: int) -> int:
        """`_still` of a node, given that of its parts."""
        graph, node = self.graph, self.graph.nodes[number]
        stills = [self._stills[a] for a in _parts(node)]
        if node.op == "const":
            return graph.const(float(node.value == 0))
        if node.op in TRUTHS:  # such as what is left of where(c, 1, 0)
            return graph.add("not", number)
        if all(still == self._never for still in stills):
            return self._never
        if node.op == "where":
            return graph.add("where", node.args[0], *stills)
        if node.op in ("add", "sub"):
            return graph.add("and", *stills)
        if node.op == "mul":
            return graph.add("or", *stills)
        return stills[0]

    def _trait(self, number: int) -> Trait:
        nodes, traits = self.graph.nodes, self._traits
        stack = [] if number in traits else [number]
        while stack:
            node = nodes[stack[-1]]
            parts = [a for a in node.args if a not in traits]
            stack += parts
            if not parts:
                traits[stack.pop()] = _trait(self.graph, node, [traits[a] for a in node.args])
        return traits[number]


def _bit(direction: int) -> int:
    return 2 << direction if direction >= 0 else 1


def _parts(node: Node) -> tuple[int, ...]:
    """The arguments that make a node 0 by being 0, alone or together."""
    if node.op == "where":
        return node.args[1:]
    if node.op in ("add", "sub", "mul", "neg"):
        return node.args
    return node.args[:1] if node.op == "div" else ()


def _steep_in(graph: Graph, node: Node, place: int, trait: Trait) -> bool:
    """Whether the derivative by an argument may be infinite, or nan, where the value is finite."""
    if node.op == "pow":
        other = graph.constant(node.args[1 - place])
        if place == 1:
            return other is None or other <= 0
        return not trait.clear and (other is None or 0 < other < 1)
    return node.op in STEEP and not (node.op == "sqrt" and trait.clear)


def _saturates(graph: Graph, node: Node, place: int) -> bool:
    """Whether the value is finite where an argument is infinite."""
    if node.op == "pow":
        exponent = graph.constant(node.args[1])
        return place == 1 or exponent is None or exponent < 0
    return node.op in SATURATED or (node.op == "div" and place == 1)


def _trait(graph: Graph, node: Node, given: list[Trait]) -> Trait:
    """The trait of a node whose arguments have traits."""
    op = node.op
    if not given:
        bit = 1 if op == "t" else _bit(node.index) if op == "y" else 0
        sign = node.value if op == "const" else float("nan")
        return Trait(bit, positive=sign >= 0, negative=sign <= 0, clear=sign > 0)
    reach = 0
    for one in given:
        reach |= one.reach
    if op in FLAT:
        return Trait(reach, positive=op in TRUTHS)
    values = given[1:] if op == "where" else given
    steep = [x.steep or (x.reach and _steep_in(graph, node, k, x)) for k, x in enumerate(values)]
    tall = [x.tall and not _saturates(graph, node, k) for k, x in enumerate(values)]
    return Trait(
        reach,
        any(steep),
        any(tall) or _overflows(graph, node, given),
        any(x.pole for x in values) or _has_pole(graph, node, given),
        *_signs(graph, node, values),
    )


def _overflows(graph: Graph, node: Node, given: list[Trait]) -> bool:
    if node.op == "pow":
        return graph.constant(node.args[0]) is not None
    return node.op in TALL and not (node.op in ("exp", "expm1") and given[0].negative)


def _has_pole(graph: Graph, node: Node, given: list[Trait]) -> bool:
    if node.op == "pow":
        exponent = graph.constant(node.args[1])
        return given[0].reach != 0 and (exponent is None or exponent < 0)
    if node.op == "div":
        return given[1].reach != 0
    return node.op in POLES and given[0].reach != 0


def _signs(graph: Graph, node: Node, values: list[Trait]) -> tuple[bool, bool, bool]:
    """Whether a node is never negative, never positive, above 0."""
    op, (a, *others) = node.op, values
    positive = all(x.positive for x in values)
    negative = all(x.negative for x in values)
    clear = all(x.clear for x in values)
    if op in ("abs", "exp", "cosh", "sqrt"):
        return True, False, clear or op == "cosh"
    if op == "neg":
        return a.negative, a.positive, False
    if op in ("mul", "div"):
        square = op == "mul" and node.args[0] == node.args[1]
        b = others[0]
        opposite = (a.positive and b.negative) or (a.negative and b.positive)
        clear = clear and not (op == "div" and b.tall)
        return square or positive or negative, opposite, clear
    if op == "sub":
        b = others[0]
        beyond = _is_among(graph, *node.args)
        return a.positive and b.negative, beyond or (a.negative and b.positive), False
    if op == "where":
        return positive, negative or _is_minus_size(graph, node), clear
    if op == "add":
        return positive, negative, positive and any(x.clear for x in values)
    return (positive, negative, clear) if op in ("min", "max") else (False, False, False)


def _is_among(graph: Graph, x: int, extreme: int) -> bool:
    """Whether `extreme` is the maximum of x and others."""
    stack = [extreme]
    while stack:
        number = stack.pop()
        if number == x:
            return True
        if graph.nodes[number].op == "max":
            stack += graph.nodes[number].args
    return False


def _is_minus_size(graph: Graph, node: Node) -> bool:
    """Whether a `where` is x where x < 0, and else -x."""
    condition, x, other = node.args
    below = graph.nodes[condition]
    if below.op != "lt" or below.args[0] != x or graph.constant(below.args[1]) != 0:
        return False
    return graph.add("neg", x) == other
