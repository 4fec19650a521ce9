"""Fields of systems whose Jacobian is mostly zeros, as users write them, and some that are full."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import grad, jvp, vmap
from torch.nn import functional as F

F64 = torch.float64
RANDOM = torch.Generator().manual_seed(1)


def rand(*shape: int) -> Tensor:
    return torch.rand(shape, generator=RANDOM, dtype=F64)


def quietly(make: Callable[[], Tensor]) -> Tensor:
    """Without torch's warnings of what is new or old."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make()


N = 12
BAND = torch.diag(rand(N)) + torch.diag(rand(N - 1), 1) + torch.diag(rand(N - 3), -3)
STENCIL = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]], dtype=F64)[None, None]
PLACES = torch.tensor([3, 0, 7, 7, 11])
TARGETS = torch.tensor([1, 1, 4, 0, 9])
CHOSEN = torch.tensor([True, False, True, False, True])
KNOTS, SWITCH = rand(6), torch.tensor([0.0, 1.0], dtype=F64)
CELLS = torch.eye(3, dtype=F64) + 0.1 * rand(4, 3, 3)
SPARSE, COMPRESSED = BAND.to_sparse(), quietly(BAND.to_sparse_csr)
LINEAR = nn.Linear(N, N).double().requires_grad_(False)
NETWORK = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 3)).double()
WINDOWS = nn.Sequential(
    nn.Conv2d(1, 5, 3, padding=1), nn.Tanh(), nn.Conv2d(5, 1, (1, 3), padding=(0, 1))
).double()  # fmt: skip
BUFFER = torch.zeros(16, N, dtype=F64)


def brusselator(t, y):
    u, v = y[..., 0::2], y[..., 1::2]
    near_u, near_v = F.pad(u, (1, 1), value=1.0), F.pad(v, (1, 1), value=3.0)
    made = u * (3 - u * v)
    du = 1 - u - made + near_u[..., 2:] + near_u[..., :-2] - 2 * u
    dv = made + near_v[..., 2:] + near_v[..., :-2] - 2 * v
    return torch.stack((du, dv), -1).flatten(-2)


def on_a_torus(t, y):
    w = y.reshape(*y.shape[:-1], 2, 2, 3)
    u, v = w.unbind(-3)
    spread = w.roll(1, -1) + w.roll(-1, -1) + w.roll(1, -2) + w.roll(-1, -2) - 4 * w
    made = u * (3.4 - u * v)
    return (torch.stack((1 - u - made, made), -3) + spread).flatten(-3)


def gray_scott(t, y):
    w = y.reshape(-1, 2, 2, 3)
    spread = F.conv2d(F.pad(w, (1,) * 4, mode="circular"), STENCIL.expand(2, 1, 3, 3), groups=2)
    u, v = w[:, 0], w[:, 1]
    made = u * v**2
    du, dv = 0.16 * spread[:, 0] - made + 1 - u, 0.08 * spread[:, 1] + made - 0.1 * v
    return torch.cat((du.flatten(1), dv.flatten(1)), 1).reshape(y.shape)


def allen_cahn(t, y):
    w = y.reshape(*y.shape[:-1], 3, 4)
    p = torch.cat((w[..., :1, :], w, w[..., -1:, :]), -2)
    q = torch.cat((w[..., :1], w, w[..., -1:]), -1)
    spread = p[..., 2:, :] + p[..., :-2, :] + q[..., 2:] + q[..., :-2] - 4 * w
    return (0.01 * spread + w - w**3).flatten(-2)


def advected(t, y):
    o = torch.empty_like(y)
    o[..., 1:-1] = y[..., 2:] - 2 * y[..., 1:-1] + y[..., :-2] - 3 * (y[..., 1:-1] - y[..., :-2])
    o[..., 0] = y[..., 1] - 2 * y[..., 0] + 1.0 - (y[..., 0] - 1.0)
    o[..., -1] = y[..., -2] - y[..., -1]
    return o - y * torch.exp(-torch.relu(y))


