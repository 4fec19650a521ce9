"""What it costs to record a solve, as a count of what the engine of autograd looks at."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from families import RECORDED, STIFF, close, real, wave, wavy
from torch import Tensor
from torch.autograd.graph import get_gradient_edge

import stiffguide as sg
from stiffguide.fields.jacobian import AutogradJacobian
from stiffguide.stepping.contracts import Units


class Walks:
    """`torch.autograd.grad`, counting the nodes that the engine of autograd looks at.

    Before a sweep it walks the graph from the outputs to find what depends on what, and turns back
    only at nodes that are nearer to the leaves than every input of the sweep is.
    """

    def __init__(self) -> None:
        self.grad = torch.autograd.grad
        self.heights: dict[Any, int] = {}  # of a node: the longest way from it to a leaf
        self.nodes = 0

    def __call__(self, outputs: Any, inputs: Any, *args: Any, **settings: Any) -> Any:
        floor = min(self.height(get_gradient_edge(x).node) for x in inputs)
        met, ahead = set(), [get_gradient_edge(outputs).node]
        while ahead:
            node = ahead.pop()
            if node in met or self.height(node) < floor:
                continue
            met.add(node)
            ahead += [below for below, _ in node.next_functions if below is not None]
        self.nodes += len(met)
        return self.grad(outputs, inputs, *args, **settings)

    def height(self, node: Any) -> int:
        ahead = [node]
        while ahead:
            below = [n for n, _ in ahead[-1].next_functions if n is not None]
            if new := [n for n in below if n not in self.heights]:
                ahead += new
            else:
                self.heights[ahead.pop()] = 1 + max((self.heights[n] for n in below), default=-1)
        return self.heights[node]


@pytest.mark.parametrize("name", [n for n in STIFF if n in RECORDED])
def test_the_cost_of_recording_grows_as_the_steps_do(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nodes(steps: int) -> int:
        walks = Walks()
        monkeypatch.setattr(torch.autograd, "grad", walks)
        settings = {"controller": sg.Fixed(0.5 / steps), "method": name, "rtol": 1e-3}
        found = sg.solve(wavy, wave(0.0).requires_grad_(), 0.0, 0.5, **settings)
        assert int(found.stats.accepted) == steps
        return walks.nodes

    assert nodes(16) <= 6 * nodes(4)


def test_an_infinite_derivative_by_time_does_not_reach_the_one_by_the_state() -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        return torch.sqrt(t).unsqueeze(-1) - y

    state = real(1.0, 2.0).requires_grad_() * 1
    made = AutogradJacobian(f).linearise(
        real(0.0), state.unsqueeze(0), Units(real(0.1), torch.ones(1, 2)), time=True
    )
    assert made.time is not None
    assert torch.isinf(made.time).all()
    close(made.jac, -torch.eye(2, dtype=torch.float64).unsqueeze(0))
