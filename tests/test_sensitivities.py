"""Derivatives by parameters and by the start: those of the steps made, as autograd finds them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from cached import needs_compiler
from families import real
from torch import Tensor

import stiffguide as sg
from stiffguide.problems.robertson import RATES, robertson_field

D = torch.float64


class Case(NamedTuple):
    """A field with a tensor of parameters (P,), or (B, P)."""

    f: Callable[..., Tensor]
    y0: Tensor
    t1: float
    k: Tensor
    atol: Any = 1e-9


def forced(t: Tensor, y: Tensor, k: Tensor) -> Tensor:
    """Not autonomous, coupled, stiff."""
    a, b, c = y.unbind(-1)
    pace = 1 + 0.5 * torch.cos(t)
    da, db = pace * k[..., 0] * a * (1 - a), -pace * k[..., 1] * a * b
    return torch.stack((da, db, -200 * k[..., 2] * (c - torch.sin(t) * a)), -1)


CASES = {
    "robertson": Case(
        robertson_field, real(1.0, 0, 0), 40.0, real(*RATES), real(1e-8, 1e-12, 1e-8)
    ),
    "forced": Case(forced, real(0.3, 1.0, 0.5), 1.0, real(1.0, 0.7, 0.5)),
}


def solve(case: Case, **settings: Any) -> sg.Solution[Any]:
    given = {"atol": case.atol, "args": (case.k,), "method": "rodas5p", **settings}
    return sg.solve(case.f, case.y0, 0.0, case.t1, **given).raise_if_failed()


def by_autograd(case: Case, **settings: Any) -> tuple[Tensor, Tensor]:
    """Both derivatives (T, F, P) and (T, F, F), through the eager loop."""
    k, y0 = case.k.clone().requires_grad_(), case.y0.clone().requires_grad_()
    y = solve(case._replace(k=k, y0=y0), backend="eager", checks=False, **settings).y
    rows = [torch.autograd.grad(x, (k, y0), retain_graph=True) for x in y.reshape(-1)]
    return tuple(torch.stack(x).reshape(*y.shape, -1) for x in zip(*rows, strict=True))


def close(found: Tensor, expected: Tensor, part: float = 1e-10) -> None:
    """Equal to that part of the largest of their column."""
    size = expected.abs().amax((0, 1))
    torch.testing.assert_close(found / size, expected / size, rtol=0.0, atol=part)


@needs_compiler
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("method", ["rodas5p", "rosenbrock23"])
def test_they_are_the_derivatives_of_the_steps(name: str, method: str) -> None:
    case = CASES[name]
    settings = {"method": method, "save_at": torch.linspace(0, case.t1, 7)}
    settings["rtol"] = 1e-6 if method == "rodas5p" else 1e-3
    found = solve(case, backend="kernel", sensitivities=[0, "y0"], **settings)
    by_k, by_start = by_autograd(case, **settings)
    close(found.dy_dp, by_k)
    close(found.dy_dy0, by_start)
    plain = solve(case, backend="kernel", **settings)
    assert torch.equal(plain.y, found.y)
    assert torch.equal(plain.counts, found.counts)
