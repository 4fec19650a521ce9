"""What an implicit step must not believe: growth that it would damp, a standstill of Newton."""

from __future__ import annotations

import pytest
import torch
from families import real
from torch import Tensor

from stiffguide.algebra import newton
from stiffguide.stepping.guards import HIDDEN, turned

GAMMA = 0.25


def asked(jac: Tensor, h: float, secant: Tensor, scale: float = 1.0) -> bool:
    """Whether a step of h is refused for this Jacobian (F, F) and last step."""
    w = torch.eye(jac.shape[0], dtype=torch.float64) / (h * GAMMA) - jac
    found = turned(
        lambda d: torch.linalg.solve(w, d.T).T,
        secant.unsqueeze(0),
        real(h).unsqueeze(1),
        torch.full((1, jac.shape[0]), scale, dtype=torch.float64),
    )
    return found is not None and bool(found.item())


def block(growth: float, turn: float) -> Tensor:
    """Eigenvalues growth +- i turn."""
    return torch.tensor([[growth, -turn], [turn, growth]], dtype=torch.float64)


@pytest.mark.parametrize("copies", [1, 2, 3, 4])
@pytest.mark.parametrize("turn", [0.0, 1.0, 30.0])
def test_growth_is_seen_once_it_is_faster_than_the_step(turn: float, copies: int) -> None:
    """Any number of modes, real and complex: the sign of a determinant sees odd ones only."""
    jac = torch.block_diag(*[block(3.0, turn)] * copies)
    secant = torch.ones(2 * copies, dtype=torch.float64)
    assert not asked(jac, 1.0, secant)  # 1/(h gamma) = 4
    assert asked(jac, 2.0, secant)  # 2
    assert not asked(-jac, 2.0, secant)
    assert not asked(jac, -2.0, secant)  # back in time it decays


def test_what_others_would_outvote_is_asked_by_itself() -> None:
    jac = torch.diag(real(-1.0, 30.0))
    small = 0.5 * HIDDEN
    assert asked(jac, 1.0, real(100.0, small))
    assert not asked(jac, 1.0, real(100.0, 0.0))
    assert not asked(jac, 0.1, real(1000.0, small))


def test_a_component_without_a_tolerance_asks_nothing() -> None:
    assert not asked(torch.diag(real(-1.0, -2.0)), 1.0, real(1.0, 0.0), scale=0.0)


def test_an_iteration_that_stands_still_has_not_converged() -> None:
    """Its corrections, a million tolerances each, are rounding beside the guess."""
    ones = torch.ones(1, 1, dtype=torch.float64)
    root = newton.solve(lambda z: 1e6 * ones, lambda r: r, 1e30 * ones, ones)
    assert not bool(root.ok)


def test_an_iteration_at_the_rounding_of_its_root_has_converged() -> None:
    """The same corrections, but seen to contract on the way: that is the rounding of z = 1e30."""
    left = iter([1e25, 1e20, 1e13, 1e13])
    ones = torch.ones(1, 1, dtype=torch.float64)
    root = newton.solve(lambda z: next(left) * ones, lambda r: r, 1e30 * ones, ones)
    assert bool(root.ok)
