"""A field in Python as native steps call it: any f, by torch or numpy, with a sparse Jacobian."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stiffguide.algebra.pattern import Pattern
from stiffguide.algebra.rowwise import Rowwise
from stiffguide.stepping.contracts import Field, Units
from stiffguide.stepping.tolerance import Tolerance

Array = NDArray[Any]
CALL = ctypes.CFUNCTYPE(None, ctypes.c_double, *(3 * [ctypes.c_void_p]))


class CalledField:
    """`field` with the functions of loops; what it raises is kept as `problem`.

    A call after a problem gives no numbers, so that the steps come to an end.
    """

    data: int = 0
    pattern: Pattern
    dtype: np.dtype[Any]
    nfe: int  # for Jacobians

    def __init__(self, field: Field, linear: Rowwise, tolerance: Tolerance, dtype: Any) -> None:
        self._field, self._tolerance = field, tolerance
        self.pattern, self.dtype = linear.pattern, np.dtype(dtype)
        self.nfe = 0
        self.steps: Any = None  # the March that calls
        self.problem: BaseException | None = None
        kind = np.ctypeslib.as_ctypes_type(self.dtype)
        self._state, self._values = kind * self.pattern.n, kind * self.pattern.nnz
        self._calls = {"field": CALL(self._value), "jacobian": CALL(self._jacobian)}

    def pointer(self, name: str) -> int | None:
        """The address of a function, which is given t, y, where its values go, and nothing."""
        return ctypes.cast(self._calls[name], ctypes.c_void_p).value

    def _value(self, t: float, y: int, out: int, _: object) -> None:
        values = np.ctypeslib.as_array(self._state.from_address(out))
        if self.problem is None:
            try:
                values[:] = self._field(*self._point(t, y))[0].numpy()
                return
            except BaseException as error:
                self._fail(error)
        values[:] = np.nan

    def _jacobian(self, t: float, y: int, out: int, _: object) -> None:
        values = np.ctypeslib.as_array(self._values.from_address(out))
        if self.problem is None:
            try:
                time, state = self._point(t, y)
                dt = torch.full_like(time, self.steps.state.dt)
                units = Units(dt, self._tolerance.scale(state))
                found = self._field.linearise(time, state, units, time=False)
                values[:] = found.jac[0].numpy()
                self.nfe += int(found.nfe)
                return
            except BaseException as error:
                self._fail(error)
        values[:] = np.nan

    def _fail(self, error: BaseException) -> None:
        self.problem = error
        self.steps.failed(error)

    def _point(self, t: float, y: int) -> tuple[torch.Tensor, torch.Tensor]:
        state = np.ctypeslib.as_array(self._state.from_address(y)).copy()
        return torch.tensor([t], dtype=torch.float64), torch.from_numpy(state)[None]