def reactions(t, y):
    rate = torch.arange(1.0, 6.0, dtype=F64) * y[..., PLACES]
    rate = rate * torch.where(CHOSEN, torch.ones(5, dtype=F64), y[..., TARGETS])
    made = torch.zeros_like(y).index_add(-1, TARGETS, rate).index_add(-1, PLACES, -rate)
    return made.index_add(-1, PLACES.flip(0), torch.where(CHOSEN, torch.zeros_like(rate), rate))


def upwind(t, y):
    back, ahead = y - y.roll(1, -1), y.roll(-1, -1) - y
    speed = y.roll(2, -1)
    return -speed * torch.where(speed > 0, back, ahead)


def energy(y):
    return ((y[..., 1:] - y[..., :-1]) ** 4).sum() + (y**2).sum()


def down_the_energy(t, y):
    with torch.enable_grad():
        x = y.detach().requires_grad_()
        (found,) = torch.autograd.grad(energy(x), x)
    return -found


def along_itself(t, y):
    return jvp(lambda x: torch.sin(x) * x.roll(1, -1), (y,), (y.roll(2, -1),))[1]


def in_a_buffer(t, y):
    rows = BUFFER[: y.shape[0]]
    rows[:, 1:] = y[:, :-1] ** 2
    rows[:, 0].copy_(y[:, -1])
    return rows.clone()


def in_place(t, y):
    o = torch.zeros_like(y)
    o[:, 2:] += y[:, :-2]
    o[:, ::3].mul_(y[:, 1::3]).sub_(y[:, 2:3])
    o.view(-1, 3, 4)[:, 1].clamp_(min=-1)
    return o


class Cubed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        return 3 * ctx.saved_tensors[0] ** 2 * g


def cut_off(t, y):
    o = y.clone()
    o[o < 0.3] = 0.0
    o[:, torch.arange(N) > 9] = 1.0
    return o * y.roll(1, -1)


def one_of(t):
    o = torch.zeros(len(t), N, dtype=F64)
    return o.scatter_(1, (t[:, None] > 1).long() * 5, 2.0)


def bodies(t, y):
    x = y.reshape(-1, 4, 3)
    apart = x[:, :, None] - x[:, None]
    return (apart / (1 + (apart**2).sum(-1, keepdim=True)) ** 1.5).sum(2).flatten(1)


def assembled(t, y):
    matrix = torch.zeros(y.shape[0], N, N, dtype=F64)
    matrix.diagonal(dim1=-2, dim2=-1).copy_(y)
    matrix.diagonal(1, dim1=-2, dim2=-1).copy_(y[:, 1:] ** 2)
    return (matrix @ y.roll(3, -1)[..., None])[..., 0]


