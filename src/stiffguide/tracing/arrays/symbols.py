"""Numbers that stand for nodes of a graph, as f meets them.

A `Symbol` answers where numpy would have a float64, a `Truth` where it would have a bool: they have
Python's operators, numpy's ufuncs and functions know them, and a question for their truth is a
decision of the path that f is on.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from typing import Any

import numpy as np

from stiffguide.graphs import arithmetic
from stiffguide.graphs.graph import Graph
from stiffguide.graphs.refusal import UntraceableError
from stiffguide.graphs.scalars import Scalar
from stiffguide.tracing.arrays.formulas import FORMULAS, OF_TRUTHS, TRUTHS
from stiffguide.tracing.decisions import Path
from stiffguide.tracing.interpreter import LARGEST_GRAPH

Operator = Callable[..., Any]


class NeedsValueError(UntraceableError):
    """f needs plain numbers where it has symbols; another way to run it may give them."""

    def __init__(self, sentence: str, needed: Sequence[Symbol], *, written: bool = False) -> None:
        super().__init__(sentence)
        self.needed = needed
        self.written = written  # perhaps to an array of floats
        self.sources: frozenset[int] = frozenset()  # the arguments that they are made of alone


class Run:
    """One run of f: what it adds to a graph, on a path."""

    def __init__(self, graph: Graph, path: Path) -> None:
        self.graph = graph
        self.path = path
        self.refused: UntraceableError | None = None  # f may catch the exception

    def symbol(self, op: str, index: int = 0) -> Symbol:
        """A leaf of the graph."""
        return Symbol(self, self.graph.add(op, index=index))


RUNNING: ContextVar[Run] = ContextVar("RUNNING")


def refusal(error: UntraceableError | str) -> UntraceableError:
    """What to raise: the first refusal of this run."""
    run = RUNNING.get()
    run.refused = run.refused or (UntraceableError(error) if isinstance(error, str) else error)
    return run.refused


def evaluated(name: str, values: tuple[Any, ...], ufunc: Any = None) -> Any:
    """A ufunc of numbers, one of them a symbol at least; NotImplemented for other things."""
    if not any(isinstance(v, Symbol) for v in values):
        return (ufunc or getattr(np, name))(*values)
    run = RUNNING.get()
    if len(run.graph.nodes) > LARGEST_GRAPH:
        raise refusal(f"f takes over {LARGEST_GRAPH} scalar operations, too many")
    if name in OF_TRUTHS and all(is_truth(v) for v in values):
        name = OF_TRUTHS[name]
    if name not in FORMULAS:
        raise unruled(f"the ufunc {name}", values)
    scalars = []
    for value in values:
        if isinstance(value, Symbol):
            if value.run.graph is not run.graph:
                raise refusal("f keeps values of t or y from call to call")
            scalars.append(Scalar(run.graph, value.number))
        elif isinstance(value, (numbers.Real, np.bool_)):
            scalars.append(Scalar(run.graph, run.graph.const(float(value))))
        elif isinstance(value, (complex, np.complexfloating)):
            raise refusal("f computes with complex numbers")
        else:
            return NotImplemented
    kind = Truth if name in TRUTHS else Symbol
    return kind(run, FORMULAS[name](*scalars).number)


def unruled(what: str, values: Iterable[Any]) -> UntraceableError:
    """The refusal of a function that knows numbers only."""
    needed = [v for v in values if isinstance(v, Symbol)]
    return refusal(NeedsValueError(f"f uses {what}, which has no scalar rule", needed))


def _operator(name: str, *, reflected: bool = False) -> Callable[..., Any]:
    def operate(self: Symbol, *others: Any) -> Any:
        for other in others:
            if isinstance(other, (np.ndarray, list, tuple)):
                pair = (other, self) if reflected else (self, other)
                return getattr(np, name)(*pair)
        return evaluated(name, (*others, self) if reflected else (self, *others))

    return operate


class Symbol:
    """A number that node `number` of the graph of a run stands for."""

    __slots__ = ("number", "run")
    __array_priority__: float = 1000.0

    def __init__(self, run: Run, number: int) -> None:
        self.run: Run = run
        self.number: int = number

    __add__: Operator = _operator("add")
    __radd__: Operator = _operator("add", reflected=True)
    __sub__: Operator = _operator("subtract")
    __rsub__: Operator = _operator("subtract", reflected=True)
    __mul__: Operator = _operator("multiply")
    __rmul__: Operator = _operator("multiply", reflected=True)
    __truediv__: Operator = _operator("divide")
    __rtruediv__: Operator = _operator("divide", reflected=True)
    __mod__: Operator = _operator("remainder")
    __rmod__: Operator = _operator("remainder", reflected=True)
    __pow__: Operator = _operator("power")
    __rpow__: Operator = _operator("power", reflected=True)
    __floordiv__: Operator = _operator("floor_divide")
    __rfloordiv__: Operator = _operator("floor_divide", reflected=True)
    __and__: Operator = _operator("bitwise_and")
    __rand__: Operator = _operator("bitwise_and", reflected=True)
    __or__: Operator = _operator("bitwise_or")
    __ror__: Operator = _operator("bitwise_or", reflected=True)
    __xor__: Operator = _operator("bitwise_xor")
    __rxor__: Operator = _operator("bitwise_xor", reflected=True)
    __lt__: Operator = _operator("less")
    __le__: Operator = _operator("less_equal")
    __gt__: Operator = _operator("greater")
    __ge__: Operator = _operator("greater_equal")
    __eq__: Operator = _operator("equal")
    __ne__: Operator = _operator("not_equal")
    __neg__: Operator = _operator("negative")
    __pos__: Operator = _operator("positive")
    __abs__: Operator = _operator("absolute")
    __invert__: Operator = _operator("invert")
    __floor__: Operator = _operator("floor")
    __ceil__: Operator = _operator("ceil")
    __trunc__: Operator = _operator("trunc")

    def __bool__(self) -> bool:
        run = RUNNING.get()
        return run.path.decide(run.graph.add("ne", self.number, run.graph.const(0)))

    def __round__(self, ndigits: int | None = None) -> Any:
        scale = 10.0 ** (ndigits or 0)
        return evaluated("rint", (self * scale,)) / scale

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> Any:
        return other // self, other % self

    def __float__(self) -> float:
        return self._value("a Python float, or an entry of an array of these", written=True)

    def __int__(self) -> int:
        return int(self._value("a Python integer"))

    def __index__(self) -> int:
        if self.run.graph.nodes[self.number].op in arithmetic.TRUTHS:
            return int(bool(self))  # one of two
        return int(self._value("an integer, such as an index or the length of a loop"))

    def __complex__(self) -> complex:
        raise refusal("f computes with complex numbers")

    def _value(self, what: str, *, written: bool = False) -> float:
        known = self.run.graph.constant(self.number)
        if known is None:
            sentence = f"f needs the value of something that depends on t or y as {what}"
            raise refusal(NeedsValueError(sentence, [self], written=written))
        return known

    def __hash__(self) -> int:
        return int(self._value("a key"))

    def __str__(self) -> str:
        nodes = self.run.graph.nodes
        leaves = {nodes[n].op for n in self.run.graph.needed([self.number])}
        if not leaves & {"t", "y"}:  # of an argument; it may be the name of something
            return str(self._value("text"))
        return repr(self)  # for f may print

    def __format__(self, spec: str) -> str:
        return str(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__.lower()} {self.number}>"

    def __copy__(self) -> Symbol:
        return self

    def __deepcopy__(self, memo: Any) -> Symbol:
        return self

    @property
    def real(self) -> Symbol:
        """Itself: symbols are real numbers."""
        return self

    @property
    def imag(self) -> float:
        """Nothing."""
        return 0.0

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **named: Any) -> Any:
        from stiffguide.tracing.arrays import ufuncs  # late: they are made of symbols

        return ufuncs.apply(ufunc, method, inputs, named)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        from stiffguide.tracing.arrays import functions

        return functions.call(func, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name in FORMULAS:  # which numpy asks entries of arrays of objects for
            return lambda *others: evaluated(name, (self, *others))
        from stiffguide.tracing.arrays.symbol_arrays import symbols

        return getattr(symbols(self), name)  # a numpy number has what an array has


numbers.Real.register(Symbol)


class Number(Symbol):
    """A float that f was built of, where it is a parameter: it is one in every run."""

    __slots__ = ()

    def __init__(self, number: int) -> None:
        self.number = number

    @property
    def run(self) -> Run:  # type: ignore[override]
        """The one under way."""
        return RUNNING.get()


class Truth(Symbol):
    """A symbol that is true or false."""

    __slots__ = ()


def is_truth(value: Any) -> bool:
    """Whether it is true or false."""
    return isinstance(value, (Truth, bool, np.bool_))


def choice(condition: Any, a: Any, b: Any) -> Any:
    """One of two numbers, by a number or a symbol."""
    if not isinstance(condition, Symbol):
        return a if condition else b
    both = is_truth(a) and is_truth(b)
    found = evaluated("where", (condition, a, b))
    return Truth(found.run, found.number) if both else found
