"""Mass-action kinetics: a table of reactions becomes a field and its exact Jacobian.

A reaction with rate constant k runs at the speed r = k y_i y_j; an absent reactant counts as 1,
and two are the most it may have. With matrices P, Q and vectors p, q for the reactants and S for
the net changes,

    y' = S ((P y + p) * (Q y + q)),    J(y) = J0 + sum_m y_m H_m,

so that four tensor operations give the field and two the Jacobian, whatever the size of the table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from stiffguide.errors import InputError
from stiffguide.problems.problem import Field


@dataclass(frozen=True)
class Reaction:
    """A speed `rate * prod(y[reactants])`, and the `change` it makes as (species, net count)."""

    rate: float
    reactants: tuple[int, ...]
    change: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Network:
    """Species and reactions; `parse` reads them from lines such as (3e7, "B + B -> B + C")."""

    species: tuple[str, ...]
    reactions: tuple[Reaction, ...]

    @classmethod
    def parse(cls, species: str, table: Sequence[tuple[float, str]]) -> Network:
        """The network of the reactions in `table` over `species`, names separated by blanks."""
        names = tuple(species.split())
        return cls(names, tuple(_reaction(names, rate, line) for rate, line in table))

    @property
    def rates(self) -> Tensor:
        """The rate constants (R,) of the reactions."""
        return torch.tensor([reaction.rate for reaction in self.reactions], dtype=torch.float64)

    def field(self) -> Field:
        """The field in matrix form: few operations, so the right one for eager tensors."""
        first, p, second, q, change = self._matrices()
        rates = self.rates
        return partial(_matrix_field, first * rates[:, None], p * rates, second, q, change)

    def field_of_rates(self) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """The same as f(t, y, k) of the rate constants k (R,), or (B, R) by row."""
        return partial(_field_of_rates, *self._matrices())

    def _matrices(self) -> tuple[Tensor, ...]:
        """P (R, F), p (R,), Q, q and S (F, R)."""
        shape = (len(self.reactions), len(self.species))
        factors = [torch.zeros(shape, dtype=torch.float64) for _ in range(2)]
        absent = [torch.ones(len(self.reactions), dtype=torch.float64) for _ in range(2)]
        change = torch.zeros(shape[::-1], dtype=torch.float64)
        for r, reaction in enumerate(self.reactions):
            for factor, offset, species in zip(factors, absent, reaction.reactants, strict=False):
                factor[r, species], offset[r] = 1.0, 0.0
            for species, number in reaction.change:
                change[species, r] = number
        return factors[0], absent[0], factors[1], absent[1], change

    def jac(self) -> Field:
        """The Jacobian, which is affine in y."""
        size = len(self.species)
        constant = torch.zeros(size, size, dtype=torch.float64)
        slopes = torch.zeros(size, size, size, dtype=torch.float64)
        for reaction in self.reactions:
            for species, number in reaction.change:
                speed = number * reaction.rate
                if len(reaction.reactants) == 1:
                    constant[species, reaction.reactants[0]] += speed
                elif len(reaction.reactants) == 2:
                    i, j = reaction.reactants
                    slopes[species, i, j] += speed
                    slopes[species, j, i] += speed
        return partial(_affine_jac, slopes.flatten(0, 1), constant.flatten())

    def by_species(self, t: Tensor, y: Tensor) -> Tensor:
        """The field written out term by term: slow in eager, and what a code generator likes."""
        values = y.unbind(-1)
        total = [torch.zeros_like(values[0])] * len(values)
        for reaction in self.reactions:
            speed: float | Tensor = reaction.rate
            for species in reaction.reactants:
                speed = speed * values[species]
            for species, number in reaction.change:
                total[species] = total[species] + (speed if number == 1 else number * speed)
        return torch.stack(total, -1)


def _reaction(names: Sequence[str], rate: float, line: str) -> Reaction:
    """Read "A + B -> C": the side of the arrow that is empty counts for nothing."""
    sides = [[word for word in side.split() if word != "+"] for side in line.split("->")]
    unknown = {word for side in sides for word in side} - set(names)
    if len(sides) != 2 or unknown or len(sides[0]) > 2:
        raise InputError(
            f'reaction "{line}" needs one arrow, at most two reactants before it, '
            f"and no other names than {', '.join(names)}"
        )
    before, after = ([names.index(word) for word in side] for side in sides)
    change = Counter(after)
    change.subtract(before)
    return Reaction(rate, tuple(before), tuple((s, n) for s, n in sorted(change.items()) if n))


def _matrix_field(
    first: Tensor, p: Tensor, second: Tensor, q: Tensor, change: Tensor, t: Tensor, y: Tensor
) -> Tensor:
    return F.linear(F.linear(y, first, p) * F.linear(y, second, q), change)


def _field_of_rates(
    first: Tensor, p: Tensor, second: Tensor, q: Tensor, change: Tensor,
    t: Tensor, y: Tensor, k: Tensor,
) -> Tensor:  # fmt: skip
    return F.linear(k * F.linear(y, first, p) * F.linear(y, second, q), change)


def _affine_jac(slopes: Tensor, constant: Tensor, t: Tensor, y: Tensor) -> Tensor:
    return F.linear(y, slopes, constant).reshape(*y.shape, y.shape[-1])
