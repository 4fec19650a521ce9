"""The numerical differentiation formulas of orders 1 to 5, and the polynomials behind them.

With backward differences at one spacing h, the formula of order k for y(t + h) is

    sum_{j=1}^k (1/j) nabla^j y_new - kappa_k gamma_k (y_new - predicted) = h f(t + h, y_new),

gamma_k = 1 + 1/2 + ... + 1/k, where `predicted` is the polynomial through the last k + 1 values at
t + h. kappa = 0 is the backward differentiation formula; the others have smaller errors, and angles
of stability of 90, 90, 80, 66 and 51 degrees.

Shampine and Reichelt, SIAM J. Sci. Comput. 18 (1997) 1-22, table 1; before them Klopfenstein,
RCA Review 32 (1971) 447-462. Everything below follows from kappa.
"""

from __future__ import annotations

from fractions import Fraction as F

from stiffguide.tableaux.exact import Row

ORDERS = (1, 2, 3, 4, 5)
KAPPA = (F(0), F(-37, 200), F(-1, 9), F(-823, 10000), F(-83, 2000), F(0))  # by order, from 0

# gamma_k; by the gammas differences are weighted where the formula is solved for the rise d above
# the prediction: LEADING_k d = h f - sum_{j=1}^k gamma_j nabla^j y
GAMMA = tuple(sum((F(1, j) for j in range(1, k + 1)), F(0)) for k in range(6))
LEADING = tuple((1 - kappa) * gamma for kappa, gamma in zip(KAPPA, GAMMA, strict=True))

# of h^(k+1) y^(k+1), and so of nabla^(k+1) y_new = d: the local error
ERROR = tuple(
    kappa * gamma + F(1, k + 1) for k, (kappa, gamma) in enumerate(zip(KAPPA, GAMMA, strict=True))
)


def along(i: int) -> Row:
    """The polynomial b_i = theta (theta + 1) ... (theta + i - 1) / i!, by powers of theta.

    y(t + theta h) is the sum of b_i(theta) nabla^i y(t).
    """
    powers = [F(1)]
    for m in range(i):
        shifted = [F(0), *powers]
        powers = [x + m * p for x, p in zip(shifted, [*powers, F(0)], strict=True)]
        powers = [p / (m + 1) for p in powers]
    return tuple(powers)


def before(i: int) -> Row:
    """b_i(theta - 1) without its value at 0: the share of nabla^i y(t + h) in y(t + theta h)."""
    if i == 0:
        return (F(0),)
    # theta - 1 once, and theta, theta + 1, ..., theta + i - 2
    shorter = [p * F(1, i) for p in along(i - 1)]
    powers = [up - down for up, down in zip([F(0), *shorter], [*shorter, F(0)], strict=True)]
    return (F(0), *powers[1:])
