"""Gradients are those of the solution, by whatever the solution depends on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from families import SOLVERS, close, real
from torch import Tensor, nn

import stiffguide as sg
from stiffguide.problems import van_der_pol_field

FAMILIES = [*SOLVERS, "dopri8", "rodas4", "rosenbrock23", "kencarp4", "trbdf2"]
every = pytest.mark.parametrize("name", FAMILIES)
TIGHT = {"rtol": 1e-8, "atol": 1e-10}
LOOSE = {"rosenbrock23", "trbdf2", "sdirk2"}  # of order 2: fewer digits at the same cost


def tolerances(name: str) -> dict[str, float]:
    return {"rtol": 1e-5, "atol": 1e-6} if name in LOOSE else TIGHT


def central(function: Callable[[Tensor], Tensor], x: Tensor, width: float) -> Tensor:
    """Derivatives of a number by every entry of x."""
    found = torch.zeros_like(x)
    for i in range(x.numel()):
        step = torch.zeros_like(x).reshape(-1)
        step[i] = width
        step = step.reshape(x.shape)
        found.view(-1)[i] = (function(x + step) - function(x - step)) / (2 * width)
    return found


def agree(name: str, function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The gradient of function(x), which is that of differences."""
    leaf = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(function(leaf), leaf)
    # the steps of the two solves differ: their errors are part of the difference
    width, rtol = (3e-3, 2e-2) if name in LOOSE else (1e-3, 1e-4)
    with torch.no_grad():
        expected = central(function, x, width)
    close(slope, expected, rtol=rtol, atol=rtol * float(expected.abs().max()))
    return slope


def forced(t: Tensor, y: Tensor, k: Tensor) -> Tensor:
    """Non-autonomous, coupled, nonlinear, and a little stiff."""
    fast = torch.stack((-20 * (y[..., 0] - torch.cos(t)), -y[..., 1] * y[..., 0]), -1)
    return k[..., 0:1] * fast + torch.stack((y[..., 1] * k[..., 1], torch.sin(k[..., 1] * t)), -1)


Y0, K = real(0.5, 1.0), real(1.0, 0.7)


@every
def test_gradients_by_the_start(name: str) -> None:
    def end(y0: Tensor) -> Tensor:
        found = sg.solve(forced, y0, 0.0, 1.0, args=(K,), method=name, **tolerances(name))
        return (found.y[-1] * real(1.0, 2.0)).sum()

    agree(name, end, Y0)


@every
def test_gradients_by_arguments_through_saved_times(name: str) -> None:
    def total(k: Tensor) -> Tensor:
        found = sg.solve(
            forced,
            Y0,
            0.0,
            1.0,
            args=(k,),
            method=name,
            save_at=[0.0, 0.3, 0.31, 1.0],
            **tolerances(name),
        )
        return (found.y * real(1.0, -2.0, 0.5, 1.0).unsqueeze(1)).sum()

    agree(name, total, K)


