"""Fields of grids as users write them, of states (1, F): for the tests of loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Field = Callable[[Tensor, Tensor], Tensor]
F64 = torch.float64
RING = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]], dtype=F64)
N = 24


def brusselator(t: Tensor, y: Tensor) -> Tensor:
    u, v = y[..., 0::2], y[..., 1::2]
    pu, pv = F.pad(u, (1, 1), value=1.0), F.pad(v, (1, 1), value=3.0)
    made = u * (3 - u * v)
    du = (1 - u - made) + 7.3 * (pu[..., 2:] + pu[..., :-2] - 2 * u)
    dv = made + 7.3 * (pv[..., 2:] + pv[..., :-2] - 2 * v)
    return torch.stack((du, dv), -1).flatten(-2)


def torus(t: Tensor, y: Tensor) -> Tensor:
    w = y.reshape(*y.shape[:-1], 2, 6, 7)
    u, v = w.unbind(-3)
    near = w.roll(1, -1) + w.roll(-1, -1) + w.roll(1, -2) + w.roll(-1, -2) - 4 * w
    made = u * (3.4 - u * v)
    return (torch.stack((1 - u - made, made), -3) + 3.1 * near).flatten(-3)


def gray_scott(t: Tensor, y: Tensor) -> Tensor:
    w = y.reshape(-1, 2, 6, 6)
    near = F.conv2d(
        F.pad(w, (1, 1, 1, 1), mode="circular"), RING[None, None].expand(2, 1, 3, 3), groups=2
    )
    u, v = w[:, 0], w[:, 1]
    r = u * v**2
    du, dv = 0.16 * near[:, 0] - r + 0.035 * (1 - u), 0.08 * near[:, 1] + r - 0.095 * v
    return torch.cat((du.flatten(1), dv.flatten(1)), 1).reshape(y.shape)


def allen_cahn(t: Tensor, y: Tensor) -> Tensor:
    w = y.reshape(*y.shape[:-1], 6, 8)
    p = torch.cat((w[..., :1, :], w, w[..., -1:, :]), -2)
    q = torch.cat((w[..., :, :1], w, w[..., :, -1:]), -1)
    near = p[..., 2:, :] + p[..., :-2, :] + q[..., :, 2:] + q[..., :, :-2] - 4 * w
    return (0.3 * near + w - w**3).flatten(-2)


def in_slices(t: Tensor, y: Tensor) -> Tensor:
    o = torch.empty_like(y)
    o[..., 1:-1] = 0.7 * (y[..., 2:] - 2 * y[..., 1:-1] + y[..., :-2])
    o[..., 1:-1] -= 1.3 * (y[..., 1:-1] - y[..., :-2])
    o[..., 0] = 0.7 * (y[..., 1] - 2 * y[..., 0] + torch.sin(3 * t))
    o[..., -1] = 0.0
    return o - y * torch.exp(-torch.relu(y))


def cube(t: Tensor, y: Tensor) -> Tensor:
    w = y.reshape(4, 5, 6)
    p = F.pad(w, (1, 1, 1, 1, 1, 1))
    near = p[2:, 1:-1, 1:-1] + p[:-2, 1:-1, 1:-1] + p[1:-1, 2:, 1:-1] + p[1:-1, :-2, 1:-1]
    near = near + p[1:-1, 1:-1, 2:] + p[1:-1, 1:-1, :-2] - 6 * w
    return (near * 0.2 + torch.tanh(w)).reshape(y.shape)


def reaction(t: Tensor, y: Tensor) -> Tensor:
    u = y.clamp(0.2, 1.5)
    hot = torch.where(y > 0.8, torch.exp(-1.0 / u), u**2.7)
    return hot - y.abs().sqrt() + torch.maximum(y, y.roll(1, -1)) * torch.cos(t)


def variable(t: Tensor, y: Tensor) -> Tensor:
    x = torch.linspace(0, 1, y.shape[-1] + 1, dtype=y.dtype)
    d = 0.1 + x**2  # at the faces
    p = torch.cat((y[..., :1], y, y[..., -1:]), -1)
    flux = d * (p[..., 1:] - p[..., :-1])
    return flux[..., 1:] - flux[..., :-1]


def of_rows(t: Tensor, y: Tensor) -> Tensor:
    """A coefficient for each line of a grid, and one for each column."""
    w = y.reshape(4, 6)
    a, b = torch.arange(4.0, dtype=F64)[:, None] + 0.5, torch.linspace(1, 2, 6, dtype=F64)
    return (a * w.roll(1, 0) - b * w * w.flip(1) + t).reshape(y.shape)


BAND = torch.diag(torch.linspace(-3, -2, N, dtype=F64)) + torch.diag(torch.ones(N - 1), 1).double()
SPARSE = BAND.to_sparse()


def matrix(t: Tensor, y: Tensor) -> Tensor:
    return y @ BAND.T - y**3


def sparse_matrix(t: Tensor, y: Tensor) -> Tensor:
    return (SPARSE @ y.reshape(-1, 1)).reshape(y.shape) + torch.einsum("ij,bj->bi", BAND, y)


def fluxes(t: Tensor, y: Tensor) -> Tensor:
    """Edges of a graph that is a ring: what leaves one node enters the next."""
    here = torch.arange(y.shape[-1])
    there = here.roll(-1)
    flow = 0.4 * (y[..., here] - y[..., there]) * y[..., here]
    return torch.zeros_like(y).index_add(-1, there, flow).index_add(-1, here, -flow)


def masked(t: Tensor, y: Tensor) -> Tensor:
    wall = torch.arange(y.shape[-1]) % 8 == 0
    near = torch.stack((y.roll(1, -1), y, y.roll(-1, -1))).sum(0)
    return torch.where(wall, -y, near).masked_fill(wall & (near < 0), 0.25)


def gradients(t: Tensor, y: Tensor) -> Tensor:
    (slope,) = torch.gradient(y, dim=-1)
    return torch.vmap(lambda row: row.roll(1) - row)(y) - slope * y


def coarse(t: Tensor, y: Tensor) -> Tensor:
    """Means of four entries, and the entries of another half."""
    mean = y.reshape(1, -1, 4).mean(-1)
    half = y[..., : y.shape[-1] // 2].repeat_interleave(2, -1)
    return mean.repeat_interleave(4, -1) - half * y.flip(-1)


def pooled(t: Tensor, y: Tensor) -> Tensor:
    w = y.reshape(1, 2, 4, 6)
    means = F.interpolate(F.avg_pool2d(w, 2), scale_factor=2.0, mode="nearest")
    return (means - F.avg_pool2d(w, 3, stride=1, padding=1) ** 2).reshape(y.shape)


def limited(t: Tensor, y: Tensor) -> Tensor:
    """A limiter of slopes, and the norm of a gradient."""
    left, right = y - y.roll(1, -1), y.roll(-1, -1) - y
    slope = torch.where(left * right > 0, torch.minimum(left.abs(), right.abs()).copysign(left), 0)
    steepness = torch.linalg.vector_norm(torch.stack((left, right)), dim=0)
    return slope - steepness * y.reshape(1, -1, 2).amax(-1).repeat_interleave(2, -1)


FIELDS: dict[str, tuple[Field, int]] = {
    "brusselator": (brusselator, 24),
    "torus": (torus, 84),
    "gray_scott": (gray_scott, 72),
    "allen_cahn": (allen_cahn, 48),
    "in_slices": (in_slices, 30),
    "cube": (cube, 120),
    "reaction": (reaction, 40),
    "variable": (variable, 33),
    "of_rows": (of_rows, 24),
    "matrix": (matrix, N),
    "sparse_matrix": (sparse_matrix, N),
    "fluxes": (fluxes, 17),
    "masked": (masked, 40),
    "gradients": (gradients, 26),
    "coarse": (coarse, 32),
    "pooled": (pooled, 48),
    "limited": (limited, 26),
}


def composed(seed: int, n: int = 30) -> Field:
    """A field of movements and operations by chance; the same one for a seed."""
    draw = torch.Generator().manual_seed(seed)

    def pick(most: int) -> int:
        return int(torch.randint(most, (), generator=draw))

    steps = [(pick(len(STEPS)), pick(8), pick(8), pick(n)) for _ in range(8)]
    weights = torch.rand(n, generator=draw, dtype=F64) + 0.5

    def field(t: Tensor, y: Tensor) -> Tensor:
        made = [y]
        for step, a, b, k in steps:
            x, z = made[a % len(made)], made[b % len(made)]
            made.append(STEPS[step](x, z, k, weights.to(y.dtype), t))
        return made[-1] - 0.3 * y

    return field


def _written(x: Tensor, z: Tensor, k: int, w: Tensor, t: Tensor) -> Tensor:
    out = torch.zeros_like(x)
    out[..., k:] = z[..., k:] * 0.5
    out[..., : k // 2] += x[..., : k // 2]
    return out


def _shifted(x: Tensor, z: Tensor, k: int, w: Tensor, t: Tensor) -> Tensor:
    return F.pad(x, (2, 0), value=0.7)[..., : x.shape[-1]] - z


STEPS: list[Callable[..., Any]] = [
    lambda x, z, k, w, t: x.roll(k % 3 - 1, -1) + z,
    lambda x, z, k, w, t: x * z,
    lambda x, z, k, w, t: w * x.flip(-1),
    lambda x, z, k, w, t: torch.tanh(x) * torch.cos(t) - z,
    lambda x, z, k, w, t: torch.cat((x[..., k:], z[..., :k]), -1),
    lambda x, z, k, w, t: torch.where(x > z, x, 0.5 * z),
    lambda x, z, k, w, t: x.reshape(1, 5, -1).transpose(1, 2).reshape(x.shape) - z,
    lambda x, z, k, w, t: torch.exp(-x * x) + z.clamp(-0.5, 1.0),
    lambda x, z, k, w, t: x[..., torch.arange(x.shape[-1] - 1, -1, -1) // 2 * 2] + w[k],
    _written,
    _shifted,
]
