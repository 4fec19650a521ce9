"""Equalities that hold for every step: polynomials, symmetries, R(z), and the shapes of states."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from families import (
    METHODS,
    SOLVERS,
    TABLEAU,
    close,
    every_family,
    every_method,
    every_paired,
    every_smooth,
    fixed,
    real,
    rtol_for,
    wave,
    wavy,
)
from hypothesis import given, settings
from hypothesis import strategies as st

import stiffguide as sg
from stiffguide import Fixed, Grid, testing
from stiffguide.tableaux.order import embedded_weights
from stiffguide.tableaux.stability import StabilityFunction, stability_function

every_tableau = pytest.mark.parametrize("name", TABLEAU)
small = st.floats(-2, 2).map(lambda x: round(x, 6))
few = settings(max_examples=3)


# polynomials -------------------------------------------------------------------------------------


@every_method
@few
@given(data=st.data())
def test_polynomials_of_the_degree_of_the_method_are_exact(name: str, data: st.DataObject) -> None:
    p = METHODS[name].order - (METHODS[name].family == "Adams")  # which begins a little below
    known = data.draw(testing.polynomial_fields(p))
    found = fixed(name, known.f, known.y0, known.t0, known.t1, 3)
    close(found, known.y1, rtol=1e-11, atol=1e-11)


@every_smooth
@few
@given(data=st.data())
def test_uneven_steps_are_as_exact(name: str, data: st.DataObject) -> None:
    known = data.draw(testing.polynomial_fields(METHODS[name].order))
    grid = Grid(data.draw(testing.times(known.t0, known.t1)))
    found = fixed(name, known.f, known.y0, known.t0, known.t1, 1, controller=grid)
    close(found, known.y1, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", [n for n in TABLEAU if METHODS[n].family != "Rosenbrock"])
def test_beyond_its_degree_a_step_is_the_quadrature_of_the_tableau(name: str) -> None:
    tableau = TABLEAU[name]
    for k in (tableau.order, tableau.order + 2):
        found = fixed(name, lambda t, y, k=k: t**k + 0 * y, real(0.0), 0.0, 1.0, 1)
        moment = sum(b * c**k for b, c in zip(tableau.b, tableau.c, strict=True))
        close(found, real(float(moment)), rtol=1e-11, atol=1e-11)


# symmetries --------------------------------------------------------------------------------------


@every_method
@few
@given(shift=st.floats(-100, 100), span=st.floats(0.01, 0.2))
def test_a_shift_of_time_changes_nothing(name: str, shift: float, span: float) -> None:
    here = fixed(name, wavy, wave(0.0), 0.0, span, 2)
    there = fixed(name, lambda t, y: wavy(t - shift, y), wave(0.0), shift, shift + span, 2)
    close(there, here, rtol=1e-11)


@every_family
def test_adaptive_steps_do_not_depend_on_the_origin_of_time(name: str) -> None:
    settings = {"method": name, "rtol": rtol_for(name, 1e-6), "atol": 1e-8}
    here = sg.solve(wavy, wave(0.0), 0.0, 3.0, **settings)
    there = sg.solve(lambda t, y: wavy(t - 50, y), wave(0.0), 50.0, 53.0, **settings)
    assert int(here.stats.accepted) == int(there.stats.accepted)
    close(there.y, here.y, rtol=1e-10)


@every_tableau
@few
@given(entries=st.lists(small, min_size=4, max_size=4))
def test_a_linear_change_of_state_commutes_with_a_step(name: str, entries: list[float]) -> None:
    change = real(*entries).reshape(2, 2) + 6 * torch.eye(2, dtype=torch.float64)
    back = torch.linalg.inv(change)
    plain = fixed(name, wavy, wave(0.0), 0.0, 0.1, 2)
    changed = fixed(name, lambda t, y: change @ wavy(t, back @ y), change @ wave(0.0), 0.0, 0.1, 2)
    close(changed, change @ plain, rtol=1e-10)


@every_method
@few
@given(span=st.floats(0.01, 0.2))
def test_backwards_in_time_is_the_negated_field(name: str, span: float) -> None:
    forwards = fixed(name, lambda t, y: -wavy(-t, y), wave(0.0), 0.0, span, 2)
    backwards = fixed(name, wavy, wave(0.0), 0.0, -span, 2)
    assert torch.equal(forwards, backwards)


@every_paired
def test_adaptive_steps_backwards_mirror_those_forwards(name: str) -> None:
    settings = {"method": name, "rtol": 1e-4, "atol": 1e-6, "save_at": sg.EveryStep()}
    back = sg.solve(wavy, wave(0.0), 0.0, -2.0, **settings)
    mirror = sg.solve(lambda t, y: -wavy(-t, y), wave(0.0), 0.0, 2.0, **settings)
    assert torch.equal(back.t, -mirror.t)
    assert torch.equal(back.y, mirror.y)


@pytest.mark.parametrize("name", [n for n in TABLEAU if METHODS[n].implicit])
def test_what_newton_leaves_is_far_below_the_tolerance(name: str) -> None:
    for rtol in (1e-2, 1e-4):
        exact = fixed(name, wavy, wave(0.0), 0.0, 0.4, 2, rtol=1e-12, atol=1e-12)
        found = fixed(name, wavy, wave(0.0), 0.0, 0.4, 2, rtol=rtol, atol=rtol)
        close(found, exact, rtol=0.05 * rtol)


@every_family
def test_there_and_back_again(name: str) -> None:
    settings = {"method": name, "rtol": rtol_for(name, 1e-8), "atol": 1e-9}
    there = sg.solve(wavy, wave(0.0), 0.0, 2.0, **settings)
    back = sg.solve(wavy, there.y[-1], 2.0, 0.0, **settings)
    close(there.y[-1], wave(2.0), rtol=100 * rtol_for(name, 1e-8))
    close(back.y[-1], wave(0.0), rtol=100 * rtol_for(name, 1e-8))


# the stability function --------------------------------------------------------------------------


def value_of(function: StabilityFunction, z: complex) -> complex:
    """P(z)/Q(z) in float64, in powers of 1/z where z is large."""
    p, q = (np.array([float(x) for x in part]) for part in function)
    if abs(z) <= 1:
        return complex(np.polyval(p[::-1], z) / np.polyval(q[::-1], z))
    lift = z ** (len(p) - len(q))
    return complex(lift * np.polyval(p, 1 / z) / np.polyval(q, 1 / z))


def r_of(name: str, z: complex) -> complex:
    return value_of(stability_function(TABLEAU[name]), z)


def step_of(name: str, z: complex) -> complex:
    """What one step of length 1 makes of (1, 0) under the rotation and growth that z is."""
    matrix = real(z.real, -z.imag, z.imag, z.real).reshape(2, 2)
    found = fixed(name, lambda t, y: matrix @ y, real(1.0, 0.0), 0.0, 1.0, 1)
    return complex(*found.tolist())


@every_tableau
@few
@given(re=st.floats(-4, 0.1), im=st.floats(-3, 3))
def test_a_step_multiplies_by_the_stability_function(name: str, re: float, im: float) -> None:
    z = complex(re, im)
    assert abs(step_of(name, z) - r_of(name, z)) < 1e-11 * (1 + abs(z)) ** 4


@pytest.mark.parametrize("name", [n for n in TABLEAU if METHODS[n].implicit])
@pytest.mark.parametrize("z", [-30.0, -1e3, -1e8, -1e13, -50 + 200j, 1e6j])
def test_implicit_steps_multiply_by_it_far_away(name: str, z: complex) -> None:
    assert abs(step_of(name, complex(z)) - r_of(name, complex(z))) < 1e-9 + 1e-15 * abs(z)


@pytest.mark.parametrize("name", [n for n, t in TABLEAU.items() if t.error_order is not None])
def test_no_error_estimate_is_blind_to_linear_problems(name: str) -> None:
    tableau = TABLEAU[name]
    hat = embedded_weights(tableau)
    seen = []
    for z in (-0.5, 0.5, 0.5j, -0.5 + 0.5j):
        main, low = (value_of(stability_function(tableau, w), z) for w in (None, hat))
        seen.append(abs(main - low) > 0.05 * abs(main - np.exp(z)))
    # Fehlberg made the error of his order 1 small: it is dt^2/512 where that of order 2 is dt^3/6
    assert not any(seen) if name == "fehlberg2" else all(seen)


# dense output ------------------------------------------------------------------------------------


@every_paired
def test_save_at_and_dense_and_every_step_are_one_solution(name: str) -> None:
    settings = {"method": name, "rtol": 1e-4, "atol": 1e-6, "dense": True}
    times = torch.linspace(0, 2, 23, dtype=torch.float64)
    saved = sg.solve(wavy, wave(0.0), 0.0, 2.0, save_at=times, **settings)
    assert torch.equal(saved.t, times)
    close(saved.at(times), saved.y, rtol=1e-13)
    steps = sg.solve(wavy, wave(0.0), 0.0, 2.0, save_at=sg.EveryStep(), **settings)
    assert steps.t[0] == 0
    assert steps.t[-1] == 2
    assert (steps.t.diff() > 0).all()
    assert torch.equal(steps.at(steps.t), steps.y)
    assert torch.equal(steps.y[-1], saved.y[-1])
    assert torch.equal(sg.solve(wavy, wave(0.0), 0.0, 2.0, **settings).y[0], saved.y[-1])
    close(saved.y, wave(times), rtol=0.05)
    assert torch.equal(saved.at(1.0), saved.at(real(1.0))[0])
    assert torch.isnan(saved.at(real(-0.1, 2.1))).all()


@every_method
def test_interpolants_have_their_order(name: str) -> None:
    method = METHODS[name]
    theta = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
    gaps = []
    for dt in (0.2, 0.1, 0.05, 0.025):
        one = {"controller": Fixed(dt), "method": name, "rtol": 1e-12, "atol": 1e-12}
        found = sg.solve(wavy, wave(0.3), 0.3, 0.3 + dt, dense=True, **one).at(0.3 + dt * theta)
        gaps.append(float((found - wave(0.3 + dt * theta)).abs().max()))
    slopes = [math.log2(x / y) for x, y in pairwise(gaps) if y > 1e-13]
    assert slopes[-1] > min(method.dense_order, method.order) + 1 - 0.3


def test_all_solvers_are_of_different_families() -> None:
    assert len({METHODS[name].family for name in SOLVERS}) == len(SOLVERS)


def test_grid_and_fixed_take_the_same_steps() -> None:
    times = torch.linspace(0, 1, 9, dtype=torch.float64)
    for name in ("euler", *SOLVERS, "implicit_midpoint"):
        name = "bdf2" if name == "bdf" else name  # which chooses dt with its order
        even = fixed(name, wavy, wave(0.0), 0.0, 1.0, 8)
        found = fixed(name, wavy, wave(0.0), 0.0, 1.0, 8, controller=Grid(times))
        assert torch.equal(found, even)
