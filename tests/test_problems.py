"""Laws of the problem set: exact Jacobians, rows that stay apart, references within reach."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.integrate
import torch
from torch import Tensor

from stiffguide import problems
from stiffguide.errors import InputError
from stiffguide.problems import Network, Problem
from stiffguide.problems.kinetics import E5, HIRES, OREGO

SMALL = {
    "brusselator_1d": lambda: problems.brusselator_1d(6),
    "brusselator_2d": lambda: problems.brusselator_2d(4),
}
ALL = problems.names()
EVERY = ALL + problems.constrained_names()
WITH_INVARIANT = [name for name in ALL if problems.get(name).invariant]


def small(name: str) -> Problem:
    """The problem at a size where dense Jacobians by autograd are cheap."""
    return SMALL.get(name, lambda: problems.get(name))()


def points(problem: Problem, count: int = 5) -> tuple[Tensor, Tensor]:
    """Times (B,) across the interval and positive states (B, F) of very different sizes."""
    random = torch.Generator().manual_seed(1)
    shape = (count, problem.size)
    sizes = 10.0 ** (-4 * torch.rand(shape, generator=random, dtype=torch.float64))
    y = problem.y0.abs() + sizes * torch.rand(shape, generator=random, dtype=torch.float64)
    return torch.linspace(problem.t0, min(problem.t1, 10.0), count, dtype=torch.float64), y


def rounding(problem: Problem, t: Tensor, y: Tensor) -> Tensor:
    """The size (...,) that rounding errors of f are measured against."""
    return (problem.jac(t, y).abs() @ y.abs().unsqueeze(-1)).squeeze(-1).amax(-1) + 10


@pytest.mark.parametrize("name", EVERY)
def test_jacobian_is_the_derivative_of_the_field(name: str) -> None:
    problem = small(name)
    t, y = points(problem)
    for row in range(len(t)):
        exact = torch.autograd.functional.jacobian(lambda z, s=t[row]: problem.f(s, z), y[row])
        torch.testing.assert_close(problem.jac(t[row], y[row]), exact, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("name", EVERY)
def test_a_batch_equals_its_rows(name: str) -> None:
    problem = small(name)
    t, y = points(problem)
    f, jac = problem.f(t, y), problem.jac(t, y)
    assert f.shape == y.shape
    assert jac.shape == (*y.shape, problem.size)
    for row in range(len(t)):
        atol = 1e-15 * float(rounding(problem, t[row], y[row]))
        torch.testing.assert_close(f[row], problem.f(t[row], y[row]), rtol=1e-13, atol=atol)
        torch.testing.assert_close(jac[row], problem.jac(t[row], y[row]), rtol=1e-13, atol=atol)
    torch.testing.assert_close(problem.f(t[2], y)[2], f[2], rtol=0, atol=0)


@pytest.mark.parametrize("name", WITH_INVARIANT)
def test_invariant_does_not_change_along_the_field(name: str) -> None:
    problem = small(name)
    t, y = points(problem)
    y.requires_grad_()
    (slope,) = torch.autograd.grad(problem.invariant(y).sum(), y)
    terms = slope * problem.f(t, y)
    assert (terms.sum(-1).abs() <= 1e-14 * terms.abs().sum(-1)).all()


@pytest.mark.parametrize("name", WITH_INVARIANT)
def test_reference_keeps_the_invariant(name: str) -> None:
    problem = problems.get(name)
    reference = problem.y0.new_tensor(problem.reference)
    before, after = problem.invariant(problem.y0), problem.invariant(reference)
    torch.testing.assert_close(after, before, rtol=1e-12, atol=1e-30)


@pytest.mark.parametrize("name", EVERY)
def test_record_is_whole(name: str) -> None:
    problem = problems.get(name)
    assert problem.name == name
    assert problem.t0 < problem.t1
    assert problem.y0.dtype == torch.float64
    assert problem.source
    assert (np.asarray(problem.atol) > 0).all()
    assert np.size(problem.atol) in (1, problem.size)
    assert len(problem.reference) == len(problem.probes or range(problem.size))
    assert 0 < problem.digits <= 15


@pytest.mark.parametrize("name", ALL)
def test_reference_is_reached_by_scipy(name: str) -> None:
    problem = problems.get(name)
    dense = problem.size <= 100
    rtol = 1e-6 if problem.stiff else 1e-12
    atol = problem.atol_for(rtol)
    implicit = {
        "method": "Radau",
        "jac": lambda t, y: problem.jac(torch.tensor(t), torch.from_numpy(y)).numpy(),
    }
    solution = scipy.integrate.solve_ivp(
        lambda t, y: problem.f(torch.tensor(t), torch.from_numpy(y)).numpy(),
        (problem.t0, problem.t1),
        problem.y0.numpy(),
        rtol=rtol,
        atol=np.asarray(atol),
        **(implicit if problem.stiff and dense else {"method": "DOP853"}),
    )
    assert solution.success
    reach = max(100 * rtol, 10.0**-problem.digits)
    assert problem.error(torch.from_numpy(solution.y[:, -1])) < reach


@pytest.mark.parametrize("name", EVERY)
def test_problem_moves_to_another_dtype(name: str) -> None:
    problem = small(name).to(dtype=torch.float32)
    t, y = problem.y0.new_zeros(()), problem.y0
    assert problem.f(t, y).dtype == problem.jac(t, y).dtype == torch.float32


@pytest.mark.parametrize("name", SMALL)
def test_sparsity_holds_every_entry_and_no_more(name: str) -> None:
    problem = small(name)
    t, y = points(problem)
    seen = (problem.jac(t, y) != 0).any(0).numpy()
    np.testing.assert_array_equal(problem.sparsity.toarray(), seen)


@pytest.mark.parametrize(
    ("network", "name"),
    [(problems.POLLU, "pollu"), (HIRES, "hires"), (OREGO, "orego"), (E5, "e5")],
)
def test_every_form_of_a_network_is_one_field(network: Network, name: str) -> None:
    problem = problems.get(name)
    t, y = points(problem)
    expected = problem.f(t, y)
    atol = 1e-14 * rounding(problem, t, y)[:, None]
    for form in (network.field(), network.by_species):
        assert ((form(t, y) - expected).abs() <= atol).all()
        assert ((form(t[0], y[0]) - expected[0]).abs() <= atol[0]).all()


def test_network_counts_what_a_reaction_changes() -> None:
    network = Network.parse("A B", ((2.0, "A + A -> A + B"), (0.5, "-> A"), (3.0, "B -> ")))
    y = torch.tensor([3.0, 5.0], dtype=torch.float64)
    expected = torch.tensor([-18 + 0.5, 18 - 15], dtype=torch.float64)
    torch.testing.assert_close(network.field()(y.new_zeros(()), y), expected)
    torch.testing.assert_close(network.by_species(y.new_zeros(()), y), expected)


@pytest.mark.parametrize("line", ["A + B", "A -> C", "A + A + B -> B", "A -> B -> A"])
def test_network_refuses_a_line_it_cannot_read(line: str) -> None:
    with pytest.raises(InputError, match="one arrow, at most two reactants"):
        Network.parse("A B", ((1.0, line),))


def test_robertson_takes_rates_per_row() -> None:
    problem = problems.robertson()
    t, y = points(problem)
    k = (
        torch.tensor([0.04, 3e7, 1e4], dtype=torch.float64)
        * torch.linspace(0.5, 2, len(t))[:, None]
    )
    f, jac = problems.robertson_field(t, y, k), problems.robertson_jac(t, y, k)
    for row in range(len(t)):
        solo = problems.robertson_field(t[row], y[row], k[row])
        exact = torch.autograd.functional.jacobian(
            lambda z, r=row: problems.robertson_field(t[r], z, k[r]), y[row]
        )
        torch.testing.assert_close(f[row], solo, rtol=0, atol=0)
        torch.testing.assert_close(jac[row], exact, rtol=1e-14, atol=0)
    torch.testing.assert_close(problems.robertson_jac(t, y), problem.jac(t, y), rtol=1e-14, atol=0)


@pytest.mark.parametrize("t1", [40.0, 1e4, 1e5])
def test_robertson_references_lie_on_one_orbit(t1: float) -> None:
    # y2 follows y1 and y3 at quasi-equilibrium: 0.04 y1 = 1e4 y2 y3 + 3e7 y2^2 + small.
    problem = problems.robertson(t1)
    a, b, c = problem.reference
    assert a + b + c == pytest.approx(1, abs=1e-15)
    assert 1e4 * b * c + 3e7 * b * b == pytest.approx(0.04 * a, rel=1e-4)


def test_van_der_pol_takes_mu_per_row() -> None:
    t, y = points(problems.van_der_pol())
    mu = torch.logspace(0, 3, len(t), dtype=torch.float64)
    f, jac = problems.van_der_pol_field(t, y, mu), problems.van_der_pol_jac(t, y, mu)
    for row, value in enumerate(mu.tolist()):
        solo = problems.van_der_pol(value)
        torch.testing.assert_close(f[row], solo.f(t[row], y[row]))
        torch.testing.assert_close(jac[row], solo.jac(t[row], y[row]))


def test_the_two_scalings_of_van_der_pol_agree() -> None:
    mu = 30.0
    t, y = points(problems.van_der_pol())
    scale = torch.tensor([1.0, mu], dtype=torch.float64)
    scaled = problems.van_der_pol_scaled_field(t / mu, y * scale, mu**-2)
    torch.testing.assert_close(scaled, mu * scale * problems.van_der_pol_field(t, y, mu))


def test_reduced_e5_is_e5_without_y3() -> None:
    t, y = points(problems.e5_reduced())
    full = torch.stack((y[:, 0], y[:, 1], y[:, 1] - y[:, 2], y[:, 2]), -1)
    expected = problems.e5().f(t, full)[:, [0, 1, 3]]
    torch.testing.assert_close(problems.e5_reduced().f(t, y), expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("lam", [-1.0, -1e6])
def test_prothero_robinson_is_solved_by_its_solution(lam: float) -> None:
    problem = problems.prothero_robinson(lam)
    t = torch.linspace(problem.t0, problem.t1, 7, dtype=torch.float64)
    torch.testing.assert_close(problem.exact(t[0]), problem.y0)
    assert problem.reference == pytest.approx(problem.exact(t[-1]).tolist(), abs=1e-15)
    torch.testing.assert_close(problem.f(t, problem.exact(t)), -t.sin()[:, None])


def test_the_spot_is_fed_late() -> None:
    problem = problems.brusselator_2d(10)
    early, late = (problem.f(torch.tensor(t), problem.y0) for t in (1.0, 1.2))
    fed = (late - early).reshape(2, 10, 10)
    assert fed[0, 6, 3] == pytest.approx(5)  # row y = 0.6, column x = 0.3
    assert not fed[1].any()


def test_tolerances_scale_together() -> None:
    robertson = problems.robertson()
    assert robertson.atol_for(1e-8) == pytest.approx(robertson.atol)
    assert robertson.atol_for(1e-6) == pytest.approx((1e-12, 1e-20, 1e-12))
    assert problems.hires().atol_for(1e-6) == pytest.approx(1e-10)


def test_error_is_relative_to_the_largest_component() -> None:
    problem = replace(problems.lotka_volterra(), reference=(4.0, 1.0))
    y = torch.tensor([[4.0, 1.0], [4.0, 1.4], [3.0, 1.0]], dtype=torch.float64)
    assert problem.error(y).tolist() == pytest.approx([0, 0.1, 0.25])


@pytest.mark.parametrize(
    "problem",
    [
        problems.robertson(7.0),
        problems.van_der_pol(7.0),
        problems.van_der_pol_scaled(0.5),
        problems.brusselator_1d(7),
        problems.brusselator_2d(7),
        problems.hydrogen_ignition(1100.0),
        problems.hydrogen_ignition(pressure=2e5),
        problems.hydrogen_ignition(t1=1e-3),
    ],
    ids=lambda problem: problem.name,
)
def test_no_reference_is_claimed_for_other_parameters(problem: Problem) -> None:
    assert problem.reference is None
    assert problem.digits == 0
    with pytest.raises(InputError, match="no stored reference"):
        problem.error(problem.y0)


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match="robertson"):
        problems.get("robertsen")
