"""LAPACK's factors of a sparse matrix that fills in: a dense LU of what the pattern has."""

from __future__ import annotations

from typing import Any

import numpy as np

from stiffguide.algebra.pattern import Pattern
from stiffguide.algebra.rowwise import Vector


class FullFactors:
    """L and U of getrf, with their pivots."""

    def __init__(self, lu: Vector, pivots: Vector, solve: Any) -> None:
        self._lu = lu
        self._pivots = pivots
        self._solve = solve

    def solve(self, b: Vector, transposed: bool) -> Vector:
        """X (n,)."""
        x: Vector = self._solve(self._lu, self._pivots, b, trans=int(transposed))[0]
        return x


class Full:
    """getrf and getrs: its Jacobian takes few evaluations all the same."""

    name = "dense"
    exact = True

    def __init__(self, pattern: Pattern) -> None:
        self._pattern = pattern
        self._places = pattern.columns * pattern.n + pattern.rows

    def factorise(self, values: Vector) -> FullFactors | None:
        """The factors, or None where a pivot is 0."""
        from scipy.linalg import get_lapack_funcs

        n = self._pattern.n
        table = np.zeros(n * n, dtype=values.dtype)
        table[self._places] = values
        factor, solve = get_lapack_funcs(("getrf", "getrs"), (values,))
        # in Fortran's order, without a copy
        lu, pivots, failed = factor(table.reshape(n, n).T, overwrite_a=1)
        return None if failed else FullFactors(lu, pivots, solve)
