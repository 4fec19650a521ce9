"""Objects that f may hold, as f sees them: sparse matrices, tables, dice, files, iterators."""

from __future__ import annotations

import io
import logging
import random
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from stiffguide.tables import Table
from stiffguide.tracing.arrays.products import product
from stiffguide.tracing.arrays.symbol_arrays import Symbols, plain, wrapped
from stiffguide.tracing.arrays.symbols import Symbol, choice, refusal
from stiffguide.tracing.arrays.tables import polynomials
from stiffguide.tracing.followed import settled

RANDOM = (np.random.Generator, np.random.RandomState, random.Random)


class Dice:
    """What gives random numbers."""

    def __call__(self, *_: Any, **__: Any) -> Any:
        """Refused."""
        raise refusal("f draws random numbers")

    def __getattr__(self, name: str) -> Any:
        raise refusal(f"f draws random numbers ({name})")


class Mute:
    """What is written to, and says nothing: a log, an open file."""

    def __call__(self, *_: Any, **__: Any) -> Mute:
        """Nothing."""
        return self

    def __getattr__(self, name: str) -> Mute:
        if name.startswith("read"):
            raise refusal("f reads a file")
        return self

    def __enter__(self) -> Mute:
        return self

    def __exit__(self, *_: Any) -> None:
        pass

    def __iter__(self) -> Any:
        raise refusal("f reads a file")


class Once:
    """An iterator, which f would use up."""

    def __iter__(self) -> Once:
        return self

    def __next__(self) -> Any:
        raise refusal("f takes the next entry of an iterator")


class Sparse:
    """A sparse matrix: its zeros leave no trace in products."""

    ndim: Any
    shape: Any

    __array_ufunc__ = None

    def __init__(self, dense: Any, *, of_matrices: bool) -> None:
        self._dense = dense
        self._of_matrices = of_matrices  # * is @
        self.shape, self.ndim = dense.shape, dense.ndim

    def _like(self, dense: Any) -> Sparse:
        return Sparse(dense, of_matrices=self._of_matrices)

    def __matmul__(self, other: Any) -> Any:
        if isinstance(other, Sparse):
            return self._like(product(self._dense, other._dense))
        return wrapped(product(self._dense, other))

    def __rmatmul__(self, other: Any) -> Any:
        return wrapped(product(other, self._dense))

    dot = __matmul__

    def __mul__(self, other: Any) -> Any:
        if self._of_matrices and np.ndim(other):
            return self @ other
        return self._like(plain(self._dense) * plain(other))

    def __rmul__(self, other: Any) -> Any:
        if self._of_matrices and np.ndim(other):
            return other @ self
        return self * other

    def __truediv__(self, other: Any) -> Any:
        return self._like(plain(self._dense) / plain(other))

    def __neg__(self) -> Sparse:
        return self._like(-self._dense)

    def __add__(self, other: Any) -> Any:
        if not isinstance(other, Sparse):
            return wrapped(self._dense + plain(other))
        return self._like(self._dense + other._dense)

    def __sub__(self, other: Any) -> Any:
        return self + -other

    @property
    def T(self) -> Sparse:
        """The transpose."""
        return self._like(self._dense.T)

    def toarray(self) -> Any:
        """The matrix with its zeros."""
        return wrapped(self._dense.copy())

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise refusal(f"f uses .{name} of a sparse matrix")


class Spline:
    """A piecewise polynomial; where it is not symbols that it is asked at, itself."""

    def __init__(self, original: Any, read: Callable[[Any], Any]) -> None:
        self._original = original
        self.read = read

    def __call__(self, x: Any, *args: Any, **named: Any) -> Any:
        """The value at x."""
        if not isinstance(x, (Symbol, Symbols)):
            return self._original(x, *args, **named)
        if args or named:
            raise refusal("f asks a spline for more than its value")
        return wrapped(self.read(x))

    def __getattr__(self, name: str) -> Any:
        return fixture(getattr(self._original, name))


