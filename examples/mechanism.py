"""Combustion mechanisms in Cantera's YAML format as fields of torch, in plain tensor operations.

NASA's polynomials of seven coefficients; elementary, three-body and falloff reactions (Lindemann
and Troe), reversible by equilibrium or not. The state is (T, Y_1 ... Y_K): kelvin, mass fractions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from torch import Tensor

HYDROGEN = Path(__file__).with_name("hydrogen.yaml")
R = 8.31446261815324  # J / mol / K
REFERENCE = 101325.0  # Pa, that entropies are for
ATOMS = {"H": 1.008, "C": 12.011, "N": 14.007, "O": 15.999, "Ar": 39.95, "He": 4.002602}  # g / mol
KELVINS = {"cal/mol": 4.184 / R, "kcal/mol": 4184 / R, "J/mol": 1 / R, "kJ/mol": 1e3 / R, "K": 1.0}
LEAST = 1e-300  # whose logarithm is taken for that of 0


class Reaction(NamedTuple):
    """Sides by species, its rates as (A in SI, b, E / R), colliders, and Troe's numbers."""

    left: dict[str, int]
    right: dict[str, int]
    reversible: bool
    rate: tuple[float, float, float]
    colliders: Mapping[str, float] | None  # and "" for all others
    low: tuple[float, float, float] | None = None
    troe: Mapping[str, float] | None = None


def read(path: Path) -> Mechanism:
    """The first phase of a file."""
    # a number such as 1e5 is text to YAML 1.1, and `NO` is a truth value
    document = yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)
    units = document.get("units", {})
    if (units.get("length"), units.get("quantity")) != ("cm", "mol"):
        raise ValueError(f"{path}: units have to be cm and mol")
    kelvin = KELVINS[units["activation-energy"]]
    known = {one["name"]: one for one in document["species"]}
    names = document["phases"][0]["species"]
    reactions = [_reaction(entry, kelvin) for entry in document["reactions"]]
    return Mechanism([known[name] for name in names], reactions)


def _reaction(entry: Mapping[str, Any], kelvin: float) -> Reaction:
    equation, kind = entry["equation"], entry.get("type", "elementary")
    known = {"elementary", "three-body", "falloff"}
    if kind not in known or "orders" in entry or "SRI" in entry:
        raise ValueError(f"{equation}: only reactions of the types {sorted(known)} are read")
    words = equation.replace("(+M)", "").replace("(+ M)", "").split()
    arrow = next(word for word in words if word in ("<=>", "=>", "="))
    middle = words.index(arrow)
    left, right = _side(words[:middle]), _side(words[middle + 1 :])
    any_body = left.pop("M", 0)
    right.pop("M", 0)
    colliders = None
    if any_body or kind == "falloff":
        colliders = {name: float(v) for name, v in entry.get("efficiencies", {}).items()}
        colliders[""] = float(entry.get("default-efficiency", 1.0))
    order = sum(left.values()) + any_body
    if kind != "falloff":
        rate = _rate(entry["rate-constant"], order, kelvin)
        return Reaction(left, right, arrow != "=>", rate, colliders)
    high = _rate(entry["high-P-rate-constant"], order, kelvin)
    low = _rate(entry["low-P-rate-constant"], order + 1, kelvin)
    troe = {k: float(v) for k, v in entry["Troe"].items()} if "Troe" in entry else None
    return Reaction(left, right, arrow != "=>", high, colliders, low, troe)


def _side(words: Sequence[str]) -> dict[str, int]:
    """How many of each: "2 O + M" and "O + O + M" are the same."""
    found: dict[str, int] = {}
    number = 1
    for word in words:
        if word.isdigit():
            number = int(word)
        elif word != "+":
            found[word] = found.get(word, 0) + number
            number = 1
    return found


def _rate(entry: Mapping[str, str], order: int, kelvin: float) -> tuple[float, float, float]:
    a, b, e = (float(entry[key]) for key in ("A", "b", "Ea"))
    return a * 1e-6 ** (order - 1), b, e * kelvin


def tensor(values: Any) -> Tensor:
    """In double precision."""
    return torch.tensor(values, dtype=torch.float64)


@dataclass(frozen=True)
class Limits:
    """ln k = a0 + a1 ln T + a2 / T of several reactions (each (R,))."""

    a: Tensor  # (3, R)

    def __call__(self, log_t: Tensor, per_t: Tensor) -> Tensor:
        return self.a[0] + self.a[1] * log_t + self.a[2] * per_t