# The same where automatic differentiation sees less: y is detached, or it has no rule.
TRUTH = {
    "down the energy": lambda t, y: -grad(energy)(y),
    "counted": lambda t, y: torch.zeros_like(y).index_add(1, PLACES, y[:, :5] ** 2),
    "scaled": lambda t, y: y.sin(),
    "scattered and multiplied": lambda t, y: y.scatter_reduce(
        1, TARGETS.expand(y.shape[0], 5), y[:, 5:10], "prod"
    ),
}
EXACT = {
    "brusselator": brusselator,
    "on a torus": on_a_torus,
    "gray-scott": gray_scott,
    "allen-cahn": allen_cahn,
    "advected": advected,
    "reactions": reactions,
    "upwind": upwind,
    "down the energy": down_the_energy,
    "grad": lambda t, y: -grad(energy)(y),
    "jvp": along_itself,
    "buffer": in_a_buffer,
    "in place": in_place,
    "own function": lambda t, y: Cubed.apply(y).roll(1, -1),
    "bodies": bodies,
    "cut off": cut_off,
    "counted": lambda t, y: torch.stack([torch.bincount(PLACES, row[:5] ** 2, N) for row in y]),
    "selected": lambda t, y: y.masked_select(torch.arange(N) < 4).reshape(-1, 4).repeat(1, 3),
    "filled": lambda t, y: torch.zeros_like(y).masked_scatter(torch.arange(N) % 2 == 0, y**2),
    "put anywhere": lambda t, y: torch.zeros_like(y).put_(PLACES[:3], y[0, :3] ** 2),
    "energy of windows": lambda t, y: grad(
        lambda x: (F.conv1d(x[:, None], KNOTS[None, None, :3], padding=1) ** 3).sum()
    )(y),
    "energy of softmax": lambda t, y: grad(
        lambda x: (torch.softmax(x.reshape(-1, 4, 3), -1) ** 2).sum()
    )(y),
    "assembled": assembled,
    "vmap": lambda t, y: vmap(lambda row: row.roll(1, 0) * row)(y),
    "matrix of zeros": lambda t, y: torch.tanh(y @ BAND.T),
    "matrix first": lambda t, y: (BAND @ y.T).T,
    "einsum": lambda t, y: torch.einsum("ij,bj->bi", BAND, y**2),
    "einsum on a grid": lambda t, y: torch.einsum(
        "ij,bjk->bik", BAND[:4, :4], y.reshape(-1, 4, 3)
    ).flatten(1),
    "sparse coo": lambda t, y: torch.sparse.mm(SPARSE, y.T).T,
    "sparse csr": lambda t, y: (COMPRESSED @ y.T).T * y,
    "sparse right": lambda t, y: y @ COMPRESSED,
    "linear": lambda t, y: LINEAR(y).sin(),
    "module on cells": lambda t, y: NETWORK(y.reshape(-1, 4, 3)).flatten(1),
    "conv1d": lambda t, y: F.conv1d(
        F.pad(y[:, None], (2, 2), mode="circular"), torch.tensor([[[1.0, 0, -2, 0, 3]]], dtype=F64)
    )[:, 0],
    "deep convolution": lambda t, y: F.conv1d(
        F.conv1d(y[:, None], KNOTS.view(2, 1, 3), padding=1), KNOTS.view(1, 2, 3), padding=1
    )[:, 0],
    "network of windows": lambda t, y: WINDOWS(y.reshape(-1, 1, 3, 4)).flatten(1),
    "conv with bias": lambda t, y: F.conv1d(
        y.reshape(-1, 2, 6), NETWORK[0].weight[:2, :2, None].expand(2, 2, 3), KNOTS[:2], padding=1
    ).flatten(1),
    "conv strided": lambda t, y: F.pad(
        F.conv1d(y[:, None], KNOTS[None, None, :3], stride=2, dilation=2), (0, 8)
    )[:, 0],
    "conv transposed": lambda t, y: F.conv_transpose1d(
        y[:, None, ::2], torch.tensor([[[1.0, 0, 2]]], dtype=F64), stride=2, output_padding=1
    )[:, 0, :N],
    "gradient": lambda t, y: torch.gradient(y, dim=1)[0],
    "diff": lambda t, y: torch.diff(y, dim=1, prepend=torch.zeros_like(y[:, :1])),
    "softmax": lambda t, y: torch.softmax(y.reshape(-1, 4, 3), -1).flatten(1),
    "log softmax": lambda t, y: F.log_softmax(y, -1),
    "logsumexp": lambda t, y: y.reshape(-1, 4, 3).logsumexp(-1).repeat(1, 3),
    "norm": lambda t, y: y / y.norm(dim=-1, keepdim=True),
    "mean of a part": lambda t, y: y * y[:, :3].mean(-1, keepdim=True),
    "variance": lambda t, y: y.reshape(-1, 4, 3).var(-1).repeat(1, 3),
    "layer norm": lambda t, y: F.layer_norm(y.reshape(-1, 4, 3), (3,)).flatten(1),
    "product": lambda t, y: y.reshape(-1, 4, 3).prod(-1).repeat(1, 3),
    "running sum": lambda t, y: y.reshape(-1, 2, 6).cumsum(-1).flatten(1),
    "running product": lambda t, y: y.cumprod(1),
    "fft": lambda t, y: torch.fft.irfft(torch.fft.rfft(y) * torch.arange(7, dtype=F64) ** 2, n=N),
    "fft of rows": lambda t, y: torch.fft.fft(y.reshape(-1, 3, 4)).abs().flatten(1),
    "one system a cell": lambda t, y: torch.linalg.solve(CELLS, y.reshape(-1, 4, 3, 1)).flatten(1),
    "inverse": lambda t, y: torch.linalg.inv(CELLS * y.reshape(-1, 4, 3, 1)).sum(-1).flatten(1),
    "determinant": lambda t, y: torch.linalg.det(CELLS + y.reshape(-1, 4, 1, 3)).repeat(1, 3),
    "constant choice": lambda t, y: torch.where(torch.arange(N) % 2 == 0, y, y.roll(1, -1)),
    "constant mask": lambda t, y: y.roll(1, -1) * (torch.arange(N) % 3 > 0) + y,
    "masked fill": lambda t, y: y.roll(1, -1).masked_fill(torch.arange(N) > 5, 0.0),
    "zero times": lambda t, y: y + 0.0 * y.flip(1) + torch.zeros(N, dtype=F64) * y.sum(),
    "steps": lambda t, y: y * (y.roll(1, -1) > 0.5) + torch.sign(y.flip(1)) + torch.floor(y),
    "clamp": lambda t, y: y.clamp(y.roll(1, -1) - 0.5, torch.tensor(3.0)),
    "extremes": lambda t, y: torch.maximum(y, y.roll(1, -1)) + torch.fmin(y, y.roll(3, -1)),
    "of pairs": lambda t, y: y.reshape(-1, 6, 2).amax(-1).repeat_interleave(2, -1),
    "largest and where": lambda t, y: y.reshape(-1, 6, 2).max(-1).values.repeat(1, 2),
    "scattered": lambda t, y: torch.zeros_like(y).scatter_add(
        1, TARGETS.expand(y.shape[0], 5), y[:, :5] ** 2
    ),
    "scaled": lambda t, y: y.sin().scatter(
        1, TARGETS.expand(y.shape[0], 5), 2.0, reduce="multiply"
    ),
    "scattered and multiplied": lambda t, y: quietly(
        lambda: y.scatter(1, TARGETS.expand(y.shape[0], 5), y[:, 5:10], reduce="multiply")
    ),
    "put": lambda t, y: torch.zeros_like(y).index_put(
        (torch.tensor(0), TARGETS), y[0, PLACES], accumulate=True
    ),
    "gathered": lambda t, y: y.gather(1, torch.arange(N).flip(0).expand(y.shape)) * 2,
    "looked up": lambda t, y: KNOTS[(y.abs() * 3).long().clamp(0, 5)] * y,
    "fused": lambda t, y: torch.addcmul(y, y.roll(1, -1), KNOTS.repeat(2) * (torch.arange(N) > 3)),
    "lerp": lambda t, y: torch.lerp(y, y.roll(1, -1), 0.3),
    "complex": lambda t, y: (torch.complex(y, y.roll(1, -1)) ** 2).imag,
    "triangle": lambda t, y: (torch.tril(y[:, :, None] * y[:, None], -9)).sum(-1),
    "crossed": lambda t, y: torch.linalg.cross(
        y.reshape(-1, 4, 3), torch.tensor([1.0, 0, 0], dtype=F64).expand(1, 4, 3)
    ).flatten(1),
    "pooled": lambda t, y: F.avg_pool1d(y[:, None], 3, 1, 1)[:, 0],
    "largest of windows": lambda t, y: F.max_pool1d(y[:, None], 2, 2)[:, 0].repeat(1, 2),
    "interpolated": lambda t, y: F.interpolate(y[:, None, ::2], scale_factor=2)[:, 0],
    "constant": lambda t, y: torch.ones_like(y),
    "of t": lambda t, y: torch.cos(t)[:, None].expand(y.shape),
}
# What a derivative would not have at some point, or at t = 0, but has elsewhere.
MORE = {
    "zero at the start": lambda t, y: y + t[:, None] * y.roll(1, -1),
    "matrix of zeros at the start": lambda t, y: (
        torch.diag_embed(y - torch.linspace(0.1, 1.9, N, dtype=F64)) @ y.roll(1, -1)[..., None]
    )[..., 0],
    "matrix of t": lambda t, y: (t * BAND @ y.mT).mT,
    "windows of t": lambda t, y: F.conv1d(y[:, None], t * KNOTS[None, None, :3], padding=1)[:, 0],
    "by a switch of t": lambda t, y: y + SWITCH[(t > 1).long()] * y.roll(1, -1),
    "one of many by t": lambda t, y: (
        y + F.one_hot((t > 1).long() * 3, N) * y.roll(1, -1) + y.roll(2, -1) * one_of(t)
    ),
    "later": lambda t, y: y + (t[:, None] > 1) * y.flip(1),
    "chosen by t": lambda t, y: torch.where(t[:, None] > 1, y, y.roll(1, -1)),
    "by a table of t": lambda t, y: KNOTS.mul(0).where(t < 1, KNOTS)[:1] * y,
    "sorted": lambda t, y: y.sort(-1).values,
    "neighbours by y": lambda t, y: y.gather(1, (y > 0.5).long()),
}


