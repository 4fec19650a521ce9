"""Fields in which something grows from far below the tolerance."""

from __future__ import annotations

import torch
from torch import Tensor

RATE = 1e3


def logistic(k: int):
    """`k` populations, each of its own rate, that reach 1 from any start."""
    rates = RATE * (1 + 0.1 * torch.arange(k, dtype=torch.float64))

    def f(t: Tensor, y: Tensor) -> Tensor:
        return rates * y * (1 - y)

    return f


def masked(t: Tensor, y: Tensor) -> Tensor:
    """Two populations beside a decay and an oscillation that can be seen, and drive the second."""
    decay, a, v, b, c = y.unbind(-1)
    grown = RATE * b * (1 - b), 1.1 * RATE * c * (1 - c) * (1 + 0.5 * torch.sin(a))
    return torch.stack((-10 * decay, v, -100 * a, *grown), -1)


def branching(k: float):
    """A fuel and a radical that branches at the rate k and ends at 1e5."""

    def f(t: Tensor, y: Tensor) -> Tensor:
        fuel, radical = y.unbind(-1)
        started, branched, ended = 1e-6 * fuel, k * fuel * radical, 1e5 * radical
        return torch.stack((-started - branched, started + branched - ended), -1)

    return f


def two_branchings(t: Tensor, y: Tensor) -> Tensor:
    """Two of them side by side: an even number of modes grows."""
    return torch.cat((branching(4e5)(t, y[..., :2]), branching(5e5)(t, y[..., 2:])), -1)


def cells(t: Tensor, y: Tensor) -> Tensor:
    """Eight of them in a row; radicals diffuse."""
    fuel, radical = y[..., :8], y[..., 8:]
    k = 4e5 * (1 + 0.05 * torch.arange(8, dtype=torch.float64))
    started, branched, ended = 1e-6 * fuel, k * fuel * radical, 1e5 * radical
    flux = torch.nn.functional.pad(radical[..., 1:] - radical[..., :-1], (1, 1))
    spread = 1e3 * (flux[..., 1:] - flux[..., :-1])
    return torch.cat((-started - branched, started + branched - ended + spread), -1)


def saddle(t: Tensor, y: Tensor) -> Tensor:
    """Grows along the first component, decays along the second."""
    return torch.stack((RATE * y[..., 0], -y[..., 1]), -1)