def fixture(value: Any) -> Any:
    """The stand-in for an object of these kinds; else the object."""
    bound = isinstance(value, (types.MethodType, types.BuiltinFunctionType))
    owner = value.__self__ if bound else value
    if isinstance(owner, RANDOM):
        return Dice()
    if isinstance(owner, (io.IOBase, logging.Logger)):
        return getattr(Mute(), value.__name__) if bound else Mute()
    if isinstance(value, Iterator) and settled(type(value).__module__):
        return Once()
    if isinstance(value, Table):
        return Spline(value, lambda x: _held(value, x))
    # none of these can be here if their modules were never loaded
    sparse, interpolate = map(sys.modules.get, ("scipy.sparse", "scipy.interpolate"))
    if sparse is not None and sparse.issparse(value):
        return Sparse(value.toarray(), of_matrices=isinstance(value, sparse.spmatrix))
    if interpolate is not None and type(value).__module__.startswith("scipy.interpolate"):
        return _spline(value, interpolate)
    return value


def _held(value: Table, x: Any) -> Any:
    """A table at x, of any shape; beyond its ends it stays what it is there."""
    pieces = value.pieces()
    if pieces is None or np.iscomplexobj(pieces[1]):
        raise refusal("f reads a table that has rows, complex numbers, or gradients")
    breaks, c = pieces
    low, high = float(breaks[0]), float(breaks[-1])
    inside = np.frompyfunc(lambda v: choice(v < low, low, choice(v > high, high, v)), 1, 1)
    entries = np.moveaxis(c.reshape(*c.shape[:2], -1), -1, 0)
    at = inside(plain(x))
    found = [plain(polynomials(at, breaks, entry, extrapolate=True)) for entry in entries]
    return np.stack(found, -1).reshape(np.shape(x) + c.shape[2:])


def _spline(value: Any, interpolate: Any) -> Any:
    if isinstance(value, interpolate.interp1d):
        return _table(value, interpolate)
    pieces = value
    if isinstance(value, interpolate.UnivariateSpline) and not value.ext:
        pieces = interpolate.PPoly.from_spline(value._eval_args)
    elif isinstance(value, interpolate.BSpline) and value.c.size == len(value.c):
        pieces = interpolate.PPoly.from_spline((value.t, value.c.ravel(), value.k))
    extrapolate = getattr(value, "extrapolate", True)
    if not isinstance(pieces, interpolate.PPoly) or pieces.c.ndim != 2 or extrapolate not in (0, 1):
        return value
    real = np.flatnonzero(np.diff(pieces.x) > 0)  # knots may come several times
    breaks, c = np.append(pieces.x[real], pieces.x[-1]), pieces.c[:, real]
    return Spline(value, lambda x: polynomials(x, breaks, c, extrapolate=bool(extrapolate)))


def _table(value: Any, interpolate: Any) -> Any:
    """`interp1d`; nan where it would raise an exception."""
    if value.y.ndim != 1:
        return value
    inner: Any
    if value._kind == "linear":
        c = np.stack((np.diff(value.y) / np.diff(value.x), value.y[:-1]))
        inner = Spline(value, lambda x: polynomials(x, value.x, c, extrapolate=True))
    else:
        inner = _spline(getattr(value, "_spline", None), interpolate)
    if not isinstance(inner, Spline):
        return value
    if value._extrapolate:
        return inner
    low, high = np.nan, np.nan
    if not value.bounds_error:
        low, high = (
            float(np.ravel(x)[0]) for x in (value._fill_value_below, value._fill_value_above)
        )

    def bound(v: Any, found: Any) -> Any:
        found = choice(v > float(value.x[-1]), high, found)
        return choice(v < float(value.x[0]), low, found)

    return Spline(value, lambda x: np.frompyfunc(bound, 2, 1)(plain(x), plain(inner.read(x))))
