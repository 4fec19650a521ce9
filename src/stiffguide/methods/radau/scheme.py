"""The numbers of a tableau as a step needs them."""

from __future__ import annotations

from typing import NamedTuple

from stiffguide.methods.radau import polynomial
from stiffguide.methods.radau.spectrum import Floats, Spectrum, spectrum
from stiffguide.tableaux.continuous import continuous_extension
from stiffguide.tableaux.exact import Matrix, floats
from stiffguide.tableaux.tableau import Tableau


class Scheme(NamedTuple):
    """S stages, of which M are coupled: all, or all but an explicit first one."""

    spectrum: Spectrum  # of the coupled ones
    nodes: tuple[float, ...]  # (M,)
    from_f0: tuple[float, ...] | None  # (M,), what the explicit stage has in the coupled ones
    b: tuple[float, ...]  # (S,)
    beyond: Floats | None  # (S, S): see `polynomial`; None where two nodes are the same
    powers: Floats  # (M, S), nodes^1, nodes^2, ...


class Dense(NamedTuple):
    """The continuous extension."""

    weights: Floats  # (D, S) or, with f1, (D, S + 1), by powers of theta
    order: int


def scheme(tableau: Tableau) -> Scheme:
    """Raises UnsupportedError where the stages cannot be solved for."""
    first = 1 if tableau.explicit_first_stage else 0
    coupled, c = tableau.a[first:], tableau.c
    powers = tuple(tuple(node ** (d + 1) for d in range(len(c))) for node in c[first:])
    return Scheme(
        spectrum=spectrum(tableau.name, tuple(row[first:] for row in coupled)),
        nodes=floats(c[first:]),
        from_f0=floats([row[0] for row in coupled]) if first else None,
        b=floats(tableau.b),
        beyond=_rows(polynomial.beyond(c)) if len(set(c)) == len(c) else None,
        powers=_rows(powers),
    )


def dense(tableau: Tableau) -> Dense:
    """The polynomial of a collocation method, else the extension that can be derived."""
    if polynomial.collocates(tableau):
        return Dense(_rows(polynomial.along(tableau.c)), tableau.stages)
    weights, order = continuous_extension(tableau)
    return Dense(_rows(tuple(zip(*weights, strict=True))), order)


def _rows(matrix: Matrix) -> Floats:
    return tuple(map(floats, matrix))
