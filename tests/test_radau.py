"""Fully implicit methods: their numbers, their systems, their estimate, what they conserve."""

from __future__ import annotations

import math
from fractions import Fraction as F
from typing import Any

import numpy as np
import pytest
import torch
from families import close, fixed, real, wave, wavy
from torch import Tensor

import stiffguide as sg
from stiffguide import Fixed, methods, problems
from stiffguide.catalogue import TABLEAUX
from stiffguide.catalogue.collocation import ALL
from stiffguide.fields.jacobian import GivenJacobian
from stiffguide.methods.radau import polynomial
from stiffguide.methods.radau.estimate import beside
from stiffguide.methods.radau.spectrum import spectrum
from stiffguide.stepping.tolerance import Tolerance
from stiffguide.tableaux.tableau import Tableau
from stiffguide.verification import observed_error_exponent, observed_order

collocation = pytest.mark.parametrize("tableau", ALL, ids=lambda t: t.name)
SQRT6 = math.sqrt(6)

# Not a collocation method: C(2) does not hold for it.
LOBATTO_IIIC = Tableau(
    name="lobatto_iiic4",
    a=((F(1, 6), F(-1, 3), F(1, 6)), (F(1, 6), F(5, 12), F(-1, 12)), (F(1, 6), F(2, 3), F(1, 6))),
    b=(F(1, 6), F(2, 3), F(1, 6)),
    c=(F(0), F(1, 2), F(1)),
    order=4,
    source="Hairer and Wanner II, IV.5, table 5.11",
)
# Its first stage is f0.
LOBATTO_IIIA = Tableau(
    name="lobatto_iiia4",
    a=((), (F(5, 24), F(1, 3), F(-1, 24)), (F(1, 6), F(2, 3), F(1, 6))),
    b=(F(1, 6), F(2, 3), F(1, 6)),
    c=(F(0), F(1, 2), F(1)),
    order=4,
    source="Hairer and Wanner II, IV.5, table 5.7",
)
# A diagonal of two values, and a pair.
TWO_GAMMAS = Tableau(
    name="two_gammas",
    a=((F(1, 4),), (F(5, 12), F(1, 3))),
    b=(F(1, 2), F(1, 2)),
    c=(F(1, 4), F(3, 4)),
    order=2,
    source="made for this test",
    b_error=(F(-1, 2), F(1, 2)),
    error_order=1,
)
# Two stages at one node, which are the same.
TWICE = Tableau(
    name="twice",
    a=((F(1, 2),), (F(1, 6), F(1, 3))),
    b=(F(0), F(1)),
    c=(F(1, 2), F(1, 2)),
    order=2,
    source="made for this test: the implicit midpoint rule",
)
OWN = [LOBATTO_IIIC, LOBATTO_IIIA, TWO_GAMMAS, TWICE]

# numbers ------------------------------------------------------------------------------------------


def test_the_eigenvalues_and_the_estimate_are_the_published_ones() -> None:
    """Hairer and Wanner II, IV.8: 1/gamma, alpha and beta of RADAU5, and (8.18)."""
    a = TABLEAUX["radau_iia5"].a
    found = spectrum("radau_iia5", a).shifts
    cube = 3.0 ** (1 / 3)
    real_one = 3 + cube**2 - cube
    pair = complex(3 - (cube**2 - cube) / 2, math.sqrt(3) * (cube**2 + cube) / 2)
    assert found == pytest.approx((real_one, pair), rel=1e-13)
    estimate = beside(TABLEAUX["radau_iia5"])
    matrix = np.array([[float(x) for x in row] for row in a])
    by_increments = -np.array(estimate.weights) @ np.linalg.inv(matrix) * real_one
    published = [(-13 - 7 * SQRT6) / 3, (-13 + 7 * SQRT6) / 3, -1 / 3]
    assert by_increments == pytest.approx(published, rel=1e-12)
    assert estimate.start == pytest.approx(-1 / real_one, rel=1e-13)


