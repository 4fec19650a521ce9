"""Where M y' = f(t, y) begins: consistent states, the index, and what is no mass."""

from __future__ import annotations

import math
from typing import Any

import pytest
import scipy.sparse as sp
import torch
from daes import ACCURATE, TAKING, System, chained, robertson
from families import real
from torch import Tensor

import stiffguide as sg
from stiffguide import Fixed


@pytest.mark.parametrize("name", ACCURATE)
def test_a_start_is_made_consistent_and_said(name: str) -> None:
    system, t0 = chained(), torch.tensor(0.3).double()
    right = system.exact(t0)
    wrong = right + real(0, 0, 0.2)
    steps = {} if name == "bdf" else {"controller": Fixed(0.02)}
    settings = {"method": name, "mass": system.mass, "rtol": 1e-6, **steps}
    found, again = (sg.solve(system.f, y0, 0.3, 0.4, **settings) for y0 in (wrong, right))
    assert "y0 was not consistent (f[2] without its derivatives is 1." in found.warnings[0][0]
    assert f"begins with y[2] = {right[2]:.6g} in the place of {wrong[2]:.6g}" in found.message
    assert not again.warnings
    torch.testing.assert_close(found.y, again.y, rtol=1e-8, atol=0)
    assert torch.equal(wrong, right + real(0, 0, 0.2))


def test_a_consistent_start_is_left_alone() -> None:
    y0 = real(0.25, 0.125, 0.625)
    found = sg.solve(robertson, y0, 0.0, 1.0, mass=[1, 1, 0], save_at=[0.0])
    assert torch.equal(found.y[0], y0)


def test_what_m_sees_of_a_start_is_kept() -> None:
    system = chained().mixed()
    y0 = system.exact(real(0.3))[0]
    null = torch.linalg.svd(system.mass)[2][2]
    found = sg.solve(system.f, y0 + 0.1 * null, 0.3, 1.0, mass=system.mass, save_at=[0.3])
    torch.testing.assert_close(found.y[0], y0, rtol=0, atol=1e-8)
    assert "begins with" in found.warnings[0][0]


def test_a_start_is_as_consistent_as_float32_can_be() -> None:
    system = chained().mixed()

    def f(t: Tensor, y: Tensor) -> Tensor:
        return system.f(t.double(), y.double()).float()

    y0 = system.exact(torch.tensor(0.0).double()).float()
    settings = {"mass": system.mass, "rtol": 1e-7, "atol": 1e-7, "max_attempts": 3}
    found = sg.solve(f, y0, 0.0, 1.0, save_at=[0.0], **settings)
    torch.testing.assert_close(found.y[0], y0, rtol=1e-5, atol=1e-5)


def square_root(t: Tensor, y: Tensor) -> Tensor:
    """y2 = sqrt(y1), which has no value where y1 < 0."""
    return torch.stack((-y[..., 0], y[..., 1] ** 2 - y[..., 0]), -1)


def test_a_row_without_a_consistent_start_is_named() -> None:
    y0 = torch.tensor([[1.0, 0.3], [-1.0, 0.5], [1.0, 1.0]], dtype=torch.float64)
    with pytest.raises(sg.InputError, match=r"not consistent in row 1: f\[1\] .* is 1.25") as error:
        sg.solve(square_root, y0, 0.0, 1.0, mass=[1, 0], batched=True)
    assert "nearer" in str(error.value)


def test_a_row_that_f_does_not_take_is_a_failure_of_that_row() -> None:
    y0 = torch.tensor([[1.0, 0.3], [torch.nan, 0.5]], dtype=torch.float64)
    found = sg.solve(square_root, y0, 0.0, 1.0, mass=[1, 0], batched=True)
    assert found.status.tolist() == [sg.Status.SUCCESS, sg.Status.NON_FINITE]


def pendulum(index: int) -> Any:
    """x, z, their velocities and the tension of a rod of length 1: a constraint by its index."""

    def f(t: Tensor, y: Tensor) -> Tensor:
        x, z, u, v, tension = y.unbind(-1)
        bound = {
            3: x * x + z * z - 1,
            2: x * u + z * v,
            1: u * u + v * v - tension * (x * x + z * z) - z,
        }[index]
        return torch.stack((u, v, -tension * x, -tension * z - 1, bound), -1)

    return f


