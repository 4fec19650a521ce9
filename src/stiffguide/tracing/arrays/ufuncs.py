"""Numpy's ufuncs on arrays of symbols: called, and along axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from stiffguide.graphs.scalars import sum_of
from stiffguide.tracing.arrays.formulas import SEVERAL
from stiffguide.tracing.arrays.symbol_arrays import Symbols, plain, symbols, wrapped
from stiffguide.tracing.arrays.symbols import RUNNING, Symbol, choice, evaluated, refusal

JOINS: dict[str, Any] = {  # what a reduction starts with
    "add": 0.0, "multiply": 1.0, "logical_and": True, "logical_or": False,
}  # fmt: skip


def apply(ufunc: Any, method: str, inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """What `ufunc.method(*inputs, **named)` gives."""
    out = named.pop("out", None)
    if ufunc.__name__ == "matmul":
        from stiffguide.tracing.arrays import products  # late: they use ufuncs

        result = products.product(*inputs)
    elif method == "__call__":
        result = _called(ufunc, inputs, named, out)
    elif method == "reduce":
        result = _reduced(ufunc, *inputs, **named)
    elif method == "at":
        return _added_at(ufunc, *inputs)
    elif method in ("accumulate", "outer", "reduceat"):
        if ufunc.__name__ in ("add", "multiply"):
            inputs = (symbols(inputs[0]), *inputs[1:])
        join = np.frompyfunc(lambda *v: evaluated(ufunc.__name__, v, ufunc), ufunc.nin, 1)
        axis = {"axis": named["axis"]} if "axis" in named else {}
        result = getattr(join, method)(*map(_unboxed, inputs), **axis)
    else:
        raise refusal(f"f uses numpy's {ufunc.__name__}.{method}")
    return wrapped(result) if out is None else _written(out[0], result)


def _unboxed(value: Any) -> Any:
    return value if isinstance(value, (int, list)) else plain(value)


def _called(ufunc: Any, inputs: tuple[Any, ...], named: dict[str, Any], out: Any) -> Any:
    name = ufunc.__name__
    if name in SEVERAL:
        return tuple(wrapped(each(part, ufunc, inputs)) for part in SEVERAL[name])
    result = each(name, ufunc, inputs)
    where = named.get("where", True)
    if where is not True:
        kept = np.nan if out is None else plain(out[0])
        result = np.frompyfunc(choice, 3, 1)(plain(where), plain(result), kept)
    return result


def each(name: str, ufunc: Any, inputs: tuple[Any, ...]) -> Any:
    """Entry by entry, as a plain array of objects, or a number."""

    def entry(*values: Any) -> Any:
        found = evaluated(name, values, ufunc)
        if found is NotImplemented:
            kinds = ", ".join(type(v).__name__ for v in values)
            raise refusal(f"f uses numpy's {name} on {kinds}")
        return found

    return np.frompyfunc(entry, len(inputs), 1)(*map(plain, inputs))


def _written(out: Any, result: Any) -> Any:
    if not isinstance(out, Symbols):
        result = plain(result).astype(out.dtype)  # refused where there are symbols
    out[...] = result
    return out


def _added_at(ufunc: Any, target: Any, places: Any, *values: Any) -> None:
    """`ufunc.at`: one entry after the other, also where a place comes twice."""
    shape = np.shape(target)
    chosen = np.arange(np.size(target)).reshape(shape)[places]
    given = [np.broadcast_to(plain(v), chosen.shape) for v in values]
    for k in np.ndindex(*chosen.shape):
        spot = tuple(int(i) for i in np.unravel_index(chosen[k], shape))
        target[spot] = evaluated(ufunc.__name__, (target[spot], *(g[k] for g in given)), ufunc)


def _reduced(ufunc: Any, values: Any, axis: Any = 0, **named: Any) -> Any:
    name, entries = ufunc.__name__, plain(values)
    if name in ("add", "multiply"):
        entries = plain(symbols(entries))  # of truths numpy makes numbers here
    where, initial = named.get("where", True), named.get("initial")
    if where is not True:
        if JOINS.get(name) is None:
            raise refusal(f"f uses numpy's {name}.reduce with a mask")
        entries = np.frompyfunc(choice, 3, 1)(plain(where), entries, JOINS[name])
    joined = total_of if name == "add" else _fold(name, ufunc)
    first = [] if initial is None else [initial]
    empty = JOINS.get(name) if initial is None else initial
    return along(entries, axis, bool(named.get("keepdims")), lambda row: joined(first + row), empty)


def along(
    entries: Any, axis: Any, keepdims: bool, fold: Callable[[list[Any]], Any], empty: Any = None
) -> Any:
    """Fold the entries along an axis, several, or all (None) into one."""
    n = entries.ndim
    axes = tuple(range(n)) if axis is None else np.atleast_1d(axis).tolist()
    axes = tuple(sorted(a % max(n, 1) for a in axes)) if n else ()
    kept = [a for a in range(n) if a not in axes]
    shape = tuple(entries.shape[a] for a in kept)
    lists = entries.transpose([*kept, *axes]).reshape(int(np.prod(shape)), -1).tolist()
    result = np.empty(len(lists), dtype=object)
    for k, row in enumerate(lists):
        if not row and empty is None:
            raise ValueError("zero-size array to reduction operation which has no identity")
        result[k] = fold(row) if row else empty
    if keepdims:
        return result.reshape([1 if a in axes else entries.shape[a] for a in range(n)])
    return result.reshape(shape) if shape else result[0]


def total_of(values: list[Any]) -> Any:
    """The sum of numbers and symbols; of truths, how many hold."""
    run = RUNNING.get()
    if not any(isinstance(v, Symbol) for v in values):
        return np.sum(values)
    terms = [v.number if isinstance(v, Symbol) else run.graph.const(v) for v in values]
    return Symbol(run, sum_of(run.graph, terms))


def _fold(name: str, ufunc: Any) -> Callable[[list[Any]], Any]:
    def fold(values: list[Any]) -> Any:
        found = values[0]
        for value in values[1:]:
            found = evaluated(name, (found, value), ufunc)
        return found

    return fold
