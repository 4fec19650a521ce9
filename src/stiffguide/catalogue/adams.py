"""Adams' formulas on equal steps: weights by which a polynomial through slopes is integrated.

y(t + h) - y(t) = h sum_j w_j f_j, with slopes at t, t - h, t - 2 h, ... (Adams and Bashforth 1883)
or, implicit, at t + h, t, t - h, ... (Moulton 1926). Hairer, Norsett and Wanner I, III.1, tables
1.1 and 1.2. Everything follows from the nodes.
"""

from __future__ import annotations

from fractions import Fraction as F

from stiffguide.catalogue.quadrature import UNKNOWN, quadrature_row
from stiffguide.tableaux.exact import Row


def bashforth(slopes: int) -> Row:
    """Weights of so many slopes, the newest first: a formula of that order."""
    return _on(tuple(F(-j) for j in range(slopes)))


def moulton(slopes: int) -> Row:
    """The same, of which the first is that at the end of the step."""
    return _on(tuple(F(1 - j) for j in range(slopes)))


def _on(nodes: Row) -> Row:
    return quadrature_row(nodes, F(1), " ".join(UNKNOWN for _ in nodes))
