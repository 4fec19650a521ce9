"""LAPACK's factors of a matrix whose entries lie near the diagonal."""

from __future__ import annotations

from typing import Any

import numpy as np

from stiffguide.algebra.pattern import Pattern
from stiffguide.algebra.rowwise import Vector


class BandFactors:
    """L and U of gbtrf, with their pivots."""

    def __init__(self, lu: Vector, pivots: Vector, width: tuple[int, int], solve: Any) -> None:
        self._lu = lu
        self._pivots = pivots
        self._width = width
        self._solve = solve

    def solve(self, b: Vector, transposed: bool) -> Vector:
        """X (n,)."""
        kl, ku = self._width
        x: Vector = self._solve(self._lu, kl, ku, b, self._pivots, trans=int(transposed))[0]
        return x


class Band:
    """gbtrf and gbtrs: partial pivoting inside the band."""

    name = "band"
    exact = True

    def __init__(self, pattern: Pattern) -> None:
        self._width = kl, ku = pattern.bandwidth
        self._height = 2 * kl + ku + 1  # kl more for what pivoting fills in
        self._n = pattern.n
        self._places = pattern.columns * self._height + (kl + ku + pattern.rows - pattern.columns)
        self._routines: dict[np.dtype[Any], tuple[Any, Any]] = {}

    def factorise(self, values: Vector) -> BandFactors | None:
        """The factors, or None where a pivot is 0."""
        factor, solve = self._of(values)
        kl, ku = self._width
        table = np.zeros(self._height * self._n, dtype=values.dtype)
        table[self._places] = values
        columns = table.reshape(self._n, self._height).T  # in Fortran's order, without a copy
        lu, pivots, failed = factor(columns, kl, ku, overwrite_ab=1)
        return None if failed else BandFactors(lu, pivots, self._width, solve)

    def _of(self, values: Vector) -> tuple[Any, Any]:
        if values.dtype not in self._routines:
            from scipy.linalg import get_lapack_funcs

            self._routines[values.dtype] = get_lapack_funcs(("gbtrf", "gbtrs"), (values,))
        return self._routines[values.dtype]
