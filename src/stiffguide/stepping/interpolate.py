"""Dense output: polynomials in theta on one step, and how to evaluate them."""

from __future__ import annotations

import torch
from torch import Tensor

EXTRAPOLATED = 3  # stages through which the next one is guessed: quadratic


def hermite(dt: Tensor, y0: Tensor, f0: Tensor, y1: Tensor, f1: Tensor) -> Tensor:
    """Cubic Hermite coefficients (3, B, F) of theta, theta^2, theta^3 (Hairer I, II.6.7)."""
    h = dt.to(f0.real.dtype if f0.is_complex() else f0.dtype).unsqueeze(-1)
    rise, left, right = y1 - y0, h * f0, h * f1
    return torch.stack((left, 3 * rise - 2 * left - right, left + right - 2 * rise))


def evaluate(coefficients: Tensor, theta: Tensor, y0: Tensor, y1: Tensor) -> Tensor:
    """y0 + sum_d c_d theta^(d+1) for c (D, M, F), theta (M,); exactly y1 at theta = 1."""
    x = theta.to(y0.real.dtype if y0.is_complex() else y0.dtype).unsqueeze(-1)
    value = coefficients[-1]
    for c in reversed(coefficients[:-1].unbind(0)):
        value = torch.addcmul(c, value, x.to(value.dtype))
    end = y1
    if theta.requires_grad:  # the state at the end is exact, and its slope that of the polynomial
        slope = sum(d * c for d, c in enumerate(coefficients.unbind(0), 1))
        end = y1 + (x - 1).to(value.dtype) * slope
    return torch.where(theta.unsqueeze(-1) == 1, end, torch.addcmul(y0, value, x.to(value.dtype)))


def extrapolation(c: tuple[float, ...], i: int) -> tuple[float, ...]:
    """Weights of f0, k_0, ..., k_{i-1} that extrapolate k to node c_i (Lagrange)."""
    nodes: dict[float, int] = {0.0: 0}  # f0 comes first
    nodes.update({c[j]: j + 1 for j in range(i) if c[j] != 0})
    near = sorted(nodes, key=lambda node: abs(node - c[i]))[:EXTRAPOLATED]
    weights = [0.0] * (i + 1)
    for node in near:
        product = 1.0
        for other in near:
            if other != node:
                product *= (c[i] - other) / (node - other)
        weights[nodes[node]] = product
    return tuple(weights)
