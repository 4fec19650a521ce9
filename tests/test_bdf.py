"""Backward difference formulas: their coefficients, their tables, their steps, their refusals."""

from __future__ import annotations

import math
from fractions import Fraction as F

import numpy as np
import pytest
import torch
from families import close, real, wave, wavy
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from torch import Tensor

import stiffguide as sg
from stiffguide import guidance, methods, problems
from stiffguide.catalogue.backward_differences import ERROR, GAMMA, KAPPA, LEADING, ORDERS
from stiffguide.fields.jacobian import GivenJacobian
from stiffguide.methods.bdf import table as tables
from stiffguide.methods.bdf.corrector import Formula, Linear, correct
from stiffguide.methods.bdf.method import BDF
from stiffguide.problems import van_der_pol_field
from stiffguide.stepping.tolerance import Tolerance
from stiffguide.verification import orbit, orbit_field, orbit_jac

every_order = pytest.mark.parametrize("k", ORDERS)

# coefficients ------------------------------------------------------------------------------------


def nabla(j: int, values: list[F]) -> F:
    """The backward difference of order j at the last value."""
    return sum(((-1) ** m * math.comb(j, m) * values[-1 - m] for m in range(j + 1)), F(0))


def residual(k: int, q: int) -> F:
    """What the formula of order k, written for the rise d, leaves of y = t^q at t = 1, h = 1."""
    past = [F(-i) ** q for i in range(k, -1, -1)]
    d = nabla(k + 1, [*past, F(1)])
    return LEADING[k] * d + sum(GAMMA[j] * nabla(j, past) for j in range(1, k + 1)) - q


@every_order
def test_a_formula_is_exact_to_its_order_and_its_error_is_known(k: int) -> None:
    assert [residual(k, q) for q in range(k + 1)] == [0] * (k + 1)
    assert residual(k, k + 1) == -ERROR[k] * math.factorial(k + 1)


def test_the_coefficients_are_those_that_were_published() -> None:
    """Shampine and Reichelt (1997), table 1."""
    found = [float(kappa) for kappa in KAPPA[1:]]
    assert found == pytest.approx([-0.1850, -1 / 9, -0.0823, -0.0415, 0], abs=1e-15)


@pytest.mark.parametrize(("k", "degrees"), [(1, 90), (2, 90), (3, 80), (4, 66), (5, 51)])
def test_the_angle_of_stability_is_the_published_one(k: int, degrees: float) -> None:
    """Along the locus of the roots of modulus 1; table 1 of the same."""
    w = 1 - np.exp(-1j * np.linspace(1e-3, math.pi, 200_001))  # nabla of exp(i phi n)
    formula = sum(w**m / m for m in range(1, k + 1)) - float(KAPPA[k] * GAMMA[k]) * w ** (k + 1)
    left = formula[formula.real < -1e-9]
    angle = 90.0 if not left.size else np.degrees(np.arctan2(left.imag, -left.real).min())
    assert degrees - 0.75 < angle < degrees + 1  # they round, or cut


# tables of differences ---------------------------------------------------------------------------

coefficients = st.lists(st.floats(-2, 2), min_size=1, max_size=6)
spacings = st.floats(0.05, 2)


def table_of(p: np.polynomial.Polynomial, t: float, h: float, k: int) -> np.ndarray:
    """The table (1, 8, 1) of a polynomial."""
    values = p(t - h * np.arange(k + 1))
    made = np.zeros((1, tables.DIFFERENCES, 1))
    for j in range(k + 1):
        made[0, j, 0] = sum((-1) ** m * math.comb(j, m) * values[m] for m in range(j + 1))
    return made


@given(c=coefficients, t=st.floats(-1, 1), h=spacings, stretch=st.floats(0.2, 5))
def test_tables_change_their_spacing(c: list[float], t: float, h: float, stretch: float) -> None:
    p, k = np.polynomial.Polynomial(c), len(c) - 1
    order, everywhere = np.array([k]), np.array([True])
    found = tables.rescaled(table_of(p, t, h, k), order, np.array([stretch]), everywhere)
    expected = table_of(p, t, stretch * h, k)
    scale = 1e-13 * (1 + 5 * stretch) ** 6 * np.abs(c).sum() * (1 + 5 * h) ** 6
    assert np.abs(found - expected)[:, : k + 1].max() <= scale