@pytest.mark.parametrize("tableau", [*ALL, LOBATTO_IIIC, TWO_GAMMAS], ids=lambda t: t.name)
def test_a_system_falls_apart_and_is_whole_again(tableau: Tableau) -> None:
    found = spectrum(tableau.name, tableau.a)
    into, out = np.array(found.into), np.array(found.out)
    block = np.zeros_like(into)
    i = 0
    for shift in found.shifts:
        if shift.imag == 0:
            block[i, i] = shift.real
            i += 1
        else:  # of real and imaginary part
            x, y = shift.real, shift.imag
            block[i : i + 2, i : i + 2] = [[x, -y], [y, x]]
            i += 2
    assert out @ block @ into == pytest.approx(np.array(found.inverse), abs=1e-12)
    assert out @ into == pytest.approx(np.eye(len(into)), abs=1e-12)


@collocation
def test_the_polynomial_is_that_of_collocation(tableau: Tableau) -> None:
    assert polynomial.collocates(tableau)
    along, beyond = (
        np.array([[float(x) for x in row] for row in f(tableau.c)])
        for f in (polynomial.along, polynomial.beyond)
    )
    powers = np.arange(1, tableau.stages + 1)
    at = [float(c) ** powers @ along for c in tableau.c]
    assert np.array(at) == pytest.approx(np.array(tableau.a, dtype=float), abs=1e-13)
    for x in (0.3, 2.0):
        moved = (1 + x) ** powers @ along - np.ones(len(powers)) @ along
        assert x**powers @ beyond == pytest.approx(moved, abs=1e-12)


def test_what_does_not_collocate_has_no_such_polynomial() -> None:
    assert not polynomial.collocates(LOBATTO_IIIC)
    assert not polynomial.collocates(TWO_GAMMAS)
    assert not polynomial.collocates(TWICE)
    assert polynomial.collocates(LOBATTO_IIIA)


# steps --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tableau", OWN, ids=lambda t: t.name)
def test_tableaus_of_a_user_have_their_order(tableau: Tableau) -> None:
    assert observed_order(tableau) == pytest.approx(tableau.order, abs=0.15)
    method = methods.from_tableau(tableau)
    theta = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
    gaps = []
    for dt in (0.1, 0.05):
        found = sg.solve(
            wavy,
            wave(0.3),
            0.3,
            0.3 + dt,
            dense=True,
            controller=Fixed(dt),
            method=tableau,
            rtol=1e-12,
            atol=1e-12,
        ).at(0.3 + dt * theta)
        gaps.append(float((found - wave(0.3 + dt * theta)).abs().max()))
    assert math.log2(gaps[0] / gaps[1]) > method.dense_order + 1 - 0.3


def test_a_pair_of_a_user_chooses_dt() -> None:
    assert observed_error_exponent(TWO_GAMMAS) == pytest.approx(2, abs=0.3)
    found = sg.solve(wavy, wave(0.0), 0.0, 2.0, method=TWO_GAMMAS, rtol=1e-5, atol=1e-6)
    close(found.raise_if_failed().y[-1], wave(2.0), rtol=1e-3)


@pytest.mark.parametrize("name", ["gauss4", "gauss6"])
def test_gauss_methods_keep_what_is_quadratic(name: str) -> None:
    """|y|^2, on a rigid body, to what Newton leaves, and for as long as one likes."""

    def f(t: Tensor, y: Tensor) -> Tensor:
        a, b, c = y.unbind(-1)
        return torch.stack((-b * c, 0.49 * a * c, 0.51 * a * b), -1)

    end = fixed(name, f, real(0.3, 0.8, 0.5), 0.0, 50.0, 100)
    assert abs(float(end.square().sum()) - 0.98) < 1e-11
    other = fixed("radau_iia5", f, real(0.3, 0.8, 0.5), 0.0, 50.0, 100)
    assert abs(float(other.square().sum()) - 0.98) > 1e-6


@collocation
def test_a_long_step_that_was_given_is_solved_if_it_can_be(tableau: Tableau) -> None:
    """No shorter one can be tried: with new Jacobians the iteration goes on while it contracts."""

    def f(t: Tensor, y: Tensor) -> Tensor:
        return -(y**2) + torch.sin(t) * y.flip(-1)

    given = {"method": tableau.name, "controller": Fixed(0.6)}
    ends = [
        sg.solve(f, real(2.0, 1.0), 0.0, 1.2, rtol=x, atol=x, **given).raise_if_failed().y[-1]
        for x in (1e-4, 1e-12)
    ]
    close(*ends, rtol=1e-5)
    none = sg.solve(lambda t, y: 50 * y**2, real(1.0), 0.0, 1.2, **given)  # no y1 is real
    assert none.status == sg.Status.NOT_CONVERGED


