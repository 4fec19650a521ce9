"""The polynomial with the slopes of the stages at the nodes: dense output, and prediction."""

from __future__ import annotations

from fractions import Fraction
from math import comb

from stiffguide.catalogue.quadrature import quadrature_row, solve
from stiffguide.tableaux.exact import Matrix, Row
from stiffguide.tableaux.tableau import Tableau


def along(c: Row) -> Matrix:
    """P (S, S) with y(t0 + theta h) = y0 + h sum_d theta^(d+1) sum_j P_dj k_j; c are distinct.

    The integral of Lagrange's polynomials (Hairer, Norsett and Wanner I, II.7.9).
    """
    powers = [[node**d for d in range(len(c))] for node in c]
    lagrange = [
        solve(powers, [Fraction(int(i == j)) for i in range(len(c))]) for j in range(len(c))
    ]
    return tuple(tuple(l[d] / (d + 1) for l in lagrange) for d in range(len(c)))


def beyond(c: Row) -> Matrix:
    """Q (S, S) with y(t1 + x h) = y1 + h sum_d x^(d+1) sum_j Q_dj k_j: Taylor's at the end."""
    own, n = along(c), len(c)
    return tuple(
        tuple(
            sum((comb(e + 1, d + 1) * own[e][j] for e in range(d, n)), Fraction(0))
            for j in range(n)
        )
        for d in range(n)
    )


def collocates(tableau: Tableau) -> bool:
    """Whether the stages lie on that polynomial, and y1 at its end."""
    c = tableau.c
    if len(set(c)) < len(c):
        return False
    text = " ".join("?" for _ in c)
    rows = [*zip(c, tableau.a, strict=True), (Fraction(1), tableau.b)]
    return all(
        abs(x - y) <= tableau.tolerance
        for node, row in rows
        for x, y in zip(row, quadrature_row(c, node, text), strict=True)
    )
