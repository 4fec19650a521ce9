"""Every method shows the order that its tableau claims, and so does its error estimate."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction as F

import pytest
import torch
from families import METHODS, UNPAIRED, every_method, every_paired, real

from stiffguide import methods
from stiffguide.catalogue import TABLEAUX
from stiffguide.errors import InputError, TableauError
from stiffguide.tableaux.order import prove
from stiffguide.verification import (
    EXPONENT_ALLOWANCE,
    observed_error_exponent,
    observed_order,
    orbit,
    orbit_field,
    orbit_jac,
    order_allowance,
    slope,
)

# the measure itself ---------------------------------------------------------------------------


def test_the_orbit_solves_its_field():
    t = torch.linspace(0.0, 5.0, 11, dtype=torch.float64)
    _, slopes = torch.func.jvp(orbit, (t,), (torch.ones_like(t),))
    torch.testing.assert_close(orbit_field(t, orbit(t)), slopes, rtol=0, atol=1e-15)


def test_the_jacobian_is_that_of_the_field():
    t, y = real(0.3, 2.0), torch.stack((real(0.4, -0.7), real(1.1, 0.2)))
    by_row = torch.func.vmap(torch.func.jacrev(orbit_field, argnums=1))(t, y)
    torch.testing.assert_close(orbit_jac(t, y), by_row)


def test_the_problem_is_coupled_nonlinear_and_depends_on_time():
    t, y = real(0.3), real(0.4, 0.9).unsqueeze(0)
    jac = orbit_jac(t, y)[0]
    assert jac.abs().min() > 0.1
    assert (orbit_jac(t, 2 * y)[0] - jac).abs().max() > 0.1
    assert (orbit_jac(t + 1, y)[0] - jac).abs().max() > 0.1


def test_a_slope_leaves_out_rounding_and_failures():
    points = [(2.0**-k, 3 * 8.0**-k) for k in range(3, 9)]
    noise = [(2.0**-20, 1e-16), (2.0**-19, float("nan"))]
    assert slope(noise + points, 1e-13, "x") == pytest.approx(3.0)
    with pytest.raises(InputError, match="x: only 0 of the errors"):
        slope(noise, 1e-13, "x")


# the laws -------------------------------------------------------------------------------------


@every_method
def test_observed_order(name):
    claim = METHODS[name].order
    assert observed_order(name) == pytest.approx(claim, abs=order_allowance(claim))


@every_paired
def test_observed_exponent_of_the_error_estimate(name):
    claim = METHODS[name].error_order + 1
    assert observed_error_exponent(name) == pytest.approx(claim, abs=EXPONENT_ALLOWANCE)


@pytest.mark.parametrize("name", UNPAIRED)
def test_a_method_without_a_pair_has_no_exponent(name):
    with pytest.raises(InputError, match="no embedded pair"):
        observed_error_exponent(name)


# errors planted on purpose --------------------------------------------------------------------


def with_node(tableau, i, node):
    """The tableau with another node, behind the back of its constructor."""
    broken = replace(tableau, name=f"broken_{tableau.name}")
    object.__setattr__(broken, "c", (*tableau.c[:i], node, *tableau.c[i + 1 :]))
    return broken


@pytest.mark.parametrize(
    ("name", "i", "node"), [("rk4", 2, F(2, 5)), ("dopri5", 3, F(3, 4)), ("kvaerno5", 3, F(1, 2))]
)
def test_a_wrong_node_is_seen(name, i, node):
    broken = with_node(TABLEAUX[name], i, node)
    with pytest.raises(TableauError, match="c"):
        replace(broken)  # the constructor would have refused it
    assert observed_order(broken) < broken.order - 1
    fine = methods.get(name)
    assert abs(observed_order(fine) - fine.order) <= order_allowance(fine.order)


def test_a_wrong_stage_is_seen_by_proof_and_by_measurement():
    rk4 = TABLEAUX["rk4"]
    a = (rk4.a[0], rk4.a[1], (F(1, 10), F(2, 5), F(0), F(0)), rk4.a[3])  # the row sum still holds
    broken = replace(rk4, name="broken", a=a)
    with pytest.raises(TableauError, match="broken: b is not of order 4"):
        prove(broken)
    assert observed_order(broken) < 3.5


def test_a_wrong_estimate_is_seen():
    bosh3 = TABLEAUX["bosh3"]
    b_error = (bosh3.b_error[0] + F(1, 24), bosh3.b_error[1] - F(1, 24), *bosh3.b_error[2:])
    broken = replace(bosh3, name="broken", b_error=b_error)
    assert observed_error_exponent(broken) < 2.5
    assert observed_error_exponent("bosh3") > 2.7
