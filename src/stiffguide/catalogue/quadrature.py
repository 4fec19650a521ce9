"""Coefficients that quadrature conditions determine: sum_j w_j c_j^(k-1) = x^k/k.

They are the whole of a collocation method, and most entries of explicit methods of high order
(Hairer, Norsett and Wanner I, II.5 and II.7), so that these need not be typed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from stiffguide.tableaux.exact import Matrix, Row

UNKNOWN = "?"


def quadrature_row(nodes: Row, end: Fraction, text: str) -> Row:
    """Weights of the integral over [0, end]: numbers as printed, and each "?" as it must be.

    With n question marks the row integrates polynomials of degree below n exactly.
    """
    words = text.split()
    row = [Fraction(0) if word == UNKNOWN else Fraction(word) for word in words]
    wanted = [j for j, word in enumerate(words) if word == UNKNOWN]
    moments = []
    for k in range(1, len(wanted) + 1):
        known = sum((w * c ** (k - 1) for w, c in zip(row, nodes, strict=False)), Fraction(0))
        moments.append(end**k / k - known)
    powers = [[nodes[j] ** k for j in wanted] for k in range(len(wanted))]
    for j, weight in zip(wanted, solve(powers, moments), strict=True):
        row[j] = weight
    return tuple(row)


def adjoint_row(b: Row, c: Row, rows: Sequence[Row]) -> Row:
    """The row a_s after `rows` from sum_i b_i a_ij = b_j (1 - c_j), b_s being the last non-zero b.

    Hairer, Norsett and Wanner I, II.1, eq. 1.12: the simplifying condition D(1).
    """
    s = len(rows)
    known = [sum((b[i] * rows[i][j] for i in range(j + 1, s)), Fraction(0)) for j in range(s)]
    return tuple((b[j] * (1 - c[j]) - known[j]) / b[s] for j in range(s))


def solve(matrix: Sequence[Sequence[Fraction]], right: Sequence[Fraction]) -> Row:
    """Exact solution of a square linear system."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for k in range(len(rows)):
        pivot = next(i for i in range(k, len(rows)) if rows[i][k] != 0)
        rows[k], rows[pivot] = rows[pivot], rows[k]
        rows[k] = [x / rows[k][k] for x in rows[k]]
        for i in range(len(rows)):
            if i != k:
                factor = rows[i][k]
                rows[i] = [x - factor * p for x, p in zip(rows[i], rows[k], strict=True)]
    return tuple(row[-1] for row in rows)


def collocation(nodes: Row) -> tuple[Matrix, Row]:
    """`a` and `b` of the collocation method on the nodes (I, II.7, theorem 7.7)."""
    text = " ".join(UNKNOWN for _ in nodes)
    rows = tuple(quadrature_row(nodes, node, text) for node in nodes)
    return rows, quadrature_row(nodes, Fraction(1), text)