def by_numpy(t, y):
    return y + torch.from_numpy(np.roll(y.numpy(), 1, -1) ** 2)


def one_by_one(t, y):
    return torch.tensor([[float(y[0, k]) * float(y[0, k - 1]) for k in range(N)]], dtype=F64)


@torch.library.custom_op("sparse_fields::rolled", mutates_args=())
def rolled(x: Tensor) -> Tensor:
    return x.roll(1, -1) ** 2


# Fields that sets cannot follow, and what the note says of it.
LOST = {
    "numpy": (by_numpy, ".numpy()"),
    "list": (lambda t, y: torch.tensor(y.tolist(), dtype=F64).roll(1, -1) * y, ".numpy()"),
    "numbers": (one_by_one, "do not show"),
    "a norm that is read": (lambda t, y: y * float(y[0, 3:5].norm()), "do not show"),
    "mask": (lambda t, y: torch.zeros_like(y).masked_scatter(y > 0.5, y[y > 0.5]), "mask"),
    "no rule": (
        lambda t, y: y + rolled(y),
        "uses sparse_fields.rolled.default, for which there is no rule",
    ),
    "sparse of y": (
        lambda t, y: (torch.diag(y[0]).to_sparse() @ y.roll(1, -1).T).T,
        "sparse",
    ),
    "places by t": (
        lambda t, y: torch.zeros_like(y).index_add(1, (torch.arange(N) + t.long()) % N, y**2),
        "places",
    ),
}


