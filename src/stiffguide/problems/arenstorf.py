"""Arenstorf's orbit: a satellite between Earth and Moon that comes back to where it started."""

from __future__ import annotations

import torch
from torch import Tensor

from stiffguide.problems.problem import Problem, as_matrix

# Masses of the Moon and of the Earth as parts of their sum; distances in units of theirs.
_MOON = 0.012277471
_EARTH = 1 - _MOON


def _pulls(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Offsets from Earth and Moon along x, and the squared distances to them."""
    east, west = x + _MOON, x - _EARTH
    square = y * y
    return east, west, east * east + square, west * west + square


def _arenstorf_field(t: Tensor, y: Tensor) -> Tensor:
    px, py, vx, vy = y.unbind(-1)
    east, west, earth2, moon2 = _pulls(px, py)
    earth, moon = _EARTH * earth2**-1.5, _MOON * moon2**-1.5
    ax = px + 2 * vy - earth * east - moon * west
    ay = py * (1 - earth - moon) - 2 * vx
    return torch.stack((vx, vy, ax, ay), -1)


def _arenstorf_jac(t: Tensor, y: Tensor) -> Tensor:
    px, py, _, _ = y.unbind(-1)
    east, west, earth2, moon2 = _pulls(px, py)
    free = 1 - _EARTH * earth2**-1.5 - _MOON * moon2**-1.5
    earth, moon = 3 * _EARTH * earth2**-2.5, 3 * _MOON * moon2**-2.5
    xx = free + earth * east * east + moon * west * west
    xy = (earth * east + moon * west) * py
    yy = free + (earth + moon) * py * py
    zero, one = torch.zeros_like(px), torch.ones_like(px)
    rows = (
        *(zero, zero, one, zero),
        *(zero, zero, zero, one),
        *(xx, xy, zero, 2 * one),
        *(xy, yy, -2 * one, zero),
    )
    return as_matrix(rows)


def _jacobi_constant(y: Tensor) -> Tensor:
    px, py, vx, vy = y.unbind(-1)
    _, _, earth2, moon2 = _pulls(px, py)
    potential = 2 * _EARTH * earth2**-0.5 + 2 * _MOON * moon2**-0.5
    return px * px + py * py + potential - vx * vx - vy * vy


def arenstorf() -> Problem:
    """The four-loop orbit of the restricted three-body problem, over one period; not stiff."""
    start = (0.994, 0.0, 0.0, -2.00158510637908252240537862224)
    return Problem(
        name="arenstorf",
        title="Arenstorf orbit",
        f=_arenstorf_field,
        jac=_arenstorf_jac,
        y0=torch.tensor(start, dtype=torch.float64),
        t0=0.0,
        t1=17.0652165601579625588917206249,
        atol=1e-10,
        stiff=False,
        source="Arenstorf, Am. J. Math. 85 (1963) 27-35; period and start from Hairer, Norsett "
        "and Wanner, Solving ODEs I (1993), eqs. II.0.1-2; the reference is the start itself",
        reference=start,
        digits=8,
        invariant=_jacobi_constant,
        params={"mu": _MOON},
        notes="passes 0.006 from the Moon, where errors grow by a factor of thousands",
    )
