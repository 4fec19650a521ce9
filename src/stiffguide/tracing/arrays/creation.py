"""Arrays that f makes anew: those of floats can take symbols."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from stiffguide.tracing.arrays import functions
from stiffguide.tracing.arrays.symbol_arrays import Symbols, filled, plain
from stiffguide.tracing.arrays.symbols import Symbol


def symbolic(value: Any) -> bool:
    """Whether there is a symbol in a value, or in a list or tuple."""
    if isinstance(value, (Symbol, Symbols)):
        return True
    return isinstance(value, (list, tuple)) and any(map(symbolic, value))


def lifted(value: Any) -> Any:
    """Lists and tuples with symbols as arrays, where their entries have one shape."""
    if not isinstance(value, (list, tuple)) or not symbolic(value):
        return value
    parts = [lifted(v) for v in value]
    if len({np.shape(plain(p)) if isinstance(p, Symbol) else np.shape(p) for p in parts}) > 1:
        return parts
    shape = np.shape(plain(parts[0]))
    result = np.empty((len(parts), *shape), dtype=object)
    for k, part in enumerate(parts):
        result[k] = plain(part) if shape else plain(part)[()]
    return result.view(Symbols)


def _array(a: Any, dtype: Any = None, **named: Any) -> Any:
    a = lifted(a)
    if not isinstance(a, (Symbol, Symbols)):
        return np.array(a, dtype, **named)
    made = np.array(plain(a), ndmin=named.get("ndmin", 0)).view(Symbols)
    return made if dtype is None else functions.cast(made, dtype)


def _same_array(a: Any, dtype: Any = None, *_: Any, **__: Any) -> Any:
    if isinstance(a, Symbols) and (dtype is None or np.dtype(dtype).kind in "fO"):
        return a
    return _array(a, dtype) if symbolic(a) else np.asarray(a, dtype)


OWN: dict[Any, Callable[..., Any]] = {
    np.array: _array,
    np.fromiter: lambda values, dtype, *_, **__: _array(list(values), dtype),
    np.zeros: lambda shape, dtype=None, *_, **__: filled(shape, 0.0, dtype),
    np.empty: lambda shape, dtype=None, *_, **__: filled(shape, np.nan, dtype),
    np.ones: lambda shape, dtype=None, *_, **__: filled(shape, 1.0, dtype),
    np.full: lambda shape, value, dtype=None, *_, **__: filled(
        shape, value, _dtype_of(value) if dtype is None else dtype
    ),
    np.zeros_like: lambda a, *args, **named: _like(0.0, a, *args, **named),
    np.empty_like: lambda a, *args, **named: _like(np.nan, a, *args, **named),
    np.ones_like: lambda a, *args, **named: _like(1.0, a, *args, **named),
    **dict.fromkeys(
        (np.asarray, np.asanyarray, np.ascontiguousarray, np.asfortranarray), _same_array
    ),
}


def _dtype_of(value: Any) -> Any:
    return None if symbolic(value) else np.asarray(value).dtype


def _like(value: float, a: Any, dtype: Any = None, *_: Any, **__: Any) -> Any:
    if dtype is None and not symbolic(a):
        dtype = np.asarray(a).dtype
    return filled(np.shape(a), value, dtype)
