"""Stiff chemical kinetics of the test set for IVP solvers: HIRES, OREGO and E5."""

from __future__ import annotations

import torch
from torch import Tensor

from stiffguide.problems.mass_action import Network
from stiffguide.problems.problem import Problem, as_matrix

_TEST_SET = "test set for IVP solvers, release 2.4 (Bari, 2008), problem {}; reference recomputed"

HIRES = Network.parse(
    "y1 y2 y3 y4 y5 y6 y7 y8",
    (
        (0.0007, "-> y1"),
        (1.71, "y1 -> y2"),
        (0.43, "y2 -> y1"),
        (8.32, "y2 -> y4"),
        (8.32, "y3 -> y1"),
        (1.71, "y3 -> y4"),
        (0.43, "y4 -> y3"),
        (0.69, "y4 -> y6"),
        (0.035, "y5 -> y3"),
        (1.71, "y5 -> y6"),
        (0.43, "y6 -> y5"),
        (280.0, "y6 + y8 -> y7"),
        (0.43, "y7 -> y5 + y8"),
        (0.69, "y7 -> y6 + y8"),
        (0.69, "y7 -> y8"),
    ),
)

_S, _Q, _W = 77.27, 8.375e-6, 0.161
OREGO = Network.parse(
    "x y z",
    (
        (_S, "y -> x + y"),
        (_S, "x + y -> y"),
        (_S, "x -> x + x"),
        (_S * _Q, "x + x -> x"),
        (1 / _S, "y -> "),
        (1 / _S, "x + y -> x"),
        (1 / _S, "z -> z + y"),
        (_W, "x -> x + z"),
        (_W, "z -> "),
    ),
)

_A, _B, _C, _M = 7.89e-10, 1.1e7, 1.13e3, 1e6
E5 = Network.parse(
    "A B C D",
    ((_A, "A -> B + C"), (_B, "A + C -> D"), (_M * _C, "B + C -> "), (_C, "D -> C")),
)


def hires() -> Problem:
    """High irradiance response of plants: morphogenesis governed by light (Schäfer, 1975)."""
    return Problem(
        name="hires",
        title="HIRES, plant physiology",
        f=HIRES.field(),
        jac=HIRES.jac(),
        y0=torch.tensor([1.0, 0, 0, 0, 0, 0, 0, 0.0057], dtype=torch.float64),
        t0=0.0,
        t1=321.8122,
        atol=1e-12,
        stiff=True,
        source=f"Schäfer, J. Math. Biol. 2 (1975) 41-56; {_TEST_SET.format('HIRES')}",
        reference=(
            0.0007371312573325667,
            0.00014424857263161848,
            5.888729740967575e-05,
            0.001175651343283149,
            0.0023863561988313304,
            0.006238968252742796,
            0.002849998395185769,
            0.0028500016048142313,
        ),
        digits=14,
        invariant=lambda y: y[..., 6] + y[..., 7],
        notes="y7 + y8 = 0.0057",
    )


def _orego_field(t: Tensor, y: Tensor) -> Tensor:
    a, b, c = y.unbind(-1)
    # s (b + a (1 - q a - b)), (c - (1 + a) b) / s, w (a - c): seven products in all.
    da = _S * (b + a * (1 - _Q * a - b))
    db = (c - (1 + a) * b) / _S
    return torch.stack((da, db, _W * (a - c)), -1)


def orego() -> Problem:
    """The Oregonator: the Belousov-Zhabotinskii reaction, a relaxation oscillation."""
    return Problem(
        name="orego",
        title="OREGO, the Oregonator",
        f=_orego_field,
        jac=OREGO.jac(),
        y0=torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64),
        t0=0.0,
        t1=360.0,
        atol=1e-10,
        stiff=True,
        source=f"Field and Noyes, J. Chem. Phys. 60 (1974) 1877-1884; {_TEST_SET.format('OREGO')}",
        reference=(1.0008148703185227, 1228.178521549888, 132.05549428465082),
        digits=12,
    )


def _e5_field(t: Tensor, y: Tensor) -> Tensor:
    a, b, c, d = y.unbind(-1)
    split, joined = _A * a, _B * a * c
    # C' is B' - D' and not the sum of four speeds, which would lose every digit to cancellation.
    db = split - (_M * _C) * b * c
    dd = joined - _C * d
    return torch.stack((-split - joined, db, db - dd, dd), -1)


def e5() -> Problem:
    """Problem E5 of Enright, Hull and Lindberg (1975), over eighteen decades of size.

    The published y(1e13) breaks the exact law y2 = y3 + y4 by 0.14 %; the reference here solves
    the system without y3 in 80-bit arithmetic. In these four variables float64 keeps two digits.
    """
    return Problem(
        name="e5",
        title="E5, chemical pyrolysis",
        f=_e5_field,
        jac=E5.jac(),
        y0=torch.tensor([1.76e-3, 0.0, 0.0, 0.0], dtype=torch.float64),
        t0=0.0,
        t1=1e13,
        atol=1e-26,
        stiff=True,
        source=f"Enright, Hull and Lindberg, BIT 15 (1975) 10-48; {_TEST_SET.format('E5')}",
        reference=(0.0, 8.861233521291085e-23, 8.861233521291085e-23, 0.0),
        digits=2,
        invariant=lambda y: y[..., 1] - y[..., 2] - y[..., 3],
        notes="y2 - y3 - y4 = 0; at the end y2 is 1 / (M C t) to three digits",
    )


def _e5_reduced_field(t: Tensor, y: Tensor) -> Tensor:
    a, b, d = y.unbind(-1)
    c = b - d
    split, joined = _A * a, _B * a * c
    return torch.stack((-split - joined, split - (_M * _C) * b * c, joined - _C * d), -1)


def _e5_reduced_jac(t: Tensor, y: Tensor) -> Tensor:
    a, b, d = y.unbind(-1)
    c, ba, mc = b - d, _B * a, _M * _C
    zero = torch.zeros_like(a)
    rows = (
        *(-_A - _B * c, -ba, ba),
        *(zero + _A, mc * (d - 2 * b), mc * b),
        *(_B * c, ba, -ba - _C),
    )
    return as_matrix(rows)


def e5_reduced() -> Problem:
    """E5 in the variables (y1, y2, y4), with y3 = y2 - y4 put in: every digit is within reach."""
    return Problem(
        name="e5_reduced",
        title="E5 without y3",
        f=_e5_reduced_field,
        jac=_e5_reduced_jac,
        y0=torch.tensor([1.76e-3, 0.0, 0.0], dtype=torch.float64),
        t0=0.0,
        t1=1e13,
        atol=1e-30,
        stiff=True,
        source=f"Enright, Hull and Lindberg, BIT 15 (1975) 10-48; {_TEST_SET.format('E5')}",
        reference=(0.0, 8.861233521291085e-23, 0.0),
        digits=12,
    )