@pytest.mark.parametrize("jac", [None, "differences"])
@pytest.mark.parametrize("index", [2, 3])
def test_a_higher_index_is_refused(index: int, jac: str | None) -> None:
    y0 = real(1, 0, 0, 0, 0)
    with pytest.raises(sg.InputError, match="the index of the system is above 1") as error:
        sg.solve(pendulum(index), y0, 0.0, 1.0, mass=[1, 1, 1, 1, 0], jac=jac)
    assert "Differentiate" in str(error.value)
    assert sg.solve(pendulum(1), y0, 0.0, 1.0, mass=[1, 1, 1, 1, 0], jac=jac).success


def test_a_higher_index_is_seen_behind_rounding() -> None:
    """Other unknowns, and combinations of the equations: K is singular but for rounding."""
    start = real(1, 0, 0, 0, 0)
    mass = torch.diag(real(1, 1, 1, 1, 0))
    system = System(pendulum(2), mass, lambda t: start.expand(*t.shape, 5)).mixed()
    with pytest.raises(sg.InputError, match="the index of the system is above 1"):
        sg.solve(system.f, system.exact(torch.tensor(0.0)), 0.0, 1.0, mass=system.mass)
    # also where nothing is left of the equations
    system = System(lambda t, y: y.flip(-1), torch.diag(real(1, 0)), lambda t: 0 * start).mixed()
    with pytest.raises(sg.InputError, match="the index of the system is above 1"):
        sg.solve(system.f, real(0, 0), 0.0, 1.0, mass=system.mass)


@pytest.mark.parametrize("factor", [1e-12, 1.0, 1e12])
def test_units_do_not_decide_about_the_index(factor: float) -> None:
    """Components and equations in other units have the same index."""

    def f(t: Tensor, y: Tensor) -> Tensor:
        a, z = y[0], y[1] / factor
        return torch.stack((-a, (z - 1e-3 * a) * factor**2))

    y0 = real(1.0, 1e-3 * factor)
    found = sg.solve(f, y0, 0.0, 1.0, mass=[1, 0], atol=torch.tensor([1e-9, 1e-9 * factor]))
    assert float(found.y[-1, 1]) == pytest.approx(factor * 1e-3 * math.exp(-1), rel=1e-5)
    bad = torch.tensor([[0.0, 1.0], [0.0, 1.0]])  # of two unknowns only the sum is held
    with pytest.raises(sg.InputError, match="above 1"):
        sg.solve(lambda t, y: factor * (bad.to(y) @ y + y[0] * 0), y0, 0.0, 1.0, mass=[0, 0])


# refusals -------------------------------------------------------------------------------------

REFUSED = {
    "a function": (lambda t: torch.eye(2), "M has to be constant: with z = y'"),
    "words": ("identity", "mass holds"),
    "too long": ([1.0, 2.0, 3.0], r"shape \(3,\), and y0 has 2 components: give \(2, 2\)"),
    "too large": (sp.eye_array(3), r"shape \(3, 3\)"),
    "a number": (2.0, r"shape \(\)"),
    "uneven lists": ([[1, 2], [3]], "mass is no matrix"),
    "nan": ([[1, 0], [0, math.nan]], r"mass\[1, 1\] is nan"),
    "beyond float32": (
        [1, 1e39],
        r"mass\[1, 1\] is 1e\+39, which is no finite number of torch.float32",
    ),
    "complex": ([1, 1j], "mass is complex"),
    "a parameter": (torch.ones(2, requires_grad=True), "gradients do not flow to it"),
}


@pytest.mark.parametrize("given", REFUSED)
def test_what_is_no_mass_is_refused(given: str) -> None:
    mass, words = REFUSED[given]
    with pytest.raises(sg.InputError, match=words):
        sg.solve(lambda t, y: -y, torch.ones(2), 0.0, 1.0, mass=mass)


@pytest.mark.parametrize("name", sorted({*TAKING} - {*ACCURATE}))
def test_a_method_that_does_not_end_in_a_stage_is_refused(name: str) -> None:
    steps = {"controller": Fixed(0.1)}
    with pytest.raises(sg.UnsupportedError, match=f"{name} does not end its steps in a stage"):
        sg.solve(robertson, real(1, 0, 0), 0.0, 1.0, method=name, mass=[1, 1, 0], **steps)
