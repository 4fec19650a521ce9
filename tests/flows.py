"""A small probability flow with a closed-form denoiser, written out by hand, and its exact path."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

F64 = torch.float64


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


class Mixture:
    """Equal Gaussians N(mu_k, s^2 I): D = s^2/(s^2 + sigma^2) (x - mean) + mean."""

    def __init__(self, means: Tensor, s: float) -> None:
        self.means, self.s = means, s

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        flat = x.flatten(1)
        noisy = (self.s**2 + sigma.to(flat.dtype) ** 2).unsqueeze(-1)
        means = self.means.to(flat.dtype)
        weights = torch.softmax(-(torch.cdist(flat, means) ** 2) / (2 * noisy), -1)
        mean = weights @ means
        return (mean + self.s**2 / noisy * (flat - mean)).reshape(x.shape)


SMOOTH = Mixture(normal(4, 3, seed=1), 0.4)
THIN = Mixture(0.5 * normal(6, 4, seed=2), 0.05)


def field(denoiser, x: Tensor, sigma: float) -> Tensor:
    """f = (x - D)/sigma."""
    return (x - denoiser(x, x.new_full((len(x),), sigma))) / sigma


def exact_path(denoiser, x: Tensor, levels: Sequence[float], steps: int = 40) -> list[Tensor]:
    """The flow at every level, by RK4 in log sigma."""

    def slope(x: Tensor, l: float) -> Tensor:
        return math.exp(l) * field(denoiser, x, math.exp(l))

    path = [x]
    for a, b in pairwise(levels):
        h = math.log(b / a) / steps
        for i in range(steps):
            l = math.log(a) + i * h
            k1 = slope(x, l)
            k2 = slope(x + h / 2 * k1, l + h / 2)
            k3 = slope(x + h / 2 * k2, l + h / 2)
            k4 = slope(x + h * k3, l + h)
            x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        path.append(x)
    return path
