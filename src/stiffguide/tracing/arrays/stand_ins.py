"""The libraries as f sees them: numpy, math and scipy where symbols may come by.

Without symbols among its arguments a stand-in does what it stands for. What makes arrays of floats
makes some that symbols can be written to.
"""

from __future__ import annotations

import builtins
import logging
import types
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from stiffguide.graphs.refusal import UntraceableError
from stiffguide.tracing.arrays.creation import OWN, lifted, symbolic
from stiffguide.tracing.arrays.fixtures import Dice, Mute, fixture
from stiffguide.tracing.arrays.functions import entries, settled
from stiffguide.tracing.arrays.kinds import KINDS, Kind
from stiffguide.tracing.arrays.scalar_functions import elsewhere
from stiffguide.tracing.arrays.symbol_arrays import plain, symbols, wrapped
from stiffguide.tracing.arrays.symbols import RUNNING, Number, choice, refusal, unruled
from stiffguide.tracing.copies import Copies, Place
from stiffguide.tracing.lifting import Key, key

LIBRARIES = frozenset({"numpy", "math", "cmath", "scipy", "random"})
LONGEST = 65_536  # entries of an array that f gets a copy of, to write to


class Library:
    """A module; what is taken from it has stand-ins too."""

    def __init__(self, original: types.ModuleType, stand_ins: StandIns) -> None:
        self._original = original
        self._stand_ins = stand_ins

    def __getattr__(self, name: str) -> Any:
        if self._original.__name__ in ("numpy.random", "random"):
            return Dice()
        return self._stand_ins.of(getattr(self._original, name))


