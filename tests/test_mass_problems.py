"""Systems of index 1 come to their references, which are those of the reduced systems."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.integrate
import torch
from numpy.typing import NDArray

import stiffguide as sg
from stiffguide import problems
from stiffguide.problems import Problem

SHORT = {
    "transistor_amplifier": lambda: problems.transistor_amplifier(0.01),
    "robertson_conserved": lambda: problems.robertson_conserved(40.0),
}
Array = NDArray[Any]


def short(name: str) -> Problem:
    """The problem up to a time that is soon reached."""
    return SHORT.get(name, lambda: problems.get(name))()


@pytest.mark.parametrize("method", ["rodas5p", "kvaerno5", "bdf", "radau5"])
@pytest.mark.parametrize("name", problems.constrained_names())
def test_references_are_reached(name: str, method: str) -> None:
    problem = short(name)
    atol = torch.tensor(problem.atol, dtype=torch.float64)
    settings = {"method": method, "mass": problem.mass, "jac": problem.jac}
    found = sg.solve(
        problem.f, problem.y0, problem.t0, problem.t1, rtol=1e-8, atol=atol, **settings
    )
    assert problem.error(found.raise_if_failed().y[-1]) < 1e-6
    assert not found.warnings


@pytest.mark.slow
@pytest.mark.parametrize("name", problems.constrained_names())
def test_references_are_reached_at_the_usual_end(name: str) -> None:
    problem = problems.get(name)
    atol = torch.tensor(problem.atol, dtype=torch.float64)
    settings = {"mass": problem.mass, "jac": problem.jac}
    found = sg.solve(
        problem.f, problem.y0, problem.t0, problem.t1, rtol=1e-8, atol=atol, **settings
    )
    assert problem.error(found.raise_if_failed().y[-1]) < 1e-6


class Reduced:
    """A system M y' = f of index 1 as one of ordinary equations, by singular vectors of M.

    Of y = V (w, a) the part w has a derivative, and a follows from it by Newton's iteration.
    """

    def __init__(self, problem: Problem) -> None:
        mass = problem.mass.numpy()
        mass = np.diag(mass) if mass.ndim == 1 else mass
        u, s, vt = np.linalg.svd(mass)
        rank = int((s > 1e-12 * s[0]).sum())
        self.problem = problem
        self.seen, self.unseen = vt[:rank].T, vt[rank:].T
        self.held, self.derivatives = u[:, rank:], u[:, :rank] / s[:rank]
        self.a = self.unseen.T @ problem.y0.numpy()

    def state(self, t: float, w: Array) -> Array:
        """y (F,)."""
        for _ in range(30):
            y = self.seen @ w + self.unseen @ self.a
            at = torch.tensor(t).double(), torch.from_numpy(y)
            jac = self.held.T @ self.problem.jac(*at).numpy() @ self.unseen
            step = np.linalg.solve(jac, self.held.T @ self.problem.f(*at).numpy())
            self.a = self.a - step
            if abs(step).max() < 1e-12:
                break
        return self.seen @ w + self.unseen @ self.a

    def rates(self, t: float, w: Array) -> Array:
        """The derivative of w."""
        y = torch.from_numpy(self.state(t, w))
        return self.derivatives.T @ self.problem.f(torch.tensor(t).double(), y).numpy()


@pytest.mark.parametrize("name", ["akzo_nobel", "transistor_amplifier", "pendulum", "heated_rod"])
def test_references_are_those_of_the_reduced_system(name: str) -> None:
    problem = short(name)
    reduced = Reduced(problem)
    start = reduced.seen.T @ problem.y0.numpy()
    span = problem.t0, problem.t1
    found = scipy.integrate.solve_ivp(
        reduced.rates, span, start, method="LSODA", rtol=1e-7, atol=1e-10
    )
    y = torch.from_numpy(reduced.state(problem.t1, found.y[:, -1]))
    assert problem.error(y) < 1e-5


@pytest.mark.parametrize("name", problems.constrained_names())
def test_starts_are_consistent(name: str) -> None:
    problem = problems.get(name)
    reduced = Reduced(problem)
    left = reduced.held.T @ problem.f(torch.tensor(problem.t0).double(), problem.y0).numpy()
    assert abs(left).max() < 1e-14
    assert np.linalg.matrix_rank(np.atleast_2d(reduced.unseen)) == left.size > 0
