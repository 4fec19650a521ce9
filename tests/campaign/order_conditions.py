"""Order conditions as books list them, and R(z) by elimination, in fractions.

They are written out here once more so that tableaux are judged by something that knows of none of
the trees and polynomials of the package.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction as F

Row = list[F]
Matrix = list[Row]


def times(matrix: Sequence[Sequence[F]], x: Sequence[F]) -> Row:
    return [sum((p * q for p, q in zip(row, x, strict=True)), F(0)) for row in matrix]


def both(*rows: Sequence[F]) -> Row:
    """The product, entry by entry."""
    found = [F(1)] * len(rows[0])
    for row in rows:
        found = [p * q for p, q in zip(found, row, strict=True)]
    return found


def runge_kutta(a: Matrix, one: Row) -> list[tuple[int, F, Row]]:
    """(order, right-hand side, what b is multiplied with): Hairer, Norsett, Wanner I, II.2."""
    c = times(a, one)
    d, e = times(a, c), times(a, both(c, c))
    return [
        *((1, F(1), one), (2, F(1, 2), c), (3, F(1, 3), both(c, c)), (3, F(1, 6), d)),
        *((4, F(1, 4), both(c, c, c)), (4, F(1, 8), both(c, d)), (4, F(1, 12), e)),
        *((4, F(1, 24), times(a, d)), (5, F(1, 5), both(c, c, c, c)), (5, F(1, 10), both(c, c, d))),
        *(
            (5, F(1, 20), both(d, d)),
            (5, F(1, 15), both(c, e)),
            (5, F(1, 30), both(c, times(a, d))),
        ),
        *((5, F(1, 20), times(a, both(c, c, c))), (5, F(1, 40), times(a, both(c, d)))),
        *((5, F(1, 60), times(a, e)), (5, F(1, 120), times(a, times(a, d)))),
    ]


def rosenbrock(alpha: Matrix, beta: Matrix, one: Row) -> list[tuple[int, F, Row]]:
    """The same of Hairer and Wanner II, IV.7, table 7.1, up to order 4."""
    a, b = times(alpha, one), times(beta, one)
    return [
        *((1, F(1), one), (2, F(1, 2), b), (3, F(1, 3), both(a, a)), (3, F(1, 6), times(beta, b))),
        *((4, F(1, 4), both(a, a, a)), (4, F(1, 8), both(a, times(alpha, b)))),
        *((4, F(1, 12), times(beta, both(a, a))), (4, F(1, 24), times(beta, times(beta, b)))),
    ]


def at_the_border(conditions: list[tuple[int, F, Row]], weights: Sequence[F], tolerance: F) -> bool:
    """Whether a condition is missed by about the tolerance, so that rounding says what holds."""
    missed = (
        abs(sum((w * x for w, x in zip(weights, phi, strict=True)), F(0)) - due)
        for _, due, phi in conditions
    )
    return any(tolerance < 10 * off < 100 * tolerance for off in missed)


def true_order(conditions: list[tuple[int, F, Row]], weights: Sequence[F], tolerance: F) -> int:
    """Up to which order all of the conditions hold."""
    failed = [
        order
        for order, due, phi in conditions
        if abs(sum((w * x for w, x in zip(weights, phi, strict=True)), F(0)) - due) > tolerance
    ]
    return min(failed, default=conditions[-1][0] + 1) - 1


def solved(matrix: Sequence[Sequence[F]], right: Sequence[F]) -> Row:
    """Of a linear system, by elimination."""
    rows = [[*row, x] for row, x in zip(matrix, right, strict=True)]
    n = len(rows)
    for i in range(n):
        pivot = next(k for k in range(i, n) if rows[k][i] != 0)
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [x / rows[i][i] for x in rows[i]]
        for k in range(n):
            if k != i:
                rows[k] = [x - rows[k][i] * y for x, y in zip(rows[k], rows[i], strict=True)]
    return [row[-1] for row in rows]


def response(matrix: Matrix, weights: Sequence[F], z: F) -> F | None:
    """R(z) by elimination, or nothing at a pole."""
    s = len(weights)
    system = [[F(int(i == j)) - z * matrix[i][j] for j in range(s)] for i in range(s)]
    try:
        k = solved(system, [F(1)] * s)
    except StopIteration:
        return None
    return 1 + z * sum((w * x for w, x in zip(weights, k, strict=True)), F(0))
