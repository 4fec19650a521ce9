"""Equalities that hold for every step: polynomials, symmetries, R(z), and the shapes of states."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from families import (
    EXPLICIT,
    METHODS,
    PAIRED,
    SOLVERS,
    TABLEAU,
    close,
    every_family,
    every_method,
    every_paired,
    real,
    rtol_for,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import stiffguide as sg
from stiffguide import Fixed, Grid
from stiffguide.order import embedded_weights
from stiffguide.stability import StabilityFunction, stability_function

every_tableau = pytest.mark.parametrize("name", TABLEAU)
small = st.floats(-2, 2).map(lambda x: round(x, 6))
few = settings(max_examples=3)


def fixed(name: str, f: Any, y0: Tensor, t0: float, t1: float, steps: int, **more: Any) -> Tensor:
    """The end of so many steps of one length; Newton is driven down to rounding."""
    dt = abs(t1 - t0) / steps
    tight = {"controller": Fixed(dt), "rtol": 1e-11, "atol": 1e-11, "method": name}
    return sg.solve(f, y0, t0, t1, **{**tight, **more}).raise_if_failed().y[-1]


# polynomials -------------------------------------------------------------------------------------


def horner(polynomial: np.polynomial.Polynomial, t: Tensor) -> Tensor:
    value = torch.zeros_like(t)
    for c in reversed(polynomial.coef):
        value = value * t + float(c)
    return value


@every_method
@few
@given(data=st.data())
def test_polynomials_of_the_degree_of_the_method_are_exact(name: str, data: st.DataObject) -> None:
    p = METHODS[name].order
    first = np.polynomial.Polynomial(data.draw(st.lists(small, min_size=1, max_size=max(1, p - 1))))
    second = np.polynomial.Polynomial(data.draw(st.lists(small, min_size=1, max_size=p)))
    coupling = data.draw(small) if p > 1 else 0.0
    start, end = data.draw(st.floats(-1, 0)), data.draw(st.floats(0.2, 1))
    y0 = real(data.draw(small), data.draw(small))
    mix = real(1.0, 0.5, -0.25, 2.0).reshape(2, 2)  # so that the Jacobian is full
    unmix = torch.linalg.inv(mix)

    def f(t: Tensor, y: Tensor) -> Tensor:
        x = unmix @ y
        return mix @ torch.stack((horner(first, t), horner(second, t) + coupling * x[0]))

    one = first.integ(lbnd=start) + float(y0[0])
    two = (second + coupling * one).integ(lbnd=start) + float(y0[1])
    found = fixed(name, f, mix @ y0, start, end, 3)
    close(found, mix @ real(one(end), two(end)), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", [n for n in TABLEAU if METHODS[n].family != "Rosenbrock"])
def test_beyond_its_degree_a_step_is_the_quadrature_of_the_tableau(name: str) -> None:
    tableau = TABLEAU[name]
    for k in (tableau.order, tableau.order + 2):
        found = fixed(name, lambda t, y, k=k: t**k + 0 * y, real(0.0), 0.0, 1.0, 1)
        moment = sum(b * c**k for b, c in zip(tableau.b, tableau.c, strict=True))
        close(found, real(float(moment)), rtol=1e-11, atol=1e-11)


# symmetries --------------------------------------------------------------------------------------


def wavy(t: Tensor, y: Tensor) -> Tensor:
    """Non-autonomous, coupled, nonlinear; solved by (e^sin t, e^cos t)."""
    a, b = y.unbind(-1)
    da = a * (0.5 * torch.log(b) + 0.5 * torch.cos(t))
    db = -b * (0.3 * torch.log(a) + 0.7 * torch.sin(t))
    return torch.stack((da, db), -1)


def wave(t: Tensor | float) -> Tensor:
    t = torch.as_tensor(t, dtype=torch.float64)
    return torch.stack((torch.exp(torch.sin(t)), torch.exp(torch.cos(t))), -1)


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


@pytest.mark.parametrize("name", [n for n in PAIRED if n in TABLEAU])
def test_no_error_estimate_is_blind_to_linear_problems(name: str) -> None:
    tableau = TABLEAU[name]
    hat = embedded_weights(tableau)
    for z in (-0.5, 0.5, 0.5j, -0.5 + 0.5j):
        main, low = (value_of(stability_function(tableau, w), z) for w in (None, hat))
        assert abs(main - low) > 0.05 * abs(main - np.exp(z))


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


# shapes of states --------------------------------------------------------------------------------


def flat_field(t: Tensor, y: Tensor) -> Tensor:
    return torch.sin(t) * torch.roll(y, 1, -1) - y * y.mean(-1, keepdim=True)


FLAT = real(1.0, 0.5, 0.25, 2.0, 1.5, 0.75)


def as_tree(y: Tensor) -> dict[str, Any]:
    return {"a": y[0], "b": (y[1:4].reshape(3, 1), [y[4:]])}


def from_tree(y: dict[str, Any]) -> Tensor:
    return torch.cat((y["a"].reshape(1), y["b"][0].reshape(3), y["b"][1][0]))


NESTINGS = {
    "3-D": (lambda y: y.reshape(1, 2, 3), lambda y: y.reshape(6)),
    "tuple": (lambda y: (y[:2], y[2:]), lambda y: torch.cat(y)),
    "list": (lambda y: [y[:2], y[2:]], lambda y: torch.cat(y)),
    "scalars": (lambda y: tuple(y), lambda y: torch.stack(y)),
    "tree": (as_tree, from_tree),
}


@every_family
@pytest.mark.parametrize("nesting", NESTINGS)
def test_nested_states_equal_the_flat_solve(name: str, nesting: str) -> None:
    build, flatten = NESTINGS[nesting]
    settings = {"method": name, "rtol": 1e-4, "atol": 1e-6, "dense": True}
    plain = sg.solve(flat_field, FLAT, 0.0, 2.0, save_at=[1.0, 2.0], **settings)
    nested = sg.solve(
        lambda t, y: build(flat_field(t, flatten(y))),
        build(FLAT),
        0.0,
        2.0,
        save_at=[1.0, 2.0],
        **settings,
    )
    assert int(nested.stats.accepted) == int(plain.stats.accepted)
    assert type(nested.y) is type(build(FLAT))
    flat = torch.stack([flatten(pick(nested.y, i)) for i in range(2)])
    close(flat, plain.y, rtol=1e-12)
    close(flatten(nested.at(1.5)), plain.at(1.5), rtol=1e-12)
    close(flatten(pick(nested.at(real(0.5, 1.5)), 1)), plain.at(1.5), rtol=1e-12)


def pick(tree: Any, i: int) -> Any:
    """Entry i of every leaf."""
    if isinstance(tree, Tensor):
        return tree[i]
    if isinstance(tree, dict):
        return {k: pick(v, i) for k, v in tree.items()}
    return type(tree)(pick(v, i) for v in tree)


@every_family
def test_batches_of_nested_states_equal_batches_of_flat_ones(name: str) -> None:
    y0 = FLAT.repeat(3, 1) * real(1.0, 0.5, 2.0).unsqueeze(1)
    settings = {"batched": True, "method": name, "rtol": 1e-4, "atol": 1e-6, "dense": True}

    def f(t: Tensor, y: Tensor) -> Tensor:
        return torch.sin(t).unsqueeze(1) * torch.roll(y, 1, -1) - y * y.mean(-1, keepdim=True)

    def nested(t: Tensor, y: dict[str, Tensor]) -> dict[str, Tensor]:
        flat = f(t, torch.cat((y["u"].reshape(-1, 4), y["v"]), 1))
        return {"u": flat[:, :4].reshape(-1, 2, 2), "v": flat[:, 4:]}

    plain = sg.solve(f, y0, 0.0, 2.0, save_at=[1.0, 2.0], **settings)
    tree = {"u": y0[:, :4].reshape(3, 2, 2), "v": y0[:, 4:]}
    found = sg.solve(nested, tree, 0.0, 2.0, save_at=[1.0, 2.0], **settings)
    assert found.y["u"].shape == (3, 2, 2, 2)
    close(found.y["u"].reshape(3, 2, 4), plain.y[..., :4], rtol=1e-12)
    close(found.y["v"], plain.y[..., 4:], rtol=1e-12)
    for t in (0.5, real(0.5, 1.5), real(0.5, 1.0, 1.5).unsqueeze(1)):
        close(found.at(t)["v"], plain.at(t)[..., 4:], rtol=1e-12)


@every_family
def test_a_named_tuple_comes_back(name: str) -> None:
    from typing import NamedTuple

    class Pair(NamedTuple):
        x: Tensor
        v: Tensor

    found = sg.solve(
        lambda t, y: Pair(y.v, -y.x), Pair(real(1.0), real(0.0)), 0.0, 1.0, method=name
    )
    assert type(found.y) is Pair
    close(found.y.x[0], real(math.cos(1.0)), rtol=1e-3)


# precision ---------------------------------------------------------------------------------------


def spin(t: Tensor, y: Tensor) -> Tensor:
    return 20 * torch.stack((y[1], -y[0]))


@every_family
def test_time_is_float64_whatever_the_state_is(name: str) -> None:
    settings = {"method": name, "rtol": 1e-4, "atol": 1e-5}
    y0 = torch.tensor([1.0, 0.0])
    near = sg.solve(spin, y0, 0.0, 1.0, **settings)
    # float32 cannot tell 1e6 from 1e6 + 0.01, and the steps here are shorter than that
    far = sg.solve(spin, y0, 1e6, 1e6 + 1, first_step=1e-3, **settings)
    assert near.y.dtype == far.y.dtype == torch.float32
    assert near.t.dtype == far.t.dtype == torch.float64
    assert far.success
    assert float(far.t) == 1e6 + 1
    assert int(far.stats.accepted) > 20
    close(far.stats.accepted.double(), near.stats.accepted.double(), rtol=0.1, atol=8)
    close(far.y.double(), near.y.double(), rtol=0, atol=5e-3)
    exact = real(math.cos(20), -math.sin(20))
    close(near.y[0].double(), exact, rtol=0, atol=2e-2 if METHODS[name].order < 3 else 5e-3)


@every_family
def test_float32_agrees_with_float64(name: str) -> None:
    settings = {"method": name, "rtol": 1e-4, "atol": 1e-6}
    wide = sg.solve(wavy, wave(0.0), 0.0, 2.0, **settings)
    narrow = sg.solve(wavy, wave(0.0).float(), 0.0, 2.0, **settings)
    assert narrow.y.dtype == torch.float32
    close(narrow.y.double(), wide.y, rtol=1e-3)


# complex states ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in EXPLICIT if n in TABLEAU])
def test_a_complex_state_is_two_real_ones(name: str) -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        return 1j * y * torch.exp(1j * t) + y.abs() ** 2 * 0.1

    def parts(t: Tensor, y: Tensor) -> Tensor:
        return torch.view_as_real(f(t, torch.view_as_complex(y.reshape(-1, 2)))).reshape(-1)

    y0 = torch.tensor([1.0 + 0.5j, -0.3 + 2.0j], dtype=torch.complex128)
    whole = fixed(name, f, y0, 0.0, 1.0, 5)
    split = fixed(name, parts, torch.view_as_real(y0).reshape(-1), 0.0, 1.0, 5)
    close(torch.view_as_real(whole).reshape(-1), split, rtol=1e-12)


def test_complex_states_are_solved_adaptively() -> None:
    y0 = torch.tensor([1.0 + 0j], dtype=torch.complex128)
    for dtype, rtol in ((torch.complex128, 1e-8), (torch.complex64, 1e-4)):
        times = [0.5, 1.0]
        found = sg.solve(
            lambda t, y: 5j * y, y0.to(dtype), 0.0, 1.0, method="tsit5", rtol=rtol, save_at=times
        )
        assert found.y.dtype == dtype
        exact = torch.exp(5j * real(*times)).unsqueeze(1)
        torch.testing.assert_close(found.y.to(torch.complex128), exact, rtol=100 * rtol, atol=0)


def test_all_solvers_are_of_different_families() -> None:
    assert len({METHODS[name].family for name in SOLVERS}) == len(SOLVERS)


def test_grid_and_fixed_take_the_same_steps() -> None:
    times = torch.linspace(0, 1, 9, dtype=torch.float64)
    for name in ("euler", *SOLVERS, "implicit_midpoint"):
        even = fixed(name, wavy, wave(0.0), 0.0, 1.0, 8)
        found = fixed(name, wavy, wave(0.0), 0.0, 1.0, 8, controller=Grid(times))
        assert torch.equal(found, even)
