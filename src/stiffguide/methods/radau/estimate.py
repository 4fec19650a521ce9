"""Error estimates: the pair of a tableau, or one that f0 joins as a stage."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from stiffguide.catalogue.quadrature import solve
from stiffguide.errors import UnsupportedError
from stiffguide.methods.radau.spectrum import spectrum
from stiffguide.tableaux.exact import floats
from stiffguide.tableaux.tableau import Tableau


class Estimate(NamedTuple):
    """Main minus embedded solution is h (start f0 + sum_j weights_j k_j), before it is filtered."""

    start: float
    weights: tuple[float, ...]
    order: int


def of(tableau: Tableau) -> Estimate | None:
    """The pair that it has."""
    order = tableau.estimate_order
    if tableau.b_error is None or order is None:
        return None
    return Estimate(0.0, floats(tableau.b_error), order)


def beside(tableau: Tableau) -> Estimate:
    """One of order S, with the real eigenvalue of A as weight of f0 (Hairer and Wanner II, IV.8).

    The other weights follow from the quadrature conditions at the nodes. With that weight the
    filter has factors already: those of the real shift.
    """
    shift = spectrum(tableau.name, tableau.a).shifts[0]
    if shift.imag:
        raise UnsupportedError(
            f"{tableau.name}: no eigenvalue of a is real, as an estimate beside f0 needs"
        )
    start = 1 / shift.real
    c, s = tableau.c, tableau.stages
    powers = [[node**k for node in c] for k in range(s)]
    moments = [Fraction(1, k + 1) for k in range(s)]
    moments[0] -= Fraction(start)
    hat = solve(powers, moments)
    weights = floats([b - w for b, w in zip(tableau.b, hat, strict=True)])
    return Estimate(-start, weights, s)