def limits(rates: Sequence[tuple[float, float, float]]) -> Limits:
    """From A, b and E / R."""
    return Limits(tensor([(math.log(abs(a)), b, -e) for a, b, e in rates]).reshape(-1, 3).T)


class Mechanism:
    """Species and reactions as tables, and the fields of two adiabatic reactors."""

    def __init__(self, species: Sequence[Mapping[str, Any]], reactions: Sequence[Reaction]) -> None:
        self.names = [one["name"] for one in species]
        self.atoms = [{a: float(n) for a, n in one["composition"].items()} for one in species]
        weights = [sum(ATOMS[a] * n for a, n in atoms.items()) for atoms in self.atoms]
        self.weights = 1e-3 * tensor(weights)  # kg / mol
        self._read_thermo([one["thermo"] for one in species])
        # falloff last, Troe's last of all: their rates are parts of one vector
        self.reactions = sorted(reactions, key=lambda r: (r.low is not None, r.troe is not None))
        self._read_rates()
        self._read_falloff([r for r in self.reactions if r.low is not None])

    def _read_thermo(self, entries: Sequence[Mapping[str, Any]]) -> None:
        if any(entry["model"] != "NASA7" for entry in entries):
            raise ValueError("every species needs the thermodynamic model NASA7")
        low = tensor([[float(v) for v in entry["data"][0]] for entry in entries])
        high = tensor([[float(v) for v in entry["data"][-1]] for entry in entries])
        self.middle = tensor([float(entry["temperature-ranges"][1]) for entry in entries])
        divisors = tensor([1.0, 2.0, 3.0, 4.0, 5.0, 1.0, 1.0])
        # a1 ... a5 as in cp, then as in h, and a6, a7
        self.low, self.high = (torch.cat((a[:, :5], a / divisors), -1).T for a in (low, high))

    def _read_rates(self) -> None:
        size = len(self.names)
        index = {name: k for k, name in enumerate(self.names)}
        places = torch.full((2, 3, len(self.reactions)), size)  # three factors a side; 1 where none
        self.change = torch.zeros(len(self.reactions), size, dtype=torch.float64)
        for r, reaction in enumerate(self.reactions):
            for s, (side, sign) in enumerate(((reaction.left, -1), (reaction.right, 1))):
                factors = [index[name] for name, n in side.items() for _ in range(n)]
                if len(factors) > 3:
                    raise ValueError("a side of a reaction has more than three molecules")
                places[s, : len(factors), r] = tensor(factors).long()
                for k in factors:
                    self.change[r, k] += sign
        self.left, self.right = places
        self.forward = self._forward()
        self.backward = tensor([float(r.reversible) for r in self.reactions])
        self.sign = tensor([math.copysign(1.0, r.rate[0]) for r in self.reactions])
        bodies = [r for r, one in enumerate(self.reactions) if one.colliders is not None]
        self.bodies = torch.tensor(bodies, dtype=torch.int64)
        others = [self.reactions[r].colliders or {} for r in bodies]
        self.others = tensor([one[""] for one in others])
        more = [[one.get(name, one[""]) - one[""] for name in self.names] for one in others]
        self.more = tensor(more).reshape(-1, size).T

    def _forward(self) -> Limits:
        """ln k + n ln(P0 / R T), for n molecules on the left: the rate at standard pressures."""
        rates = limits([r.rate for r in self.reactions]).a.clone()
        molecules = (self.left < len(self.names)).sum(0).to(torch.float64)
        rates[0] += molecules * math.log(REFERENCE / R)
        rates[1] -= molecules
        return Limits(rates)

    def _read_falloff(self, falling: Sequence[Reaction]) -> None:
        low, high = limits([r.low or r.rate for r in falling]), limits([r.rate for r in falling])
        self.ratio = Limits(low.a - high.a)
        troe = [r.troe for r in falling if r.troe is not None]
        self.falling, self.troe = len(falling), len(troe)
        keys = ("A", "T3", "T1")
        self.blend = tensor([[t[key] for key in keys] for t in troe]).reshape(-1, 3).T
        self.t2 = tensor([t.get("T2", 0.0) for t in troe])
        self.has_t2 = tensor([float("T2" in t) for t in troe])

    def thermo(self, T: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """cp / R, h / R T and g / R T (..., K) at T (..., 1)."""
        log_t, per_t = torch.log(T), 1.0 / T
        hot = self.middle < T
        rows = zip(self.high, self.low, strict=True)
        a1, a2, a3, a4, a5, b1, b2, b3, b4, b5, a6, a7 = (torch.where(hot, *row) for row in rows)
        cp = a1 + T * (a2 + T * (a3 + T * (a4 + T * a5)))
        h = b1 + T * (b2 + T * (b3 + T * (b4 + T * b5))) + a6 * per_t
        s = a1 * log_t + T * (a2 + T * (a3 / 2 + T * (a4 / 3 + T * (a5 / 4)))) + a7
        return cp, h, h - s

    def rates(self, T: Tensor, C: Tensor, g: Tensor) -> Tensor:
        """Production (..., K) in mol / m3 / s, from concentrations in mol / m3.

        A reaction goes by the activities of both sides: exp(ln k - sum of g on the left, at
        standard pressures) times their difference, which vanishes in equilibrium.
        """
        log_t, per_t = torch.log(T), 1.0 / T
        one = torch.ones_like(T)
        activity = torch.cat((C * torch.exp(g) * (R / REFERENCE * T), one), -1)
        padded = torch.cat((g, 0.0 * one), -1)
        g_left = sum(padded[..., place] for place in self.left)
        k = self.sign * torch.exp(self.forward(log_t, per_t) - g_left)
        left, right = (
            activity[..., a] * activity[..., b] * activity[..., c]
            for a, b, c in (self.left, self.right)
        )
        q = k * (left - self.backward * right)
        if len(self.bodies):
            m = self.others * C.sum(-1, keepdim=True) + C @ self.more
            plain = len(self.bodies) - self.falling
            m = torch.cat((m[..., :plain], self._falloff(T, m[..., plain:])), -1)
            q = q.index_copy(-1, self.bodies, q[..., self.bodies] * m)
        return q @ self.change

    def _falloff(self, T: Tensor, m: Tensor) -> Tensor:
        """k / k at infinite pressure, with colliders m."""
        log_t, per_t = torch.log(T), 1.0 / T
        reduced = torch.exp(self.ratio(log_t, per_t)) * m
        factor = reduced / (1.0 + reduced)
        if not self.troe:
            return factor
        a, t3, t1 = self.blend
        centre = (1 - a) * torch.exp(-T / t3) + a * torch.exp(-T / t1)
        centre = centre + self.has_t2 * torch.exp(-self.t2 * per_t)
        log_c = torch.log10(centre.clamp(min=LEAST))
        plain = self.falling - self.troe
        x = torch.log10(reduced[..., plain:].clamp(min=LEAST)) - 0.4 - 0.67 * log_c
        f = x / (0.75 - 1.27 * log_c - 0.14 * x)
        broad = torch.exp(math.log(10.0) * log_c / (1.0 + f * f))
        return torch.cat((factor[..., :plain], factor[..., plain:] * broad), -1)

    def at_pressure(self, t: Tensor, y: Tensor, pressure: Tensor | float) -> Tensor:
        """d(T, Y)/dt at constant pressure in Pa, a number or (..., 1)."""
        T, Y = y[..., :1], y[..., 1:]
        moles = Y / self.weights  # in a kilogram
        volume = R * T * moles.sum(-1, keepdim=True) / pressure
        C = moles / volume
        cp, h, g = self.thermo(T)
        w = self.rates(T, C, g)
        warming = -T * (h * w).sum(-1, keepdim=True) / (cp * C).sum(-1, keepdim=True)
        return torch.cat((warming, w * self.weights * volume), -1)

    def at_volume(self, t: Tensor, y: Tensor, density: Tensor | float) -> Tensor:
        """d(T, Y)/dt at constant density in kg / m3, a number or (..., 1)."""
        T, Y = y[..., :1], y[..., 1:]
        C = density * Y / self.weights
        cp, h, g = self.thermo(T)
        w = self.rates(T, C, g)
        warming = -T * ((h - 1) * w).sum(-1, keepdim=True) / ((cp - 1) * C).sum(-1, keepdim=True)
        return torch.cat((warming, w * self.weights / density), -1)

    def mixture(self, fuel: str, phi: Tensor, T: Tensor) -> Tensor:
        """Fuel and air (B, 1 + K) at temperatures (B,) and equivalence ratios (B,)."""
        atoms = self.atoms[self.names.index(fuel)]
        oxygen = atoms.get("C", 0) + atoms.get("H", 0) / 4 - atoms.get("O", 0) / 2
        moles = torch.zeros(len(T), len(self.names), dtype=torch.float64)
        for name, amount in ((fuel, phi), ("O2", oxygen), ("N2", 3.76 * oxygen)):
            moles[:, self.names.index(name)] = amount
        mass = moles * self.weights
        return torch.cat((T.unsqueeze(-1), mass / mass.sum(-1, keepdim=True)), -1)
