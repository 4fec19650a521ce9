"""The nonlinear systems of the stages of an ESDIRK step, and how long their matrix serves."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from stiffguide.algebra import newton
from stiffguide.algebra.protocol import Factors
from stiffguide.stepping.constraints import slope as derivative
from stiffguide.stepping.contracts import Field, Units
from stiffguide.tensors import rows, select, transformed

REFINED = 8  # times, where a system must be solved and the factors are those of another dt


Slope = Tensor | tuple[()]  # (B, F), y' where M y' = f, nan where unknown; () without M


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
    factors: Factors  # of W = M/(h gamma) - J, or with another h within the lag
    relax: Tensor | None  # (B, 1), what corrections are multiplied by for that; None: by 1
    scale: Tensor  # (B, F), the tolerance on a stage

    def residual(self, t: Tensor, base: Tensor, z: Tensor) -> Tensor:
        """What is left (B, F) of M z = h gamma f(t, base + z)."""
        return self.f.linear.weighed(z / self.h_gamma) - self.f(t, base + z)

    def root(
        self,
        t: Tensor,
        base: Tensor,
        guess: Tensor,
        doubt: Tensor | None,
        known: Tensor | None = None,
    ) -> newton.Root:
        """Z (B, F) with M z = h gamma f(t, base + z)."""
        residual = partial(self.residual, t, base)
        return newton.solve(residual, self.solve, guess, self.scale, doubt, known)

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
            known = self.f.linear.weighed(x / self.h_gamma)
            x = x + self.solve(rhs - known + self.f.linear.product(self.jac, x))
        return x

    def damped(self, v: Tensor) -> Tensor:
        """(M - h gamma J)^-1 M v (B, F)."""
        return self.exactly(self.f.linear.weighed(v / self.h_gamma))

    def filtered(self, error: Tensor) -> Tensor:
        """The error (B, F) without what fast modes make of it.

        What M does not see, it leaves: that is no mode.
        """
        x, mass = self.damped(error), self.f.linear.mass
        return x if mass is None or mass.nulls is None else x + mass.nulls.right(error)

    def attach(self, t: Tensor, base: Tensor, z: Tensor) -> Tensor:
        """The root z again, as a function of all that f and base depend on, if they depend."""
        residual = partial(self.residual, t, base)
        left = residual(z.detach())
        if not (left.requires_grad or transformed()):
            return z
        with torch.no_grad():
            units = Units(self.h.squeeze(-1).to(t.dtype), self.scale)
            jac = self.f.linearise(t, base + z, units, time=False).jac
            # the unknowns of the transposed system have other units than y: none are known
            shift = 1 / self.h_gamma.squeeze(-1)
            factors = self.f.linear.factor(shift, jac, torch.ones_like(self.scale))
        if transformed():
            return newton.attached(z, residual, partial(self.f.linear.solve, factors))
        transposed = partial(self.f.linear.solve_transposed, factors)
        return newton.attach(z, left, residual, transposed)


def departing(f: Field, t0: Tensor, y0: Tensor, f0: Tensor, units: Units, known: Slope) -> Slope:
    """y' at the start of a step, found where it is not known."""
    if not isinstance(known, Tensor):
        return known
    there = torch.isfinite(known).all(-1)
    if known.device.type == "cpu" and bool(there.all()):
        return known
    return select(there, known, derivative(f, t0, y0, f0, units))


def relaxation(f: Field, dt: Tensor, made: Tensor, like: Tensor) -> Tensor | None:
    """What corrections (B, 1) are multiplied by where factors were `made` with another dt (B,).

    W^-1 is h gamma on slow components and J^-1 on fast ones: between a correction by h/made and
    none lies 2/(1 + made/h).
    """
    if not f.linear.dear or torch.equal(dt, made):
        return None
    return rows(2 / (1 + made / dt), like).to(like.dtype)
