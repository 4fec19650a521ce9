"""Linear systems by iteration: GMRES (Saad and Schultz 1986) with a preconditioner.

For systems whose factors would not fit into memory. Below that the factors win, also on a grid of
8,000 points in three dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from stiffguide.algebra.pattern import Pattern
from stiffguide.algebra.rowwise import Vector
from stiffguide.errors import InputError, UnsupportedError

Apply = Callable[[Vector], Vector]
Preconditioner = Callable[[Any], Apply]


@dataclass(frozen=True)
class Krylov:
    """GMRES to a relative residual `rtol`, restarted, at most `restarts` times.

    preconditioner: "ilu" (an incomplete factorisation), "amg" (algebraic multigrid, by the package
    pyamg), or preconditioner(W) -> a function r (n,) -> z (n,) with z about W^-1 r, for W a sparse
    matrix of scipy whose rows are divided by the tolerances. Asked once a factorisation.

    Raises InputError for a preconditioner, a tolerance or counts that are none.
    """

    preconditioner: str | Preconditioner = "ilu"
    rtol: float = 1e-4
    restart: int = 40
    restarts: int = 10

    def __post_init__(self) -> None:
        if not callable(self.preconditioner) and self.preconditioner not in MAKERS:
            raise InputError(
                f"Krylov: preconditioner is {self.preconditioner!r}; give 'ilu', 'amg' or a "
                "function of the matrix"
            )
        if not 0 < self.rtol < 1:
            raise InputError(f"Krylov: rtol must lie between 0 and 1, not {self.rtol}")
        if min(self.restart, self.restarts) < 1:
            raise InputError("Krylov: restart and restarts must be at least 1")

    def bind(self, pattern: Pattern) -> Iteration:
        """The library for matrices of a pattern."""
        return Iteration(self, pattern)


class Iteration:
    """A matrix with its preconditioner in the place of factors."""

    name = "krylov"
    exact = False

    def __init__(self, settings: Krylov, pattern: Pattern) -> None:
        self._settings = settings
        self._pattern = pattern
        given = settings.preconditioner
        self._make = given if callable(given) else MAKERS[given]

    def factorise(self, values: Vector) -> Iterated | None:
        """The preconditioner; None where it cannot be made."""
        matrix = self._pattern.matrix(values)
        try:
            apply = self._make(matrix)
        except UnsupportedError:
            raise
        except RuntimeError:  # a zero pivot
            return None
        return Iterated(self._settings, matrix, apply)


@dataclass(frozen=True)
class Iterated:
    """One matrix, ready to be solved with."""

    settings: Krylov
    matrix: Any
    apply: Apply

    def solve(self, b: Vector, transposed: bool) -> Vector:
        """X (n,); no numbers where the iteration did not converge."""
        from scipy.sparse.linalg import LinearOperator, gmres

        if transposed:
            raise UnsupportedError(
                "krylov solves no transposed systems, which gradients need: use "
                "linear_solver='sparse'"
            )
        near = LinearOperator(self.matrix.shape, matvec=self.apply, dtype=b.dtype)
        s = self.settings
        with np.errstate(all="ignore"):  # what a breakdown divides by
            x, failed = gmres(
                self.matrix, b, rtol=s.rtol, restart=s.restart, maxiter=s.restarts, M=near
            )
        found: Vector = np.full_like(b, np.nan) if failed else x.astype(b.dtype, copy=False)
        return found


def _incomplete(matrix: Any) -> Apply:
    from scipy.sparse.linalg import spilu

    solve: Apply = spilu(matrix, drop_tol=1e-3, fill_factor=4, permc_spec="MMD_AT_PLUS_A").solve
    return solve


def _multigrid(matrix: Any) -> Apply:
    try:
        import pyamg
    except ImportError as error:
        raise UnsupportedError(
            "Krylov(preconditioner='amg') needs the package pyamg (pip install pyamg)"
        ) from error
    apply: Apply = pyamg.smoothed_aggregation_solver(matrix.tocsr()).aspreconditioner().matvec
    return apply


MAKERS: dict[str, Preconditioner] = {"ilu": _incomplete, "amg": _multigrid}
