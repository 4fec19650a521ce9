"""A solve is the same in other units of t and y, and keeps its digits where sizes differ wildly."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from families import SOLVERS, STIFF, close, real, rtol_for
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import stiffguide as sg
from stiffguide import problems

# powers of two change no digit, so that every decision must come out the same
powers = st.integers(-40, 40).map(lambda k: 2.0**k)
FIELDS = ["hires", "robertson", "e5_reduced"]


def in_other_units(name: str, t_unit: float, y_unit: float, **more: Any) -> sg.Solution:
    """The problem with t and y in units of their own, over a hundredth of its interval."""
    p = problems.get(name)

    def f(t: Tensor, y: Tensor) -> Tensor:
        return p.f(t * t_unit, y * y_unit) * (t_unit / y_unit)

    atol = 1e-8 * torch.ones_like(p.y0)
    return sg.solve(
        f, p.y0 / y_unit, 0.0, 0.01 * p.t1 / t_unit, rtol=1e-5, atol=atol / y_unit, **more
    )


@pytest.mark.parametrize("method", ["rodas5p", "kvaerno5"])
@pytest.mark.parametrize("name", FIELDS)
@settings(max_examples=8)
@given(t_unit=powers, y_unit=powers)
def test_units_change_no_step(name: str, method: str, t_unit: float, y_unit: float) -> None:
    steps = {"method": method, "max_attempts": 12}
    plain = in_other_units(name, 1.0, 1.0, **steps)
    other = in_other_units(name, t_unit, y_unit, **steps)
    assert torch.equal(plain.counts, other.counts)
    close(other.t * t_unit, plain.t, rtol=1e-12)
    close(other.y * y_unit, plain.y, rtol=1e-12)


@pytest.mark.parametrize("method", SOLVERS)
@pytest.mark.parametrize("unit", [2.0**-40, 2.0**40])
def test_units_change_no_first_step(method: str, unit: float) -> None:
    """From rest, from zero, and beside a forcing: where f says little about the units."""
    starts = {
        "from zero": lambda t, y: 1.0 - y,
        "from rest": lambda t, y: torch.sin(t) * torch.ones_like(y),
        "constant": lambda t, y: torch.ones_like(y),
    }
    for name, f in starts.items():

        def scaled(t: Tensor, y: Tensor, f: Any = f) -> Tensor:
            return f(t * unit, y) * unit

        start = real(0.0, 0.0)
        rtol = rtol_for(method, 1e-6)
        plain = sg.solve(f, start, 0.0, 1.0, method=method, rtol=rtol)
        other = sg.solve(scaled, start, 0.0, 1.0 / unit, method=method, rtol=rtol)
        assert torch.equal(plain.counts, other.counts), name
        close(other.y, plain.y, rtol=1e-12)


@pytest.mark.parametrize("backend", ["eager", "kernel"])
def test_the_first_step_does_not_jump_over_a_fast_start(backend: str) -> None:
    """It was the whole interval for a field whose change is fast and small at first."""

    def f(t: Tensor, y: Tensor) -> Tensor:
        fuel, radical = y.unbind(-1)
        return torch.stack((-1e-6 * fuel, 1e-6 * fuel + 3e5 * radical * (1 - radical)), -1)

    found = sg.solve(
        f, real(1.0, 0.0), 0.0, 1e-2, save_at=sg.EveryStep(), atol=1e-9, backend=backend
    )
    assert float(found.t[1]) < 1e-4
    close(found.y[-1, 1:], real(1.0), rtol=1e-4)


E5_METHODS = ["rodas5p", "rodas4", "rodas3", "kvaerno5"]


@pytest.mark.parametrize("backend", ["eager", "kernel"])
@pytest.mark.parametrize("method", E5_METHODS)
def test_e5_in_four_components_keeps_its_digits(method: str, backend: str) -> None:
    """20 to 600 times max|y| by rodas5p, when rows were eliminated in their own sizes."""
    p = problems.get("e5")
    for rtol in (1e-4, 1e-6) if backend == "kernel" or method == "rodas5p" else (1e-4,):
        found = sg.solve(
            *(p.f, p.y0, p.t0, p.t1),
            **{"method": method, "rtol": rtol, "atol": p.atol_for(rtol), "backend": backend},
        ).raise_if_failed()
        expected = real(*p.reference)
        error = (found.y[-1] - expected).abs() / (p.atol_for(rtol) + rtol * expected.abs())
        assert float(error.max()) < 1e3


@pytest.mark.parametrize("method", ["rodas5p", "kvaerno5"])
@settings(max_examples=4)
@given(unit=powers)
def test_units_of_one_component_leave_e5_alone(method: str, unit: float) -> None:
    p = problems.get("e5")
    units = real(1.0, 1.0, unit, 1.0)

    def f(t: Tensor, y: Tensor) -> Tensor:
        return p.f(t, y * units) / units

    ends = [
        sg.solve(g, y0, 0.0, 1e4, method=method, rtol=1e-4, atol=atol).y[-1]
        for g, y0, atol in (
            (p.f, p.y0, torch.full((4,), 1e-22, dtype=torch.float64)),
            (f, p.y0 / units, 1e-22 / units),
        )
    ]
    close(ends[1] * units, ends[0], rtol=1e-6, atol=1e-20)


def test_what_rests_in_float32_stays_at_rest() -> None:
    """The boundary of a heat equation: pivoting took the rounding of the row beside it."""
    n = 200

    def heat(t: Tensor, y: Tensor) -> Tensor:
        inner = n**2 * (y[..., 2:] - 2 * y[..., 1:-1] + y[..., :-2])
        return torch.nn.functional.pad(inner, (1, 1))

    x = torch.linspace(0, 1, n)
    found = sg.solve(heat, torch.sin(3 * x) * x + 0.3 * (1 - x), 0.0, 0.1, rtol=1e-4, atol=1e-5)
    assert found.success
    assert float((found.y[-1, 0] - 0.3).abs()) < 1e-4


@pytest.mark.parametrize("backend", ["eager", "kernel"])
@pytest.mark.parametrize("method", ["rodas5p", "rosenbrock23", "kvaerno3", "kvaerno5", "trbdf2"])
def test_a_newton_iteration_that_cannot_move_has_not_converged(method: str, backend: str) -> None:
    """y' = 1e50/y from 1e6 ends at 1.4e25; the guess was 1e44, and called a success."""
    found = sg.solve(
        lambda t, y: 1e50 / y, real(1e6), 0.0, 1.0, method=method, backend=backend, max_attempts=500
    )
    assert not found.success or float(found.y[-1]) < 1e26


