"""Systems M y' = f(t, y) whose solutions are known, for the laws of mass matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from families import IMPLICIT, METHODS
from torch import Tensor

from stiffguide.verification import orbit, orbit_field

TAKING = [n for n in IMPLICIT if METHODS[n].family != "secant"]
ACCURATE = [
    n for n in TAKING if not hasattr(METHODS[n], "tableau") or METHODS[n].tableau.stiffly_accurate
]


class System(NamedTuple):
    """M y' = f(t, y), of index 1 where M is singular."""

    f: Callable[[Tensor, Tensor], Tensor]  # (F,) and (B, F) alike
    mass: Tensor  # (F, F)
    exact: Callable[[Tensor], Tensor]  # (...,) -> (..., F)

    def mixed(self) -> System:
        """The same with other unknowns T y, and combinations S of its equations."""
        draw = torch.Generator().manual_seed(3)
        n = len(self.mass)
        s, t = (torch.rand(n, n, generator=draw).double() + torch.eye(n) for _ in range(2))
        back = torch.linalg.inv(t)
        return System(
            lambda time, u: self.f(time, u @ back.T) @ s.T,
            s @ self.mass @ back,
            lambda time: self.exact(time) @ t.T,
        )


def weighed() -> System:
    """The orbit of `verification`, with a regular M."""
    mass = torch.tensor([[2.0, 0.5], [-1.0, 1e-2]], dtype=torch.float64)
    return System(lambda t, y: orbit_field(t, y) @ mass.T, mass, orbit)


def chained() -> System:
    """The same orbit with a third component z = exp(y2), which a cubic equation holds to it."""

    def f(t: Tensor, y: Tensor) -> Tensor:
        d, b, z = y[..., :2], y[..., 1], y[..., 2]
        drive = (z - torch.exp(b)).unsqueeze(-1) * torch.tensor([0.5, -0.7]).to(y)
        k = 2 + b * torch.cos(t)
        bound = z**3 + k * z - torch.exp(3 * b) - k * torch.exp(b)
        return torch.cat((orbit_field(t, d) + drive, bound.unsqueeze(-1)), -1)

    def exact(t: Tensor) -> Tensor:
        y = orbit(t)
        return torch.cat((y, torch.exp(y[..., 1:])), -1)

    return System(f, torch.diag(torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64)), exact)


def robertson(t: Tensor, y: Tensor) -> Tensor:
    """Robertson's reaction with the sum of the species in the place of the third equation."""
    a, b, c = y.unbind(-1)
    lost = 0.04 * a - 1e4 * b * c
    return torch.stack((-lost, lost - 3e7 * b * b, a + b + c - 1), -1)
