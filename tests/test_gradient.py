"""Gradients are those of the solution, by whatever the solution depends on."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from families import METHODS, SMOOTH, close, real
from torch import Tensor, nn

import stiffguide as sg
from stiffguide.problems import van_der_pol_field

FAMILIES = [*SMOOTH, "dopri5", "rosenbrock23", "kencarp4"]
every = pytest.mark.parametrize("name", FAMILIES)


def tolerances(name: str) -> dict[str, float]:
    return {"rtol": 1e-4, "atol": 1e-5} if METHODS[name].order < 3 else {"rtol": 1e-7, "atol": 1e-8}


def agree(name: str, found: Tensor, exact: Tensor, leaf: Tensor) -> None:
    """Equal values, and equal gradients of a sum with uneven weights."""
    weights = torch.linspace(1, 2, exact.numel(), dtype=torch.float64).reshape(exact.shape)
    slopes = [torch.autograd.grad((y * weights).sum(), leaf)[0] for y in (found, exact)]
    rtol = 100 * tolerances(name)["rtol"]
    close(found.detach(), exact.detach(), rtol=rtol, atol=rtol)
    assert slopes[1].abs().min() > 0.01
    close(*slopes, rtol=rtol, atol=rtol * float(slopes[1].abs().max()))


def forced(t: Tensor, y: Tensor, k: Tensor) -> Tensor:
    """Non-autonomous, coupled, nonlinear, and a little stiff; `flow` is its solution."""
    a, b, c = y.unbind(-1)
    pace = 1 + 0.5 * torch.cos(t)
    stiff = -20 * k[2] * (c - torch.sin(t))
    return torch.stack((pace * k[0] * a * (1 - a), -pace * k[1] * a * b, stiff), -1)


def flow(t: Tensor, y0: Tensor, k: Tensor) -> Tensor:
    """A logistic curve in a time of its own, what it eats, and a fast relaxation."""
    a, b, c = y0.unbind(-1)
    grown = torch.exp(k[0] * (t + 0.5 * torch.sin(t)))
    whole = 1 + a * (grown - 1)
    rate = 20 * k[2]
    slow = (rate**2 * torch.sin(t) - rate * torch.cos(t)) / (1 + rate**2)
    fast = (c + rate / (1 + rate**2)) * torch.exp(-rate * t)
    return torch.stack((a * grown / whole, b * whole ** (-k[1] / k[0]), slow + fast), -1)


Y0, K = real(0.3, 1.0, 0.5), real(1.0, 0.7, 0.5)


def test_the_flow_solves_the_field() -> None:
    t = real(0.4)[0]
    slope = torch.autograd.functional.jacobian(lambda t: flow(t, Y0, K), t)
    close(slope, forced(t, flow(t, Y0, K), K))
    close(flow(0 * t, Y0, K), Y0)


@every
def test_gradients_by_the_start(name: str) -> None:
    y0 = Y0.clone().requires_grad_()
    found = sg.solve(forced, y0, 0.0, 0.2, args=(K,), method=name, **tolerances(name))
    agree(name, found.y[-1], flow(real(0.2)[0], y0, K), y0)


@every
def test_gradients_by_arguments_through_saved_times(name: str) -> None:
    k, times = K.clone().requires_grad_(), real(0.0, 0.2, 0.21, 0.6)
    settings = {"args": (k,), "save_at": times, "method": name, **tolerances(name)}
    found = sg.solve(forced, Y0, 0.0, 0.6, **settings)
    agree(name, found.y, flow(times.unsqueeze(1), Y0, k).squeeze(1), k)


@every
def test_gradients_by_what_a_field_closes_over_backwards_and_dense(name: str) -> None:
    k = K.clone().requires_grad_()

    def f(t: Tensor, y: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        value = forced(t, torch.cat((y[0], y[1])), k)
        return value[:1], value[1:]

    start = flow(real(0.1)[0], Y0, k).detach()
    found = sg.solve(
        f, (start[:1], start[1:]), 0.1, 0.0, dense=True, method=name, **tolerances(name)
    )
    # there is no formula for a start at 0.1: the adjoint of forward integration is one
    back = torch.autograd.functional.jacobian(lambda y: flow(real(0.1)[0], y, K), Y0)
    by_k = torch.autograd.functional.jacobian(lambda k: flow(real(0.1)[0], Y0, k), K)
    expected = -torch.linalg.solve(back, by_k)
    slopes = [
        torch.autograd.grad(part, k, retain_graph=True)[0] for part in torch.cat(found.y, -1)[0]
    ]
    rtol = 1000 * tolerances(name)["rtol"]
    close(torch.stack(slopes), expected, rtol=rtol, atol=rtol)
    (middle,) = torch.autograd.grad(found.at(0.05)[0].sum(), k)
    assert middle[0].abs() > 1e-3


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
        settings = {"save_at": [0.2, 0.5], "method": name, **tolerances(name)}
        found = sg.solve(net, real(0.5, 1.0), 0.0, 0.5, **settings)
        return found.y.square().sum()

    slopes = torch.autograd.grad(loss(), parameters)
    direction = [torch.ones_like(p) for p in parameters]
    along = sum((s * d).sum() for s, d in zip(slopes, direction, strict=True))
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            for p, d in zip(parameters, direction, strict=True):
                p += sign * 1e-4 * d
            ends.append(loss())
            for p, d in zip(parameters, direction, strict=True):
                p -= sign * 1e-4 * d
    close(along, (ends[0] - ends[1]) / 2e-4, rtol=max(1e-3, 100 * tolerances(name)["rtol"]))


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
            rtol=1e-3,
            atol=1e-4,
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


@pytest.mark.parametrize("name", [n for n in FAMILIES if n != "rkc2"])  # which does not overshoot
def test_a_rejected_attempt_that_was_not_finite_leaves_no_nan(name: str) -> None:
    met: list[bool] = []
    k = real(1.0)[0].requires_grad_()

    def f(t: Tensor, y: Tensor) -> Tensor:
        value = -50 * k * torch.sqrt(y) ** 2  # nan where a long step overshoots 0
        met.append(bool(torch.isnan(value).any()))
        return value

    t1 = 0.2 if name == "radau5" else 0.1  # which overshoots less
    settings = {"method": name, "first_step": t1, "rtol": 1e-4, "atol": 1e-8}
    found = sg.solve(f, real(1.0), 0.0, t1, **settings).raise_if_failed()
    assert any(met)
    (slope,) = torch.autograd.grad(found.y.sum(), k)
    close(found.y.detach(), torch.exp(-50 * t1 * k.detach()).reshape(1, 1), rtol=2e-2)
    close(slope, -50 * t1 * torch.exp(-50 * t1 * k.detach()), rtol=2e-2)


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

    start = torch.ones(3, 1, dtype=torch.float64)
    settings = {"batched": True, "method": name, "rtol": 1e-3, "atol": 1e-4, "max_attempts": 40}
    with pytest.warns(sg.StiffguideWarning, match="row 1 failed"):
        found = sg.solve(f, start, 0.0, 1.0, **settings)
    assert found.success.tolist() == [True, False, True]
    (slope,) = torch.autograd.grad(found.y[[0, 2]].sum(), k)
    close(slope[[0, 2]], real(-0.36788, -0.36788), rtol=1e-2)


@pytest.mark.parametrize("name", ["tsit5", "rodas5p", "kencarp4"])
def test_gradcheck_of_fixed_steps(name: str) -> None:
    def end(y0: Tensor, k: Tensor) -> Tensor:
        settings = {"method": name, "controller": sg.Fixed(0.05), "rtol": 1e-9, "atol": 1e-11}
        return sg.solve(forced, y0, 0.0, 0.1, args=(k,), **settings).y[-1]

    leaves = (Y0.clone().requires_grad_(), K.clone().requires_grad_())
    assert torch.autograd.gradcheck(end, leaves, rtol=1e-5, atol=1e-7)


@every
def test_a_written_jacobian_and_differences_give_the_same_gradient(name: str) -> None:
    def jac(t: Tensor, y: Tensor, k: Tensor) -> Tensor:
        a, b, _ = y
        pace, zero = 1 + 0.5 * torch.cos(t), torch.zeros_like(a)
        first = (pace * k[0] * (1 - 2 * a), zero, zero)
        second = (-pace * k[1] * b, -pace * k[1] * a, zero)
        return torch.stack((*first, *second, zero, zero, -20 * k[2])).reshape(3, 3)

    slopes = []
    for how in (None, jac, "differences"):
        k = K.clone().requires_grad_()
        settings = {"jac": how, "method": name, "rtol": 1e-4, "atol": 1e-5}
        found = sg.solve(forced, Y0, 0.0, 0.2, args=(k,), **settings)
        slopes.append(torch.autograd.grad(found.y.sum(), k)[0])
    for slope in slopes[1:]:
        close(slope, slopes[0], rtol=5e-3)


# graphs ------------------------------------------------------------------------------------------


def graphs(found: sg.Solution) -> list[bool]:
    values = [found.y, found.t, found.at(0.5), found.counts, found.status]
    values += [x for x in found.trajectory if isinstance(x, Tensor)]
    return [v.requires_grad or v.grad_fn is not None for v in values]


@every
@pytest.mark.usefixtures("eager")
def test_no_graph_is_kept_when_nothing_requires_grad(name: str) -> None:
    settings: dict[str, Any] = {"method": name, "dense": True, "rtol": 1e-3}
    found = sg.solve(forced, Y0, 0.0, 0.6, args=(K,), **settings)
    assert not any(graphs(found))
    net = Net()
    with torch.no_grad():
        start = real(0.5, 1.0).requires_grad_()
        assert not any(graphs(sg.solve(net, start, 0.0, 1.0, **settings)))
    with torch.inference_mode():
        assert torch.isfinite(sg.solve(net, real(0.5, 1.0), 0.0, 1.0, **settings).y).all()
    net.requires_grad_(False)
    assert not any(graphs(sg.solve(net, real(0.5, 1.0), 0.0, 1.0, **settings)))
    net.requires_grad_(True)
    assert all(graphs(sg.solve(net, real(0.5, 1.0), 0.0, 1.0, **settings))[:1])


@every
@pytest.mark.usefixtures("eager")
def test_values_do_not_depend_on_whether_someone_differentiates(name: str) -> None:
    settings = {"method": name, "rtol": 1e-4, "atol": 1e-5, "save_at": [0.2, 0.6]}
    plain = sg.solve(forced, Y0, 0.0, 0.6, args=(K,), **settings)
    recorded = sg.solve(forced, Y0, 0.0, 0.6, args=(K.clone().requires_grad_(),), **settings)
    close(recorded.y.detach(), plain.y)
    assert int(recorded.stats.accepted) == int(plain.stats.accepted)
    assert int(recorded.status) == 0
