"""Numpy's functions on arrays of symbols.

A function is either one of `RULES`, or only moves entries (`MOVES`: numpy does that itself), or is
numpy's own Python code, which calls functions that are known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

import numpy as np

from stiffguide.graphs.refusal import UntraceableError
from stiffguide.tracing.arrays import folds, products, tables
from stiffguide.tracing.arrays.symbol_arrays import (
    Symbols,
    filled,
    plain,
    symbols,
    truths,
    wrapped,
)
from stiffguide.tracing.arrays.symbols import Symbol, choice, refusal, unruled
from stiffguide.tracing.arrays.ufuncs import each

Rule = Callable[..., Any]


def call(f: Any, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """f(*args, **named) for a function of numpy, some of the arguments being symbols."""
    named = dict(named)
    out = named.pop("out", None)
    needed = list(entries((args, named)))
    if not needed and f not in ANEW:
        result = f(*map(settled, args), **{k: settled(v) for k, v in named.items()})
        result = (
            symbols(result) if isinstance(result, np.ndarray) and result.dtype == float else result
        )
    elif f in RULES:
        result = RULES[f](*args, **named)
    elif f in MOVES:
        result = f(*map(bare, args), **{k: bare(v) for k, v in named.items()})
    else:
        result = _own_code(f, args, named, needed)
    return _put(wrapped(result), out)


def _own_code(f: Any, args: tuple[Any, ...], named: dict[str, Any], needed: list[Symbol]) -> Any:
    code = getattr(f, "_implementation", None)
    try:
        if isinstance(code, FunctionType):
            return code(*args, **named)
    except UntraceableError:
        raise
    except Exception as error:
        raise unruled(f"{f.__module__}.{f.__name__} in this form", needed) from error
    raise unruled(f"{f.__module__}.{f.__name__}", needed)


def entries(value: Any) -> Iterator[Symbol]:
    """The symbols in a value, and in lists, tuples and dicts of such."""
    if isinstance(value, Symbol):
        yield value
    elif isinstance(value, Symbols):
        yield from (v for v in plain(value).flat if isinstance(v, Symbol))
    elif isinstance(value, (list, tuple, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from entries(item)


def settled(value: Any) -> Any:
    """Arrays of floats for arrays of numbers in which there is no symbol."""
    if isinstance(value, Symbols) and next(entries(value), None) is None:
        return plain(value).astype(value.dtype)
    return type(value)(map(settled, value)) if type(value) in (list, tuple) else value


def bare(value: Any) -> Any:
    """A value without our functions, also in lists and tuples."""
    if isinstance(value, (Symbol, Symbols)):
        return plain(value)
    if type(value) in (tuple, list):
        return type(value)(map(bare, value))
    return value


def cast(values: Any, dtype: Any) -> Any:
    """`astype`."""
    kind = np.dtype(dtype)
    if kind.kind == "O" or (kind.kind == "f" and kind.itemsize >= 8):
        return symbols(values)
    if kind.kind == "b":
        return wrapped(np.frompyfunc(lambda v: v != 0, 1, 1)(plain(values)))
    if kind.kind in "iu":
        return wrapped(each("trunc", np.trunc, (values,)))
    raise refusal(f"f makes an array of {kind} of values of t or y")


# what is made anew ------------------------------------------------------------------------------


def _like(value: float) -> Rule:
    def make(a: Any, dtype: Any = None, order: Any = None, subok: Any = None, shape: Any = None,
             **_: Any) -> Any:  # fmt: skip
        return filled(np.shape(a) if shape is None else shape, value, dtype)

    return make


def _full_like(a: Any, fill_value: Any, dtype: Any = None, **_: Any) -> Any:
    return filled(np.shape(a), fill_value, dtype)


def _copyto(target: Any, values: Any, casting: Any = None, where: Any = True) -> None:
    target[...] = np.where(where, values, target)


# choices ----------------------------------------------------------------------------------------


def _where(condition: Any, *ways: Any) -> Any:
    if not ways:
        return np.nonzero(_mask(condition))
    return np.frompyfunc(choice, 3, 1)(*map(plain, (condition, *ways)))


def _mask(values: Any) -> Any:
    """Truths that are decided: a path for each."""
    return np.frompyfunc(bool, 1, 1)(plain(values)).astype(bool)


def _clip(a: Any, a_min: Any = None, a_max: Any = None, out: Any = None, **named: Any) -> Any:
    low = named.get("min") if a_min is None else a_min
    high = named.get("max") if a_max is None else a_max
    low, high = (-np.inf if low is None else low), (np.inf if high is None else high)
    return _put(each("clip", None, (a, low, high)), out)


def _put(value: Any, out: Any) -> Any:
    """A value, written to an array where there is one."""
    if out is None:
        return value
    out[...] = wrapped(value)
    return out


def _putmask(a: Any, mask: Any, values: Any) -> None:
    a[mask] = values


def _select(conditions: Any, choices: Any, default: Any = 0) -> Any:
    found = default
    for condition, way in reversed(list(zip(conditions, choices, strict=True))):
        found = np.where(symbols_or_truths(condition), way, found)
    return found


def symbols_or_truths(value: Any) -> Any:
    """A condition as an array that numpy's functions know to be ours."""
    return wrapped(plain(value))


