"""MKL's PARDISO through the package pypardiso, where that is installed."""

from __future__ import annotations

from typing import Any

import numpy as np

from stiffguide.algebra.pattern import Pattern
from stiffguide.algebra.rowwise import Vector
from stiffguide.errors import UnsupportedError


class PardisoFactors:
    """One matrix inside a solver of its own, whose memory goes with it."""

    def __init__(self, solver: Any, matrix: Any) -> None:
        self._solver = solver
        self._matrix = matrix

    def solve(self, b: Vector, transposed: bool) -> Vector:
        """X (n,)."""
        if transposed:
            raise UnsupportedError(
                "pardiso solves no transposed systems here, which gradients need: "
                "use linear_solver='sparse'"
            )
        x: Vector = np.asarray(self._solver.solve(self._matrix, b)).reshape(b.shape)
        return x.astype(b.dtype, copy=False)

    def __del__(self) -> None:
        """MKL's memory is not Python's."""
        self._solver.free_memory(everything=True)


class Pardiso:
    """PyPardisoSolver for real matrices in double precision."""

    name = "pardiso"
    exact = True

    def __init__(self, pattern: Pattern) -> None:
        try:
            import pypardiso
        except ImportError as error:
            raise UnsupportedError(
                "linear_solver='pardiso' needs the package pypardiso (pip install pypardiso); "
                "'sparse' needs none"
            ) from error
        self._pattern = pattern
        self._make = pypardiso.PyPardisoSolver

    def factorise(self, values: Vector) -> PardisoFactors | None:
        """The factors; None where MKL meets a zero pivot."""
        matrix = self._pattern.matrix(values.astype(np.float64, copy=False)).tocsr()
        solver = self._make()
        try:
            solver.factorize(matrix)
        except Exception as error:  # of a class that pypardiso keeps to itself
            if type(error).__name__ != "PyPardisoError":
                raise
            solver.free_memory(everything=True)
            return None
        return PardisoFactors(solver, matrix)
