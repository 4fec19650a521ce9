"""Continuous extensions: order, ends and smoothness, for every Runge-Kutta tableau."""

from __future__ import annotations

from fractions import Fraction as F

import numpy as np
import pytest
import torch

import stiffguide as sg
from stiffguide.catalogue import TABLEAUX
from stiffguide.methods.esdirk import Esdirk
from stiffguide.stepping.interpolate import hermite
from stiffguide.tableaux.continuous import continuous_extension, damped_extension
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


DAMPED = [n for n, t in BUTCHER.items() if damped_extension(t).filters]


def test_what_is_beside_a_hermite_polynomial_is_damped_where_that_serves():
    assert {"kvaerno5", "kencarp4", "esdirk54i8l2sa"} == set(DAMPED)


@pytest.mark.parametrize("name", DAMPED)
def test_a_damped_extension_is_the_extension_where_nothing_is_damped(name):
    tableau = BUTCHER[name]
    weights, filters, order = damped_extension(tableau)
    expected = continuous_extension(tableau)
    assert order == expected.order
    n, degree = tableau.stages, len(expected.weights[0])
    matrix = np.array(weights, dtype=float)
    found = matrix[:n] + np.array(filters, dtype=float).T @ matrix[n:]
    assert np.allclose(found[:, :degree], np.array(expected.weights, dtype=float), atol=1e-9)
    assert np.allclose(found[:, degree:], 0, atol=1e-9)
    assert np.allclose(matrix[n:].sum(-1), 0, atol=1e-9)  # it begins and ends with the others


def hermite_alone(self, step, f1):
    return hermite(step.dt, step.y0, step.f0, step.y1, f1)


def undamped(self, step, f1):
    by_degree = zip(*continuous_extension(self.tableau).weights, strict=True)
    weights = torch.tensor([[float(x) for x in row] for row in by_degree], dtype=torch.float64)
    return step.dt.unsqueeze(-1) * torch.einsum("dj,jbf->dbf", weights, step.stages)


ENDS_IN_F1 = [n for n, t in BUTCHER.items() if t.gamma and t.fsal and t.explicit_first_stage]


@pytest.mark.parametrize("rate", [1e3, 1e5, 1e8])
@pytest.mark.parametrize("name", ENDS_IN_F1)
def test_between_its_steps_a_stiff_solution_is_as_right_as_it_can_be(name, rate, monkeypatch):
    def f(t, y):  # Prothero and Robinson (1974); the solution is sin
        return -rate * (y - torch.sin(t)) + torch.cos(t)

    dt, times = 0.2, 0.5 + torch.linspace(0.0, 0.2, 21, dtype=torch.float64)

    def error():
        y0, one = times[:1].sin(), sg.Fixed(dt)
        found = sg.solve(f, y0, 0.5, 0.5 + dt, method=name, controller=one, save_at=times)
        return (found.y - times.sin().unsqueeze(-1)).abs().max()

    ours, others = error(), []
    for other in (hermite_alone, undamped):
        monkeypatch.setattr(Esdirk, "interpolant", other)
        others.append(error())
    assert ours < 1.1 * min(others)
