"""The stiff test set: published values are reached, in the number of steps that a method needs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from families import adds_up, close, real, rtol_for
from torch import Tensor

import stiffguide as sg
from stiffguide import problems
from stiffguide.problems import Problem

slow = pytest.mark.slow

PUBLISHED = [
    ("robertson", "rodas5p"),
    ("robertson", "kvaerno5"),
    ("van_der_pol", "rodas5p"),
    pytest.param("van_der_pol", "kvaerno5", marks=slow),
    ("van_der_pol_scaled", "rodas5p"),
    pytest.param("van_der_pol_scaled", "kvaerno5", marks=slow),
    ("hires", "rodas5p"),
    ("hires", "kvaerno5"),
    pytest.param("orego", "rodas5p", marks=slow),
    pytest.param("orego", "kvaerno5", marks=slow),
    ("pollu", "rodas5p"),
    ("pollu", "kvaerno5"),
    *(
        (name, method)
        for method in ("bdf", "radau5")
        for name in ("robertson", "van_der_pol", "van_der_pol_scaled", "hires", "orego", "pollu")
    ),
]


def solved(problem: Problem, method: str, rtol: float, atol: Any, **settings: Any) -> sg.Solution:
    settings.setdefault("jac", problem.jac)
    ends = problem.t0, problem.t1
    return sg.solve(
        problem.f, problem.y0, *ends, method=method, rtol=rtol, atol=atol, **settings
    ).raise_if_failed()


@pytest.mark.parametrize(("name", "method"), PUBLISHED)
def test_published_values_are_reached_in_every_component(name: str, method: str) -> None:
    problem = problems.get(name)
    found = solved(problem, method, 1e-8, problem.atol).y[-1]
    close(found, real(*problem.reference), rtol=100 * 1e-8 * adds_up(method))
    if problem.invariant is not None:
        close(problem.invariant(found), problem.invariant(problem.y0), rtol=1e-9)


# accepted steps, or accepted and rejected, that other implementations of the same methods take
STEPS = [
    (problems.robertson(1e4), "rodas4", 182),
    (problems.robertson(1e4), "rodas5p", 99),
    (problems.robertson(1e5), "kvaerno5", 80 + 6),
    (problems.robertson(1e11), "kvaerno5", 233 + 7),
    (problems.van_der_pol(100.0), "rodas4", 763),
    (problems.van_der_pol(100.0), "rodas5p", 480),
    (problems.van_der_pol(1000.0), "kvaerno5", 385 + 149),
    (problems.hires(), "rodas4", 195),
    (problems.hires(), "rodas5p", 120),
    (problems.hires(), "kvaerno5", 111 + 17),
    (problems.orego(), "kvaerno5", 594 + 168),
    (problems.pollu(), "rodas4", 49),
    (problems.pollu(), "rodas5p", 35),
    (problems.pollu(), "kvaerno5", 49 + 7),
]


@pytest.mark.parametrize(
    ("problem", "method", "steps"), STEPS, ids=[f"{p.name}-{p.t1:g}-{m}" for p, m, _ in STEPS]
)
def test_no_more_steps_than_others_take(problem: Problem, method: str, steps: int) -> None:
    atol = 1e-10 if problem.name == "robertson" else 1e-8
    found = solved(problem, method, 1e-6, atol)
    counted = found.stats.accepted
    if method == "kvaerno5":
        counted = counted + found.stats.rejected
    assert int(counted) <= 1.3 * steps
    if problem.reference is not None:
        assert float(problem.error(found.y[-1])) < 3e-5


@pytest.mark.parametrize("method", ["rodas5p", "kvaerno5", "sdirk2"])
@pytest.mark.usefixtures("eager")
def test_newton_keeps_what_it_may(method: str) -> None:
    found = solved(problems.pollu(), method, rtol_for(method, 1e-6), 1e-8)
    accepted = int(found.stats.accepted)
    if method == "rodas5p":
        assert int(found.stats.njac) >= accepted
    else:
        assert int(found.stats.njac) < 0.4 * accepted
        assert int(found.stats.njac) <= int(found.stats.nlu) <= accepted + 5


# three ways to a Jacobian, and fields that leave torch --------------------------------------------


def quick(name: str) -> Problem:
    """The first part of a problem, stiff already."""
    made = {"robertson": problems.robertson(40.0), "van_der_pol": problems.van_der_pol(100.0)}
    return made.get(name, problems.get(name))


@pytest.mark.parametrize(
    ("name", "method"),
    [
        *(("robertson", m) for m in ("rodas5p", "rosenbrock23", "kvaerno5", "sdirk2")),
        *(("hires", m) for m in ("rodas5p", "kvaerno5")),
    ],
)
def test_all_ways_to_a_jacobian_give_one_answer(name: str, method: str) -> None:
    problem = quick(name)
    rtol = rtol_for(method, 1e-5)
    answers = [
        solved(problem, method, rtol, 1e-3 * rtol, jac=jac)
        for jac in (problem.jac, None, "autograd", "differences")
    ]
    counts = [int(a.stats.accepted) for a in answers]
    assert max(counts) - min(counts) <= 2 + 0.05 * counts[0]
    for other in answers[1:]:
        close(other.y, answers[0].y, rtol=20 * rtol, atol=1e-3 * rtol)


@pytest.mark.parametrize("method", ["rodas5p", "kvaerno5"])
def test_a_constant_jacobian_may_be_a_tensor(method: str) -> None:
    matrix = real(-1000.0, 999.0, 1.0, -2.0).reshape(2, 2)
    settings = {"method": method, "rtol": 1e-6}
    plain = sg.solve(lambda t, y: matrix @ y, real(1.0, 0.0), 0.0, 1.0, **settings)
    given = sg.solve(lambda t, y: matrix @ y, real(1.0, 0.0), 0.0, 1.0, jac=matrix, **settings)
    exact = torch.linalg.matrix_exp(matrix) @ real(1.0, 0.0)
    for found in (plain, given):
        close(found.y[-1], exact, rtol=1e-4)
    rows = sg.solve(
        lambda t, y: y @ matrix.T,
        real(1.0, 0.0).repeat(2, 1),
        0.0,
        1.0,
        jac=matrix,
        batched=True,
        **settings,
    )
    close(rows.y[:, -1], exact.repeat(2, 1), rtol=1e-4)


def through_numpy(t: Tensor, y: Tensor) -> Tensor:
    """Autograd cannot follow."""
    a, b = y.numpy()
    return torch.from_numpy(np.array([-100 * (a - np.cos(float(t))), a - b]))


def clock_through_numpy(t: Tensor, y: Tensor) -> Tensor:
    """Autograd can follow y, but not t."""
    a, b = y
    return torch.stack((-100 * (a - float(np.cos(t.numpy()))), a - b))


def clock_through_float(t: Tensor, y: Tensor) -> Tensor:
    """Autograd would see no t at all."""
    a, b = y
    return torch.stack((-100 * (a - math.cos(float(t))), a - b))


def through_floats(t: Tensor, y: Tensor) -> Tensor:
    """Autograd would see half of y."""
    a, b = y
    return torch.stack((-100 * (a.item() - torch.cos(t)) + 0 * a, a - b))


def without_y(t: Tensor, y: Tensor) -> Tensor:
    return torch.stack((torch.cos(t), -torch.sin(t)))


@pytest.mark.parametrize("method", ["rodas5p", "rosenbrock23", "kvaerno5", "sdirk2", "tsit5"])
def test_a_field_may_leave_torch(method: str) -> None:
    def inside(t: Tensor, y: Tensor) -> Tensor:
        return torch.stack((-100 * (y[0] - torch.cos(t)), y[0] - y[1]))

    rtol = rtol_for(method, 1e-5)
    settings = {"method": method, "rtol": rtol, "atol": rtol}
    plain = sg.solve(inside, real(0.0, 0.0), 0.0, 1.0, **settings)
    jac = real(-100.0, 0.0, 1.0, -1.0).reshape(2, 2)
    for f in (through_numpy, clock_through_numpy, clock_through_float, through_floats):
        for how in (None, jac):
            found = sg.solve(f, real(0.0, 0.0), 0.0, 1.0, jac=how, **settings)
            close(found.y, plain.y, rtol=50 * rtol)
            assert int(found.stats.accepted) <= 1.1 * int(plain.stats.accepted) + 2
    found = sg.solve(without_y, real(0.0, 1.0), 0.0, 1.0, **settings)
    close(found.y[-1], real(np.sin(1.0), np.cos(1.0)), rtol=50 * rtol)


@pytest.mark.parametrize("method", ["rodas5p", "kvaerno5"])
def test_a_hundred_components_are_no_different(method: str) -> None:
    # more than the number up to which single sweeps make the Jacobian
    problem = problems.brusselator_1d(50)
    settings = {"rtol": 1e-4, "atol": 1e-5}
    written, recorded = (
        sg.solve(problem.f, problem.y0, 0.0, 0.5, jac=jac, method=method, **settings)
        for jac in (problem.jac, None)
    )
    assert written.success
    close(recorded.y, written.y, rtol=1e-4)
