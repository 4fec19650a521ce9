"""Complex states: in complex numbers or in their parts, every method and option means the same."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from families import (
    GIVEN,
    IMPLICIT,
    METHODS,
    PAIRED,
    SOLVERS,
    close,
    every_smooth,
    fixed,
    real,
)
from torch import Tensor

import stiffguide as sg
from stiffguide import arguments, guidance
from stiffguide.fields import parts
from stiffguide.fields.layout import Layout
from stiffguide.fronts.scipy import solve_ivp

C128 = torch.complex128
FAMILIES = [*SOLVERS, "secant_heun"]
IN_PARTS = [name for name in FAMILIES if name not in ("tsit5", "rkc2")]
every_family = pytest.mark.parametrize("name", FAMILIES)
every_implicit = pytest.mark.parametrize("name", [n for n in SOLVERS if METHODS[n].implicit])

A = torch.tensor([[-1 + 4j, 0.3j, 0], [0.4, -30 - 3j, 0], [0, 1j, -0.5 + 2j]], dtype=C128)
Y0 = torch.tensor([1 + 1j, 0.5 - 0.2j, -1j], dtype=C128)


def loose(name: str) -> dict[str, Any]:
    """The name, and tolerances that ask for some dozens of steps."""
    few = METHODS[name].order < 3
    return {"method": name, "rtol": 1e-2 if few else 1e-4, "atol": 1e-3 if few else 1e-6}


def bound(name: str) -> float:
    """What such a solve may be wrong by."""
    return 3e-2 if METHODS[name].order < 3 else 2e-3


def linear(t: Tensor, y: Tensor, a: Tensor = A) -> Tensor:
    """Stiff and coupled, for (F,) and (B, F); `flow` is its solution."""
    return (a @ y.unsqueeze(-1)).squeeze(-1)


def flow(t: float | Tensor, y0: Tensor = Y0, a: Tensor = A) -> Tensor:
    times = torch.as_tensor(t, dtype=torch.float64).reshape(-1, 1, 1)
    return (torch.linalg.matrix_exp(times * a) @ y0.unsqueeze(-1)).squeeze(-1)


def bent(t: Tensor, y: Tensor) -> Tensor:
    """Not holomorphic, non-autonomous, nonlinear; a phase of y is one of its value."""
    turned = torch.roll(y, 1, -1) * torch.exp(1j * t).unsqueeze(-1)
    return (2j - 0.3) * y - 0.5 * y.abs() ** 2 * y + 0.2 * turned


def near(found: Tensor, expected: Tensor, within: float) -> None:
    assert found.is_complex()
    assert float((found - expected).abs().max()) < within


# parts and whole numbers mean the same -----------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in IMPLICIT if n in GIVEN])
def test_a_complex_state_is_two_real_ones(name: str) -> None:
    def by_hand(t: Tensor, y: Tensor) -> Tensor:
        return torch.view_as_real(bent(t, torch.view_as_complex(y.reshape(-1, 2)))).reshape(-1)

    whole = fixed(name, bent, Y0, 0.0, 0.5, 5)
    split = fixed(name, by_hand, torch.view_as_real(Y0).reshape(-1), 0.0, 0.5, 5)
    close(torch.view_as_real(whole).reshape(-1), split, rtol=1e-8, atol=1e-9)


SIZES = {
    "numbers": (1e-3, 1e-5),
    "components": (1e-3, real(1e-3, 1e-5, 1e-7)),
    "rows": (real(1e-2, 1e-4).unsqueeze(1), real(1e-5, 1e-3).unsqueeze(1)),
    "entries": (0.0, torch.logspace(-6, -1, 6, dtype=torch.float64).reshape(2, 3)),
}


@pytest.mark.parametrize("given", SIZES)
def test_errors_are_measured_alike(given: str) -> None:
    torch.manual_seed(0)
    error, y0, y1 = torch.randn(3, 2, 3, dtype=C128)
    layout = Layout(y0, batched=True)
    whole = arguments.tolerance(*SIZES[given], layout)
    split = arguments.tolerance(*SIZES[given], layout.in_parts())
    states = [parts.split(y) for y in (y0, y1)]
    close(split.measure(parts.split(error), *states), whole.measure(error, y0, y1))
    close(split.scale(*states), whole.scale(y0, y1).repeat(1, 2))


@pytest.mark.parametrize("name", sorted({*PAIRED} & {*FAMILIES, "kencarp4", "rosenbrock23"}))
def test_a_turn_of_the_plane_changes_nothing(name: str) -> None:
    """Where one part of a number passes zero, the other one still tells how large it is."""
    settings = {**loose(name), "atol": 1e-12}
    plain = sg.solve(bent, Y0, 0.0, 3.0, **settings)
    turn = torch.exp(torch.tensor(0.7j, dtype=C128))
    turned = sg.solve(bent, Y0 * turn, 0.0, 3.0, **settings)
    assert abs(int(plain.stats.accepted) - int(turned.stats.accepted)) <= 1
    near(turned.y / turn, plain.y, bound(name) / 10)
    if METHODS[name].order == 5 and not METHODS[name].multistep:
        explicit = sg.solve(bent, Y0, 0.0, 3.0, **{**settings, "method": "tsit5"})
        assert int(plain.stats.accepted) < 2 * int(explicit.stats.accepted)


# what is kept ------------------------------------------------------------------------------------


@every_family
def test_every_way_to_keep_a_solution(name: str) -> None:
    settings = loose(name)
    times = real(0.2, 0.7, 1.0)
    saved = sg.solve(linear, Y0, 0.0, 1.0, save_at=times, dense=True, **settings)
    assert saved.y.dtype == C128
    near(saved.y, flow(times), bound(name))
    near(saved.at(times), flow(times), bound(name))
    assert saved.at(0.5).shape == (3,)
    assert torch.isnan(saved.at(1.5)).all()
    assert saved.trajectory is not None
    near(saved.trajectory.at(times.reshape(1, -1))[0], saved.at(times), 1e-12)
    steps = sg.solve(linear, Y0, 0.0, 1.0, save_at=sg.EveryStep(), **settings)
    assert torch.equal(steps.y[0], Y0)
    near(steps.y, flow(steps.t), bound(name))
    stop = sg.SteadyState(1e-2, 1e-3)
    rest = sg.solve(lambda t, y: -(y - 1j), Y0, 0.0, math.inf, save_at=stop, **settings)
    near(rest.y, torch.full((1, 3), 1j, dtype=C128), 0.05)


@every_family
def test_a_batch_equals_its_rows_solved_alone(name: str) -> None:
    y0 = torch.stack((Y0, 2j * Y0, Y0.conj()))
    ends = real(1.0, 0.5, -0.1)
    settings = {**loose(name), "dense": True}
    atol = settings.pop("atol") * torch.logspace(-1, 1, 9, dtype=torch.float64).reshape(3, 3)
    whole = sg.solve(linear, y0, 0.0, ends, batched=True, atol=atol, **settings)
    for row in range(3):
        alone = sg.solve(linear, y0[row], 0.0, ends[row], atol=atol[row], **settings)
        assert int(whole.stats.accepted[row]) == int(alone.stats.accepted)
        near(whole.y[row], alone.y, 1e-9)
        near(whole.at(ends / 2)[row, row], alone.at(ends[row] / 2), 1e-9)


@every_family
def test_nestings_with_a_real_part_and_precisions(name: str) -> None:
    y0 = {"a": Y0[:2].reshape(1, 2), "b": (real(1.0),)}

    def f(t: Tensor, y: dict[str, Any]) -> dict[str, Any]:
        return {"a": (1j - 0.5) * y["a"], "b": (-y["b"][0],)}

    found = sg.solve(f, y0, 0.0, 1.0, **loose(name))
    near(found.y["a"][-1], y0["a"] * torch.exp(torch.tensor(1j - 0.5)), bound(name))
    near(found.y["b"][0][-1], torch.exp(real(-1.0)), bound(name))
    a = A.to(torch.complex64)
    narrow = sg.solve(linear, Y0.to(torch.complex64), 0.0, 1.0, args=(a,), **loose(name))
    assert narrow.y.dtype == torch.complex64
    near(narrow.y, flow(1.0), bound(name))


@every_family
def test_a_complex_number_is_a_state(name: str) -> None:
    found = sg.solve(lambda t, y: 2j * y, 1 + 1j, 0.0, 1.0, **loose(name))
    assert found.y.shape == (1,)
    near(found.y, (1 + 1j) * torch.exp(torch.tensor([2j])), bound(name))


# Jacobians ---------------------------------------------------------------------------------------


@every_implicit
def test_a_given_jacobian_is_the_complex_one(name: str) -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        return linear(t, y) + 0.1j * y * y

    def jac(t: Tensor, y: Tensor) -> Tensor:
        return A + torch.diag_embed(0.2j * y)

    settings = loose(name)
    swept = sg.solve(f, Y0, 0.0, 1.0, **settings)
    for how in (jac, "differences"):
        found = sg.solve(f, Y0, 0.0, 1.0, jac=how, **settings)
        assert int(found.stats.accepted) == int(swept.stats.accepted)
        near(found.y, swept.y, 1e-6)
    rows = sg.solve(f, Y0.repeat(2, 1), 0.0, 1.0, jac=jac, batched=True, **settings)
    near(rows.y, swept.y, 1e-6)
    constant = sg.solve(linear, Y0, 0.0, 1.0, jac=A, **settings)
    near(constant.y, flow(1.0), bound(name))
    with pytest.raises(sg.InputError, match=r"jac returned shape \(6, 6\); y0 has 3 components"):
        sg.solve(linear, Y0, 0.0, 1.0, jac=torch.eye(6), **settings)


def test_blocks_are_the_jacobian_of_the_parts() -> None:
    def split(x: Tensor) -> Tensor:
        return parts.split(linear(real(0.0), parts.join(x)) ** 2)

    x = parts.split(Y0)
    found = parts.blocks((2 * linear(real(0.0), Y0).unsqueeze(-1) * A).unsqueeze(0))[0]
    close(found, torch.autograd.functional.jacobian(split, x))


def test_wide_states_and_hidden_parts_of_a_field() -> None:
    """Sweeps of one kind and of the other, and differences where autograd is kept from looking."""
    torch.manual_seed(0)
    wide = torch.randn(16, dtype=C128)
    found = sg.solve(bent, wide, 0.0, 0.5, **loose("rodas5p"))
    near(found.y, sg.solve(bent, wide, 0.0, 0.5, method="tsit5").y, 1e-3)

    def hidden(t: Tensor, y: Tensor) -> Tensor:
        with torch.no_grad():
            fast = linear(t, y)
        return fast + 0.01 * y

    settings = loose("rodas5p")
    by_values = sg.solve(hidden, Y0, 0.0, 1.0, jac="differences", **settings)
    unasked = sg.solve(hidden, Y0, 0.0, 1.0, **settings)
    assert int(unasked.stats.accepted) == int(by_values.stats.accepted)


@pytest.mark.filterwarnings("ignore:ComplexHalf")
def test_half_precision_is_refused_with_the_way_out() -> None:
    with pytest.raises(sg.UnsupportedError, match=r"complex32: use y0.to\(torch.complex64\)"):
        sg.solve(linear, Y0.to(torch.complex32), 0.0, 1.0)


# gradients ---------------------------------------------------------------------------------------


@every_smooth
def test_gradients_by_complex_parameters(name: str) -> None:
    y0, a = Y0.clone().requires_grad_(), A.clone().requires_grad_()
    weights = torch.tensor([1 - 2j, 0.5j, 1], dtype=C128)
    found = sg.solve(linear, y0, 0.0, 0.3, args=(a,), **loose(name)).y[-1]
    slopes = torch.autograd.grad((found * weights).real.sum(), (y0, a))
    expected = torch.autograd.grad((flow(0.3, y0, a)[0] * weights).real.sum(), (y0, a))
    for slope, exact in zip(slopes, expected, strict=True):
        near(slope, exact, bound(name))


# who else sees the state -------------------------------------------------------------------------


@pytest.mark.parametrize("name", IN_PARTS)
def test_messages_name_the_part(name: str) -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        return torch.stack((-y[0], -1j * y[1] * y[1]))  # y[1] = i x with x' = x^2

    y0 = torch.tensor([1, 1j], dtype=C128)
    found = sg.solve(f, y0, 0.0, 2.0, max_attempts=200, **loose(name))
    assert not found.success
    assert "error is in the imaginary part of y[1]" in found.message
    assert f"y[1] = {found.y[0, 1].imag:.3g}" in found.message
    seen = sg.solve(f, y0, 0.0, 2.0, monitor=lambda t, y: y[1].imag > 2, **loose(name))
    assert int(seen.status) == sg.Status.EVENT


def test_messages_name_the_part_of_the_field() -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        there = torch.where(y.real == 2, torch.sqrt(y.real - 2), math.nan)  # and nowhere else
        return torch.complex(torch.ones_like(there), there)

    found = sg.solve(f, torch.tensor([2], dtype=C128), 0.0, 1.0, first_step=0.1, method="rodas5p")
    assert "at the real part of y[0] = 2" in found.message
    assert "(d the imaginary part of f[0]/d the real part of y[0])" in found.message


def test_dtypes_that_do_not_mix_are_named() -> None:
    a = A.to(torch.complex64)
    for name in ("tsit5", "rodas5p"):
        with pytest.raises(sg.InputError, match=r"f mixes dtypes .* y0 is torch.complex128"):
            sg.solve(linear, Y0, 0.0, 1.0, args=(a,), method=name)


RULES = {
    "heun": guidance.ErrorDirection(),
    "rodas5p": guidance.ErkGuid(0.1),
    "secant_heun": guidance.ErkGuid(0.1),
}


@pytest.mark.parametrize("name", RULES)
def test_guidance_reads_the_parts(name: str) -> None:
    found = sg.solve(linear, Y0, 0.0, 0.5, guidance=RULES[name], **loose(name))
    near(found.y, flow(0.5), bound(name))


def test_scipys_front_has_complex_interpolants_and_jacobians() -> None:
    a = A.numpy()
    times = np.array([0.1, 0.7])
    for jac in (None, a, lambda t, y: a):
        found = solve_ivp(
            lambda t, y: a @ y, (0, 1), Y0.numpy(), "rodas5p", times, dense_output=True, jac=jac
        )
        assert np.abs(found.y.T - flow(real(*times)).numpy()).max() < 2e-2
        assert np.abs(found.sol(times).T - flow(real(*times)).numpy()).max() < 2e-2


def test_complex_numbers_have_no_sign_to_lose() -> None:
    """A concentration that falls below zero and runs away is said of; a part of a number is not."""

    def twice_stable(t: Tensor, y: Tensor) -> Tensor:
        return -y * (1 + 1e4 * y)

    still = guidance.ErkGuid(0.0)  # which moves nothing, and wants parts
    settings = {"method": "bosh3", "rtol": 1e-2, "atol": 1e-2, "guidance": still}
    lost = sg.solve(twice_stable, real(1.0), 0.0, 30.0, **settings)
    assert "fell below zero" in lost.message
    whole = sg.solve(twice_stable, real(1.0).to(C128), 0.0, 30.0, **settings)
    assert whole.y[0, 0].real < -1e6
    assert whole.warnings == {}
