"""The stability function R(z) of a tableau, and what follows from it, in exact arithmetic.

y' = lambda y gives y1 = R(lambda dt) y0 with R(z) = 1 + z b^T (I - zA)^-1 1 = P(z)/Q(z), where A is
`a`, or alpha + Gamma for a Rosenbrock method (Hairer and Wanner II, IV.3, eq. 3.2 and 3.3). Every
function takes the weights of y1 unless others (`embedded_weights`) are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise, zip_longest
from math import gcd, inf, lcm
from typing import NamedTuple

import numpy as np

from stiffguide.tableaux.exact import EXACT_DIGITS, Matrix, Row, matmul, square
from stiffguide.tableaux.order import AnyTableau, main_weights
from stiffguide.tableaux.tableau import Tableau

PLACES = 10**80  # polynomials are rounded to 80 decimals before their roots are counted
ZERO = Fraction(0)
NEGLIGIBLE = Fraction(1, 10**12)  # roots are found in float64

Terms = list[tuple[Fraction, Fraction]]  # coefficients of 1, x, x^2, ..., sizes of their summands


class StabilityFunction(NamedTuple):
    """R = P/Q: coefficients of 1, z, z^2, ... in the numerator and in the denominator."""

    numerator: Row
    denominator: Row


@lru_cache(maxsize=256)
def stability_function(tableau: AnyTableau, weights: Row | None = None) -> StabilityFunction:
    """R(z): Q = det(I - zA), and P = Q (1 + sum_k z^k b^T A^(k-1) 1) up to z^S.

    P is det(I - zA + z 1 b^T), a polynomial of degree S, so that higher powers cancel. Leading
    coefficients that vanish within the tolerance of the tableau are dropped.
    """
    weights = main_weights(tableau) if weights is None else weights
    matrix, s = _matrix(tableau), tableau.stages
    q = _determinant(matrix)
    moments, power = [Fraction(1)], (Fraction(1),) * s
    for _ in range(s):
        moments.append(_dot(weights, power))
        power = tuple(_dot(row, power) for row in matrix)
    p = _product(q, moments)[: s + 1]
    sizes = _product([abs(x) for x in q], [abs(x) for x in moments])
    while abs(p[-1]) <= tableau.tolerance * sizes[len(p) - 1]:
        p.pop()
    while abs(q[-1]) <= Fraction(1, 10**EXACT_DIGITS):
        q.pop()
    return StabilityFunction(tuple(p), tuple(q))


def expansion(function: StabilityFunction, order: int) -> Row:
    """Taylor coefficients of R(z) at 0, up to z^order."""
    p, q = (row + (ZERO,) * (order + 1) for row in function)
    series: list[Fraction] = []
    for k in range(order + 1):
        series.append(p[k] - sum((q[j] * series[k - j] for j in range(1, k + 1)), ZERO))
    return tuple(series)  # Q(0) = 1


def r_infinity(tableau: AnyTableau, weights: Row | None = None) -> float:
    """The limit of R(z) as z goes to infinity; `inf` where it grows without bound."""
    p, q = stability_function(tableau, weights)
    if len(p) > len(q):
        return inf
    return float(p[-1] / q[-1]) if len(p) == len(q) else 0.0


def is_a_stable(tableau: AnyTableau, weights: Row | None = None) -> bool:
    """|R(z)| <= 1 in the left half-plane.

    R has no pole there (Routh) and E(y) = |Q(iy)|^2 - |P(iy)|^2 >= 0 for all y (Sturm); see
    Hairer and Wanner II, IV.3, eq. 3.8.
    """
    function = stability_function(tableau, weights)
    if not _poles_on_the_right(function.denominator):
        return False
    # raised by the tolerance, so that neither rounding nor a double root decides
    raised = [e + tableau.tolerance * size for e, size in _on_imaginary_axis(function)]
    return _positive_roots(raised) == 0  # raised is positive at 0


def is_l_stable(tableau: AnyTableau, weights: Row | None = None) -> bool:
    """A-stable with R(infinity) = 0."""
    return r_infinity(tableau, weights) == 0 and is_a_stable(tableau, weights)


def kind(tableau: AnyTableau) -> str:
    """L-stable, A-stable, or how far the negative real axis is stable: "to -2.79"."""
    if is_a_stable(tableau):
        return "L-stable" if r_infinity(tableau) == 0 else "A-stable"
    return f"to -{negative_real_stability_limit(tableau):.3g}"


def negative_real_stability_limit(tableau: AnyTableau, weights: Row | None = None) -> float:
    """The largest x with |R(-s)| <= 1 for all s in [0, x]; `inf` where there is no end."""
    terms = _on_negative_axis(stability_function(tableau, weights))
    return _end_of_positivity(terms, tableau.tolerance)


def imaginary_stability_limit(tableau: AnyTableau, weights: Row | None = None) -> float:
    """The largest y with |R(is)| <= 1 for all s in [0, y]; 0 where |R| > 1 from the start."""
    terms = _on_imaginary_axis(stability_function(tableau, weights))
    return float(_end_of_positivity(terms, tableau.tolerance) ** 0.5)


def _on_imaginary_axis(function: StabilityFunction) -> Terms:
    """|Q(iy)|^2 - |P(iy)|^2 as a polynomial in x = y^2."""
    p, q = function
    values = _minus(_product(q, _mirror(q)), _product(p, _mirror(p)))
    pairs = zip(values[::2], _sizes(function)[::2], strict=True)
    return [((-1) ** k * value, size) for k, (value, size) in enumerate(pairs)]


def _on_negative_axis(function: StabilityFunction) -> Terms:
    """Q(-x)^2 - P(-x)^2."""
    p, q = map(_mirror, function)
    return list(zip(_minus(_product(q, q), _product(p, p)), _sizes(function), strict=True))


def _sizes(function: StabilityFunction) -> list[Fraction]:
    """What the summands of P^2 and Q^2 amount to: rounding is judged against it."""
    p, q = ([abs(x) for x in row] for row in function)
    return _minus(_product(p, p), [-x for x in _product(q, q)])


def _end_of_positivity(terms: Terms, tolerance: Fraction) -> float:
    """The first x > 0 from which a polynomial is negative."""
    poly = [value if abs(value) > tolerance * size else ZERO for value, size in terms]
    while poly and poly[-1] == 0:
        poly.pop()
    roots = np.polynomial.polynomial.polyroots([float(x) for x in poly]) if poly else np.empty(0)
    real = np.real(roots[abs(np.imag(roots)) < 1e-6 * abs(roots)])
    ends = [0.0, *sorted(float(x) for x in real if x > 1e-6)]
    for left, right in zip(ends, [*ends[1:], 2 * ends[-1] + 1], strict=True):
        x = Fraction(left + right) / 2
        value = sum((c * x**k for k, c in enumerate(poly)), ZERO)
        size = sum((abs(c) * x**k for k, c in enumerate(poly)), ZERO)
        if value < -max(tolerance, NEGLIGIBLE) * size:
            return left
    return inf


def _positive_roots(poly: Sequence[Fraction]) -> int:
    """Number of distinct roots in (0, inf) of a polynomial with poly(0) != 0 (Sturm)."""
    largest = max(map(abs, poly))
    whole = [Fraction(round(x / largest * PLACES)) for x in poly]
    chain = [whole, [k * c for k, c in enumerate(whole)][1:]]
    while len(chain[-1]) > 1:
        remainder = _negative_remainder(chain[-2], chain[-1])
        if not remainder:
            break
        chain.append(remainder)
    return _sign_changes([p[0] for p in chain]) - _sign_changes([p[-1] for p in chain])


def _negative_remainder(
    dividend: Sequence[Fraction], divisor: Sequence[Fraction]
) -> list[Fraction]:
    """-(dividend mod divisor), scaled by a positive factor to coprime integers."""
    rest = list(dividend)
    while len(rest) >= len(divisor):
        factor = rest[-1] / divisor[-1]
        shift = len(rest) - len(divisor)
        rest = [x - factor * divisor[k - shift] if k >= shift else x for k, x in enumerate(rest)]
        rest.pop()
    while rest and rest[-1] == 0:
        rest.pop()
    common = lcm(*(x.denominator for x in rest))
    divide = gcd(*(int(x * common) for x in rest)) or 1
    return [-x * common / divide for x in rest]


def _sign_changes(values: Sequence[Fraction]) -> int:
    signs = [v > 0 for v in values if v != 0]
    return sum(x != y for x, y in pairwise(signs))


def _poles_on_the_right(q: Sequence[Fraction]) -> bool:
    """All roots of Q have a positive real part: Routh's scheme for Q(-z)."""
    descending = _mirror(q)[::-1]
    upper, lower = descending[::2], descending[1::2]
    while lower:
        if upper[0] * lower[0] <= 0:
            return False
        scaled = [upper[0] / lower[0] * x for x in lower[1:]]
        upper, lower = lower, _minus(upper[1:], scaled)
    return True


