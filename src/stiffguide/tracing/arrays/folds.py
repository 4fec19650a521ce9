"""Means, norms and other folds of arrays of symbols along axes; their order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from stiffguide.tracing.arrays.symbol_arrays import filled, plain, wrapped
from stiffguide.tracing.arrays.symbols import choice, evaluated, refusal
from stiffguide.tracing.arrays.ufuncs import along, total_of

Rule = Callable[..., Any]


def method(ufunc: Any, method: str) -> Rule:
    """A function of numpy that is a method of a ufunc, such as `sum`."""

    def rule(a: Any, axis: Any = None, dtype: Any = None, **named: Any) -> Any:
        if method == "accumulate" and axis is None:
            a, axis = np.ravel(wrapped(plain(a))), 0
        return getattr(ufunc, method)(wrapped(plain(a)), axis=axis, **named)

    return rule


def mean(a: Any, axis: Any = None, dtype: Any = None, **named: Any) -> Any:
    """`numpy.mean`."""
    _refuse_mask(named)
    keepdims = named.get("keepdims") is True
    return along(plain(a), axis, keepdims, lambda row: total_of(row) / float(len(row)))


def variance(a: Any, axis: Any = None, dtype: Any = None, ddof: float = 0, **named: Any) -> Any:
    """`numpy.var`."""

    def fold(row: list[Any]) -> Any:
        centre = total_of(row) / float(len(row))
        return total_of([(v - centre) * (v - centre) for v in row]) / float(len(row) - ddof)

    _refuse_mask(named)
    return along(plain(a), axis, named.get("keepdims") is True, fold)


def _refuse_mask(named: dict[str, Any]) -> None:
    if not any(named.get("where", True) is x for x in (True, np._NoValue)):
        raise refusal("f takes a mean of some entries of an array, by `where`")


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """`numpy.linalg.norm` of vectors, and Frobenius's of matrices."""
    x = plain(x)
    if ord == "fro":
        ord = None
    if (ord is not None and axis is None and x.ndim > 1) or isinstance(axis, tuple):
        raise refusal("f takes a norm of a matrix other than Frobenius's")

    def fold(row: list[Any]) -> Any:
        sizes = [abs(v) for v in row]
        if ord in (np.inf, -np.inf):
            name = "maximum" if ord > 0 else "minimum"
            found = sizes[0]
            for size in sizes[1:]:
                found = evaluated(name, (found, size))
            return found
        if ord in (None, 2):
            return _root(total_of([v * v for v in row]))
        if ord == 0:
            return total_of([v != 0 for v in row])
        powers = total_of([v**ord for v in sizes])
        return choice(powers == 0, 0.0, powers ** (1 / ord))

    return along(x, axis, keepdims, fold, 0.0)


def _root(square: Any) -> Any:
    # the derivative at 0 is 0, as torch has it
    return choice(square == 0, 0.0, evaluated("sqrt", (square,), np.sqrt))


def each_root(values: Any) -> Any:
    """Roots of sums of squares."""
    return np.frompyfunc(_root, 1, 1)(plain(values))


def sort(a: Any, axis: int = -1, **_: Any) -> Any:
    """By exchanges of neighbours, each a minimum and a maximum."""
    rows = np.moveaxis(plain(a).copy(), axis, -1)
    for k in np.ndindex(*rows.shape[:-1]):
        for last in range(rows.shape[-1] - 1, 0, -1):
            for i in range(last):
                pair = (rows[(*k, i)], rows[(*k, i + 1)])
                rows[(*k, i)] = evaluated("minimum", pair)
                rows[(*k, i + 1)] = evaluated("maximum", pair)
    return np.moveaxis(rows, -1, axis)


def median(a: Any, axis: Any = None, **named: Any) -> Any:
    """`numpy.median`."""

    def middle(row: list[Any]) -> Any:
        ordered = sort(np.array(row, dtype=object))
        return (ordered[(len(row) - 1) // 2] + ordered[len(row) // 2]) / 2.0

    return along(plain(a), axis, named.get("keepdims") is True, middle)


def binned(x: Any, weights: Any = None, minlength: int = 0) -> Any:
    """`numpy.bincount`, of numbers by weights that may be symbols."""
    result = filled(max(int(np.max(x)) + 1, minlength), 0.0)
    np.add.at(result, np.asarray(x), weights)
    return result


def place_among(a: Any, v: Any, side: str = "left", sorter: Any = None) -> Any:
    """Where the entries of v belong in a sorted table: by bisection, with a path for each place."""
    table = plain(a if sorter is None else np.asarray(a)[sorter])
    name = "less" if side == "left" else "less_equal"

    def place(value: Any) -> int:
        low, high = 0, len(table)
        while low < high:
            middle = (low + high) // 2
            if evaluated(name, (table[middle], value)):
                low = middle + 1
            else:
                high = middle
        return low

    found = np.frompyfunc(place, 1, 1)(plain(v))
    return found.astype(int) if np.ndim(found) else int(found)
