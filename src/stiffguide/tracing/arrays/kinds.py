"""Python's and numpy's kinds of numbers as f sees them: a symbol is a float, and stays one."""

from __future__ import annotations

from typing import Any

import numpy as np

from stiffguide.tracing.arrays.symbol_arrays import Symbols, plain
from stiffguide.tracing.arrays.symbols import Symbol, Truth, evaluated


class Kind(type):
    """The class of stand-ins for classes of numbers."""

    original: type
    dtype: Any  # numpy asks for it where the class stands for a dtype

    def __call__(cls, *args: Any, **named: Any) -> Any:
        """A number of this kind; a symbol where one is given."""
        value = args[0] if len(args) == 1 else None
        if isinstance(value, Symbols) and value.size == 1:
            value = plain(value).item()
        if isinstance(value, Symbol):
            whole = cls.dtype.kind == "i" and not isinstance(value, Truth)
            return evaluated("trunc" if whole else "positive", (value,))
        return cls.original(*args, **named)

    def __instancecheck__(cls, value: Any) -> bool:
        if isinstance(value, Symbol):
            return bool(cls.dtype.kind == "f")
        return isinstance(value, cls.original)

    def __subclasscheck__(cls, kind: type) -> bool:
        return issubclass(kind, cls.original)

    def __eq__(cls, other: Any) -> bool:
        return bool(other is cls or other is cls.original)

    def __hash__(cls) -> int:
        return hash(cls.original)

    def __getattr__(cls, name: str) -> Any:
        return getattr(cls.original, name)


def _kind(original: Any) -> Kind:
    dtype = np.dtype(int if issubclass(original, (int, np.integer)) else float)
    return Kind(original.__name__, (), {"original": original, "dtype": dtype})


KINDS: dict[type, Kind] = {
    kind: _kind(kind)
    for kind in (float, int, np.float64, np.floating, np.number, np.int64, np.int32, np.intp)
}
