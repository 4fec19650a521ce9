"""Robertson's autocatalytic reaction, with rate constants that may differ per row."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from stiffguide.problems.mass_action import Network
from stiffguide.problems.problem import Problem, as_matrix

# Slow decay, fast autocatalysis, and the reaction back.
RATES = (0.04, 3e7, 1e4)

# y(t1) for the usual end points, by Radau IIA of order 9 in 80-bit arithmetic on two meshes; at
# 1e11 this agrees in 13 digits with the test set for IVP solvers, release 2.4 (Bari, 2008).
REFERENCES = {
    4e1: (0.71582706871940505, 9.1855347645577643e-06, 0.28416374574583037),
    1e4: (0.10730042853780404, 4.8001669725716594e-07, 0.89269909144549875),
    1e5: (0.017865921142099464, 7.2747514684363189e-08, 0.98213400611038582),
    1e11: (2.083340149701294e-08, 8.333360770334784e-14, 0.9999999791665152),
}


def robertson_field(t: Tensor, y: Tensor, k: Tensor | Sequence[float] = RATES) -> Tensor:
    """The field for y (..., 3) and rate constants k (3,), or (B, 3) with one triple per row."""
    k1, k2, k3 = k.unbind(-1) if isinstance(k, Tensor) else k
    a, b, c = y.unbind(-1)
    # Two speeds, each used twice, keep the sum of the three derivatives at zero to rounding.
    lost = k1 * a - k3 * b * c
    made = k2 * b * b
    return torch.stack((-lost, lost - made, made), -1)


def robertson_jac(t: Tensor, y: Tensor, k: Tensor | Sequence[float] = RATES) -> Tensor:
    """The Jacobian (..., 3, 3) of `robertson_field`."""
    k1, k2, k3 = k.unbind(-1) if isinstance(k, Tensor) else k
    a, b, c = y.unbind(-1)
    zero = torch.zeros_like(a)
    da, db, dc = k1 + zero, k3 * c, k3 * b
    made = (2 * k2) * b
    rows = (-da, db, dc, da, -db - made, -dc, zero, made, zero)
    return as_matrix(rows)


def robertson(t1: float = 1e11) -> Problem:
    """Robertson's reaction from a single species to its equilibrium."""
    k1, k2, k3 = RATES
    network = Network.parse(
        "A B C", ((k1, "A -> B"), (k2, "B + B -> B + C"), (k3, "B + C -> A + C"))
    )
    return Problem(
        name="robertson",
        title="Robertson's reaction",
        f=partial(robertson_field, k=RATES),
        jac=network.jac(),
        y0=torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64),
        t0=0.0,
        t1=t1,
        atol=(1e-14, 1e-22, 1e-14),
        stiff=True,
        source="Robertson (1966), in Numerical Analysis: an Introduction, 178-182; "
        "test set for IVP solvers, release 2.4 (Bari, 2008), problem ROBER",
        reference=REFERENCES.get(t1),
        digits=13 if t1 in REFERENCES else 0,
        invariant=lambda y: y.sum(-1),
        params={"t1": t1},
        notes="mass y1 + y2 + y3 = 1; y2 stays below 4e-5, so its absolute tolerance decides",
    )
