"""A stencil's library at work: the values of a field and of its Jacobian."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from stiffguide.algebra.pattern import Pattern
from stiffguide.errors import InputError
from stiffguide.graphs.graph import digest
from stiffguide.kernels.emitting.loops import FUNCTIONS, Emitted
from stiffguide.kernels.running import build, compiler

Array = NDArray[Any]
OPTIONS = (compiler.LOOPS,)
_libraries: dict[str, ctypes.CDLL] = {}


class Data(ctypes.Structure):
    """See native/loops.h."""

    _fields_ = (
        ("table", ctypes.c_void_p),
        ("constants", ctypes.c_void_p),
        ("indices", ctypes.c_void_p),
        ("loops", ctypes.c_void_p),
    )


def library(text: str) -> ctypes.CDLL:
    """The library of a text, from the cache or built; raises BuildError."""
    if (found := there(text)) is not None:
        return found
    key = _key(text)
    return _libraries.setdefault(key, build.make(key, lambda: text, OPTIONS))


def there(text: str) -> ctypes.CDLL | None:
    """The library of a text, if it has been built."""
    key = _key(text)
    if key not in _libraries and (found := build.find(key)) is not None:
        _libraries[key] = found
    return _libraries.get(key)


def forget() -> None:
    """Drop the libraries that are loaded; those in the cache stay."""
    _libraries.clear()


def _key(text: str) -> str:
    parts = ("loops", text, repr(compiler.flags()), repr(OPTIONS))
    return digest(*parts, compiler.cpu())


class Loops:
    """f(t, y) and its Jacobian for states (F,) of numpy, in the dtype of the stencil.

    The values of the Jacobian are those of `pattern`, in its order; `met` are the tensors whose
    values these loops have in them.
    """

    def __init__(
        self,
        found: Emitted,
        table: NDArray[np.float64],
        dtype: type[np.floating[Any]],
        met: Sequence[Tensor] = (),
    ) -> None:
        self.pattern: Pattern = found.pattern
        self.met = met
        self.problem: BaseException | None = None  # which native code has not
        self.nfe = 0  # its Jacobian is exact
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        own = library(found.text)
        self._kept = (
            table.astype(dtype), found.constants.astype(dtype), found.indices, found.loops,
        )  # fmt: skip
        self._data = Data(*(array.ctypes.data for array in self._kept))
        self.data: int = ctypes.addressof(self._data)
        self._own = own
        self._field, self._jacobian, self._slope = functions = [
            getattr(own, f"stiffguide_{name}") for name in FUNCTIONS
        ]
        for function in functions:
            function.argtypes = [ctypes.c_double, *(3 * [ctypes.c_void_p])]
            function.restype = None

    def pointer(self, name: str) -> int | None:
        """The address of a function, which is given t, y, where its values go, and `data`."""
        return ctypes.cast(getattr(self._own, f"stiffguide_{name}"), ctypes.c_void_p).value

    def field(self, t: float, y: Array, out: Array | None = None) -> Array:
        """f (F,); large results are cheaper in memory that is there already, `out`."""
        return self._called(self._field, t, y, self.pattern.n, out)

    def jacobian(self, t: float, y: Array, out: Array | None = None) -> Array:
        """The values (nnz,) of df/dy."""
        return self._called(self._jacobian, t, y, self.pattern.nnz, out)

    def slope(self, t: float, y: Array) -> Array:
        """df/dt (F,)."""
        return self._called(self._slope, t, y, self.pattern.n, np.zeros(self.pattern.n, self.dtype))

    def _called(self, function: Any, t: float, y: Array, size: int, out: Array | None) -> Array:
        y = self._checked(y, self.pattern.n, "y")
        out = np.empty(size, self.dtype) if out is None else self._checked(out, size, "out")
        function(t, _address(y), _address(out), self.data)
        return out

    def _checked(self, array: Array, size: int, name: str) -> Array:
        """An array that C can read or write as it is."""
        if array.shape != (size,) or array.dtype != self.dtype or not array.flags.c_contiguous:
            raise InputError(
                f"{name} must be a contiguous array ({size},) of {self.dtype}, not "
                f"{array.shape} of {array.dtype}"
            )
        return array


def _address(array: Array) -> int:
    place: int = array.__array_interface__["data"][0]
    return place