@given(c=coefficients, t=st.floats(-1, 1), h=spacings, theta=st.floats(0.01, 1))
def test_tables_move_with_the_spacing_they_have(
    c: list[float], t: float, h: float, theta: float
) -> None:
    p, k = np.polynomial.Polynomial(c), len(c) - 1
    old, rise = table_of(p, t, h, k), np.array([[0.125]])
    found = tables.moved(old, k, np.array([theta]), rise)
    expected = table_of(p, t + theta * h, h, k)
    expected[:, : k + 1] += 0.125  # the new value alone, which has weight 1 in every difference
    scale = 1e-13 * np.abs(c).sum() * (1 + 7 * h) ** 6
    assert np.abs(found - expected).max() <= scale


@given(c=coefficients, t=st.floats(-1, 1), h=spacings)
def test_a_step_of_a_polynomial_is_its_next_table(c: list[float], t: float, h: float) -> None:
    p, k = np.polynomial.Polynomial(c), len(c) - 1
    old, order = table_of(p, t, h, k), np.array([k])
    found = tables.advanced(old, order, np.zeros((1, 1)))
    scale = 1e-13 * np.abs(c).sum() * (1 + 7 * h) ** 6
    assert np.abs(found - table_of(p, t + h, h, k))[:, : k + 1].max() <= scale
    if k:
        along = tables.along(found, order)[:, 0, 0]
        for theta in (0.0, 0.3, 1.0):
            value = p(t) + sum(x * theta ** (d + 1) for d, x in enumerate(along))
            assert abs(value - p(t + theta * h)) <= scale


# the corrector -----------------------------------------------------------------------------------


@given(
    mode=st.floats(-1e8, 0),
    c=st.floats(1e-3, 1e3),
    quotient=st.floats(0.3, 1.4),
    sign=st.sampled_from([-1, 1]),
)
def test_old_factors_contract_as_fast_as_is_said(
    mode: float, c: float, quotient: float, sign: int
) -> None:
    """Of a linear mode, one iteration leaves |c - c'|/(c + c') at most."""
    c, mode = sign * c, sign * mode
    old = np.array([[c / quotient]])
    formula = Formula(
        f=lambda y: mode * y,
        predicted=np.ones((1, 1)),
        psi=np.full((1, 1), 0.5),
        c=np.array([[c]]),
        weight=np.ones((1, 1)),
        limit=np.array([1e-9]),
    )
    solve = Linear(lambda r: r / (1 / old - mode), old, np.array([math.nan]))
    rise = (c * mode - 0.5) / (1 - c * mode)
    one = correct(formula._replace(limit=np.array([math.inf])), solve, np.array([1]))
    bound = abs(quotient - 1) / (quotient + 1)
    two = correct(formula, solve, np.array([60]))
    assert abs(two.rise[0, 0] - rise) <= 1e-8 * (1 + abs(rise)) + 1e-7
    if not np.isnan(one.rate[0]):
        assert one.rate[0] <= bound * (1 + 1e-6) + 1e-6
    assert np.isnan(two.rate[0]) or two.rate[0] <= bound + 1e-4


# steps -------------------------------------------------------------------------------------------


def oscillators(mu: Tensor, **settings: object) -> sg.Solution:
    start = torch.stack((torch.full_like(mu, 2.0), torch.zeros_like(mu)), -1)
    return sg.solve(
        van_der_pol_field,
        start,
        0.0,
        20.0,
        args=(mu,),
        batched=True,
        method="BDF",
        rtol=1e-5,
        atol=1e-7,
        checks=False,
        **settings,
    ).raise_if_failed()


