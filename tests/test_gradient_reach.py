"""A parameter that f comes to use on the way gets its gradient, wherever f takes it from."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from families import close, every_smooth, real
from torch import Tensor, nn

import stiffguide as sg

SHARED = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
EXACT = torch.tensor(-0.5 * math.exp(-1.5), dtype=torch.float64)
Way = Callable[[], tuple[Callable[..., Any], tuple[Any, ...], Tensor]]  # f, args, the parameter


def leaf() -> Tensor:
    return torch.tensor(2.0, dtype=torch.float64, requires_grad=True)


def late(t: Tensor, y: Tensor, k: Tensor) -> Tensor:
    """Y decays at a rate that k has a say in after t = 0.5 alone."""
    return -y * (k if bool((t > 0.5).all()) else 1.0)


def by_argument() -> Any:
    k = leaf()
    return late, (k,), k


def by_nested_argument() -> Any:
    k = leaf()
    return (lambda t, y, more: late(t, y, more["rates"][1])), ({"rates": [1.0, k]},), k


def by_partial() -> Any:
    k = leaf()
    return functools.partial(late, k=k), (), k


def by_closure() -> Any:
    k = leaf()
    return (lambda t, y: late(t, y, k)), (), k


def by_default() -> Any:
    k = leaf()

    def f(t: Tensor, y: Tensor, rate: Tensor = k) -> Tensor:
        return late(t, y, rate)

    return f, (), k


def helper(t: Tensor, y: Tensor) -> Tensor:
    return late(t, y, SHARED)


def by_global() -> Any:
    return (lambda t, y: helper(t, y)), (), SHARED


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.k = nn.Parameter(leaf())
        self.rate = leaf()

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return late(t, y, self.k)

    def rated(self, t: Tensor, y: Tensor) -> Tensor:
        return late(t, y, self.rate)


class Wrapped(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return self.inner(t, y)


def by_module() -> Any:
    net = Net()
    return net, (), net.k


def by_deep_module() -> Any:
    inner = Net()
    net: nn.Module = inner
    for _ in range(12):
        net = Wrapped(net)
    return net, (), inner.k


def by_buffer() -> Any:
    net = nn.Module()
    k = leaf()
    net.register_buffer("k", k)
    return (lambda t, y: late(t, y, net.k)), (), k


def by_method() -> Any:
    net = Net()
    net.k.requires_grad_(False)
    return net.rated, (), net.rate


class Law:
    def __init__(self) -> None:
        self.rates = [leaf()]

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        return late(t, y, self.rates[0])


def by_object() -> Any:
    law = Law()
    return law, (), law.rates[0]


WAYS = (
    *(by_argument, by_nested_argument, by_partial, by_closure, by_default, by_global),
    *(by_module, by_deep_module, by_buffer, by_method, by_object),
)


def gradient(way: Way, **settings: Any) -> Tensor:
    f, args, k = way()
    found = sg.solve(f, real(1.0), 0.0, 1.0, args=args, rtol=1e-6, atol=1e-8, **settings)
    close(found.y[-1].detach(), real(math.exp(-1.5)), rtol=1e-3)
    (slope,) = torch.autograd.grad(found.y.sum(), k)
    return slope


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_parameter_that_comes_late(way: Way) -> None:
    close(gradient(way, tstops=[0.5], method="tsit5"), EXACT, rtol=1e-4)


@every_smooth
def test_a_parameter_that_comes_in_the_middle_of_a_step(name: str) -> None:
    def end(k: Tensor) -> Tensor:
        settings = {"method": name, "controller": sg.Fixed(0.4), "rtol": 1e-10, "atol": 1e-11}
        found = sg.solve(late, real(1.0), 0.0, 1.0, args=(k,), **settings)
        return found.raise_if_failed().y[-1]

    # close to the rate before, for Newton has no new Jacobian in the middle of a step
    k = torch.tensor(1.1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(end, k, rtol=1e-4, atol=1e-6)


@every_smooth
@pytest.mark.usefixtures("eager")
def test_what_is_within_reach_and_not_used_costs_nothing(name: str) -> None:
    calls = 0
    used = torch.tensor(1.0, dtype=torch.float64)
    unused = leaf()

    def f(t: Tensor, y: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        with torch.no_grad():
            told = unused * 0 + used
        return -y * told

    counts = []
    for wanted in (True, False):
        unused.requires_grad_(wanted)
        calls = 0
        found = sg.solve(f, real(1.0), 0.0, 1.0, method=name, rtol=1e-3, checks=False)
        assert not found.y.requires_grad
        counts.append(calls)
    assert counts[0] == counts[1]
