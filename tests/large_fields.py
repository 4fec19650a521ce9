"""Large fields as their users write them: grids, networks, and some that are no grid at all."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

F64 = torch.float64


def brusselator(t: Tensor, y: Tensor) -> Tensor:
    """One-dimensional, (u, v) at every point, boundary values 1 and 3: y (2 N,)."""
    u, v = y[0::2], y[1::2]
    a = (len(u) + 1) ** 2 / 50.0
    left, right = pad(u, (1, 1), value=1.0), pad(v, (1, 1), value=3.0)
    made = u * (3 - u * v)
    du = 1 - u - made + a * (left[2:] + left[:-2] - 2 * u)
    dv = made + a * (right[2:] + right[:-2] - 2 * v)
    return torch.stack((du, dv), -1).flatten()


def brusselator_start(points: int) -> Tensor:
    """The usual start (2 N,)."""
    x = torch.arange(1, points + 1, dtype=F64) / (points + 1)
    u = 1 + torch.sin(2 * torch.pi * x)
    return torch.stack((u, torch.full_like(u, 3.0)), -1).flatten()


def plane(t: Tensor, y: Tensor) -> Tensor:
    """Two species that react and diffuse on a torus: y (2, N, N)."""
    u, v = y
    laplace = sum(y.roll(s, d) for s in (1, -1) for d in (-1, -2)) - 4 * y
    made = u * (3.4 - u * v)
    return torch.stack((1 - u - made, made)) + 0.1 * y.shape[-1] ** 2 * laplace


def plane_start(n: int) -> Tensor:
    """Waves (2, N, N)."""
    x = torch.arange(n, dtype=F64) / n
    u = (1 + torch.sin(2 * torch.pi * x))[:, None].expand(n, n)
    v = (3 + torch.cos(2 * torch.pi * x))[None, :].expand(n, n)
    return torch.stack((u, v))


KERNEL = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]], dtype=F64)


def front(t: Tensor, y: Tensor) -> Tensor:
    """Allen and Cahn's equation by a convolution: y (N, N)."""
    edge = pad(y[None, None], (1, 1, 1, 1), mode="replicate")
    h = 1 / (y.shape[0] - 1)
    return 1e-3 * conv2d(edge, KERNEL.to(y)[None, None])[0, 0] / h**2 + y - y**3


def upwind(t: Tensor, y: Tensor) -> Tensor:
    """A kink wherever two neighbours are equal, and one at zero: y (N,)."""
    before = torch.cat((y[:1], y[:-1]))
    return -40 * (y + y.abs()) * (y - before).abs() - 3 * torch.relu(y - before)


def chain(t: Tensor, y: Tensor, k: Tensor) -> Tensor:
    """Decay along a chain, at rates k (N,) or (B, N): y (N,) or (B, N)."""
    flow = k * y
    return torch.cat((-flow[..., :1], flow[..., :-1] - flow[..., 1:]), -1)