def _piecewise(x: Any, conditions: Any, ways: Any, *args: Any, **named: Any) -> Any:
    conditions = list(conditions)
    if not isinstance(conditions[0], (list, Symbols, np.ndarray)) and np.ndim(x):
        conditions = [conditions]
    values = [way(x, *args, **named) if callable(way) else way for way in ways]
    default = values.pop() if len(values) > len(conditions) else 0.0
    found = default
    for condition, value in zip(conditions, values, strict=True):  # the last that holds
        found = np.where(symbols_or_truths(condition), value, found)
    return found


def _nan_to_num(x: Any, copy: bool = True, nan: float = 0.0, **named: Any) -> Any:
    largest = np.finfo(float).max
    high, low = named.get("posinf"), named.get("neginf")
    x = np.where(np.isnan(x), nan, x)
    x = np.where(x == np.inf, largest if high is None else high, x)
    return np.where(x == -np.inf, -largest if low is None else low, x)


def _isclose(
    a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Any:
    return abs(wrapped(plain(a) - plain(b))) <= atol + rtol * abs(wrapped(plain(b)))


def _allclose(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8) -> Any:
    return np.all(symbols_or_truths(_isclose(a, b, rtol, atol)))


def _round(a: Any, decimals: int = 0) -> Any:
    return np.rint(wrapped(plain(a)) * 10.0**decimals) / 10.0**decimals


def _named(*names: str) -> list[Any]:
    """Functions of numpy by name, those that this version has."""
    found = []
    for name in names:
        place: Any = np
        for part in name.split("."):
            place = getattr(place, part, None)
        found += [] if place is None else [place]
    return found


MOVES = frozenset(
    _named(
        *("reshape", "ravel", "transpose", "concatenate", "concat", "stack", "hstack", "vstack"),
        *("dstack", "column_stack", "append", "insert", "delete", "roll", "flip", "fliplr"),
        *("flipud", "tile", "repeat", "squeeze", "expand_dims", "atleast_1d", "atleast_2d"),
        *("atleast_3d", "broadcast_to", "broadcast_arrays", "split", "array_split", "hsplit"),
        *("vsplit", "dsplit", "moveaxis", "swapaxes", "rollaxis", "rot90", "take", "diag"),
        *(
            "diagonal",
            "diagflat",
            "tril",
            "triu",
            "meshgrid",
            "resize",
            "block",
            "matrix_transpose",
        ),
        *("take_along_axis", "compress", "permute_dims", "unstack", "pad", "fill_diagonal", "put"),
        # these join entries by Python's operators
        *("diff", "ediff1d", "outer", "kron", "tensordot", "einsum", "vdot", "cross", "trapz"),
        *("trapezoid", "convolve", "correlate", "trace", "inner", "argmax", "argmin", "argsort"),
        *("linalg.matrix_power", "linalg.multi_dot", "linalg.outer"),
        *("linalg.cross", "linalg.tensordot", "linalg.diagonal", "linalg.trace"),
        # these ask for shapes
        *("shape", "ndim", "size", "may_share_memory", "shares_memory", "iscomplexobj", "isscalar"),
    )
)
_PAIRS: tuple[tuple[Rule, tuple[str, ...]], ...] = (
    (folds.method(np.add, "reduce"), ("sum",)),
    (folds.method(np.multiply, "reduce"), ("prod", "product")),
    (folds.method(np.maximum, "reduce"), ("max", "amax")),
    (folds.method(np.minimum, "reduce"), ("min", "amin")),
    (folds.method(np.logical_and, "reduce"), ("all", "alltrue")),
    (folds.method(np.logical_or, "reduce"), ("any", "sometrue")),
    (folds.method(np.add, "accumulate"), ("cumsum",)),
    (folds.method(np.multiply, "accumulate"), ("cumprod",)),
    (folds.mean, ("mean",)),
    (folds.variance, ("var",)),
    (lambda *args, **named: folds.each_root(folds.variance(*args, **named)), ("std",)),
    (lambda a, *args, **named: np.sum(symbols_or_truths(_truth(a)), *args, **named),
     ("count_nonzero",)),
    (folds.norm, ("linalg.norm", "linalg.vector_norm")),
    (lambda a, b, out=None: _put(products.dot(a, b), out), ("dot",)),
    (products.product, ("linalg.matmul",)),
    (products.solve, ("linalg.solve",)),
    (products.inverse, ("linalg.inv",)),
    (products.determinant, ("linalg.det",)),
    (tables.interp, ("interp",)),
    (_where, ("where",)),
    (lambda a: np.nonzero(_mask(a)), ("nonzero",)),
    (lambda a: np.flatnonzero(_mask(a)), ("flatnonzero",)),
    (lambda a: np.argwhere(_mask(a)), ("argwhere",)),
    (_select, ("select",)),
    (_piecewise, ("piecewise",)),
    (_clip, ("clip",)),
    (_nan_to_num, ("nan_to_num",)),
    (_isclose, ("isclose",)),
    (_allclose, ("allclose",)),
    (_round, ("round", "around", "round_")),
    (lambda x: each("trunc", np.trunc, (x,)), ("fix",)),
    (lambda x: each("sinc", None, (x,)), ("sinc",)),
    (folds.sort, ("sort",)),
    (folds.place_among, ("searchsorted",)),
    (lambda x, bins, right=False: folds.place_among(bins, x, "left" if right else "right"),
     ("digitize",)),
    (lambda x: x, ("real", "conj", "real_if_close")),
    (lambda x: filled(np.shape(x), 0.0), ("imag",)),
    (lambda a, *_, **__: wrapped(plain(a).copy()), ("copy",)),
    (lambda *a: np.dtype(float), ("result_type", "common_type")),
    (_like(0.0), ("zeros_like",)),
    (_like(np.nan), ("empty_like",)),
    (_like(1.0), ("ones_like",)),
    (_full_like, ("full_like",)),
    (_copyto, ("copyto",)),
    (_putmask, ("putmask",)),
    (folds.median, ("median",)),
    (folds.binned, ("bincount",)),
)  # fmt: skip
ANEW = frozenset(_named("zeros_like", "empty_like", "ones_like", "full_like"))
RULES: dict[Any, Rule] = {f: rule for rule, names in _PAIRS for f in _named(*names)}


def _truth(values: Any) -> Any:
    return values if truths(values) else each("not_equal", np.not_equal, (values, 0.0))
