"""Stability functions and what they imply, for every tableau of the catalogue."""

from __future__ import annotations

from fractions import Fraction as F
from math import comb, factorial, inf

import numpy as np
import pytest

from stiffguide.catalogue import TABLEAUX
from stiffguide.tableaux.exact import sqrt
from stiffguide.tableaux.order import embedded_weights, main_weights, prove
from stiffguide.tableaux.stability import (
    expansion,
    imaginary_stability_limit,
    is_a_stable,
    is_l_stable,
    negative_real_stability_limit,
    r_infinity,
    stability_function,
)
from stiffguide.tableaux.tableau import Tableau

everyone = pytest.mark.parametrize("tableau", TABLEAUX.values(), ids=TABLEAUX)

Z = np.random.default_rng(0).normal(size=(40, 2)) @ np.array([3.0, 3.0j])


def weight_sets(tableau):
    """(weights, order) of y1 and of the embedded solution."""
    pairs = ((main_weights(tableau), tableau.order),)
    hat = embedded_weights(tableau)
    return pairs if hat is None else (*pairs, (hat, tableau.error_order))


def matrix_of(tableau):
    """A of the linear test equation, in float64."""
    if isinstance(tableau, Tableau):
        return np.array(tableau.a, dtype=float)
    return np.array(tableau.alpha, dtype=float) + np.array(tableau.big_gamma, dtype=float)


def r_of(tableau, weights, z):
    """1 + z b^T (I - zA)^-1 1, by a linear solve."""
    a, b = matrix_of(tableau), np.array(weights, dtype=float)
    return 1 + z * b @ np.linalg.solve(np.eye(len(b)) - z * a, np.ones(len(b)))


@everyone
def test_r_expands_like_the_exponential(tableau):
    for weights, order in weight_sets(tableau):
        series = expansion(stability_function(tableau, weights), order)
        for k, coefficient in enumerate(series):
            assert abs(coefficient - F(1, factorial(k))) <= 100 * tableau.tolerance


@everyone
def test_r_is_what_a_step_does_to_the_test_equation(tableau):
    for weights, _ in weight_sets(tableau):
        p, q = (np.array(row, dtype=float)[::-1] for row in stability_function(tableau, weights))
        for z in Z:
            direct = r_of(tableau, weights, z)
            assert abs(np.polyval(p, z) / np.polyval(q, z) - direct) < 1e-9 * (1 + abs(direct))


@everyone
def test_the_verdict_on_a_stability_is_what_sampling_sees(tableau):
    y = np.concatenate((np.geomspace(1e-2, 1e4, 600), [1e8]))
    for weights, _ in weight_sets(tableau):
        on_axis = [abs(r_of(tableau, weights, 1j * x)) for x in y]
        left = [abs(r_of(tableau, weights, z)) for z in -abs(Z.real) * 10 + 10j * Z.imag]
        assert is_a_stable(tableau, weights) == (max(on_axis + left) <= 1 + 1e-9)
        if r_infinity(tableau, weights) != inf:
            assert abs(r_of(tableau, weights, -1e9) - r_infinity(tableau, weights)) < 1e-4


L_STABLE = (
    *("implicit_euler", "radau_iia3", "radau_iia5", "sdirk2", "trbdf2", "rosenbrock23"),
    *("kvaerno3", "kvaerno4", "kvaerno5", "kencarp3", "kencarp4", "kencarp5"),
    *("rodas3", "rodas4", "rodas4p", "rodas5p"),
)
ONLY_A_STABLE = {
    "implicit_midpoint": -1.0,
    "trapezoid": -1.0,
    "gauss4": 1.0,
    "gauss6": -1.0,
    "ros3p": 1 - 3**0.5,
}


@pytest.mark.parametrize("name", L_STABLE)
def test_l_stable_methods(name):
    assert is_l_stable(TABLEAUX[name])
    assert r_infinity(TABLEAUX[name]) == 0


@pytest.mark.parametrize("name", ONLY_A_STABLE)
def test_methods_that_are_a_stable_but_not_l_stable(name):
    assert is_a_stable(TABLEAUX[name])
    assert not is_l_stable(TABLEAUX[name])
    assert abs(r_infinity(TABLEAUX[name]) - ONLY_A_STABLE[name]) < 1e-12


def pade(j, k):
    """Coefficients of the (j, k) approximation of Pade to e^z (Hairer and Wanner II, IV.3)."""

    def side(n, m, sign):
        terms = (F(comb(n, i) * factorial(n + m - i), factorial(n + m)) for i in range(n + 1))
        return [sign**i * term for i, term in enumerate(terms)]

    return side(j, k, 1), side(k, j, -1)


@pytest.mark.parametrize(
    ("name", "j", "k"),
    [("gauss4", 2, 2), ("gauss6", 3, 3), ("radau_iia3", 1, 2), ("radau_iia5", 2, 3)],
)
def test_collocation_methods_have_pade_stability_functions(name, j, k):
    for found, expected in zip(stability_function(TABLEAUX[name]), pade(j, k), strict=True):
        assert len(found) == len(expected)
        assert max(abs(x - y) for x, y in zip(found, expected, strict=True)) < F(1, 10**50)


def sdirk_of_order_3(gamma):
    """Both roots of gamma^2 - gamma + 1/6 give order 3; only the larger one is A-stable."""
    a = ((gamma,), (1 - 2 * gamma, gamma))
    return Tableau("sdirk", a, (F(1, 2), F(1, 2)), (gamma, 1 - gamma), 3, "Norsett, Crouzeix")


def test_a_stability_depends_on_gamma():
    prove(sdirk_of_order_3(F(1, 2) + sqrt(3) / 6))
    prove(sdirk_of_order_3(F(1, 2) - sqrt(3) / 6))
    assert is_a_stable(sdirk_of_order_3(F(1, 2) + sqrt(3) / 6))
    assert not is_a_stable(sdirk_of_order_3(F(1, 2) - sqrt(3) / 6))


def test_a_pole_on_the_left_is_no_stability():
    backwards = Tableau("pole", ((F(-1),),), (F(1),), (F(-1),), 1, "planted")
    assert not is_a_stable(backwards)
    assert is_a_stable(backwards, weights=(F(0),)) is False


REAL = {"euler": 2.0, "rk4": 2.785294, "bosh3": 2.512745, "dopri5": 3.306574, "tsit5": 3.506847}
IMAGINARY = {"euler": 0.0, "ssprk3": 3**0.5, "rk4": 8**0.5, "dopri5": 0.997}


def test_stability_limits_of_explicit_methods():
    for name, limit in REAL.items():
        assert abs(negative_real_stability_limit(TABLEAUX[name]) - limit) < 1e-5
    for name, limit in IMAGINARY.items():
        assert abs(imaginary_stability_limit(TABLEAUX[name]) - limit) < 1e-3
    for name in ("radau_iia5", "trapezoid", "rodas5p"):
        assert negative_real_stability_limit(TABLEAUX[name]) == inf
        assert imaginary_stability_limit(TABLEAUX[name]) == inf


@everyone
def test_the_real_limit_is_where_r_exceeds_one(tableau):
    limit = negative_real_stability_limit(tableau)
    weights = main_weights(tableau)
    inside = np.linspace(0, min(limit, 1e3), 300)
    assert max(abs(r_of(tableau, weights, -x)) for x in inside) <= 1 + 1e-9
    if limit < inf:
        assert abs(r_of(tableau, weights, -limit * 1.001)) > 1
