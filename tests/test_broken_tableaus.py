"""Tableaux that are wrong on purpose: each must be refused, with the sentence that says why."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction as F

import pytest

from stiffguide import methods
from stiffguide.catalogue import TABLEAUX
from stiffguide.catalogue.collocation import GAUSS4, RADAU_IIA5
from stiffguide.catalogue.explicit import BOGACKI_SHAMPINE, DORMAND_PRINCE, RK4
from stiffguide.errors import TableauError, UnsupportedError
from stiffguide.methods.esdirk import Esdirk
from stiffguide.tableaux.order import prove
from stiffguide.tableaux.rosenbrock import RosenbrockTableau

LINEAR = {k: t for k, t in TABLEAUX.items() if isinstance(t, RosenbrockTableau)}


def refused(text):
    return pytest.raises(TableauError, match=text)


def changed(row, i, by):
    i %= len(row)
    return tuple(x + by if j == i else x for j, x in enumerate(row))


def moved(matrix, i, source, target, by):
    """Row i with `by` moved from one column to another: the row sum stays."""
    row = changed(changed(matrix[i], source, -by), target, by)
    return (*matrix[:i], row, *matrix[i + 1 :])


def test_a_wrong_node_is_refused():
    with refused(r"gauss4: row 1 of a sums to 0\.788\S*, c\[1\] says 0\.211"):
        replace(GAUSS4, c=(GAUSS4.c[0], GAUSS4.c[0]))


def test_wrong_embedded_weights_are_refused():
    b_error = changed(changed(BOGACKI_SHAMPINE.b_error, 0, F(1, 24)), 1, F(-1, 24))
    with refused(
        r"bosh3: b_hat is not of error_order 2: the condition sum b_hat_i c_i = 1/2 of order 2 "
        r"is missed by 0\.0208 \(tree \[\[\]\]\)"
    ):
        prove(replace(BOGACKI_SHAMPINE, b_error=b_error))
    with refused("bosh3: b_error sums to 0.0417, not to 0"):
        replace(BOGACKI_SHAMPINE, b_error=changed(BOGACKI_SHAMPINE.b_error, 0, F(1, 24)))


@pytest.mark.parametrize("tableau", [RK4, DORMAND_PRINCE, GAUSS4, RADAU_IIA5], ids=lambda t: t.name)
def test_wrong_orders_are_refused(tableau):
    with refused(rf"{tableau.name}: b is not of order {tableau.order + 1}: the condition sum b_i"):
        prove(replace(tableau, order=tableau.order + 1))
    with refused(f"{tableau.name}: b is of order {tableau.order} at least, order says"):
        prove(replace(tableau, order=tableau.order - 1))


def test_wrong_embedded_orders_are_refused():
    with refused(r"dopri5: b_hat is not of error_order 5: the condition sum b_hat_i"):
        prove(replace(DORMAND_PRINCE, error_order=5))
    with refused("dopri5: b_hat is of order 4 at least, error_order says 3"):
        prove(replace(DORMAND_PRINCE, error_order=3))


def test_wrong_stage_coefficients_are_refused():
    with refused(r"dopri5: b is not of order 5: the condition sum b_i .*a_ij .* is missed by"):
        prove(replace(DORMAND_PRINCE, a=moved(DORMAND_PRINCE.a, 4, 2, 1, F(1, 1000))))


def test_a_last_digit_is_seen_in_rational_tableaux():
    a = moved(DORMAND_PRINCE.a, 4, 2, 1, F(1, 10**40))
    with refused("is missed by"):
        prove(replace(DORMAND_PRINCE, a=a))


def test_wrong_dense_output_is_refused():
    dense = moved(DORMAND_PRINCE.dense, 3, 1, 2, F(1, 100))
    with refused(r"dopri5: dense is not of dense_order 4: .* theta\^1 the coefficient of theta"):
        prove(replace(DORMAND_PRINCE, dense=dense))
    with refused("dopri5: dense is of order 4 at least, dense_order says 3"):
        prove(replace(DORMAND_PRINCE, dense_order=3))
    with refused(r"dopri5: dense is not of dense_order 5"):
        prove(replace(DORMAND_PRINCE, dense_order=5))
    with refused("dense row 3 gives"):
        replace(DORMAND_PRINCE, dense=(*dense[:3], changed(dense[3], 0, F(1)), *dense[4:]))


def test_claims_of_one_order_more_or_less_are_always_refused():
    for tableau in TABLEAUX.values():
        for by in (-1, 1):
            if tableau.order + by > 0:
                with refused(f"{tableau.name}: b is "):
                    prove(replace(tableau, order=tableau.order + by))
            if tableau.error_order is not None and tableau.error_order + by > 0:
                with refused(f"{tableau.name}: b_hat is "):
                    prove(replace(tableau, error_order=tableau.error_order + by))


def rebuilt(tableau, **other):
    """The tableau from its textbook form, with something in it replaced."""
    fields = ("name", "alpha", "big_gamma", "weights", "order", "source", "digits")
    given = {field: getattr(tableau, field) for field in fields}
    return RosenbrockTableau.from_textbook(
        **{**given, "error_order": tableau.error_order, "error_weights": tableau.error_weights}
        | other
    )


@pytest.mark.parametrize("name", [n for n, t in LINEAR.items() if t.error_order])
def test_broken_rosenbrock_tableaux_are_refused(name):
    tableau = LINEAR[name]
    with refused(rf"{name}: c\[1\] is .*, the row sum that belongs to it is"):
        replace(tableau, c=changed(tableau.c, 1, F(1, 100)))
    with refused(rf"{name}: g\[1\] is"):
        replace(tableau, g=changed(tableau.g, 1, F(1, 100)))
    with refused(rf"{name}: the weights sum to"):
        replace(tableau, b=changed(tableau.b, 0, F(1, 100)), dense=None, dense_order=None)
    wrong = changed(changed(tableau.error_weights, 0, F(1, 100)), -1, F(-1, 100))
    with refused(rf"{name}: b_hat is not of error_order {tableau.error_order}: .* sum b_hat_i"):
        prove(rebuilt(tableau, error_weights=wrong))
    prove(rebuilt(tableau, error_weights=tableau.error_weights))


def test_a_rosenbrock_coefficient_is_seen_by_the_order_conditions():
    rodas3 = LINEAR["rodas3"]
    with refused(r"rodas3: b is not of order 3: the condition sum b_i .*(alpha|beta)"):
        prove(rebuilt(rodas3, alpha=moved(rodas3.alpha, 3, 0, 1, F(1, 100))))


def test_a_rosenbrock_dense_order_is_checked():
    for tableau in (LINEAR["rodas4"], LINEAR["rodas5p"]):
        for by, text in ((1, "dense is not of dense_order"), (-1, "dense is of order")):
            with refused(f"{tableau.name}: {text}"):
                prove(replace(tableau, dense_order=tableau.dense_order + by))


def test_an_explicit_stage_after_the_first_is_not_stepped_as_if_it_were_the_first():
    """With one gamma the stages before it would count for nothing."""
    late = replace(
        GAUSS4,
        name="late",
        a=((F(1, 2), F(0)), (F(1), F(0))),
        b=(F(1), F(0)),
        c=(F(1, 2), F(1)),
        digits=48,
    )
    assert late.gamma == F(1, 2)
    assert late.diagonally_implicit
    assert not late.singly_diagonal
    with refused("needs a lower triangular with one gamma in all stages but an explicit first one"):
        Esdirk(late)
    with pytest.raises(UnsupportedError, match="late is singular beyond an explicit first stage"):
        methods.from_tableau(late)
    for name, method in {n: methods.get(n) for n in methods.names()}.items():
        if isinstance(method, Esdirk):
            assert TABLEAUX[name].singly_diagonal
