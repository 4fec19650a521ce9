"""The first step size (Hairer, Norsett and Wanner I, II.4, algorithm p. 169)."""

from __future__ import annotations

import torch
from torch import Tensor

from stiffguide.stepping.contracts import Field, Tolerance
from stiffguide.tensors import rows


def initial_dt(
    f: Field, t0: Tensor, t1: Tensor, y0: Tensor, f0: Tensor, tolerance: Tolerance, order: int
) -> Tensor:
    """A first dt (B,), signed, for a method whose error is O(dt^(order+1)); one evaluation of f."""
    with torch.no_grad():
        span = t1 - t0
        scale = tolerance.scale(y0)
        d0 = _size(tolerance, y0, scale)
        d1 = _size(tolerance, f0, scale)
        h0 = torch.where((d0 < 1e-5) | (d1 < 1e-5), 1e-6, 0.01 * d0 / d1)
        h0 = torch.minimum(torch.nan_to_num(h0, nan=1e-6), span.abs())
        # h0 may underflow against t0: then f(t0 + h0) is f(t0), which is harmless
        h = torch.sign(span) * h0
        y1 = torch.addcmul(y0, rows(h, y0).to(y0.dtype), f0)
        f1 = f(t0 + h, y1)
        d2 = _size(tolerance, f1 - f0, scale) / h0
        steep = torch.maximum(d1, d2)
        h1 = torch.where(
            steep <= 1e-15,
            torch.clamp(h0 * 1e-3, min=1e-6),
            (0.01 / steep) ** (1 / (order + 1)),
        )
        # f blew up one Euler step away: start far below it
        h1 = torch.where(torch.isfinite(d2), h1, h0 * 1e-3)
        # where t0 is large, a step that does not move t is no step
        shortest = 10 * (torch.nextafter(t0, t1) - t0).abs()
        best = torch.maximum(torch.minimum(100 * h0, h1), shortest)
        return torch.sign(span) * torch.minimum(best, span.abs())


def _size(tolerance: Tolerance, x: Tensor, scale: Tensor) -> Tensor:
    quotient = torch.where(x == 0, 0.0, x.abs() / scale)
    size: Tensor = tolerance.norm(quotient)
    return size.to(torch.float64)