def brusselator_of_arrays(t, y):
    u, v = y[0::2], y[1::2]
    near_u = np.concatenate(([1.0], u, [1.0]))
    near_v = np.concatenate(([3.0], v, [3.0]))
    made, o = u * (3 - u * v), np.empty_like(y)
    o[0::2] = 1 - u - made + near_u[2:] + near_u[:-2] - 2 * u
    o[1::2] = made + near_v[2:] + near_v[:-2] - 2 * v
    return o


def reactions_of_arrays(t, y):
    rate = np.arange(1.0, 6.0) * y[PLACES] * np.where(CHOSEN, 1.0, y[TARGETS])
    other = np.where(CHOSEN, 0.0, rate)
    o = np.bincount(TARGETS, rate, N) - np.bincount(PLACES, rate, N)
    return o + np.bincount(PLACES.flip(0), other, N)


# Functions of arrays, and the same of tensors.
ARRAYS = {
    "brusselator": (brusselator_of_arrays, brusselator),
    "reactions": (reactions_of_arrays, reactions),
    "matrix": (lambda t, y: np.tanh(BAND.numpy() @ y), EXACT["matrix of zeros"]),
    "loop": (lambda t, y: [y[k - 1] ** 2 for k in range(N)], lambda t, y: y.roll(1, -1) ** 2),
    "constant": (lambda t, y: np.ones(N), EXACT["constant"]),
}
