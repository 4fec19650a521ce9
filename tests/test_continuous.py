"""Continuous extensions: order, ends and smoothness, for every Runge-Kutta tableau."""

from __future__ import annotations

from fractions import Fraction as F

import numpy as np
import pytest

from stiffguide.catalogue import TABLEAUX
from stiffguide.tableaux.continuous import continuous_extension
from stiffguide.tableaux.order import continuous_residuals
from stiffguide.tableaux.tableau import Tableau

BUTCHER = {k: t for k, t in TABLEAUX.items() if isinstance(t, Tableau)}
runge_kutta = pytest.mark.parametrize("tableau", BUTCHER.values(), ids=BUTCHER)

DENSE_ORDERS = {
    **{"euler": 1, "heun": 2, "midpoint": 2, "rk4": 3, "ssprk3": 3, "bosh3": 3, "fehlberg45": 4},
    **{"cash_karp": 4, "dopri5": 4, "tsit5": 4, "verner65": 4, "verner76": 5, "verner87": 5},
    **{
        "dopri8": 5,
        "dop853": 7,
        "radau_iia5": 3,
        "gauss6": 4,
        "trbdf2": 2,
        "kvaerno3": 3,
        "kvaerno5": 4,
    },
}


@runge_kutta
def test_continuous_extensions_have_their_order(tableau):
    weights, order = continuous_extension(tableau)
    assert order == DENSE_ORDERS.get(tableau.name, order)
    for r in range(1, order + 1):
        found = continuous_residuals(tableau, weights, r)
        assert max(abs(x) for row in found.values() for x in row) < 1e-9
    beyond = continuous_residuals(tableau, weights, order + 1)
    assert max(abs(x) for row in beyond.values() for x in row) > 1e-6


@runge_kutta
def test_continuous_extensions_end_in_y1(tableau):
    weights, _ = continuous_extension(tableau)
    assert len(weights) in (tableau.stages, tableau.stages + 1)
    ends = (*tableau.b, F(0))[: len(weights)]
    assert all(abs(sum(row) - end) < 1e-11 for row, end in zip(weights, ends, strict=True))
    if tableau.dense is None:  # derived here, with weights kept small
        assert max(abs(x) for row in weights for x in row) < 100


@pytest.mark.parametrize("name", [n for n, t in BUTCHER.items() if t.explicit])
def test_extensions_of_explicit_methods_are_smooth(name):
    tableau = BUTCHER[name]
    weights, _ = continuous_extension(tableau)
    f1 = tableau.a.index(tableau.b) if tableau.b in tableau.a else -1
    at_0 = [float(row[0]) for row in weights]
    at_1 = [float(sum((d + 1) * x for d, x in enumerate(row))) for row in weights]
    assert np.allclose(at_0, np.eye(len(weights))[0], atol=1e-9)
    assert np.allclose(at_1, np.eye(len(weights))[f1], atol=1e-9)
