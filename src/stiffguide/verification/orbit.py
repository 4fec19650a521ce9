"""A problem that is no method's favourite: coupled, nonlinear, non-autonomous, with a known orbit.

y1' = -y2 + 0.55 (y1^2 - y2 cos t - cos^2 t + cos t sin t),
y2' =  y1 + 0.55 (sin(y2 - sin t) + y1 y2 - cos t sin t) keep the orbit (cos t, sin t).

Rows start at different times, so that no zero of an error constant is taken for an order.
"""

from __future__ import annotations

import torch
from torch import Tensor


def orbit(t: Tensor) -> Tensor:
    """The solution (..., 2) of the problem above."""
    return torch.stack((torch.cos(t), torch.sin(t)), -1)


def orbit_field(t: Tensor, y: Tensor) -> Tensor:
    """The field of the problem above, for t (...,) and y (..., 2)."""
    a, b = y.unbind(-1)
    c, s = torch.cos(t), torch.sin(t)
    first = a * a - c * b - c * (c - s)
    second = torch.sin(b - s) + a * b - c * s
    return torch.stack((0.55 * first - b, 0.55 * second + a), -1)


def orbit_jac(t: Tensor, y: Tensor) -> Tensor:
    """The Jacobian (..., 2, 2) of `orbit_field`."""
    a, b = y.unbind(-1)
    c, s = torch.cos(t), torch.sin(t)
    rows = (1.1 * a, -0.55 * c - 1, 0.55 * b + 1, 0.55 * (torch.cos(b - s) + a))
    return torch.stack(rows, -1).reshape(*a.shape, 2, 2)


def starts(rows: int) -> Tensor:
    """Times (rows,) at which to start."""
    return torch.linspace(0.0, 2.0, rows, dtype=torch.float64)
