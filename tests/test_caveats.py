"""A solve says what its status does not: nothing was controlled, or a value left through zero."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from families import every_way, real
from torch import Tensor

import stiffguide as sg

BACKENDS = pytest.mark.parametrize("backend", ["eager", "kernel"])
UNCONTROLLED = "exceeds |y| in all components"


def decay(t: Tensor, y: Tensor) -> Tensor:
    return -y


def twice_stable(t: Tensor, y: Tensor) -> Tensor:
    """Decays to 0 from above; below -1e-4 it runs away."""
    return -y * (1 + 1e4 * y)


def robertson(t: Tensor, y: Tensor) -> Tensor:
    a, b, c = y.unbind(-1)
    slow, fast, back = 0.04 * a, 3e7 * b * b, 1e4 * b * c
    return torch.stack((back - slow, slow - fast - back, fast), -1)


@every_way
def test_atol_above_the_whole_state_is_said(name: str, backend: str) -> None:
    small = sg.solve(decay, real(1e-12, 2e-11), 0.0, 1.0, method=name, backend=backend)
    assert int(small.status) == sg.Status.SUCCESS
    (sentence,) = small.warnings[0]
    when = "during the whole solve" if backend == "eager" else "at both ends of the solve"
    assert sentence.startswith(f"atol = 1e-09 {UNCONTROLLED} {when}: nothing was controlled")
    assert small.message == f"reached the end of the interval. Warning: {sentence}"
    assert f"  warning: {sentence}" in repr(small)
    settings = {"method": name, "backend": backend}
    for y0, atol in ((real(1e-12, 1.0), 1e-9), (real(1e-12, 2e-11), 1e-14), (real(0.0, 0.0), 1e-9)):
        fine = sg.solve(decay, y0, 0.0, 1.0, atol=atol, **settings)
        assert fine.warnings == {}
        assert fine.message == "reached the end of the interval"
        assert "warning" not in repr(fine)


@BACKENDS
def test_what_grows_above_atol_is_controlled(backend: str) -> None:
    found = sg.solve(lambda t, y: 10 * y, real(1e-12), 0.0, 2.0, backend=backend)
    assert float(found.y) > 1e-9
    assert found.warnings == {}


@pytest.mark.usefixtures("eager")
def test_a_bump_above_atol_is_seen_on_the_way() -> None:
    bump = sg.solve(lambda t, y: torch.cos(t).expand_as(y), real(0.0), 0.0, 2 * torch.pi, rtol=1e-9)
    assert float(bump.y.abs()) < 1e-9
    assert bump.warnings == {}


@BACKENDS
def test_each_row_has_its_own_warnings(backend: str) -> None:
    y0 = real(1.0, 1e-12, 1e-12, 1e-12).unsqueeze(1)
    atol = real(1e-9, 1e-9, 1e-16, 1e-6).unsqueeze(1)
    found = sg.solve(decay, y0, 0.0, 1.0, atol=atol, batched=True, backend=backend)
    assert list(found.warnings) == [1, 3]
    assert found.warnings[3][0].startswith(f"atol = 1e-06 {UNCONTROLLED}")
    assert "Warning: row 1: atol = 1e-09" in found.message
    assert found.message.endswith("(and 1 more rows)")
    each = torch.tensor([1e-9, 1e-6], dtype=torch.float64)
    mixed = sg.solve(decay, real(1e-12, 1e-12), 0.0, 1.0, atol=each, backend=backend)
    assert mixed.warnings[0][0].startswith(f"atol = 1e-09 to 1e-06 {UNCONTROLLED}")


@pytest.mark.usefixtures("eager")
def test_an_estimate_that_was_always_zero_is_said() -> None:
    steady = sg.solve(lambda t, y: torch.ones_like(y), real(0.0), 0.0, 1.0, method="tsit5")
    assert "error estimate was zero in every accepted step although f is not" in steady.message
    resting = sg.solve(lambda t, y: torch.zeros_like(y), real(1.0), 0.0, 1.0, method="tsit5")
    assert resting.warnings == {}
    y0, slope = real(0.0, 0.0).unsqueeze(1), real(1.0, 0.0).unsqueeze(1)
    f = lambda t, y: slope + (1 - slope) * torch.cos(5 * t).unsqueeze(1)  # noqa: E731
    mixed = sg.solve(f, y0, 0.0, 1.0, batched=True, method="tsit5")
    assert list(mixed.warnings) == [0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.usefixtures("eager")
def test_an_rtol_that_the_states_cannot_keep_to_is_said(dtype: torch.dtype) -> None:
    eps, y0 = torch.finfo(dtype).eps, torch.ones(1, dtype=dtype)
    found = sg.solve(decay, y0, 0.0, 0.1, rtol=eps, atol=1e-3)
    assert f"rtol = {eps:g} is below what {str(dtype)[6:]} resolves" in found.message
    for rtol in (0.0, 1e-6):
        assert sg.solve(decay, y0, 0.0, 0.1, rtol=rtol, atol=1e-3).warnings == {}
    in_kernel = sg.solve(decay, y0, 0.0, 0.1, rtol=eps, atol=1e-3, backend="kernel")
    assert bool(in_kernel.warnings) == (dtype is torch.float64)  # which is what it computes in


@pytest.mark.usefixtures("eager")
def test_a_value_that_left_through_zero_is_said_of_a_failure() -> None:
    settings = {"method": "bosh3", "rtol": 1e-2}
    lost = sg.solve(twice_stable, real(1.0), 0.0, 30.0, atol=1e-2, **settings)
    assert int(lost.status) == sg.Status.DT_TOO_SMALL
    (sentence,) = lost.warnings[0]
    assert sentence.startswith("y[0] fell below zero by less than atol at t = 15.08")
    assert "and then ran away, to -" in sentence
    kept = sg.solve(twice_stable, real(1.0), 0.0, 30.0, atol=1e-7, **settings)
    assert kept.success
    assert kept.warnings == {}


@pytest.mark.usefixtures("eager")
def test_a_value_that_left_through_zero_is_said_of_a_success() -> None:
    y0 = real(1.0, 0.0, 0.0)
    found = sg.solve(robertson, y0, 0.0, 1e11, method="trbdf2", rtol=1e-2, atol=1e-5)
    assert found.success
    assert float(found.y[0, 0]) < -1e6
    (sentence,) = found.warnings[0]
    assert sentence.startswith("y[0] fell below zero by less than atol at t = 2.4")


@pytest.mark.parametrize("y0", [0.0, 1e-12])
def test_what_f_sends_below_zero_did_not_run_away(y0: float) -> None:
    fall = lambda t, y: -torch.cosh(y)  # noqa: E731
    found = sg.solve(fall, real(y0), 0.0, 1.5, first_step=1e-11, atol=1e-6, rtol=1e-3)
    assert float(found.y) < -1.0
    fast = sg.solve(lambda t, y: 5 * y - 1e-9, real(y0), 0.0, 5.0, rtol=1e-3, atol=1e-6)
    assert float(fast.y) < -1e-1
    assert found.warnings == fast.warnings == {}


def test_warnings_stay_with_a_solution() -> None:
    found = sg.solve(decay, real(1e-12), 0.0, 1.0)
    for other in (pickle.loads(pickle.dumps(found)), copy.deepcopy(found)):
        assert other.warnings == found.warnings
        assert other.message == found.message


def test_fixed_steps_promise_nothing() -> None:
    grid = sg.solve(decay, real(1e-12), 0.0, 1.0, method="rk4", controller=sg.Fixed(0.1))
    assert grid.warnings == {}
