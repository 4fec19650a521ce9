"""Every tableau of the catalogue proves its claims, and broken ones are refused with a sentence."""

from __future__ import annotations

from fractions import Fraction as F
from itertools import pairwise
from math import factorial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stiffguide import testing
from stiffguide.catalogue import TABLEAUX
from stiffguide.tableaux.order import (
    embedded_weights,
    main_weights,
    prove,
    proven_dense_order,
    proven_error_order,
    proven_order,
    residuals,
    stage_order,
)
from stiffguide.tableaux.rosenbrock import RosenbrockTableau
from stiffguide.tableaux.tableau import Tableau
from stiffguide.tableaux.trees import ROSENBROCK, Tree, condition, trees

BUTCHER = {k: t for k, t in TABLEAUX.items() if isinstance(t, Tableau)}
LINEAR = {k: t for k, t in TABLEAUX.items() if isinstance(t, RosenbrockTableau)}
everyone = pytest.mark.parametrize("tableau", TABLEAUX.values(), ids=TABLEAUX)
runge_kutta = pytest.mark.parametrize("tableau", BUTCHER.values(), ids=BUTCHER)


def weight_sets(tableau):
    """(weights, order) of y1 and of the embedded solution."""
    pairs = ((main_weights(tableau), tableau.order),)
    hat = embedded_weights(tableau)
    return pairs if hat is None else (*pairs, (hat, tableau.error_order))


# trees ------------------------------------------------------------------------------------------


def test_number_of_trees():
    assert [len(trees(r)) for r in range(1, 9)] == [1, 1, 2, 4, 9, 20, 48, 115]
    assert all(len(set(trees(r))) == len(trees(r)) for r in range(1, 9))
    assert all(tree.order == r for r in range(1, 9) for tree in trees(r))


def test_densities_of_tall_and_bushy_trees():
    tall = Tree()
    for r in range(2, 9):
        tall = Tree((tall,))
        assert tall.density == factorial(r)
        assert Tree((Tree(),) * (r - 1)).density == r


def test_conditions_are_readable():
    assert condition(Tree((Tree(), Tree((Tree(),))))) == "sum b_i c_i a_ij c_j = 1/8"
    assert condition(Tree((Tree((Tree(), Tree())),)), "b_hat") == "sum b_hat_i a_ij c_j^2 = 1/12"
    text = condition(Tree((Tree((Tree(), Tree())),)), "b", ROSENBROCK)
    assert text == "sum b_i beta_ij alpha_j^2 = 1/12"


# orders -----------------------------------------------------------------------------------------


def test_the_catalogue_is_whole():
    assert len(TABLEAUX) >= 35
    assert all(tableau.name == name for name, tableau in TABLEAUX.items())
    assert all(len(tableau.source) > 20 for tableau in TABLEAUX.values())


@everyone
def test_orders_are_proved(tableau):
    prove(tableau)
    assert proven_order(tableau) == tableau.order
    assert proven_error_order(tableau) == tableau.error_order
    assert proven_dense_order(tableau) == tableau.dense_order


@everyone
def test_every_condition_holds_up_to_the_order_and_one_fails_beyond(tableau):
    checked = 0
    for weights, order in weight_sets(tableau):
        for r in range(1, order + 1):
            found = residuals(tableau, weights, r)
            assert max(map(abs, found.values())) <= tableau.tolerance
            checked += len(found)
        beyond = residuals(tableau, weights, order + 1)
        assert max(map(abs, beyond.values())) > tableau.tolerance
    sizes = [sum(len(trees(r)) for r in range(1, order + 1)) for _, order in weight_sets(tableau)]
    assert checked == sum(sizes)


@everyone
def test_row_sums(tableau):
    rows = tableau.a if isinstance(tableau, Tableau) else tableau.alpha
    assert all(
        abs(sum(row) - c) <= tableau.tolerance for row, c in zip(rows, tableau.c, strict=True)
    )
    assert all(abs(sum(weights) - 1) <= tableau.tolerance for weights, _ in weight_sets(tableau))
    if isinstance(tableau, RosenbrockTableau):
        pairs = zip(tableau.big_gamma, tableau.g, strict=True)
        assert all(abs(sum(row) - g) <= tableau.tolerance for row, g in pairs)
        assert all(tableau.big_gamma[i][i] == tableau.gamma for i in range(tableau.stages))


# the same orders by another road: series in dt of one step of y' = t + y^2, y(0) = 1 ------------

TERMS = 11
STEP = np.eye(TERMS)[1]  # the series of dt itself
ONE = np.eye(TERMS)[0]


def times(x, y):
    return np.convolve(x, y)[:TERMS]


def field(t, y):
    return t + times(y, y)


def exact_series():
    """y from y' = t + y^2, coefficient by coefficient."""
    y = ONE.copy()
    for k in range(1, TERMS):
        y[k] = field(STEP, y)[k - 1] / k
    return y


