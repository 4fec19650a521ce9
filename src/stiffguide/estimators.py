"""What two evaluations of f at one time tell about its Jacobian, without ever forming it.

With dx = x - x_low and df = f(t, x) - f(t, x_low), df is J dx to first order: in a step whose
error is dx this is the Jacobian exactly where it matters. All functions take (B, F) and work per
row; log them along a solve through `stiffguide.output` or a monitor.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

FLOOR = 1e-8  # the paper's guard against division by nothing (ERK-Guid, arXiv 2603.03692)
DROP = 1e-4  # a direction that is this much contained in the ones before is left out


def local_stiffness(dx: Tensor, df: Tensor) -> Tensor:
    """|df|/|dx| (B,): the size of the eigenvalue that dominates the error."""
    size: Tensor = torch.linalg.vector_norm(df, dim=-1)
    length: Tensor = torch.linalg.vector_norm(dx, dim=-1)
    return size / (length + FLOOR)


def dominant_direction(df: Tensor) -> Tensor:
    """df/|df| (B, F): the eigenvector that dominates the error, up to its sign."""
    size: Tensor = torch.linalg.vector_norm(df, dim=-1, keepdim=True)
    return df / (size + FLOOR)


def rayleigh_quotient(dx: Tensor, df: Tensor) -> Tensor:
    """<dx, df>/<dx, dx> (B,), signed: the eigenvalue along dx; 0 where dx is 0."""
    square = inner(dx, dx)
    return torch.where(square > 0, inner(dx, df) / square, 0.0)


def inner(x: Tensor, y: Tensor) -> Tensor:
    """<x, y> over the features: (B, F), (B, F) -> (B,)."""
    product: Tensor = torch.linalg.vecdot(x, y)
    return product


class Subspace(NamedTuple):
    """An orthonormal basis and what the Jacobian makes of it; dropped directions are zero."""

    basis: Tensor  # (B, F, K)
    image: Tensor  # (B, F, K), J basis
    matrix: Tensor  # (B, K, K), basis^T J basis


def secant_subspace(dx: Tensor, df: Tensor, drop: float = DROP) -> Subspace:
    """Orthonormalise K differences (B, F, K), newest first, and carry J along.

    Gram-Schmidt, twice for safety; the same column operations act on df, so that image = J basis
    wherever df = J dx.
    """
    basis: list[Tensor] = []
    image: list[Tensor] = []
    for v, w in zip(dx.unbind(-1), df.unbind(-1), strict=True):
        size = torch.linalg.vector_norm(v, dim=-1, keepdim=True)
        scale = torch.where(size > 0, size, 1.0)
        v, w = v / scale, w / scale
        for _ in range(2):
            for q, jq in zip(basis, image, strict=True):
                part = inner(q, v).unsqueeze(-1)
                v, w = v - part * q, w - part * jq
        rest = torch.linalg.vector_norm(v, dim=-1, keepdim=True)
        keep = (rest > drop) & (size > 0)
        rest = torch.where(keep, rest, 1.0)
        basis.append(torch.where(keep, v / rest, 0.0))
        image.append(torch.where(keep, w / rest, 0.0))
    q, jq = torch.stack(basis, -1), torch.stack(image, -1)
    return Subspace(q, jq, q.transpose(-1, -2) @ jq)
