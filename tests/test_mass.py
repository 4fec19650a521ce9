"""Laws of M y' = f(t, y): the explicit form, orders, rows, and the way M is given."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from daes import ACCURATE, TAKING, System, chained, weighed
from families import METHODS, real
from torch import Tensor

import stiffguide as sg
from stiffguide import Fixed
from stiffguide.verification import orbit, orbit_field

FAMILIES = ["rodas5p", "rodas3", "kvaerno5", "trbdf2", "bdf", "radau5"]
STARTS = real(0.0, 0.4, 0.9, 1.5, 2.0)
CHOOSING = [n for n in TAKING if METHODS[n].error_order and (n == "bdf" or n[:3] != "bdf")]
every_taking = pytest.mark.parametrize("name", TAKING)
every_accurate = pytest.mark.parametrize("name", ACCURATE)
every_family = pytest.mark.parametrize("name", FAMILIES)


def solved(system: System, name: str, length: float, **more: Any) -> Tensor:
    """The ends (B, F) of rows that start at different times."""
    t1 = STARTS + length
    start = system.exact(STARTS)
    given = {"mass": system.mass, "rtol": 1e-11, "atol": 1e-11, **more}
    found = sg.solve(system.f, start, STARTS, t1, method=name, batched=True, **given)
    return found.raise_if_failed().y[:, -1]


@every_taking
def test_a_regular_mass_is_the_explicit_form(name: str) -> None:
    steps = {} if name == "bdf" else {"controller": Fixed(0.05)}
    rtol = 1e-6 if name == "bdf" else 1e-12
    explicit = System(orbit_field, torch.eye(2), orbit)
    settings = {"rtol": rtol, "atol": rtol, **steps}
    found, expected = (solved(s, name, 1.0, **settings) for s in (weighed(), explicit))
    assert (found - expected).abs().max() < (1e-4 if name == "bdf" else 1e-9)


@pytest.mark.parametrize("mixed", [False, True], ids=["zero rows", "combinations"])
@every_accurate
def test_order_with_a_singular_mass(name: str, mixed: bool) -> None:
    system = chained().mixed() if mixed else chained()
    exact = system.exact(STARTS + 1)

    def error(**more: Any) -> float:
        return float((solved(system, name, 1.0, **more) - exact).abs().max())

    if name == "bdf":  # whose order varies
        assert error(rtol=1e-5, atol=1e-5) < 1e-3
        assert error(rtol=1e-9, atol=1e-9) < 1e-6
        return
    claim = METHODS[name].order
    # which errors must not be of; less, and it does not get there
    newton = 10.0 ** -((5 if name.startswith("radau") else 6) + claim)
    coarse, fine = (
        error(controller=Fixed(1 / steps), rtol=newton, atol=newton) for steps in (16, 32)
    )
    assert math.log2(coarse / fine) > claim - 0.5


@every_family
def test_a_batch_is_its_rows(name: str) -> None:
    system = chained().mixed()
    together = solved(system, name, 1.0, rtol=1e-5, atol=1e-5)
    for row, t0 in enumerate(STARTS.tolist()):
        start = system.exact(STARTS[row])
        alone = sg.solve(
            system.f, start, t0, t0 + 1, method=name, mass=system.mass, rtol=1e-5, atol=1e-5
        )
        assert (alone.y[-1] - together[row]).abs().max() < 1e-7


@pytest.mark.parametrize("name", CHOOSING)
def test_steps_are_those_of_the_explicit_form(name: str) -> None:
    """Also the first ones: their length, and the slope that they start with."""
    system, y0 = weighed(), orbit(torch.tensor(0.3).double())
    scale = real(1e-4, 1e3)  # the components in other units
    settings = {"method": name, "rtol": 1e-4, "atol": 1e-7 / scale}
    explicit = sg.solve(
        lambda t, y: orbit_field(t, y * scale) / scale, y0 / scale, 0.3, 1.0, **settings
    )
    found = sg.solve(
        lambda t, y: 1e6 * system.f(t, y * scale),
        y0 / scale,
        0.3,
        1.0,
        mass=1e6 * system.mass * scale,
        **settings,
    )
    assert found.stats.rejected == explicit.stats.rejected
    assert abs(found.stats.accepted - explicit.stats.accepted) <= 1


@every_family
def test_a_row_may_have_its_own_mass(name: str) -> None:
    """Factors, and for some rows another order of the equations."""
    factor = torch.linspace(0.5, 2.0, len(STARTS)).double()
    order = torch.tensor([[0, 1, 2], [2, 0, 1], [0, 1, 2], [1, 2, 0], [2, 1, 0]])
    system = chained()
    many = System(
        lambda t, y: (system.f(t, y) * factor[:, None]).gather(-1, order),
        system.mass[order] * factor[:, None, None],
        system.exact,
    )
    found = solved(many, name, 1.0, rtol=1e-6, atol=1e-6)
    assert (found - system.exact(STARTS + 1)).abs().max() < 1e-4


IDENTITIES = {
    "diagonal": lambda n: torch.ones(n),
    "dense": lambda n: np.eye(n),
    "lists": lambda n: [[int(i == j) for j in range(n)] for i in range(n)],
    "sparse": lambda n: sp.eye_array(n, format="csc"),
    "torch sparse": lambda n: torch.eye(n).to_sparse(),
}


def diffusion(t: Tensor, y: Tensor) -> Tensor:
    """A front on a line (F,)."""
    inner = y[:-2] - 2 * y[1:-1] + y[2:]
    ends = torch.stack((y[1] - y[0], y[-2] - y[-1]))
    return 40 * torch.cat((ends[:1], inner, ends[1:])) + y * (1 - y)


@pytest.mark.parametrize("given", IDENTITIES)
@pytest.mark.parametrize(("n", "solver"), [(8, None), (70, "band"), (70, "sparse")])
@pytest.mark.parametrize("name", ["rodas5p", "kvaerno5", "sdirk2", "bdf", "radau5"])
def test_the_identity_is_no_mass(name: str, n: int, solver: str | None, given: str) -> None:
    y0 = torch.linspace(0, 1, n, dtype=torch.float64)
    found = [
        sg.solve(diffusion, y0, 0.0, 0.5, method=name, mass=mass, linear_solver=solver, rtol=1e-3)
        for mass in (None, IDENTITIES[given](n))
    ]
    assert torch.equal(found[0].y, found[1].y)
    assert found[0].stats.accepted == found[1].stats.accepted


def heat(t: Tensor, y: Tensor) -> Tensor:
    """Finite elements on a line with a source; the ends hold no derivative: y_0 = t, y_n = 0."""
    n = len(y)
    inner = n * (y[:-2] - 2 * y[1:-1] + y[2:]) + torch.cos(y[1:-1]) / n
    return torch.cat(((y[:1] - t), inner, y[-1:]))


def elements(n: int) -> Any:
    """The mass matrix of `heat`, sparse."""
    ones = np.ones(n) / n
    mass = sp.lil_array(
        sp.diags_array([ones[1:] / 6, 2 * ones / 3, ones[1:] / 6], offsets=[-1, 0, 1])
    )
    mass[[0, n - 1]] = 0
    return mass.tocsr()


def rotated(n: int) -> tuple[Any, Any]:
    """The same, with its first four equations in other combinations (a field, and its mass)."""
    turn = np.linalg.qr(np.random.default_rng(0).random((4, 4)))[0]
    whole = sp.block_diag((turn, sp.eye_array(n - 4)), format="csr")
    by = torch.from_numpy(turn)

    def f(t: Tensor, y: Tensor) -> Tensor:
        value = heat(t, y)
        return torch.cat((by @ value[:4], value[4:]))

    return f, whole @ elements(n)


@pytest.mark.parametrize("combined", [False, True], ids=["zero rows", "combinations"])
@pytest.mark.parametrize("name", ["rodas5p", "kvaerno5", "bdf", "radau5"])
def test_all_linear_solvers_agree(name: str, combined: bool) -> None:
    n, found = 80, {}
    f, mass = rotated(n) if combined else (heat, elements(n))
    y0 = torch.zeros(n, dtype=torch.float64)
    for solver in ("dense", "band", "sparse", None):
        s = sg.solve(f, y0, 0.0, 1.0, method=name, mass=mass, linear_solver=solver, rtol=1e-6)
        found[solver] = s.raise_if_failed().y[-1]
        assert (s.stats.linear_solver or "").startswith(solver or "band")
        torch.testing.assert_close(found[solver], found["dense"], rtol=0, atol=1e-5)
    assert found["dense"][0] == pytest.approx(1, abs=1e-9)


def ladder(n: int) -> tuple[Any, Any]:
    """Pairs of nodes that a capacitor ties together, in a row of resistors: a field and its M.

    The equations of a pair add up to one without a derivative, of which M has no zero row.
    """
    mass = sp.block_diag([np.array([[1.0, -1.0], [-1.0, 1.0]])] * (n // 2), format="csr")

    def f(t: Tensor, y: Tensor) -> Tensor:
        pad = torch.cat((torch.sin(t).reshape(1), y, 0 * y[:1]))
        return pad[:-2] - 3 * y - y**3 + pad[2:]

    return f, mass


@pytest.mark.parametrize("name", ["rodas5p", "kvaerno5", "bdf"])
def test_combinations_reach_beyond_their_rows(name: str) -> None:
    f, mass = ladder(80)
    y0 = torch.zeros(80, dtype=torch.float64)
    ends = [
        sg.solve(f, y0, 0.0, 1.0, method=name, mass=mass, linear_solver=solver, rtol=1e-6)
        for solver in ("dense", "band", "sparse")
    ]
    for found in ends:
        torch.testing.assert_close(found.y[-1], ends[0].y[-1], rtol=0, atol=1e-6)
        value = f(torch.tensor(1.0).double(), found.y[-1])
        assert (value[0::2] + value[1::2]).abs().max() < 1e-8


@pytest.mark.parametrize("solver", ["band", "sparse", None])
def test_m_may_have_entries_that_the_jacobian_has_not(solver: str | None) -> None:
    y0 = torch.linspace(0.5, 1, 80, dtype=torch.float64)
    mass = sp.diags_array([0.2, 1.0, 0.3], offsets=[-1, 0, 1], shape=(80, 80))
    dense, found = (
        sg.solve(lambda t, y: -(y**2), y0, 0.0, 1.0, mass=mass, linear_solver=s)
        for s in ("dense", solver)
    )
    torch.testing.assert_close(found.y, dense.y, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("given", ["array", "tensor", "csc", "coo tensor"])
def test_a_mass_may_come_in_any_form(given: str) -> None:
    n = 6
    table = elements(n).toarray()
    forms = {
        "array": table,
        "tensor": torch.from_numpy(table),
        "csc": sp.csc_matrix(table),
        "coo tensor": torch.from_numpy(table).to_sparse(),
    }
    y0 = torch.zeros(n, dtype=torch.float64)
    found = [sg.solve(heat, y0, 0.0, 1.0, mass=m).y for m in (table.tolist(), forms[given])]
    assert torch.equal(*found)