@pytest.mark.parametrize("lam", [-1e3, -1e6, -1e10])
def test_stiff_components_follow_the_solution_they_are_drawn_to(lam: float) -> None:
    """Prothero and Robinson: an L-stable, stiffly accurate method has no error at infinity."""
    p = problems.prothero_robinson(lam)
    ends = {
        name: fixed(name, p.f, p.y0 + 1e-3, 0.0, 2.0, 20, jac=p.jac)
        for name in ("radau_iia5", "radau_iia3", "radau5")
    }
    for name, end in ends.items():
        assert abs(float(end) - math.cos(2.0)) < 10 / abs(lam) * (1e-3 if "3" not in name else 1)
    free = sg.solve(p.f, p.y0, 0.0, 10.0, method="radau5", rtol=1e-8, atol=1e-10, jac=p.jac)
    assert abs(float(free.y[-1]) - math.cos(10.0)) < 30 * 1e-8
    assert int(free.stats.accepted) < 200


def test_the_estimate_is_of_the_size_of_the_error_of_order_three() -> None:
    """It sees linear problems on both sides of 0 and beside it, and stays of size 1 far away."""
    z = torch.tensor([-0.5, 0.5, -2.0, -1e3, -1e8], dtype=torch.float64)
    found = one_step(z)
    short = found.error.squeeze(-1)[:2] / (z[:2] ** 4)
    assert (short.abs() > 1e-4).all()
    assert (short.abs() < 1e-1).all()
    assert float(found.error[-1].abs()) < 1.0


def one_step(z: Tensor) -> Any:
    """A step of length 1 on y' = z y, in each row its own; Newton is done after an iteration."""
    f = GivenJacobian(lambda t, y: z.unsqueeze(-1) * y, lambda t, y: z.reshape(-1, 1, 1))
    t0, y0 = torch.zeros_like(z), torch.ones_like(z).unsqueeze(-1)
    method = methods.get("radau5")
    state = method.init(f, t0, y0)
    return method.step(f, t0, t0 + 1, y0, f(t0, y0), state, Tolerance(1e9, 1e9))


@pytest.mark.parametrize("lam", [-1e2, -1e3, -1e4, -1e6])
@pytest.mark.parametrize("first_step", [None, 1.5])
def test_no_step_passes_over_what_fast_modes_make_of_curvature(
    lam: float, first_step: float | None
) -> None:
    p = problems.prothero_robinson(lam)
    for rtol in (1e-5, 1e-7, 1e-9):
        settings = {"rtol": rtol, "atol": 0.01 * rtol, "first_step": first_step, "jac": p.jac}
        found = sg.solve(
            p.f, p.y0, 0.0, 5.0, method="radau5", save_at=sg.EveryStep(), **settings
        ).raise_if_failed()
        assert float((found.y[:, 0] - torch.cos(found.t)).abs().max()) < 30 * rtol


# economy ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("eager")
def test_a_linear_problem_takes_one_jacobian_and_few_factors() -> None:
    matrix = real(-1000.0, 999.0, 1.0, -2.0).reshape(2, 2)
    found = sg.solve(lambda t, y: y @ matrix.T, real(1.0, 0.0), 0.0, 10.0, method="radau5")
    assert int(found.stats.njac) == 1
    attempts = int(found.stats.accepted + found.stats.rejected)
    assert int(found.stats.nlu) < 2 * attempts


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("name", ["hires", "pollu"])
def test_stages_are_predicted(name: str) -> None:
    """At tight tolerances two iterations of three evaluations do, and the estimate takes none."""
    p = problems.get(name)
    found = sg.solve(p.f, p.y0, p.t0, p.t1, method="radau5", rtol=1e-8, atol=p.atol, jac=p.jac)
    attempts = int(found.stats.accepted + found.stats.rejected)
    assert int(found.stats.nfe) < 8 * attempts
    assert int(found.stats.njac) < 0.15 * attempts


# linear systems, states ---------------------------------------------------------------------------


def heat(t: Tensor, y: Tensor) -> Tensor:
    """Diffusion with a source that depends on the state."""
    flux = torch.nn.functional.pad(y.diff(dim=-1), (1, 1))
    return 50.0 * flux.diff(dim=-1) + y * (1 - y) + torch.sin(t).unsqueeze(-1)