class Function:
    """A function of a library, or another object of it that can be called."""

    def __init__(self, original: Any, stand_ins: StandIns) -> None:
        self._original = original
        self._stand_ins = stand_ins

    def __call__(self, *args: Any, **named: Any) -> Any:
        """The value of the function, for symbols or for numbers."""
        f = self._original
        given = _unwrapped if f is np.block else _given
        args = tuple(map(given, args))
        named = {key: given(value) for key, value in named.items()}
        if _hashable(f) and f in OWN:
            found = OWN[f](*args, **named)
        elif not any(map(symbolic, (*args, *named.values()))):
            found = self._of_numbers(args, named)
        elif (rule := elsewhere(f)) is not None:
            found = wrapped(rule(*args, **named))
        elif isinstance(f, np.ufunc) or hasattr(f, "_implementation"):
            return f(*args, **named)  # numpy asks the symbols
        else:
            found = self._of_numbers(args, named)
        return self._stand_ins.result(found)

    def _of_numbers(self, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Called with numbers; or what it calls itself, or is called with, may be symbols."""
        needed = list(entries((args, named)))
        name = getattr(self._original, "__name__", type(self._original).__name__)
        what = f"{getattr(self._original, '__module__', '')}.{name}"
        try:
            return self._original(*map(settled, args), **{k: settled(v) for k, v in named.items()})
        except (UntraceableError, TypeError, ValueError) as error:
            needed = needed or list(getattr(error, "needed", ()))
            if not needed:
                raise
            RUNNING.get().refused = None  # a better sentence follows
            raise unruled(what, needed) from error

    def __getattr__(self, name: str) -> Any:
        return self._stand_ins.of(getattr(self._original, name))


class Rows:
    """`numpy.r_` and `numpy.c_`."""

    def __init__(self, original: Any, join: Callable[[list[Any]], Any]) -> None:
        self._original = original
        self._join = join

    def __getitem__(self, key: Any) -> Any:
        parts = key if isinstance(key, tuple) else (key,)
        if not any(map(symbolic, parts)):
            return self._original[key]
        if any(isinstance(part, str) for part in parts):
            raise refusal("f uses numpy.r_ with a string")
        return self._join([self._original[p] if isinstance(p, slice) else lifted(p) for p in parts])


class StandIns:
    """What stands for the libraries in one copy of f.

    `loose`: arrays of floats that f reaches, or makes of numbers, can be written to as well; then
    all that f computes of them is done entry by entry.
    """

    def __init__(self, *, loose: bool, numbers: Mapping[Key, int]) -> None:
        self.copies: Copies = Copies(self._replace)
        self._numbers = numbers  # of floats that are parameters, by their places
        self._loose = loose
        self._made: dict[int, tuple[Any, Any]] = {}  # by id

    def _replace(self, place: Place, value: Any) -> Any:
        """What `Copies` asks."""
        if place.holder is vars(builtins):
            return BUILTINS.get(value, value) if _hashable(value) else value
        if type(value) is float and key(place) in self._numbers:
            return Number(self._numbers[key(place)])
        return self.of(value)

    def of(self, value: Any) -> Any:
        """The stand-in for a value of a library, else the value."""
        known = self._made.get(id(value))
        if known is None:
            new = self._new(value)
            if new is value:
                return value
            known = self._made[id(value)] = (value, new)
        return known[1]

    def result(self, value: Any) -> Any:
        """What a function of a library gave, as f may use it."""
        if type(value) is np.ndarray:
            return symbols(value) if self._loose and value.dtype.kind == "f" else value
        return fixture(value)

    def _new(self, value: Any) -> Any:
        if value is logging:
            return Mute()
        if isinstance(value, types.ModuleType):
            return Library(value, self) if _root(value.__name__) in LIBRARIES else value
        if type(value) is np.ndarray:
            return self._array(value)
        if isinstance(value, type):
            if value is np.vectorize:
                return Entrywise
            if _root(value.__module__) == "scipy":
                return Function(value, self)  # for what it makes
            return KINDS.get(value, value) if value not in (float, int) else value
        if value is np.r_:
            return Rows(value, lambda parts: np.concatenate([np.atleast_1d(p) for p in parts]))
        if value is np.c_:
            return Rows(value, np.column_stack)
        if value is np.frompyfunc:
            return lambda f, *_: Entrywise(f)
        if isinstance(value, np.vectorize):
            return Entrywise(self.copies.of(value.pyfunc))
        found = fixture(value)
        ours = _root(getattr(value, "__module__", None)) in LIBRARIES or type(value) is np.ufunc
        return Function(value, self) if found is value and ours and callable(value) else found

    def _array(self, value: Any) -> Any:
        if value.size > LONGEST:
            found = value.view()
            found.flags.writeable = False
            return found
        return symbols(value) if self._loose and value.dtype.kind == "f" else value


def _root(module: Any) -> str:
    return str(module).split(".", 1)[0]


def _hashable(value: Any) -> bool:
    return type(value).__hash__ is not None


def _given(value: Any) -> Any:
    """An argument for numpy: no stand-in, and a list with symbols as an array."""
    return lifted(_unwrapped(value))


def _unwrapped(value: Any) -> Any:
    if isinstance(value, (Function, Library)):
        return value._original
    return value.original if isinstance(value, Kind) else value


class Entrywise:
    """`numpy.vectorize`."""

    def __init__(self, f: Any, *_: Any, **__: Any) -> None:
        self._f = f

    def __call__(self, *args: Any) -> Any:
        """One call of the function for every entry."""
        return wrapped(np.frompyfunc(self._f, len(args), 1)(*map(plain, args)))


def _extreme(original: Callable[..., Any], first: Callable[[Any, Any], Any]) -> Any:
    def extreme(*values: Any, **named: Any) -> Any:
        """The last is taken where it is better, as Python does."""
        if named or not any(map(symbolic, values)):
            return original(*values, **named)
        found, *others = values[0] if len(values) == 1 else values
        for other in others:
            found = choice(first(other, found), other, found)
        return found

    return extreme


def _opened(file: Any, mode: str = "r", *more: Any, **named: Any) -> Any:
    reads = set(mode) <= {*"rbt"}
    return open(file, mode, *more, **named) if reads else Mute()


BUILTINS: dict[Any, Any] = {
    max: _extreme(max, lambda a, b: a > b),
    min: _extreme(min, lambda a, b: a < b),
    float: KINDS[float],
    int: KINDS[int],
    print: lambda *_, **__: None,
    open: _opened,
}
