"""The Prothero-Robinson problem: a known smooth solution in a field as stiff as one likes."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from stiffguide.problems.problem import Problem


def prothero_robinson_field(t: Tensor, y: Tensor, lam: float = -1e6) -> Tensor:
    """y' = lam (y - cos t) - sin t, with y (..., 1) and t () or (B,)."""
    t = t.unsqueeze(-1)
    return lam * (y - t.cos()) - t.sin()


def prothero_robinson_jac(t: Tensor, y: Tensor, lam: float = -1e6) -> Tensor:
    """The Jacobian (..., 1, 1) of `prothero_robinson_field`."""
    return torch.full_like(y, lam).unsqueeze(-1)


def _solution(t: Tensor) -> Tensor:
    return t.cos().unsqueeze(-1)


def prothero_robinson(lam: float = -1e6) -> Problem:
    """The test that shows order reduction: its solution cos t does not depend on `lam`."""
    return Problem(
        name="prothero_robinson",
        title=f"Prothero-Robinson, lambda = {lam:g}",
        f=partial(prothero_robinson_field, lam=lam),
        jac=partial(prothero_robinson_jac, lam=lam),
        y0=torch.ones(1, dtype=torch.float64),
        t0=0.0,
        t1=10.0,
        atol=1e-10,
        stiff=abs(lam) > 100,
        source="Prothero and Robinson, Math. Comp. 28 (1974) 145-162, with the solution cos t",
        reference=(math.cos(10.0),),
        digits=15,
        exact=_solution,
        params={"lam": lam},
    )
