"""Fields that torch has compiled: the same solution and the same gradient."""

from __future__ import annotations

import shutil

import pytest
import torch
from families import close
from torch import Tensor, nn

import stiffguide as sg

pytestmark = [  # torch, of its own doing
    pytest.mark.filterwarnings("ignore:The .grad attribute"),
    pytest.mark.filterwarnings("ignore:.torch.jit"),
]


class Net(nn.Module):
    """A small neural field."""

    def __init__(self, features: int) -> None:
        super().__init__()
        torch.manual_seed(1)
        layers = nn.Linear(features, 8), nn.Tanh(), nn.Linear(8, features)
        self.layers = nn.Sequential(*layers).double()

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return self.layers(y)


@pytest.mark.parametrize("recorded", [False, True])
def test_a_compiled_field_is_the_field(recorded: bool) -> None:
    agree(["rodas5p"], 2, "aot_eager", recorded=recorded)


@pytest.mark.parametrize("name", ["rodas5p", "kvaerno5"])
def test_so_is_one_that_was_compiled_for_one_sweep(name: str) -> None:
    # by an explicit method, whose gradient asks for one: torch keeps what it compiled then
    agree(["tsit5", name], 2, "aot_eager", recorded=True)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a compiler")
@pytest.mark.parametrize("features", [2, 30])
def test_so_is_one_in_native_code(features: int) -> None:
    agree(["tsit5", "rodas5p"], features, "inductor", recorded=True)


def agree(names: list[str], features: int, backend: str, *, recorded: bool) -> None:
    """The field and what torch compiles of it, solved by one method after the other."""
    torch._dynamo.reset()
    net = Net(features).requires_grad_(recorded)
    compiled = torch.compile(net, backend=backend)
    y0 = torch.linspace(0.5, 1.0, features, dtype=torch.float64)
    for name in names:
        settings = {"method": name, "rtol": 1e-6, "atol": 1e-8}
        found = [sg.solve(f, y0, 0.0, 1.0, **settings).y for f in (net, compiled)]
        close(found[1].detach(), found[0].detach(), rtol=1e-7)
        assert found[0].requires_grad is found[1].requires_grad is recorded
        if recorded:
            slopes = [torch.autograd.grad(y.sum(), list(net.parameters())) for y in found]
            for one, other in zip(*slopes, strict=True):
                close(other, one, rtol=1e-6, atol=1e-9)
