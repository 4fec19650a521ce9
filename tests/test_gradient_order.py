"""Derivatives of higher order are exact for every family, or refused."""

from __future__ import annotations

import pytest
import torch
from families import IMPLICIT, METHODS, RECORDED, close, every_smooth, real
from torch import Tensor

import stiffguide as sg

Y0, K = real(0.3, 0.5), real(1.0, 0.7)


def forced(t: Tensor, y: Tensor, k: Tensor) -> Tensor:
    """Non-autonomous, coupled, nonlinear, and a little stiff."""
    a, b = y.unbind(-1)
    return torch.stack((k[0] * a * (1 - a) * torch.cos(t), -20 * k[1] * (b - a * a)), -1)


def end(y0: Tensor, k: Tensor, name: str) -> Tensor:
    """After two steps; Newton is driven down to rounding."""
    settings = {"controller": sg.Fixed(0.05), "rtol": 1e-12, "atol": 1e-13, "method": name}
    return sg.solve(forced, y0, 0.0, 0.1, args=(k,), **settings).y[-1]


def leaves() -> tuple[Tensor, Tensor]:
    return Y0.clone().requires_grad_(), K.clone().requires_grad_()


def along(way: Tensor, name: str) -> Tensor:
    """A number that depends on the start and on the parameters."""
    return end(Y0 + way, K * torch.exp(way), name) @ real(1.0, -2.0)


@pytest.mark.parametrize("name", ["tsit5", *(n for n in IMPLICIT if n in RECORDED)])
def test_derivatives_of_first_and_second_order(name: str) -> None:
    values, slopes, curves = [], [], []
    for shift in (0.0, 1e-4, -1e-4):
        way = torch.tensor(shift, dtype=torch.float64, requires_grad=True)
        values.append(along(way, name))
        slopes.append(torch.autograd.grad(values[-1], way, create_graph=True)[0])
        curves.append(torch.autograd.grad(slopes[-1], way)[0])
    for found, below in ((slopes, values), (curves, slopes)):
        close(found[0].detach(), (below[1] - below[2]).detach() / 2e-4, rtol=1e-6)


@pytest.mark.parametrize("name", ["rodas5p", "kvaerno5", "sdirk2"])
def test_gradgradcheck_of_fixed_steps(name: str) -> None:
    here = torch.tensor(0.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda way: along(way, name), here, rtol=1e-4, atol=1e-6)


@every_smooth
def test_a_gradient_does_not_depend_on_whether_it_is_recorded(name: str) -> None:
    y0, k = leaves()
    found = end(y0, k, name).sum()
    plain, recorded, again = (
        torch.autograd.grad(found, (y0, k), retain_graph=True, create_graph=create)
        for create in (False, True, False)
    )
    for one, two, three in zip(plain, recorded, again, strict=True):
        close(one, two.detach(), rtol=1e-9)
        close(one, three, rtol=1e-9)


@every_smooth
def test_third_derivatives_are_exact_or_refused(name: str) -> None:
    y0, k = leaves()

    def differentiate(value: Tensor) -> Tensor:
        (slope,) = torch.autograd.grad(value, k, create_graph=True)
        return slope.sum()

    second = differentiate(differentiate(end(y0, k, name).sum()))
    if METHODS[name].family in ("ESDIRK", "SDIRK", "Radau"):
        with pytest.raises(sg.errors.UnsupportedError, match=r"third derivatives.*rodas5p"):
            differentiate(second)
        return
    seconds = []
    for shift in (1e-4, -1e-4):
        moved = (K + shift).requires_grad_()
        (slope,) = torch.autograd.grad(end(y0, moved, name).sum(), moved, create_graph=True)
        (curve,) = torch.autograd.grad(slope.sum(), moved)
        seconds.append(curve.sum())
    close(differentiate(second).detach(), (seconds[0] - seconds[1]) / 2e-4, rtol=1e-5)


@every_smooth
def test_a_first_gradient_passes_every_evaluation_once(name: str) -> None:
    passed: list[Tensor] = []

    def f(t: Tensor, y: Tensor, k: Tensor) -> Tensor:
        if y.requires_grad:
            y.register_hook(lambda g: None if g is None else passed.append(g))
        return forced(t, y, k)

    y0, k = leaves()
    settings = {"controller": sg.Fixed(0.05), "rtol": 1e-6, "method": name}
    found = sg.solve(f, y0, 0.0, 0.1, args=(k,), **settings)
    passed.clear()
    found.y[-1].sum().backward()
    stages = 2 if name == "rkc2" else METHODS[name].tableau.stages
    # a Rosenbrock step has one evaluation more, whose sweeps are differentiated
    assert 0 < len(passed) <= 2 * (stages + 1) + 1