def _matrix(tableau: AnyTableau) -> Matrix:
    if isinstance(tableau, Tableau):
        return tableau.a
    pairs = zip(tableau.alpha, tableau.big_gamma, strict=True)
    return tuple(tuple(x + y for x, y in zip(p, q, strict=True)) for p, q in pairs)


def _determinant(matrix: Matrix) -> list[Fraction]:
    """det(I - zA): from the diagonal where A is triangular, else by Faddeev and LeVerrier."""
    n = len(matrix)
    if not any(matrix[i][j] for i in range(n) for j in range(i + 1, n)):
        poly = [Fraction(1)]
        for i in range(n):
            poly = _product(poly, [Fraction(1), -matrix[i][i]])
        return poly
    identity = square([[int(i == j) for j in range(n)] for i in range(n)])
    poly, power = [Fraction(1)], identity
    for k in range(1, n + 1):
        image = matmul(matrix, power)
        poly.append(-sum((image[i][i] for i in range(n)), ZERO) / k)
        power = tuple(
            tuple(x + poly[-1] * e for x, e in zip(row, unit, strict=True))
            for row, unit in zip(image, identity, strict=True)
        )
    return poly


def _product(x: Sequence[Fraction], y: Sequence[Fraction]) -> list[Fraction]:
    """Product of two polynomials."""
    found = [ZERO] * (len(x) + len(y) - 1)
    for i, p in enumerate(x):
        for j, q in enumerate(y):
            found[i + j] += p * q
    return found


def _minus(x: Sequence[Fraction], y: Sequence[Fraction]) -> list[Fraction]:
    """Difference of two polynomials."""
    return [p - q for p, q in zip_longest(x, y, fillvalue=ZERO)]


def _mirror(poly: Sequence[Fraction]) -> list[Fraction]:
    """The polynomial in -z."""
    return [-c if k % 2 else c for k, c in enumerate(poly)]


def _dot(x: Row, y: Row) -> Fraction:
    return sum((p * q for p, q in zip(x, y, strict=True) if p), ZERO)
