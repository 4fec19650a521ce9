"""The nonlinear systems of the stages of an ESDIRK step, and how long their matrix serves."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from stiffguide.algebra import newton
from stiffguide.algebra.protocol import Factors
from stiffguide.stepping.contracts import Field, Units
from stiffguide.tensors import rows

REFINED = 8  # times, where a system must be solved and the factors are those of another dt


class Economy(NamedTuple):
    """How long a Jacobian and its factors are kept."""

    rate: float  # a contraction slower than this costs more than a new Jacobian does
    lag: tuple[float, float]  # dt in parts of the one that factors were made with


# Small dense matrices are cheap beside what slow iterations cost; large ones are most of the bill.
# There Newton's correction is relaxed as in CVODE (Hindmarsh et al. 2005, sec. 2.1), and J lives
# until Newton fails with it.
SMALL = Economy(0.05, (1.0, 1.0))
LARGE = Economy(0.3, (0.7, 1.4))


def economy(f: Field) -> Economy:
    """How long to keep the matrices of this field."""
    return LARGE if f.linear.dear else SMALL


class System(NamedTuple):
    """The nonlinear systems of an attempt: all stages share what they are made of."""

    f: Field
    h: Tensor  # (B, 1)
    h_gamma: Tensor  # (B, 1)
    jac: Tensor  # (B, ...)
    factors: Factors  # of W = I/(h gamma) - J, or with another h within the lag
    relax: Tensor | None  # (B, 1), what corrections are multiplied by for that; None: by 1
    scale: Tensor  # (B, F), the tolerance on a stage

    def residual(self, t: Tensor, base: Tensor, z: Tensor) -> Tensor:
        """What is left (B, F) of z = h gamma f(t, base + z)."""
        return z / self.h_gamma - self.f(t, base + z)

    def root(self, t: Tensor, base: Tensor, guess: Tensor, doubt: Tensor | None) -> newton.Root:
        """Z (B, F) with z = h gamma f(t, base + z)."""
        return newton.solve(partial(self.residual, t, base), self.solve, guess, self.scale, doubt)

    def solve(self, rhs: Tensor) -> Tensor:
        """X (B, F) with W x about rhs: as Newton's iteration needs it."""
        x = self.f.linear.solve(self.factors, rhs)
        return x if self.relax is None else x * self.relax

    def exactly(self, rhs: Tensor) -> Tensor:
        """X (B, F) with W x = rhs, by refinement where the factors are those of another h."""
        x = self.solve(rhs)
        if self.relax is None:
            return x
        for _ in range(REFINED):
            x = x + self.solve(rhs - x / self.h_gamma + self.f.linear.product(self.jac, x))
        return x

    def attach(self, t: Tensor, base: Tensor, z: Tensor) -> Tensor:
        """The root z again, as a function of all that f and base depend on, if they depend."""
        residual = partial(self.residual, t, base)
        left = residual(z)
        if not left.requires_grad:
            return z
        with torch.no_grad():
            units = Units(self.h.squeeze(-1).to(t.dtype), self.scale)
            jac = self.f.linearise(t, base + z, units, time=False).jac
            # the unknowns of the transposed system have other units than y: none are known
            shift = 1 / self.h_gamma.squeeze(-1)
            factors = self.f.linear.factor(shift, jac, torch.ones_like(self.scale))
        transposed = partial(self.f.linear.solve_transposed, factors)
        return newton.attach(z, left, residual, transposed)


def relaxation(f: Field, dt: Tensor, made: Tensor, like: Tensor) -> Tensor | None:
    """What corrections (B, 1) are multiplied by where factors were `made` with another dt (B,).

    W^-1 is h gamma on slow components and J^-1 on fast ones: between a correction by h/made and
    none lies 2/(1 + made/h).
    """
    if not f.linear.dear or torch.equal(dt, made):
        return None
    return rows(2 / (1 + made / dt), like).to(like.dtype)