def butcher_series(tableau, weights):
    """One step; implicit stages by fixed-point iteration, which gains a power of dt each time."""
    a, b, c = (np.array(x, dtype=float) for x in (tableau.a, weights, tableau.c))
    k = np.zeros((tableau.stages, TERMS))
    for _ in range(TERMS + tableau.stages):
        stages = [ONE + times(STEP, row @ k) for row in a]
        k = np.array([field(node * STEP, y) for node, y in zip(c, stages, strict=True)])
    return ONE + times(STEP, b @ k)


def rosenbrock_series(tableau, b):
    """One step in the form that a program uses: (1/gamma - dt J) u_i = dt f + C u + g dt^2 f_t."""
    gamma, jacobian, f_t = float(tableau.gamma), 2.0, 1.0
    inverse = gamma * (gamma * jacobian) ** np.arange(TERMS)  # 1/(1/gamma - dt J) as a series
    u = np.zeros((tableau.stages, TERMS))
    for i in range(tableau.stages):
        a, big_c = (np.array(m[i], dtype=float) for m in (tableau.a, tableau.big_c))
        right = times(STEP, field(float(tableau.c[i]) * STEP, ONE + a @ u)) + big_c @ u
        right = right + float(tableau.g[i]) * f_t * times(STEP, STEP)
        u[i] = times(inverse, right)
    return ONE + np.array(b, dtype=float) @ u


def gaps(tableau):
    """Of both solutions their order, and how far each power of dt in one step is off."""
    solutions = [(tableau.b, tableau.order)]
    if tableau.b_error is not None:
        hat = tuple(x - y for x, y in zip(tableau.b, tableau.b_error, strict=True))
        solutions.append((hat, tableau.error_order))
    step = butcher_series if isinstance(tableau, Tableau) else rosenbrock_series
    return [(order, abs(step(tableau, weights) - exact_series())) for weights, order in solutions]


@everyone
def test_one_step_agrees_with_the_solution_to_the_order(tableau):
    for order, gap in gaps(tableau):
        assert gap[: order + 1].max() < 1e-10
        assert gap[order + 1 : order + 3].max() > 1e-7  # rodas3 gains an order on this problem


@pytest.mark.parametrize("order", range(1, 6))
@settings(max_examples=6)
@given(data=st.data())
def test_one_step_of_a_drawn_tableau_agrees_with_the_solution(order, data):
    for proven, gap in gaps(data.draw(testing.tableaux(order))):
        assert gap[: proven + 1].max() < 1e-10


# flags ------------------------------------------------------------------------------------------


@everyone
def test_flags_follow_from_the_numbers(tableau):
    if isinstance(tableau, RosenbrockTableau):
        assert tableau.fsal <= (tableau.c[-1] == 1)
        return
    upper = np.triu(np.array(tableau.a, dtype=float))
    assert tableau.explicit == (not upper.any())
    assert tableau.diagonally_implicit == (not np.triu(upper, 1).any() and upper.any())
    assert tableau.fsal == (tableau.stiffly_accurate and tableau.explicit_first_stage)
    if tableau.explicit:
        assert tableau.gamma is None


def test_flags_of_well_known_methods():
    assert {n for n, t in BUTCHER.items() if t.explicit and t.fsal} == {
        *("bosh3", "dopri5", "tsit5", "verner65")
    }
    for name in ("radau_iia3", "radau_iia5", "sdirk2", "implicit_euler"):
        assert BUTCHER[name].stiffly_accurate
        assert not BUTCHER[name].fsal
    for name in ("trbdf2", "trapezoid", "kvaerno5", "kencarp4"):
        assert BUTCHER[name].diagonally_implicit
        assert BUTCHER[name].fsal
    assert BUTCHER["gauss4"].gamma is None
    assert BUTCHER["implicit_midpoint"].gamma == F(1, 2)
    stiffly_accurate = {n for n, t in LINEAR.items() if t.stiffly_accurate}
    assert {"rodas3", "rodas4", "rodas4p", "rodas5p"} <= stiffly_accurate
    assert "ros3p" not in stiffly_accurate


# stage order ------------------------------------------------------------------------------------

STAGE_ORDERS = {
    **{"implicit_midpoint": 1, "trapezoid": 2, "trbdf2": 2, "sdirk2": 1, "kvaerno5": 2},
    **{"kencarp4": 2, "gauss4": 2, "gauss6": 3, "radau_iia3": 2, "radau_iia5": 3},
}


@runge_kutta
def test_stage_order(tableau):
    if tableau.explicit:
        assert stage_order(tableau) == 1
    assert stage_order(tableau) == STAGE_ORDERS.get(tableau.name, stage_order(tableau))


def test_orders_rise_with_the_verner_pairs():
    chain = [BUTCHER[n] for n in ("verner65", "verner76", "verner87")]
    assert all(y.order == x.order + 1 and y.stages > x.stages for x, y in pairwise(chain))
