"""The algebra of `Graph.add`: a rule looks at an operation about to be added, and may know better.

Every rule is exact in IEEE arithmetic up to the sign of a zero, but for three: 0 x = 0, x - x = 0
and x^2 = x x. The first two hold for finite x, and a sparse Jacobian lives off them; the third
rounds once where pow may round otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

from stiffguide.graphs.arithmetic import TRUTHS
from stiffguide.graphs.node import Node


class Growing(Protocol):
    """What a rule sees of a graph."""

    nodes: list[Node]

    def add(self, op: str, *args: int) -> int:
        """The number of a node with the value of this operation."""
        ...

    def const(self, value: float) -> int:
        """The number of a constant."""
        ...

    def constant(self, number: int) -> float | None:
        """The value of a node that is a constant."""
        ...


Rule = Callable[..., "int | None"]  # (graph, *args) -> the number of an equal node, if simpler


def _inner(g: Growing, number: int, op: str) -> int | None:
    """The argument of the unary operation `op` that node `number` is, if it is one."""
    node = g.nodes[number]
    return node.args[0] if node.op == op else None


def _add(g: Growing, a: int, b: int) -> int | None:
    if g.constant(a) == 0:
        return b
    if g.constant(b) == 0:
        return a
    if (x := _inner(g, b, "neg")) is not None:
        return g.add("sub", a, x)
    if (x := _inner(g, a, "neg")) is not None:
        return g.add("sub", b, x)
    return None


def _sub(g: Growing, a: int, b: int) -> int | None:
    if g.constant(b) == 0:
        return a
    if g.constant(a) == 0:
        return g.add("neg", b)
    if a == b:
        return g.const(0.0)
    if (x := _inner(g, b, "neg")) is not None:
        return g.add("add", a, x)
    if (x := _inner(g, a, "neg")) is not None:
        return g.add("neg", g.add("add", x, b))
    return None


def _mul(g: Growing, a: int, b: int) -> int | None:
    for c, x in ((g.constant(a), b), (g.constant(b), a)):
        if c == 0:
            return g.const(0.0)
        if c == 1:
            return x
        if c == -1:
            return g.add("neg", x)
        if c is not None and (y := _inner(g, x, "neg")) is not None:
            return g.add("mul", g.const(-c), y)
    for x, other in ((a, b), (b, a)):
        if (y := _inner(g, x, "neg")) is not None:
            return g.add("neg", g.add("mul", y, other))
    return None


def _div(g: Growing, a: int, b: int) -> int | None:
    c = g.constant(b)
    if c == 1:
        return a
    if c == -1:
        return g.add("neg", a)
    if c is not None and abs(math.frexp(c)[0]) == 0.5 and 1e-300 < abs(c) < 1e300:
        return g.add("mul", a, g.const(1 / c))  # exact: a power of two
    if (x := _inner(g, a, "neg")) is not None:
        return g.add("neg", g.add("div", x, b))
    if (x := _inner(g, b, "neg")) is not None:
        return g.add("neg", g.add("div", a, x))
    return None


def _neg(g: Growing, a: int) -> int | None:
    node = g.nodes[a]
    if node.op == "neg":
        return node.args[0]
    if node.op == "sub":
        return g.add("sub", node.args[1], node.args[0])
    if node.op == "mul":
        for c, x in (node.args, node.args[::-1]):
            if (value := g.constant(c)) is not None:
                return g.add("mul", g.const(-value), x)
    return None


def _pow(g: Growing, a: int, b: int) -> int | None:
    c = g.constant(b)
    if c == 0 or g.constant(a) == 1:
        return g.const(1.0)  # whatever the other is, nan included
    if c == 1:
        return a
    if c == -1:
        return g.add("div", g.const(1.0), a)
    if c == 2:
        return g.add("mul", a, a)
    return None


def _even(op: str) -> Rule:
    def rule(g: Growing, a: int) -> int | None:
        x = _inner(g, a, "neg")
        return None if x is None else g.add(op, x)

    return rule


def _odd(op: str) -> Rule:
    def rule(g: Growing, a: int) -> int | None:
        x = _inner(g, a, "neg")
        return None if x is None else g.add("neg", g.add(op, x))

    return rule


def _abs(g: Growing, a: int) -> int | None:
    return a if g.nodes[a].op in {"abs", *TRUTHS} else _even("abs")(g, a)


def _extreme(g: Growing, a: int, b: int) -> int | None:
    return a if a == b else None


def _and(g: Growing, a: int, b: int) -> int | None:
    for x, other in ((a, b), (b, a)):
        if (c := g.constant(x)) is not None:
            return _truth(g, other) if c else g.const(0.0)
    return _truth(g, a) if a == b else None


def _or(g: Growing, a: int, b: int) -> int | None:
    for x, other in ((a, b), (b, a)):
        if (c := g.constant(x)) is not None:
            return g.const(1.0) if c else _truth(g, other)
    return _truth(g, a) if a == b else None


def _not(g: Growing, a: int) -> int | None:
    x = _inner(g, a, "not")
    if x is not None:
        return _truth(g, x)
    return _switched(g, a, "ne", "eq")


def _truth(g: Growing, a: int) -> int:
    """0 or 1 from a condition."""
    return a if g.nodes[a].op in TRUTHS else g.add("ne", a, g.const(0.0))


def _switched(g: Growing, a: int, op: str, other: str) -> int | None:
    """`other` for `op`: each is the negation of the other, nan included."""
    node = g.nodes[a]
    return g.add(other, *node.args) if node.op == op else None


def _ne(g: Growing, a: int, b: int) -> int | None:
    for x, other in ((a, b), (b, a)):
        if g.constant(x) == 0 and g.nodes[other].op in TRUTHS:
            return other
    return None


def _where(g: Growing, c: int, a: int, b: int) -> int | None:
    known = g.constant(c)
    if known is not None:
        return a if known else b
    if a == b:
        return a
    if (x := _inner(g, c, "not")) is not None:
        return g.add("where", x, b, a)
    return _chosen_truth(g, c, a, b)


def _chosen_truth(g: Growing, c: int, a: int, b: int) -> int | None:
    """A choice of truth values, one of which is known."""
    known = [g.constant(x) if g.constant(x) in (0, 1) else None for x in (a, b)]
    if any(k is None and g.nodes[x].op not in TRUTHS for k, x in zip(known, (a, b), strict=True)):
        return None
    if known[0] is not None:
        return g.add("or", c, b) if known[0] else g.add("and", g.add("not", c), b)
    if known[1] is not None:
        return g.add("or", g.add("not", c), a) if known[1] else g.add("and", c, a)
    return None


ODD = ("sin", "tan", "asin", "atan", "sinh", "tanh", "asinh", "atanh", "erf", "sign", "trunc")
RULES: dict[str, Rule] = {
    **{"add": _add, "sub": _sub, "mul": _mul, "div": _div, "neg": _neg, "pow": _pow},
    **{"abs": _abs, "min": _extreme, "max": _extreme, "cos": _even("cos"), "cosh": _even("cosh")},
    **{"and": _and, "or": _or, "not": _not, "ne": _ne, "where": _where},
    **{op: _odd(op) for op in ODD},
}
