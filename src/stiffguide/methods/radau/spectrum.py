"""The eigenvalues of a tableau, by which the coupled system of its stages falls apart.

With A^-1 = T diag(shifts) T^-1 the matrix A^-1/h (x) I - I (x) J of S F unknowns becomes one of F
for each real shift, and a complex one for each pair (Butcher, BIT 16 (1976); Hairer and Wanner II,
IV.8). Only Newton's iteration sees them: their rounding is no error of the method.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stiffguide.catalogue.quadrature import solve
from stiffguide.errors import UnsupportedError
from stiffguide.tableaux.exact import Matrix, floats, square

REAL = 1e-9  # an imaginary part this small, against the size, is rounding
SKEWED = 1e6  # condition of eigenvectors: beyond it the iteration would lose what it gains

Floats = tuple[tuple[float, ...], ...]


class Spectrum(NamedTuple):
    """T^-1 and T in real numbers: a pair has two rows, of real and of imaginary parts."""

    inverse: Floats  # (S, S), A^-1
    shifts: tuple[complex, ...]  # real ones first, and of each pair one, as Python complex
    into: Floats  # (S, S)
    out: Floats  # (S, S)

    @property
    def real(self) -> tuple[bool, ...]:
        """Which shifts are real."""
        return tuple(s.imag == 0 for s in self.shifts)


def spectrum(name: str, a: Matrix) -> Spectrum:
    """That of A (S, S); raises UnsupportedError where it has no inverse, or too few vectors."""
    matrix = np.array([floats(row) for row in a])
    if np.linalg.matrix_rank(matrix) < len(matrix):
        raise UnsupportedError(
            f"method: a of {name} is singular beyond an explicit first stage, which is proved as a "
            "tableau but not stepped; use 'radau5' or 'gauss6'"
        )
    columns = [solve(a, unit) for unit in square([(0,) * i + (1,) for i in range(len(a))])]
    inverse = np.array([floats(row) for row in zip(*columns, strict=True)])
    values, vectors = np.linalg.eig(inverse)
    if np.linalg.cond(vectors) > SKEWED:
        raise UnsupportedError(
            f"method: a of {name} has too few eigenvectors to solve for its stages by, which is "
            "proved as a tableau but not stepped; use 'radau5' or 'kvaerno5'"
        )
    left = np.linalg.inv(vectors)
    flat = abs(values.imag) <= REAL * abs(values)
    shifts: list[complex] = []
    into, out = [], []
    for i in np.flatnonzero(flat):
        shifts.append(complex(values[i].real))
        into.append(left[i].real)
        out.append(vectors[:, i].real)
    for i in np.flatnonzero(~flat & (values.imag > 0)):
        shifts.append(complex(values[i]))
        into += [left[i].real, left[i].imag]
        out += [2 * vectors[:, i].real, -2 * vectors[:, i].imag]
    return Spectrum(_rows(inverse), tuple(shifts), _rows(into), _rows(np.transpose(out)))


def _rows(matrix: object) -> Floats:
    return tuple(tuple(map(float, row)) for row in np.asarray(matrix))
