"""A stencil's library at work: the values of a field and of its Jacobian."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stiffguide.errors import InputError
from stiffguide.graphs.graph import digest
from stiffguide.kernels.emitting.loops import Emitted
from stiffguide.kernels.running import build, compiler

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
    parts = ("loops", text, repr(compiler.flags()), repr(OPTIONS))
    key = digest(*parts, compiler.cpu())
    if key not in _libraries:
        _libraries[key] = build.find(key) or build.make(key, lambda: text, OPTIONS)
    return _libraries[key]


class Loops:
    """f(t, y) and its Jacobian for states (F,) of numpy, in the dtype of the stencil.

    The values of the Jacobian are those of `pattern`, in its order.
    """

    def __init__(
        self, found: Emitted, table: NDArray[np.float64], dtype: type[np.floating[Any]]
    ) -> None:
        self.pattern = found.pattern
        self.dtype = np.dtype(dtype)
        own = library(found.text)
        self._kept = (
            table.astype(dtype), found.constants.astype(dtype), found.indices, found.loops,
        )  # fmt: skip
        self._data = Data(*(array.ctypes.data for array in self._kept))
        self._at = ctypes.addressof(self._data)
        self._field, self._jacobian = own.stiffguide_field, own.stiffguide_jacobian
        for function in (self._field, self._jacobian):
            function.argtypes = [ctypes.c_double, *(3 * [ctypes.c_void_p])]
            function.restype = None

    def field(self, t: float, y: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """f (F,); large results are cheaper in memory that is there already, `out`."""
        return self._called(self._field, t, y, self.pattern.n, out)

    def jacobian(self, t: float, y: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """The values (nnz,) of df/dy."""
        return self._called(self._jacobian, t, y, self.pattern.nnz, out)

    def _called(
        self, function: Any, t: float, y: NDArray[Any], size: int, out: NDArray[Any] | None
    ) -> NDArray[Any]:
        y = self._checked(y, self.pattern.n, "y")
        out = np.empty(size, self.dtype) if out is None else self._checked(out, size, "out")
        function(t, _address(y), _address(out), self._at)
        return out

    def _checked(self, array: NDArray[Any], size: int, name: str) -> NDArray[Any]:
        """An array that C can read or write as it is."""
        if array.shape != (size,) or array.dtype != self.dtype or not array.flags.c_contiguous:
            raise InputError(
                f"{name} must be a contiguous array ({size},) of {self.dtype}, not "
                f"{array.shape} of {array.dtype}"
            )
        return array


def _address(array: NDArray[Any]) -> int:
    place: int = array.__array_interface__["data"][0]
    return place
