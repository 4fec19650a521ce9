"""The first step size: after Hairer, Norsett and Wanner I, II.4 (p. 169), in the units of t.

Theirs compares f with its derivative, which have different units: in years instead of seconds it
takes other first steps, up to the whole interval.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stiffguide.stepping.constraints import slope
from stiffguide.stepping.contracts import Field, Units
from stiffguide.stepping.tolerance import Tolerance
from stiffguide.tensors import rows

IMMENSE = 1e100  # tolerances: more than that the user's norm may say, of which nothing follows
LEAST = 1e-6  # of the interval: the first step where f is 0 at the start


def initial_dt(
    f: Field, t0: Tensor, t1: Tensor, y0: Tensor, f0: Tensor, tolerance: Tolerance, order: int
) -> Tensor:
    """A first dt (B,), signed, for a method whose error is O(dt^(order+1)); one evaluation of f.

    Where M y' = f, y' takes the place of f.
    """
    with torch.no_grad():
        span = t1 - t0
        scale = tolerance.scale(y0)
        d0 = _size(tolerance, y0, scale)
        rest = LEAST * torch.where(torch.isinf(span), torch.clamp(t0.abs(), min=1.0), span.abs())
        units = Units(torch.copysign(rest, span), scale)
        f0 = slope(f, t0, y0, f0, units)
        d1 = _size(tolerance, f0, scale)
        # an Euler step that moves y by a hundredth of itself, or of what it may be wrong by
        h0 = 0.01 * torch.clamp(d0, min=1.0) / d1
        h0 = torch.minimum(torch.where(d1 > 0, h0, rest), span.abs())
        # h0 may underflow against t0: then f(t0 + h0) is f(t0), which is harmless
        h = torch.sign(span) * h0
        y1 = torch.addcmul(y0, rows(h, y0).to(y0.dtype), f0)
        f1 = slope(f, t0 + h, y1, f(t0 + h, y1), units)
        d2 = _size(tolerance, f1 - f0, scale) / h0
        # f changes by itself in the time tau, and an error of (h/tau)^(order+1) tau d1 is wanted
        # of 0.01; all of this keeps its sense in other units of t
        tau = d1 / d2
        h1 = tau * (0.01 / (tau * d1)) ** (1 / (order + 1))
        h1 = torch.where(d1 > 0, h1, torch.sqrt(0.01 / d2))
        # f blew up one Euler step away: start far below it
        h1 = torch.where(torch.isfinite(d2), h1, h0 * 1e-3)
        # where t0 is large, a step that does not move t is no step
        shortest = 10 * (torch.nextafter(t0, t1) - t0).abs()
        best = torch.minimum(100 * h0, torch.nan_to_num(h1, nan=float("inf")))
        best = torch.maximum(best, shortest)
        return torch.sign(span) * torch.minimum(best, span.abs())


def _size(tolerance: Tolerance, x: Tensor, scale: Tensor) -> Tensor:
    quotient = torch.where(x == 0, 0.0, x / scale)
    size: Tensor = tolerance.used(quotient)
    size = size.to(torch.float64)
    return size if tolerance.given is None else torch.clamp(size, max=IMMENSE)
