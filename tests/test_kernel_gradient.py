"""Kernels record no gradient: whatever autograd would reach is refused, or solved eagerly."""

from __future__ import annotations

import pytest
import torch
from cached import needs_compiler

import stiffguide as sg
from stiffguide.errors import UnsupportedError

D = torch.float64


def by_module():
    weights = torch.nn.Linear(2, 2).double()
    return (lambda t, y: -weights(y)), (), weights.weight


def by_captured_tensor():
    rate = torch.tensor([1.0, 2.0], dtype=D, requires_grad=True)
    return (lambda t, y: -rate * y), (), rate


def by_argument():
    rate = torch.tensor([1.0, 2.0], dtype=D, requires_grad=True)
    return (lambda t, y, k: -k * y), (rate,), rate


def by_nested_argument():
    rate = torch.tensor([1.0, 2.0], dtype=D, requires_grad=True)
    return (lambda t, y, k: -k["rate"] * y), ({"rate": rate},), rate


WAYS = (by_module, by_captured_tensor, by_argument, by_nested_argument)


@needs_compiler
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_gradient_is_never_lost(way):
    f, args, parameter = way()
    y0 = torch.tensor([1.0, 0.5], dtype=D)
    with pytest.raises(UnsupportedError, match=r"no gradient.*no_grad"):
        sg.solve(f, y0, 0.0, 0.1, args=args, method="tsit5", backend="kernel")
    with torch.no_grad():
        sg.solve(f, y0, 0.0, 0.1, args=args, method="tsit5", backend="kernel")
    # the kernel is loaded now, and still no choice for a solve that somebody differentiates
    solution = sg.solve(f, y0, 0.0, 0.1, args=args, method="tsit5", backend="auto")
    solution.y.sum().backward()
    assert parameter.grad is not None
    assert bool((parameter.grad != 0).any())