@pytest.mark.parametrize("linear", ["dense", "band", "sparse", sg.Krylov(rtol=1e-6)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_all_linear_systems_give_one_answer(linear: Any, dtype: torch.dtype) -> None:
    y0 = torch.linspace(0, 1, 20, dtype=dtype)
    rtol = 1e-6 if dtype == torch.float64 else 1e-4
    settings = {"method": "radau5", "rtol": rtol, "atol": 0.1 * rtol, "backend": "eager"}
    found = sg.solve(heat, y0, 0.0, 1.0, linear_solver=linear, **settings).raise_if_failed()
    exact = sg.solve(heat, y0.double(), 0.0, 1.0, method="rodas5p", rtol=1e-9, atol=1e-10)
    close(found.y[-1].double(), exact.y[-1], rtol=20 * rtol)


@pytest.mark.parametrize("linear", ["dense", "band", "sparse"])
@pytest.mark.parametrize("name", ["radau5", "gauss4"])
def test_gradients_are_those_of_the_solution(name: str, linear: str) -> None:
    """To the accuracy of the solution, by systems of all stages whose Jacobians are their own."""
    slopes = []
    for method, solver in ((name, linear), ("tsit5", None)):
        y0 = torch.linspace(0, 1, 6, dtype=torch.float64, requires_grad=True)
        grid = {"controller": Fixed(0.05)} if method == "gauss4" else {}
        settings = {"method": method, "linear_solver": solver, "rtol": 1e-9, "atol": 1e-10, **grid}
        found = sg.solve(heat, y0, 0.0, 0.5, **settings)
        slopes.append(torch.autograd.grad(found.y[-1].square().sum(), y0)[0])
    close(slopes[0], slopes[1], rtol=1e-7 if name == "radau5" else 1e-2)


def test_a_complex_state_is_solved_in_parts() -> None:
    def turning(t: Tensor, z: Tensor) -> Tensor:
        return 1j * z * z.abs().square() - 100 * (z - z / z.abs())

    z0 = torch.tensor([0.3 + 0.4j, 1.2 - 0.1j])
    for dtype, rtol in ((torch.complex128, 1e-8), (torch.complex64, 1e-4)):
        settings = {"method": "radau5", "rtol": rtol, "atol": rtol}
        found = sg.solve(turning, z0.to(dtype), 0.0, 1.0, **settings).raise_if_failed().y[-1]
        exact = sg.solve(turning, z0.to(torch.complex128), 0.0, 1.0, method="dop853", rtol=1e-11)
        assert float((found - exact.y[-1]).abs().max()) < 100 * rtol


def test_a_first_stage_that_is_explicit_begins_with_the_derivative() -> None:
    """Not with f, where M y' = f; and gradients go through a mass, too."""
    mass = real(2.0, 0.5, -1.0, 0.75).reshape(2, 2)
    inverse, ends = torch.linalg.inv(mass), []
    for method in (LOBATTO_IIIA, "radau5", "tsit5"):
        k = real(0.7).requires_grad_()
        given = {"controller": Fixed(0.01)} if method is LOBATTO_IIIA else {}

        def f(t: Tensor, y: Tensor, k: Tensor, plain: bool = method == "tsit5") -> Tensor:
            value = torch.stack((torch.sin(t) - k[0] * y[1], y[0] * y[1]))
            return inverse @ value if plain else value

        settings = {"rtol": 1e-9, "atol": 1e-10, **given}
        weighed = {} if method == "tsit5" else {"mass": mass}
        found = sg.solve(
            f, real(0.5, 1.0), 0.0, 1.0, args=(k,), method=method, **weighed, **settings
        )
        (slope,) = torch.autograd.grad(found.y[-1].sum(), k)
        ends.append(torch.cat((found.y[-1].detach(), slope)))
    close(ends[0], ends[2], rtol=1e-6)
    close(ends[1], ends[2], rtol=1e-6)


def test_radau_by_its_other_names() -> None:
    assert methods.get("Radau") is methods.get("radau") is methods.get("radau5")


def test_a_method_without_a_pair_takes_no_controller_that_judges() -> None:
    with pytest.raises(sg.InputError, match=r"gauss4 has no embedded pair.*Fixed\(dt\)"):
        sg.solve(wavy, wave(0.0), 0.0, 1.0, method="gauss4")