def test_a_batch_is_its_rows_bit_by_bit_whatever_their_orders() -> None:
    mu = real(0.1, 3.0, 30.0, 1000.0)
    batch = oscillators(mu, save_at=sg.EveryStep())
    assert len(set(batch.stats.accepted.tolist())) == 4
    for row in range(4):
        solo = oscillators(mu[row : row + 1], save_at=sg.EveryStep())
        n = solo.t.shape[1]
        assert torch.equal(batch.t[row, :n], solo.t[0])
        assert torch.equal(batch.y[row, :n], solo.y[0])
        assert torch.equal(batch.counts[:, row], solo.counts[:, 0])


@pytest.mark.parametrize(("time", "state"), [(2.0**20, 1.0), (1.0, 2.0**-30), (2.0**-9, 2.0**7)])
def test_other_units_take_the_same_steps_bit_by_bit(time: float, state: float) -> None:
    def other(t: Tensor, y: Tensor) -> Tensor:
        return wavy(t / time, y / state) * (state / time)

    settings = {"method": "bdf", "rtol": 1e-6, "save_at": sg.EveryStep(), "jac": "autograd"}
    plain = sg.solve(wavy, wave(0.0), 0.0, 5.0, atol=1e-9, **settings)
    scaled = sg.solve(other, wave(0.0) * state, 0.0, 5.0 * time, atol=1e-9 * state, **settings)
    assert torch.equal(scaled.t, plain.t * time)
    assert torch.equal(scaled.y, plain.y * state)


@pytest.mark.parametrize(("rtol", "steps"), [(1e-3, 200), (1e-5, 430)])
def test_robertson_costs_what_it_costs_scipy(rtol: float, steps: int) -> None:
    p = problems.robertson(1e11)
    settings = {"rtol": rtol, "atol": 1e-3 * rtol}
    found = sg.solve(p.f, p.y0, p.t0, p.t1, method="bdf", jac=p.jac, **settings).raise_if_failed()
    theirs = solve_ivp(
        lambda t, y: p.f(torch.tensor(t), torch.tensor(y)).numpy(),
        (p.t0, p.t1),
        p.y0.numpy(),
        "BDF",
        jac=lambda t, y: p.jac(torch.tensor(t), torch.tensor(y)).numpy(),
        **settings,
    )
    work = found.stats
    assert int(work.accepted) < 1.15 * (len(theirs.t) - 1)
    assert int(work.nfe) < 1.2 * theirs.nfev
    assert int(work.nlu) < 1.2 * theirs.nlu
    assert int(work.njac) < 1.5 * theirs.njev
    assert int(work.accepted) < 1.15 * steps


def test_a_stiff_decay_is_damped_however_long_the_steps() -> None:
    rate = 1e6

    def f(t: Tensor, y: Tensor) -> Tensor:
        return -rate * (y - torch.cos(t)) - torch.sin(t)

    for name in ("bdf", *(f"bdf{k}" for k in ORDERS)):
        found = sg.solve(f, real(0.0), 0.0, 10.0, method=name, rtol=1e-4, atol=1e-6)
        close(found.y[-1], real(math.cos(10.0)), rtol=1e-3)
        assert int(found.stats.accepted) < (1500 if name == "bdf1" else 300)


def test_a_stop_where_nothing_jumps_costs_little() -> None:
    """A step cut short leaves the table's spacing as it is, so that the next one is as long."""
    settings = {"method": "bdf", "rtol": 1e-7, "atol": 1e-9}
    plain = sg.solve(wavy, wave(0.0), 0.0, 5.0, save_at=sg.EveryStep(), **settings)
    stops = (plain.t[:-1] + 1e-3 * plain.t.diff())[30::30]  # a thousandth of a step beyond a step
    stopped = sg.solve(wavy, wave(0.0), 0.0, 5.0, tstops=stops, **settings)
    assert int(stopped.stats.accepted) <= int(plain.stats.accepted) + 2 * len(stops)
    assert int(stopped.stats.rejected) <= int(plain.stats.rejected) + 2
    close(stopped.y[-1], wave(5.0), rtol=1e-5)


