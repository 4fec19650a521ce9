"""Whether the derivative of f, by autograd or by the user, is that of its values.

Compared is the derivative along a ray from y0 with differences of f on it. A kink that y0 stands
on (|y| at 0, a clamp at its limit) lies at the foot of the ray and not on it. What the differences
do not settle, because f bends or jumps or rounds too much, is not judged.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from stiffguide.fields.independence import Flat, Start, draws, sizes

# Rays by their seeds, with steps in units of eps^(1/3), which balances truncation and rounding; the
# second and third are asked where the first is not content.
TRIALS = ((1, 1.0), (2, 1 / 16), (3, 4.0))
DISTINCT = 0.05  # of a slope: the doubt up to which it says something
SCATTERED = 0.1  # of the rows: as many as may seem wrong by chance


class Ray(NamedTuple):
    """Points y0 + k step in real numbers, and the values of f for k = 0, 1, 4."""

    foot: Tensor  # (B, F)
    step: Tensor  # (B, F)
    f0: Tensor  # (B, F)
    f1: Tensor  # (B, F)
    f4: Tensor  # (B, F)

    @property
    def middle(self) -> Tensor:
        """The point (B, F) for k = 3, where slopes are compared."""
        return self.foot + 3 * self.step

    def slope(self, f3: Tensor) -> tuple[Tensor, Tensor]:
        """(change of f for one step at k = 3, how much that may be wrong by), (B, F) each."""
        eps = torch.finfo(f3.dtype).eps
        f0, f1, f3, f4 = map(_real, (self.f0, self.f1, f3.detach(), self.f4))
        a, b, c = f1 - f0, (f3 - f1) / 2, f4 - f3
        # divided differences: a cubic through all four, a parabola through the last three
        cubic = ((c - b) / 3 - (b - a) / 3) / 4
        slope = (2 * c + b) / 3 - 2 * cubic
        size = torch.stack((f0, f1, f3, f4)).abs().amax(0)
        return slope, 8 * cubic.abs() + eps ** (1 / 3) * slope.abs() + 8 * eps * size


Judge = Callable[[Ray], bool | None]  # whether a derivative is right on a ray, None for no verdict


def seen_by_autograd(f: Flat, s: Start) -> bool:
    """False if autograd misses a part of how f depends on y."""

    def judge(ray: Ray) -> bool | None:
        with torch.enable_grad():
            y = ray.middle.requires_grad_()
            value = f(s.t0, y)
        slope, doubt = ray.slope(value)
        distinct = doubt < DISTINCT * slope.abs()
        # one sweep for the sum of all components, each in units of its own slope
        unit = torch.where(distinct, draws(0, slope) / slope, 0.0)
        change = torch.zeros_like(slope[:, 0])
        if value.requires_grad:
            (by_y,) = torch.autograd.grad(_real(value), y, unit, allow_unused=True)
            if by_y is not None:
                change = (_real(by_y) * _real(ray.step)).sum(-1)
        off = (change - (unit * slope).sum(-1)).abs() > (unit.abs() * doubt).sum(-1)
        return _verdict(distinct, off & change.isfinite(), slope)

    return _right(f, s, judge)


def agrees(jac: Flat, f: Flat, s: Start) -> bool:
    """False if jac, whose values are (B, F, F), is not the derivative of f by y."""

    def judge(ray: Ray) -> bool | None:
        y = ray.middle
        slope, doubt = ray.slope(f(s.t0, y))
        terms = jac(s.t0, y).detach() * ray.step.unsqueeze(-2)  # (B, F, F)
        size = terms.abs().sum(-1)
        doubt = doubt + torch.finfo(slope.dtype).eps ** (1 / 3) * size
        distinct = doubt < DISTINCT * torch.maximum(size, slope.abs())
        off = distinct & ((terms.sum(-1) - slope).abs() > doubt)
        return _verdict(distinct, off.any(-1), slope)

    return _right(f, s, judge)


def _verdict(distinct: Tensor, off: Tensor, slope: Tensor) -> bool | None:
    """Whether the derivative is right: (B, F) what can be judged, (B,) where it seems wrong.

    A part of f that is missing is missing in many rows, and of noise, most cannot be judged.
    """
    if not bool(slope.any()):  # f is constant there: nothing is missing
        return True
    judged = int(distinct.any(-1).sum())
    if not judged or 2 * int(distinct.sum()) < int((distinct | (slope != 0)).sum()):
        return None
    return int(off.sum()) <= SCATTERED * judged


def _right(f: Flat, s: Start, judge: Judge) -> bool:
    """False if the judge says so of two rays, and of no ray that the derivative is right."""
    if torch.finfo(s.y0.dtype).bits < 32 or not bool(torch.isfinite(s.f0).all()):
        return True
    wrong = 0
    for seed, width in TRIALS:
        try:
            verdict = judge(_ray(f, s, seed, width))
        except Exception:  # of the user's f, beyond what it was made for, or of autograd
            return True
        if verdict:
            return True
        wrong += verdict is False
        if wrong == 2:
            return False
    return True


def _ray(f: Flat, s: Start, seed: int, width: float) -> Ray:
    eps = torch.finfo(s.y0.dtype).eps
    y0 = s.y0.detach()
    outward = torch.where(y0 == 0, torch.ones_like(y0), torch.sgn(y0))
    step = outward * sizes(y0) * draws(seed, y0) * (width * math.cbrt(eps))
    f1, f4 = (f(s.t0, y0 + k * step).detach() for k in (1, 4))
    return Ray(y0, step, s.f0.detach(), f1, f4)


def _real(z: Tensor) -> Tensor:
    """Complex components (B, F) as real ones (B, 2 F), which differences can be taken of."""
    return torch.view_as_real(z).flatten(-2) if z.is_complex() else z
