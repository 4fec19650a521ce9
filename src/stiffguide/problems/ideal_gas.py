"""Tables of species and reversible reactions become a field: an ideal gas at constant pressure.

Thermodynamics are NASA's polynomials of seven coefficients, rates those of Arrhenius with third
bodies and falloff, and the way back follows from equilibrium; `gas_field` has the formulas.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

import torch
from torch import Tensor

from stiffguide.errors import InputError
from stiffguide.problems import gas_field
from stiffguide.problems.gas_field import CM3, Tables
from stiffguide.problems.problem import Field

ATMOSPHERE = 101325.0  # Pa; the pressure that NASA's entropies are for, too
CALORIE = 4.184  # J
ATOMS = {"H": 1.008, "O": 15.999, "N": 14.007, "Ar": 39.95}  # g / mol
ANY = "M"  # what a reaction needs to collide with, if anything will do

Rate = tuple[float, float, float]  # A (mol, cm, s), b, E (cal / mol): A T^b exp(-E / R T)


@dataclass(frozen=True)
class Species:
    """Its atoms, and the coefficients a1 ... a7 of NASA's polynomials below and above 1000 K."""

    name: str
    atoms: Mapping[str, int]
    cold: tuple[float, ...]
    hot: tuple[float, ...]

    @property
    def weight(self) -> float:
        """Its molar mass in g / mol."""
        return sum(ATOMS[atom] * number for atom, number in self.atoms.items())


@dataclass(frozen=True)
class Troe:
    """Falloff towards a high-pressure limit, with Troe's A, T3, T1 and T2 of the blend."""

    high: Rate
    part: float
    t3: float
    t1: float
    t2: float


@dataclass(frozen=True)
class Reversible:
    """A reaction "A + B + M <=> C + M" of at most two molecules and one that only collides.

    That one stands on both sides: a species, or M for all of them, weighed by `efficiencies` where
    these differ from 1. With `falloff`, `rate` is the low-pressure limit.
    """

    equation: str
    rate: Rate
    efficiencies: Mapping[str, float] = field(default_factory=dict)
    falloff: Troe | None = None


@dataclass(frozen=True)
class Gas:
    """Species and what they do to each other."""

    species: tuple[Species, ...]
    reactions: tuple[Reversible, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The species in the order of the state, behind the temperature."""
        return tuple(species.name for species in self.species)

    @cached_property
    def tables(self) -> Tables:
        """The numbers as tensors."""
        plain = [r for r in self.reactions if r.falloff is None]
        falling = [(r, r.falloff) for r in self.reactions if r.falloff is not None]
        ordered = plain + [r for r, _ in falling]
        limits = [r.rate for r in ordered] + [troe.high for _, troe in falling]
        sides = [_sides(self.names, r) for r in ordered]
        factors, absent, change = _stoichiometry(len(self.species), sides)
        return Tables(
            weights=_tensor([species.weight for species in self.species]),
            thermo=_thermo(self.species),
            arrhenius=_tensor([(math.log(a), b, -e * CALORIE / gas_field.R) for a, b, e in limits]),
            troe=_tensor([[b.part, b.t3, b.t1, b.t2] for _, b in falling])
            .reshape(len(falling), 4)
            .mT,
            factors=factors,
            absent=absent,
            change=change,
        )

    def field(self, pressure: float = ATMOSPHERE) -> Field:
        """The field of (T, Y) at a pressure in Pa."""
        return partial(gas_field.gas_field, self.tables, pressure)

    def jac(self, pressure: float = ATMOSPHERE) -> Field:
        """The Jacobian of that field."""
        return partial(gas_field.gas_jac, self.tables, pressure)

    def mass_fractions(self, moles: Tensor) -> Tensor:
        """Mass fractions (..., K) of a mixture with these moles (..., K)."""
        mass = moles * self.tables.weights.to(moles)
        return mass / mass.sum(-1, keepdim=True)

    def elements(self, y: Tensor) -> Tensor:
        """Mass fractions (..., E) of the elements, in the order of `ATOMS`."""
        shares = [
            [s.atoms.get(atom, 0) * mass / s.weight for s in self.species]
            for atom, mass in ATOMS.items()
        ]
        return y[..., 1:] @ _tensor(shares).to(y).mT

    def enthalpy(self, y: Tensor) -> Tensor:
        """The enthalpy (...,) of a gram, in J."""
        tables = Tables(*(table.to(y) for table in self.tables))
        T = y[..., :1]
        _, h, _ = gas_field.thermo(tables, T, gas_field.basis(T))
        return gas_field.R * (T * h * y[..., 1:] / tables.weights).sum(-1)


Sides = tuple[list[int], list[int], list[float] | None]


def _tensor(values: Sequence[object]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _sides(names: Sequence[str], reaction: Reversible) -> Sides:
    """Reactants and products by number, and how well each species serves to collide with."""
    words = [[w for w in side.split() if w != "+"] for side in reaction.equation.split("<=>")]
    common = Counter(words[0]) & Counter(words[-1])
    left, right = (list((Counter(side) - common).elements()) for side in (words[0], words[-1]))
    known = {*left, *right, *reaction.efficiencies} <= set(names) >= set(common) - {ANY}
    whole = len(words) == 2 and max(len(left), len(right)) <= 2 and common.total() <= 1
    served = ANY in common or not (reaction.efficiencies or reaction.falloff)
    if not (known and whole and served):
        raise InputError(
            f'reaction "{reaction.equation}" needs one arrow <=>, at most two molecules on each '
            f"side and one more on both, which is {ANY} if there are efficiencies or a falloff, "
            f"and no other names than {', '.join(names)}"
        )
    before, after = ([names.index(word) for word in side] for side in (left, right))
    if not common:
        return before, after, None
    (collider,) = common
    weights = {name: float(collider in (name, ANY)) for name in names}
    return before, after, list((weights | dict(reaction.efficiencies)).values())


def _stoichiometry(size: int, reactions: Sequence[Sides]) -> tuple[Tensor, Tensor, Tensor]:
    """`Tables.factors`, `absent` and `change` for so many species."""
    factors = torch.zeros(5, len(reactions), size, dtype=torch.float64)
    absent = torch.ones(5, len(reactions), dtype=torch.float64)
    change = torch.zeros(size, len(reactions), dtype=torch.float64)
    for r, (before, after, colliders) in enumerate(reactions):
        for first, side, sign in ((0, before, -1), (2, after, 1)):
            for place, species in enumerate(side, first):
                factors[place, r, species], absent[place, r] = 1.0, 0.0
                change[species, r] += sign
        if colliders is not None:
            factors[4, r], absent[4, r] = _tensor(colliders), 0.0
    return factors.flatten(0, 1), absent.flatten(), change


def _thermo(species: Sequence[Species]) -> Tensor:
    """`Tables.thermo`: integrals of the polynomial cp, and the entropy at one mol / cm3."""
    ranges = _tensor([[s.cold for s in species], [s.hot for s in species]])
    a1, a2, a3, a4, a5, a6, a7 = ranges.unbind(-1)
    zero = torch.zeros_like(a1)
    unit = math.log(ATMOSPHERE * CM3 / gas_field.R)  # NASA's entropies hold at one atmosphere
    cp = torch.stack((a2, a3, a4, a5, a1, zero, zero), -1)
    h = torch.stack((a2 / 2, a3 / 3, a4 / 4, a5 / 5, a1, zero, a6), -1)
    s = torch.stack((a2, a3 / 2, a4 / 3, a5 / 4, a7 + unit, a1 - 1, zero), -1)
    return torch.cat((cp, h, h - s), -2).flatten(0, 1)