@pytest.mark.parametrize("below", [math.nan, 1.0])
def test_no_correction_is_the_last_that_leads_through_zero(below: float) -> None:
    """Beyond it f may not be defined, as a square root: it is asked there once more."""
    formula = Formula(
        f=lambda y: np.where(y < 0, below, 1.0) * (-1.0 - y),
        predicted=np.full((1, 1), 1e-3),
        psi=np.full((1, 1), 0.0),
        c=np.ones((1, 1)),
        weight=np.ones((1, 1)),
        limit=np.array([1.0]),
    )
    known = Linear(lambda r: r / 2, np.ones((1, 1)), np.array([1e-3]))
    found = correct(formula, known, np.array([4]))
    assert found.y[0, 0] < 0
    assert found.iterations[0] == 2
    assert bool(found.ok[0]) == math.isfinite(below)
    assert bool(np.isfinite(found.slope[0, 0])) == math.isfinite(below)


@pytest.mark.parametrize("method", [BDF(), BDF(order=3)], ids=repr)
def test_a_state_that_is_kept_keeps_no_table(method: BDF) -> None:
    f, t0, dt = GivenJacobian(orbit_field, orbit_jac), real(0.0), real(0.1)
    y0, tolerance = orbit(t0), Tolerance(1e-6, 1e-6)
    step = method.step(f, t0, dt, y0, f(t0, y0), method.init(f, t0, y0), tolerance)
    assert step.y1.untyped_storage().nbytes() == y0.nbytes
    step.y1.fill_(9.0)
    assert step.state.table.max() < 2


# refusals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"controller": sg.Fixed(0.1)}, "bdf chooses order and dt together.*use 'bdf1' to 'bdf5'"),
        ({"controller": sg.Grid([0.0, 1.0])}, "and Grid gives it dt"),
        ({"guidance": guidance.ErkGuid(0.1)}, "guidance moves y1, and bdf goes on.*use 'heun'"),
        ({"guidance": guidance.ErrorDirection()}, "would not belong together"),
        ({"backend": "kernel"}, "bdf has no kernel"),
    ],
)
def test_what_a_multistep_method_cannot_do_it_says(change: dict, words: str) -> None:
    with pytest.raises(sg.UnsupportedError, match=words):
        sg.solve(wavy, wave(0.0), 0.0, 1.0, method="bdf", **change)


def test_gradients_are_refused_where_they_would_be_recorded() -> None:
    words = "bdf records no gradient.*use 'rodas5p' or 'kvaerno5'.*no_grad"
    rate = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    for f, y0 in ((lambda t, y: -rate * y, real(1.0)), (lambda t, y: -y, real(1.0) * rate)):
        with pytest.raises(sg.UnsupportedError, match=words):
            sg.solve(f, y0, 0.0, 1.0, method="bdf")
        with torch.no_grad():
            assert sg.solve(f, y0, 0.0, 1.0, method="bdf").success

    def late(t: Tensor, y: Tensor) -> Tensor:
        return -y * rate if t > 0.5 else -y

    with pytest.raises(sg.UnsupportedError, match=words):
        sg.solve(late, real(1.0), 0.0, 1.0, method="bdf")
    # within reach, but of no consequence
    assert sg.solve(lambda t, y: -y + 0 * rate.item(), real(1.0), 0.0, 1.0, method="bdf").success


def test_another_device_is_refused() -> None:
    y0 = torch.ones(2, dtype=torch.float64, device="meta")
    with pytest.raises(sg.UnsupportedError, match="bdf steps on the CPU, and y0 is on meta; use"):
        sg.solve(lambda t, y: -y, y0, 0.0, 1.0, method="bdf")


def test_names_and_orders() -> None:
    assert methods.get("BDF") is methods.get("bdf")
    assert {"bdf", *(f"bdf{k}" for k in ORDERS)} < set(methods.names())
    assert repr(BDF()) == "BDF()"
    assert repr(BDF(order=3)) == "BDF(order=3)"
    with pytest.raises(sg.InputError, match="order is 1 to 5"):
        BDF(order=6)