@every
def test_gradients_by_what_a_field_closes_over(name: str) -> None:
    def backwards(k: Tensor) -> Tensor:
        def f(t: Tensor, y: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            value = forced(t, torch.stack(y), k)
            return value[0], value[1]

        start = (Y0[0], Y0[1])
        found = sg.solve(f, start, 0.5, 0.3, method=name, dense=True, **tolerances(name))
        return found.y[0].sum() + found.at(0.42)[1]

    agree(name, backwards, K)


class Net(nn.Module):
    """A small neural field."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return self.layers(torch.cat((y, t.expand(*y.shape[:-1], 1)), -1)) - y


@every
def test_gradients_by_parameters_of_a_module(name: str) -> None:
    net = Net()
    parameters = list(net.parameters())

    def loss() -> Tensor:
        found = sg.solve(net, Y0, 0.0, 1.0, method=name, save_at=[0.5, 1.0], **tolerances(name))
        return found.y.square().sum()

    slopes = torch.autograd.grad(loss(), parameters)
    direction = [torch.ones_like(p) for p in parameters]
    along = sum((s * d).sum() for s, d in zip(slopes, direction, strict=True))
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            for p, d in zip(parameters, direction, strict=True):
                p += sign * 1e-3 * d
            ends.append(loss())
            for p, d in zip(parameters, direction, strict=True):
                p -= sign * 1e-3 * d
    rtol = 2e-2 if name in LOOSE else 1e-4
    close(along, (ends[0] - ends[1]) / 2e-3, rtol=rtol)


@every
def test_gradients_of_a_batch_are_those_of_its_rows(name: str) -> None:
    mu, t1 = real(1.0, 30.0, 200.0), real(1.0, 0.5, 0.02)
    y0 = real(2.0, 0.3).repeat(3, 1)

    def ends(mu: Tensor, y0: Tensor, rows: slice) -> Tensor:
        found = sg.solve(
            van_der_pol_field,
            y0[rows],
            0.0,
            t1[rows],
            args=(mu[rows],),
            batched=True,
            method=name,
            rtol=1e-5,
            atol=1e-6,
        )
        assert found.success.all()
        return found.y[:, 0]

    weights = torch.stack((real(1.0, 2.0), real(-1.0, 1.0), real(3.0, 0.5)))
    leaves = [mu.requires_grad_(), y0.requires_grad_()]
    whole = torch.autograd.grad((ends(*leaves, slice(None)) * weights).sum(), leaves)
    for row in range(3):
        one = slice(row, row + 1)
        alone = torch.autograd.grad((ends(*leaves, one) * weights[one]).sum(), leaves)
        for part, solo in zip(whole, alone, strict=True):
            close(part[row], solo[row], rtol=1e-8, atol=1e-10)
            other = torch.ones(3, dtype=torch.bool)
            other[row] = False
            assert not solo[other].any()


@every
def test_a_rejected_attempt_that_was_not_finite_leaves_no_nan(name: str) -> None:
    met: list[bool] = []

    def end(k: Tensor) -> Tensor:
        def f(t: Tensor, y: Tensor) -> Tensor:
            value = -torch.sqrt(y) * k  # reaches its border at t = 2: beyond it, nan
            met.append(bool(torch.isnan(value).any()))
            return value

        settings = {"method": name, "first_step": 1.9, **tolerances(name)}
        return sg.solve(f, real(1.0), 0.0, 1.9, **settings).raise_if_failed().y.sum()

    k = real(1.0).requires_grad_()
    value = end(k)
    assert any(met) or {name} <= METHODS_THAT_STAY_INSIDE
    (slope,) = torch.autograd.grad(value, k)
    # y(1.9) = (1 - k 0.95)^2
    close(value, real(0.05**2)[0], rtol=0.2 if name in LOOSE else 1e-3)
    close(slope, real(-2 * 0.05 * 0.95), rtol=0.2 if name in LOOSE else 1e-3)


METHODS_THAT_STAY_INSIDE: set[str] = set()


@every
def test_a_finished_row_at_its_border_poisons_nothing(name: str) -> None:
    k = real(1.0)[0].requires_grad_()

    def f(t: Tensor, y: Tensor) -> Tensor:
        # row 0 ends where one more step like its last would leave the domain of the root
        return torch.where(
            (torch.arange(2) == 0).unsqueeze(1), -k * torch.sqrt(y), -k * y * torch.cos(9 * y)
        )

    found = sg.solve(
        f,
        real(1.0, 1.0).unsqueeze(1),
        0.0,
        real(1.9, 8.0),
        batched=True,
        method=name,
        rtol=1e-4,
        atol=1e-6,
    ).raise_if_failed()
    (slope,) = torch.autograd.grad(found.y.sum(), k)
    assert torch.isfinite(slope)


@every
def test_a_failed_row_leaves_the_gradients_of_the_others_alone(name: str) -> None:
    k = real(1.0, 1.0, 1.0).requires_grad_()

    def f(t: Tensor, y: Tensor) -> Tensor:
        blows = torch.arange(y.shape[0]).unsqueeze(1) == 1
        return k[: y.shape[0]].unsqueeze(1) * torch.where(blows, 3 * y * y, -y)

    found = sg.solve(
        f,
        torch.ones(3, 1, dtype=torch.float64),
        0.0,
        1.0,
        batched=True,
        method=name,
        rtol=1e-4,
        atol=1e-6,
    )
    assert found.success.tolist() == [True, False, True]
    (slope,) = torch.autograd.grad(found.y[[0, 2]].sum(), k)
    close(slope[[0, 2]], real(-0.36788, -0.36788), rtol=1e-2)


@pytest.mark.parametrize("name", ["tsit5", "rodas5p", "kencarp4"])
def test_gradcheck_of_fixed_steps(name: str) -> None:
    def end(y0: Tensor, k: Tensor) -> Tensor:
        settings = {"method": name, "controller": sg.Fixed(0.1), "rtol": 1e-9, "atol": 1e-11}
        return sg.solve(forced, y0, 0.0, 0.2, args=(k,), **settings).y[-1]

    leaves = (Y0.clone().requires_grad_(), K.clone().requires_grad_())
    assert torch.autograd.gradcheck(end, leaves, rtol=1e-5, atol=1e-7)


@every
def test_a_written_jacobian_and_differences_give_the_same_gradient(name: str) -> None:
    def jac(t: Tensor, y: Tensor, k: Tensor) -> Tensor:
        zero = torch.zeros_like(k[0])
        rows = (-20 * k[0] + zero, k[1] + zero, -k[0] * y[1], -k[0] * y[0])
        return torch.stack(rows).reshape(2, 2)

    slopes = []
    for how in (None, jac, "differences"):
        k = K.clone().requires_grad_()
        found = sg.solve(forced, Y0, 0.0, 1.0, args=(k,), jac=how, method=name, rtol=1e-5)
        slopes.append(torch.autograd.grad(found.y.sum(), k)[0])
    for slope in slopes[1:]:
        close(slope, slopes[0], rtol=5e-3)


# graphs ------------------------------------------------------------------------------------------


def graphs(found: sg.Solution) -> list[bool]:
    values = [found.y, found.t, found.at(0.5), *vars(found.stats).values(), found.status]
    values += [x for x in found.trajectory if isinstance(x, Tensor)]
    return [v.requires_grad or v.grad_fn is not None for v in values]


@every
def test_no_graph_is_kept_when_nothing_requires_grad(name: str) -> None:
    settings: dict[str, Any] = {"method": name, "dense": True, "rtol": 1e-3}
    found = sg.solve(forced, Y0, 0.0, 1.0, args=(K,), **settings)
    assert not any(graphs(found))
    net = Net()
    with torch.no_grad():
        assert not any(graphs(sg.solve(net, Y0.clone().requires_grad_(), 0.0, 1.0, **settings)))
    with torch.inference_mode():
        assert torch.isfinite(sg.solve(net, Y0, 0.0, 1.0, **settings).y).all()
    net.requires_grad_(False)
    assert not any(graphs(sg.solve(net, Y0, 0.0, 1.0, **settings)))
    net.requires_grad_(True)
    recorded = sg.solve(net, Y0, 0.0, 1.0, **settings)
    assert recorded.y.requires_grad
    close(recorded.y.detach(), sg.solve(net.requires_grad_(False), Y0, 0.0, 1.0, **settings).y)


@every
def test_values_do_not_depend_on_whether_someone_differentiates(name: str) -> None:
    settings = {"method": name, "rtol": 1e-5, "atol": 1e-6, "save_at": [0.2, 1.0]}
    plain = sg.solve(forced, Y0, 0.0, 1.0, args=(K,), **settings)
    recorded = sg.solve(forced, Y0, 0.0, 1.0, args=(K.clone().requires_grad_(),), **settings)
    close(recorded.y.detach(), plain.y, rtol=1e-6)
    assert int(recorded.stats.accepted) == int(plain.stats.accepted)
    assert int(recorded.status) == 0
