"""Steps of given lengths are recorded in one pass, and nothing shows that there was no other."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from families import close, every_smooth, real
from torch import Tensor

import stiffguide as sg

GRID = sg.Grid([0.0, 0.1, 0.25, 0.3, 0.6, 1.0])


def bursting(t: Tensor, y: Tensor, k: Tensor) -> Tensor:
    """Row 1 has no slope beyond 2, which it reaches; the others decay."""
    grows = torch.arange(y.shape[0]).unsqueeze(1) == 1
    return k * torch.where(grows, 8 * torch.sqrt(2 - y), -y * torch.sin(3 * y))


def solved(name: str, rows: int, **settings: Any) -> tuple[sg.Solution[Tensor], list[Tensor]]:
    k, y0 = real(0.9).requires_grad_(), real(1.0, 0.5, 0.8)[:rows].unsqueeze(1).requires_grad_()
    given = {"batched": True, "method": name, "rtol": 1e-3, "controller": sg.Fixed(0.1)}
    return sg.solve(bursting, y0, 0.0, 1.0, args=(k,), **given | settings), [k, y0]


@every_smooth
@pytest.mark.parametrize("settings", [{}, {"controller": GRID, "save_at": [0.2, 0.6]}])
def test_one_pass_is_two(name: str, settings: dict[str, Any]) -> None:
    once, by = solved(name, 1, **settings)
    twice, also = solved(name, 1, monitor=lambda t, y: None, **settings)  # who wants to see them
    assert torch.equal(once.y, twice.y)
    for x, y in zip(
        torch.autograd.grad(once.y.sum(), by), torch.autograd.grad(twice.y.sum(), also), strict=True
    ):
        close(x, y)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("way", ["direct", "checkpoint"])
def test_a_row_that_fails_leaves_the_others_their_gradients(way: str) -> None:
    with pytest.warns(sg.StiffguideWarning, match="row 1 failed"):
        found, leaves = solved("tsit5", 3, gradient=way)
    assert found.success.tolist() == [True, False, True]
    slopes = torch.autograd.grad(found.y[found.success].sum(), leaves, retain_graph=True)
    assert all(bool(torch.isfinite(x).all()) for x in slopes)
    (whole,) = torch.autograd.grad(found.y.sum(), leaves[1])
    assert torch.isnan(whole[:, 0]).tolist() == [False, True, False]


@pytest.mark.parametrize("controller", [None, sg.Fixed(0.1)])
def test_no_row_has_a_gradient_too(controller: Any) -> None:
    found, leaves = solved("tsit5", 0, controller=controller)
    slope = torch.autograd.grad(found.y.sum(), leaves, allow_unused=True)[1]
    assert slope is not None
    assert slope.shape == (0, 1)


def test_f_is_evaluated_as_often_as_is_said() -> None:
    calls = 0

    def f(t: Tensor, y: Tensor, k: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return -k * y

    k = real(1.0).requires_grad_()
    given = {"method": "rk4", "controller": sg.Fixed(0.1), "checks": False}
    sg.solve(f, real(1.0), 0.0, 1.0, args=(k.detach(),), **given)
    plain, calls = calls, 0
    found = sg.solve(f, real(1.0), 0.0, 1.0, args=(k,), **given)
    assert calls == plain
    assert calls >= int(found.stats.nfe) == 40
