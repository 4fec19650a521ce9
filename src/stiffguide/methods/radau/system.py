"""The coupled system of all stages of an attempt, and the linear ones that it falls apart into."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from stiffguide.algebra import newton
from stiffguide.algebra.protocol import Factors
from stiffguide.methods.radau.coupled import coupled
from stiffguide.methods.radau.spectrum import Floats, Spectrum
from stiffguide.stepping.contracts import Field, Units
from stiffguide.tensors import constant, rows

CLOSER = 0.3  # than the tolerance itself


class System(NamedTuple):
    """M z_i = h sum_j a_ij f(t_j, base_j + z_j), divided by h A: M A^-1 z/h = f."""

    f: Field
    spectrum: Spectrum
    times: Tensor  # (S, B)
    base: Tensor  # (B, S, F)
    h: Tensor  # (B, 1)
    factors: tuple[Factors, ...]  # of shift/h M - J, for each shift
    scale: Tensor  # (B, F), the tolerance on a stage

    def slopes(self, z: Tensor) -> Tensor:
        """The derivatives k (B, S, F) of y at the stages base + z (B, S F)."""
        return mixed(self.spectrum.inverse, z.reshape(self.base.shape)) / rows(self.h, self.base)

    def weighed(self, slopes: Tensor) -> Tensor:
        """M k (B, S, F): what f is at the stages."""
        linear = self.f.linear
        if linear.mass is None:
            return slopes
        return torch.stack([linear.weighed(k) for k in slopes.unbind(1)], 1)

    def states(self, z: Tensor) -> Tensor:
        """The stages (B, S, F)."""
        return self.base + z.reshape(self.base.shape)

    def residual(self, z: Tensor) -> Tensor:
        """What is left (B, S F) of M k = f."""
        y = self.states(z).unbind(1)
        values = [self.f(t, x) for t, x in zip(self.times, y, strict=True)]
        return (self.weighed(self.slopes(z)) - torch.stack(values, 1)).flatten(1)

    def root(self, guess: Tensor, doubt: Tensor | None) -> newton.Root:
        """Z (B, S F), from a guess; in rows (B,) of `doubt` J is from another step."""
        scale = CLOSER * self.scale.repeat(1, len(self.times))
        return newton.solve(self.residual, self.solve, guess, scale, doubt)

    def solve(self, rhs: Tensor) -> Tensor:
        """X (B, S F) with (A^-1/h M - J) x = rhs, by systems of F unknowns."""
        spectrum, linear = self.spectrum, self.f.linear
        apart = mixed(spectrum.into, rhs.reshape(self.base.shape)).unbind(1)
        solved: list[Tensor] = []
        for factors, real in zip(self.factors, spectrum.real, strict=True):
            i = len(solved)
            if real:
                solved.append(linear.solve(factors, apart[i]))
            else:
                x = linear.solve(factors, torch.complex(apart[i], apart[i + 1]))
                solved += [x.real, x.imag]
        return mixed(spectrum.out, torch.stack(solved, 1)).flatten(1)

    def filtered(self, rhs: Tensor) -> Tensor:
        """X (B, F) with (M - J h/shift) x = h rhs for the first shift; of a pair the real part."""
        shift, linear = self.spectrum.shifts[0], self.f.linear
        if self.spectrum.real[0]:
            return shift.real * linear.solve(self.factors[0], rhs)
        whole = torch.complex(rhs, torch.zeros_like(rhs))
        return (shift * linear.solve(self.factors[0], whole)).real

    def attach(self, z: Tensor) -> Tensor:
        """The root z again, as a function of all that f and base depend on, if they depend."""
        left = self.residual(z)
        if not left.requires_grad:
            return z
        with torch.no_grad():
            units = Units(self.h.squeeze(-1).to(self.times.dtype), self.scale)
            y = self.states(z).unbind(1)
            found = [
                self.f.linearise(t, x, units, time=False).jac
                for t, x in zip(self.times, y, strict=True)
            ]
            whole = coupled(self.f.linear, self.spectrum.inverse, self.h, found)
        return newton.attach(z, left, self.residual, whole)


def mixed(matrix: Floats, x: Tensor) -> Tensor:
    """A matrix (M, S) times the stages of x (B, S, F): (B, M, F)."""
    return torch.matmul(constant(matrix, x.dtype, x.device), x)
