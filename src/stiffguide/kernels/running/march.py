"""The steps of one row in native code: what it works on, and the linear systems of others."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from stiffguide.algebra.pattern import Pattern
from stiffguide.catalogue.backward_differences import ORDERS
from stiffguide.kernels.emitting.march import source
from stiffguide.kernels.running import loops

Array = NDArray[Any]
RUNNING, DONE, PAUSED, LEFT = range(4)  # what a call comes back for
DIFFERENCES, TABLES, VECTORS = ORDERS[-1] + 3, 3, 10
FACTORISE, SOLVE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_double), ctypes.CFUNCTYPE(ctypes.c_int)
POINTERS = (
    *("field", "jacobian", "data", "factorise", "solve", "rtol", "atol"),
    *("rows", "diagonal", "places"),
)
SIZES = ("n", "nnz", "below", "above", "until")
NUMBERS = (
    *("t1", "sign", "max_step", "least", "safety", "min_factor", "max_factor", "wanted"),
    *("t", "start", "dt", "spacing", "c", "rate"),
)
COUNTS = (
    *("order", "equal", "age", "seen", "table", "taken", "ended"),
    *("attempts", "accepted", "nfe", "njac", "nlu", "whole", "straight", "failed"),
)
ARRAYS = ("tables", "y", "f0", "y0", "jac", "weight", "rhs", "zeros", "band", "room", "pivots")


class State(ctypes.Structure):
    """See `March` of native/march.h."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in POINTERS),
        *((name, ctypes.c_longlong) for name in SIZES),
        *((name, ctypes.c_double) for name in NUMBERS),
        *((name, ctypes.c_longlong) for name in COUNTS),
        *((name, ctypes.c_void_p) for name in ARRAYS),
    )


class Functions(Protocol):
    """A field and its Jacobian, in the order of its pattern, as functions of C."""

    pattern: Pattern
    dtype: np.dtype[Any]
    data: int
    problem: BaseException | None  # of Python, where they go through it
    nfe: int  # evaluations of f for Jacobians

    def pointer(self, name: str) -> int | None:
        """The address of a function: "field" or "jacobian"."""
        ...


class Solver(NamedTuple):
    """Linear systems by a library of Python."""

    factorise: Callable[[Array], Any]  # values (nnz,) of a matrix -> what `solve` is given, or None
    solve: Callable[[Any, Array], Array]


class March:
    """The attempts of one row; numbers as attributes of `state`, vectors as arrays."""

    def __init__(self, of: Functions, rtol: Array, atol: Array, solver: Solver | None) -> None:
        """Without a solver of their own, systems are solved in the band of the pattern."""
        pattern, kind = of.pattern, of.dtype
        n, (below, above) = pattern.n, pattern.bandwidth
        height = 0 if solver else 2 * below + above + 1
        self._of, self._pattern, self._solver = of, pattern, solver
        self._made: Any = None
        self.problem: BaseException | None = None  # of the solver
        sizes = {
            "tables": (TABLES, DIFFERENCES, n),
            "jac": (pattern.nnz,),
            "band": (height * n,),
            "room": (VECTORS, n),
        }
        self.arrays: dict[str, NDArray[Any]] = {
            name: np.zeros(sizes.get(name, (n,)), np.int64 if name == "pivots" else kind)
            for name in ARRAYS
        }
        offset = pattern.rows - pattern.columns + below + above
        self._given = {
            "rtol": np.ascontiguousarray(rtol, kind),
            "atol": np.ascontiguousarray(atol, kind),
            "rows": pattern.rows.astype(np.int32),
            "diagonal": pattern.diagonal.astype(np.int32),
            "places": pattern.columns * height + offset,
        }
        self._calls = FACTORISE(self._factorise), SOLVE(self._solve)
        self.state: State = State(n=n, nnz=pattern.nnz, below=below, above=above)
        for name, array in (*self._given.items(), *self.arrays.items()):
            setattr(self.state, name, array.ctypes.data)
        own = {"data": of.data, "field": of.pointer("field"), "jacobian": of.pointer("jacobian")}
        if solver:
            own["factorise"], own["solve"] = (
                ctypes.cast(call, ctypes.c_void_p).value for call in self._calls
            )
        for name, pointer in own.items():
            setattr(self.state, name, pointer)
        text = source(single=kind == np.float32)
        self._function = loops.library(text).stiffguide_march
        self._function.argtypes = [ctypes.c_void_p, ctypes.c_longlong]

    def start(self, t: float, dt: float, y: Array, f0: Array, age: int) -> None:
        """Begin at a point; `age` says that there is no J yet."""
        s = self.state
        s.t, s.dt, s.age, s.order, s.ended = t, dt, age, 0, 0
        s.spacing = s.c = s.rate = math.nan
        self.arrays["y"][:], self.arrays["f0"][:] = y, f0

    def go(self, attempts: int) -> int:
        """Make so many attempts at most; why there are no more."""
        found: int = self._function(ctypes.addressof(self.state), attempts)
        problem = self.problem or self._of.problem
        if problem is not None:
            raise problem
        return found

    @property
    def nfe(self) -> int:
        """Evaluations of f, those for Jacobians included."""
        return int(self.state.nfe) + self._of.nfe

    @property
    def recent(self) -> tuple[Array, int]:
        """The table (8, n) that the last step ended with, and the order of that step."""
        return self.arrays["tables"][self.state.table], self.state.taken

    def failed(self, error: BaseException) -> None:
        """Let the attempt end that met an error of Python, as if it had not been."""
        self.problem = self.problem or error
        self.state.failed = 1

    def _factorise(self, shift: float) -> int:
        """Factors of the rows of shift I - J, each times its weight; whether there are any."""
        assert self._solver is not None
        try:
            w = -self.arrays["jac"]
            w[self._pattern.diagonal] += w.dtype.type(shift)
            w *= self.arrays["weight"][self._pattern.rows]
            self._made = self._solver.factorise(w) if np.isfinite(w).all() else None
        except BaseException as error:  # an interrupt, too: C must come back first
            self.failed(error)
            self._made = None
        return self._made is not None

    def _solve(self) -> int:
        """What the vector `rhs` holds, in place."""
        assert self._solver is not None
        try:
            rhs = self.arrays["rhs"]
            rhs[:] = self._solver.solve(self._made, rhs)
        except BaseException as error:
            self.failed(error)
            self.arrays["rhs"][:] = math.nan
        return 0
