"""Arrays of symbols and numbers, which say that they are arrays of floats, or of truths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from stiffguide.tracing.arrays.symbols import Symbol, Truth, choice, is_truth, refusal

FLOAT, BOOL = np.dtype(float), np.dtype(bool)


class Symbols(np.ndarray):
    """An array whose entries are symbols and numbers."""

    __array_priority__: Any = 1000.0
    __array_ufunc__: Any = Symbol.__array_ufunc__
    __array_function__: Any = Symbol.__array_function__

    @property
    def dtype(self) -> Any:
        """That of the array which it stands for."""
        return BOOL if truths(self) else FLOAT

    def __getitem__(self, index: Any) -> Any:
        return super().__getitem__(decided(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        if not self.flags.writeable:
            raise refusal("f changes y or another of its arguments in place")
        new = plain(value) if truths(self) else floats(plain(value))
        mask = isinstance(index, Symbols) and truths(index) and index.shape == self.shape
        if mask and np.ndim(plain(new)) == 0:
            new, index = np.frompyfunc(choice, 3, 1)(*map(plain, (index, new, self))), ...
        plain(self)[decided(index)] = new

    real, imag = property(lambda self: self), property(lambda self: 0.0 * self)

    def astype(self, dtype: Any, *_: Any, **named: Any) -> Any:
        """Numbers of another kind."""
        from stiffguide.tracing.arrays import functions

        return functions.cast(self, dtype)

    def sort(self, axis: int = -1, **_: Any) -> None:  # type: ignore[override]
        """In place."""
        self[...] = np.sort(self, axis)

    def item(self, *args: Any) -> Any:
        """An entry."""
        return plain(self).item(*args)

    def __reduce__(self) -> Any:
        raise refusal("f pickles an array of values of t or y")

    def __deepcopy__(self, memo: Any) -> Any:
        return self.copy()


def _method(name: str) -> Callable[..., Any]:
    def call(self: Symbols, *args: Any, **named: Any) -> Any:
        return getattr(np, name)(self, *args, **named)

    return call


for _name in ("clip", "cumsum", "cumprod", "dot", "mean", "std", "var", "round", "trace"):
    setattr(Symbols, _name, _method(_name))


def plain(value: Any) -> Any:
    """What numpy itself can work on: an array of objects, without our functions."""
    if isinstance(value, Symbols):
        return value.view(np.ndarray)
    if isinstance(value, Symbol):
        return boxed(value)
    return np.asarray(value, dtype=object)


def boxed(value: Any) -> Any:
    """An array of objects without axes."""
    box = np.empty((), dtype=object)
    box[()] = value
    return box


def symbols(value: Any) -> Any:
    """An array of symbols from whatever numpy makes arrays of."""
    entries = plain(value)
    result = np.empty(entries.shape, dtype=object)
    result[...] = floats(entries)
    return result.view(Symbols)


def filled(shape: Any, value: Any, dtype: Any = None) -> Any:
    """An array of floats that symbols can be written to; of other numbers as numpy makes it."""
    if dtype is not None and np.dtype(dtype).kind not in "fO":
        return np.full(shape, value, dtype)
    result = np.empty(shape, dtype=object)
    result[...] = plain(symbols(value))
    return result.view(Symbols)


def wrapped(value: Any) -> Any:
    """A result of numpy: arrays of objects become arrays of symbols, also in tuples and lists."""
    if isinstance(value, np.ndarray) and not isinstance(value, Symbols):
        if value.dtype != object:
            return value
        kinds = {is_truth(v) for v in value.flat}
        return symbols(value) if len(kinds) > 1 else value.view(Symbols)
    if type(value) in (tuple, list):
        return type(value)(map(wrapped, value))
    return value


def truths(values: Any) -> bool:
    """Whether all entries of an array are true or false."""
    flat = plain(values).flat
    return len(flat) > 0 and all(is_truth(v) for v in flat)


def _number(value: Any) -> Any:
    """An entry of an array of floats."""
    if isinstance(value, Truth):
        return Symbol(value.run, value.number)
    return value if isinstance(value, Symbol) else np.float64(value)


floats: Callable[..., Any] = np.frompyfunc(_number, 1, 1)


def decided(index: Any) -> Any:
    """An index in which computed truths have been decided."""
    if isinstance(index, tuple):
        return tuple(map(decided, index))
    if isinstance(index, Truth):
        return bool(index)
    if not isinstance(index, Symbols):
        return index
    if not truths(index):
        whole = [int(v.__index__()) for v in plain(index).flat]
        return np.array(whole, dtype=int).reshape(index.shape)
    return np.array([bool(v) for v in plain(index).flat]).reshape(index.shape)
