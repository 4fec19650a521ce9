"""Packages that import torchdiffeq, each loaded twice: with it, and with ours in its place."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import page
import torch
import torchdiffeq as theirs
from in_turn import Run, medians, ratio
from torch import Tensor, nn

from stiffguide.fronts import torchdiffeq as ours

NAMES = ("torchcde", "flow_matching")


def loaded(name: str, place: ModuleType) -> ModuleType:
    """A package of its own that finds `place` where it looks for torchdiffeq."""
    kept = {key: sys.modules.pop(key) for key in list(sys.modules) if key.split(".")[0] == name}
    known = sys.modules["torchdiffeq"]
    sys.modules["torchdiffeq"] = place
    try:
        found = importlib.import_module(name)
        if name == "flow_matching":
            found = importlib.import_module("flow_matching.solver")
        return found
    finally:
        sys.modules["torchdiffeq"] = known
        for key in [key for key in sys.modules if key.split(".")[0] == name]:
            del sys.modules[key]
        sys.modules |= kept


class Control(nn.Module):
    """A field (B, 8, 4) of a controlled equation."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 32), nn.Tanh())

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        return self.net(z).view(*z.shape[:-1], 8, 4)


class Velocity(nn.Module):
    """v (B, 2), as flow_matching asks for it."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU())
        self.leave = nn.Linear(64, 2)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.leave(self.net(torch.cat((x, t.expand(len(x), 1)), -1)))


def controlled(package: ModuleType) -> dict[str, Run]:
    """Solves of torchcde with gradients by the weights."""
    torch.manual_seed(0)
    t, net = torch.linspace(0, 1, 20), Control()
    x = torch.cumsum(0.3 * torch.randn(32, 20, 4), 1)
    path = package.CubicSpline(
        package.hermite_cubic_coefficients_with_backward_differences(x, t), t
    )
    z0 = torch.randn(32, 8)

    def solve(**given: Any) -> Run:
        def run() -> Tensor:
            z = package.cdeint(X=path, func=net, z0=z0, t=path.interval, **given)
            gradients = torch.autograd.grad(z[:, -1].square().mean(), tuple(net.parameters()))
            return torch.cat((z[:, -1].detach().flatten(), *(g.flatten() for g in gradients)))

        return run

    steps = {"options": {"step_size": 0.05}}
    return {
        "rk4, direct": solve(adjoint=False, method="rk4", **steps),
        "rk4, adjoint": solve(
            adjoint=True, method="rk4", adjoint_options=steps["options"], **steps
        ),
        "dopri5, direct": solve(adjoint=False, method="dopri5", rtol=1e-4, atol=1e-6),
        "dopri5, adjoint": solve(adjoint=True, method="dopri5", rtol=1e-4, atol=1e-6),
    }


def flows(package: ModuleType) -> dict[str, Run]:
    """Samples and likelihoods of flow_matching."""
    torch.manual_seed(0)
    solver, x = package.ODESolver(velocity_model=Velocity()), torch.randn(256, 2)
    normal = torch.distributions.MultivariateNormal(torch.zeros(2), torch.eye(2)).log_prob

    def sample(**given: Any) -> Run:
        return lambda: solver.sample(x_init=x, **given)

    def likelihood(**given: Any) -> Run:
        return lambda: solver.compute_likelihood(
            x_1=x, log_p0=normal, exact_divergence=True, **given
        )[1]

    chosen: dict[str, Any] = {"step_size": None, "method": "dopri5", "rtol": 1e-5, "atol": 1e-5}
    return {
        "sample, euler": sample(step_size=0.05, method="euler"),
        "sample, midpoint": sample(step_size=0.05, method="midpoint"),
        "sample, heun3": sample(step_size=0.05, method="heun3"),
        "sample, dopri5": sample(**chosen),
        "likelihood, midpoint": likelihood(step_size=0.05, method="midpoint"),
        "likelihood, dopri5": likelihood(**chosen),
    }


def table(rounds: int, *, quick: bool) -> tuple[str, list[str]]:
    """The table, and who is missing."""
    makers: dict[str, Callable[[ModuleType], dict[str, Run]]]
    makers = dict(zip(NAMES, (controlled, flows), strict=True))
    lines, missing = [], []
    for name, make in makers.items():
        try:
            several = [make(loaded(name, place)) for place in (ours, theirs)]
        except ImportError as error:
            missing.append(f"{name} ({error})")
            continue
        for what, one in list(several[0].items())[: 1 if quick else None]:
            two = several[1][what]
            x, y = one(), two()
            apart = float((x - y).norm() / y.norm())
            cells = ratio(medians({"ours": one, "theirs": two}, rounds)), f"{apart:.0e}"
            lines.append([name, what, *cells])
    if not lines:
        lines = [["none is installed", "", "", ""]]
    return page.table(["package", "what", "ours / theirs (our ms)", "difference"], lines), missing
