"""SuperLU's factors of a sparse matrix, as scipy has them.

The matrices are of nearly symmetric pattern, with a heavy diagonal where the step is short: minimum
degree on A + A' with pivots preferably on the diagonal fills in half of what ordering columns
alone does (8,192 unknowns on a torus: 25 against 60 ms). Where such pivots were too small the
residual tells, and the matrix is factorised again with full pivoting.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from stiffguide.algebra.pattern import Pattern
from stiffguide.algebra.rowwise import Vector

GOOD, PIVOTED = "good", "pivoted"  # what the check of a solution comes to
DIAGONAL = 0.01  # of the largest entry: a diagonal one this large is pivot enough


class SparseFactors:
    """Factors by the ordering that fills in least; the first solution is checked."""

    standing: str

    def __init__(self, library: Sparse, values: Vector, lu: Any) -> None:
        self._library = library
        self._values: Vector | None = values  # until that check
        self._lu = lu
        self.standing = ""  # what that check has come to

    def stand(self, verdict: str) -> None:
        """The same after the check, which need not be made again."""
        values, self._values, self.standing = self._values, None, verdict
        if verdict == PIVOTED and values is not None:
            self._lu = self._library.pivoted(values) or Singular()

    def solve(self, b: Vector, transposed: bool) -> Vector:
        """X (n,)."""
        x: Vector = self._lu.solve(b, "T" if transposed else "N")
        if self._values is not None and b.any():
            good = self._good(self._values, x, b, transposed)
            self.stand(GOOD if good else PIVOTED)
            if not good:
                x = self._lu.solve(b, "T" if transposed else "N")
        return x

    def _good(self, values: Vector, x: Vector, b: Vector, transposed: bool) -> bool:
        """Whether every equation holds to the rounding of its terms."""
        matrix = self._library.pattern.matrix(values)
        matrix = matrix.T if transposed else matrix
        size = abs(matrix) @ abs(x) + abs(b)
        return bool((abs(matrix @ x - b) <= np.sqrt(np.finfo(b.dtype).eps) * size).all())


class Singular:
    """What is left of a matrix without pivots."""

    def solve(self, b: Vector, transposed: object) -> Vector:
        """No numbers (n,)."""
        return np.full_like(b, np.nan)


class Sparse:
    """splu: MMD_AT_PLUS_A in symmetric mode, COLAMD with full pivoting where that fails."""

    name = "sparse"
    exact = True

    def __init__(self, pattern: Pattern) -> None:
        self.pattern = pattern

    def factorise(self, values: Vector) -> SparseFactors | None:
        """The factors, or None where the matrix is singular."""
        options = {"SymmetricMode": True}
        lu = self._lu(values, "MMD_AT_PLUS_A", DIAGONAL, options)
        if lu is None:  # an exact 0 on the diagonal need not mean that it is singular
            lu = self.pivoted(values)
        return None if lu is None else SparseFactors(self, values, lu)

    def again(self, values: Vector, standing: str) -> SparseFactors | None:
        """The factors as they were after the check of a solution."""
        made = self.factorise(values)
        if made is not None:
            made.stand(standing)
        return made

    def pivoted(self, values: Vector) -> Any:
        """SuperLU's object with partial pivoting, or None."""
        return self._lu(values, "COLAMD", 1.0, {})

    def filled(self, values: Vector) -> int:
        """How many entries L and U have."""
        lu = self._lu(values, "MMD_AT_PLUS_A", DIAGONAL, {"SymmetricMode": True})
        return self.pattern.n**2 if lu is None else int(lu.nnz)

    def _lu(self, values: Vector, order: str, threshold: float, options: dict[str, Any]) -> Any:
        from scipy.sparse.linalg import splu

        matrix = self.pattern.matrix(values)
        try:
            return splu(matrix, permc_spec=order, diag_pivot_thresh=threshold, options=options)
        except RuntimeError:  # "Factor is exactly singular"
            return None
