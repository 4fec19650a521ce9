"""The nodes of a graph: which operations there are, and what one is made of."""

from __future__ import annotations

from typing import NamedTuple

ARITY = {
    "const": 0,  # value
    "t": 0,
    "y": 0,  # index: component of the state
    "p": 0,  # index: entry of the parameter table, one table per row
    "add": 2, "sub": 2, "mul": 2, "div": 2, "neg": 1, "pow": 2, "fmod": 2, "atan2": 2,
    "sqrt": 1, "exp": 1, "expm1": 1, "log": 1, "log1p": 1, "abs": 1, "sign": 1,
    "sin": 1, "cos": 1, "tan": 1, "asin": 1, "acos": 1, "atan": 1,
    "sinh": 1, "cosh": 1, "tanh": 1, "asinh": 1, "acosh": 1, "atanh": 1, "erf": 1, "erfc": 1,
    "floor": 1, "ceil": 1, "trunc": 1, "round": 1,
    "min": 2, "max": 2,
    "lt": 2, "le": 2, "eq": 2, "ne": 2, "and": 2, "or": 2, "not": 1,  # truth values 0 and 1
    "where": 3,  # condition, if true, if false
}  # fmt: skip
LEAVES = frozenset(op for op, arity in ARITY.items() if arity == 0)
COMMUTATIVE = frozenset({"add", "mul", "min", "max", "eq", "ne", "and", "or"})


class Node(NamedTuple):
    """One operation: its name, the numbers of its arguments, and a constant or an index."""

    op: str
    args: tuple[int, ...] = ()
    value: float = 0.0  # of a const
    index: int = 0  # type: ignore[assignment]  # of y and p