def tanks(t: Tensor, y: Tensor) -> Tensor:
    a, b = y.unbind(-1)
    first, second = 0.13 * torch.sqrt(a), 0.2 * torch.sqrt(b)
    return torch.stack(((0.5 - first) / 2, (first - second) / 2), -1)


def hill(t: Tensor, y: Tensor) -> Tensor:
    return torch.stack((1 - y[..., 0], 1 / (1 + y[..., 0] ** 0.7) - y[..., 1]), -1)


def removable(t: Tensor, y: Tensor) -> Tensor:
    return torch.where(y.abs() < 1e-7, 1.0, y / (1 - torch.exp(-y)))


INFINITE = {
    "one tank": (lambda t, y: 1 - torch.sqrt(y), (0.0,), 1.0),
    "two tanks": (tanks, (0.0, 0.0), 10.0),
    "Hill": (hill, (0.0, 0.0), 10.0),
    "0/0": (removable, (0.0,), 1.0),
}


@pytest.fixture(scope="module")
def ends() -> dict[str, Tensor]:
    """By an explicit method, which needs no derivative."""
    return {
        name: sg.solve(f, real(*y0), 0.0, t1, method="dop853", rtol=1e-11, atol=1e-13).y[-1]
        for name, (f, y0, t1) in INFINITE.items()
    }


@pytest.mark.parametrize("method", STIFF)
@pytest.mark.parametrize("name", list(INFINITE))
def test_a_derivative_that_is_not_finite(name: str, method: str, ends: dict[str, Tensor]) -> None:
    f, y0, t1 = INFINITE[name]
    for rtol in (1e-3, 1e-5):
        found = sg.solve(f, real(*y0), 0.0, t1, method=method, rtol=rtol, atol=1e-3 * rtol)
        assert found.success, found.message
        error = (found.y[-1] - ends[name]).abs() / (rtol * (1e-3 + ends[name].abs()))
        assert float(error.max()) < 300.0


@pytest.mark.parametrize("method", ["rodas5p", "kvaerno5"])
@pytest.mark.parametrize("name", list(INFINITE))
def test_a_derivative_that_is_not_finite_in_a_kernel(
    name: str, method: str, ends: dict[str, Tensor]
) -> None:
    f, y0, t1 = INFINITE[name]
    found = sg.solve(f, real(*y0), 0.0, t1, method=method, rtol=1e-5, atol=1e-8, backend="kernel")
    assert found.success, found.message
    close(found.y[-1], ends[name], rtol=1e-3)
