"""Exact arithmetic for coefficients: rationals, and irrationals to more digits than float64 has."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Context, Decimal
from fractions import Fraction

Number = Fraction | int
Row = tuple[Fraction, ...]
Matrix = tuple[Row, ...]

EXACT_DIGITS = 48  # what `sqrt` and friends guarantee; rational tableaux are checked as strictly


def sqrt(x: Number, digits: int = 60) -> Fraction:
    """The square root of a rational, as a Fraction good to `digits` digits."""
    context = Context(prec=digits)
    x = Fraction(x)
    ratio = context.divide(Decimal(x.numerator), Decimal(x.denominator))
    return Fraction(context.sqrt(ratio))


def decimals(text: str) -> Row:
    """Whitespace-separated decimal or rational numbers ("0.25 -1/3 2"), exactly as printed."""
    return tuple(Fraction(word) for word in text.split())


def lines(text: str) -> Matrix:
    """One row of numbers per line of text, as `decimals` reads them."""
    return tuple(decimals(line) for line in text.strip().splitlines())


def square(rows: Sequence[Sequence[Number]]) -> Matrix:
    """Complete short rows with zeros to a square matrix of Fractions."""
    n = len(rows)
    return tuple(tuple(Fraction(v) for v in row) + (Fraction(0),) * (n - len(row)) for row in rows)


def floats(values: Sequence[Fraction]) -> tuple[float, ...]:
    """Correctly rounded float64 values."""
    return tuple(float(v) for v in values)


def matmul(x: Sequence[Row], y: Matrix) -> Matrix:
    """Exact matrix product."""
    columns = list(zip(*y, strict=True))
    return tuple(
        tuple(sum((p * q for p, q in zip(row, col, strict=True)), Fraction(0)) for col in columns)
        for row in x
    )


def invert_lower(matrix: Matrix) -> Matrix:
    """Exact inverse of a lower triangular matrix."""
    n = len(matrix)
    rows: list[list[Fraction]] = []
    for i in range(n):
        row = [Fraction(0)] * n
        row[i] = 1 / matrix[i][i]
        for j in range(i):
            known = sum((matrix[i][k] * rows[k][j] for k in range(j, i)), Fraction(0))
            row[j] = -known / matrix[i][i]
        rows.append(row)
    return tuple(tuple(row) for row in rows)
