"""How far to go along an error: kappa(z) = (e^z - R(z))/(R(z) - R_hat(z)).

Along an eigenvector of the Jacobian with eigenvalue z/dt a step multiplies by R(z), its embedded
companion by R_hat(z), the flow by e^z: adding kappa times their difference to the step gives the
flow. With the common denominator Q of both, kappa = (Q e^z - P)/(P - P_hat).
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from math import factorial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from stiffguide.tableaux.order import AnyTableau, embedded_weights
from stiffguide.tableaux.stability import stability_function
from stiffguide.tableaux.tableau import Tableau
from stiffguide.tensors import constant

LARGEST = 50.0  # e^z beyond it says no more than "clamp"
TERMS = 24  # of the series around 0
NEGLIGIBLE = 1e-14  # the closed form is no better where the series ends
CLEAR = 1e-9  # relative size of an imaginary part that makes a root complex


class Kappa(NamedTuple):
    """kappa of one pair: coefficients of 1, z, z^2, ..., both divided by the common z^m."""

    exponential: tuple[float, ...]  # Q
    numerator: tuple[float, ...]  # P
    difference: tuple[float, ...]  # (P - P_hat)/z^m
    series: tuple[float, ...]  # (Q e^z - P)/z^m around 0
    shift: int  # m
    near: float  # |z| below which the series is used

    def __call__(self, z: Tensor) -> Tensor:
        """Kappa of (B,) values; z is clamped at 50."""
        z = torch.clamp(z, max=LARGEST)
        close = z.abs() < self.near
        away = z.masked_fill(close, 1.0)  # keeps both branches, and their gradients, finite
        flow = torch.exp(away)
        if self.exponential != (1.0,):
            flow = flow * horner(self.exponential, away)
        full = flow - horner(self.numerator, away)
        for _ in range(self.shift):
            full = full / away
        near = horner(self.series, torch.clamp(z, -self.near, self.near))
        top = torch.where(close, near, full)
        return top / horner(self.difference, z)


def horner(coefficients: tuple[float, ...], z: Tensor) -> Tensor | float:
    """The polynomial with these coefficients of 1, z, z^2, ..."""
    if len(coefficients) == 1:
        return coefficients[0]
    terms = [constant((c,), z.dtype, z.device) for c in coefficients]
    value = terms[-1]
    for term in reversed(terms[:-1]):
        value = torch.addcmul(term, value, z)
    return value


def _truncated(series: tuple[float, ...], near: float) -> tuple[float, ...]:
    """The terms that float64 can see for |z| up to `near`."""
    sizes = [abs(c) * near**k for k, c in enumerate(series)]
    seen = [k for k, size in enumerate(sizes) if size > NEGLIGIBLE * max(sizes)]
    return series[: seen[-1] + 1]


class Soundness(NamedTuple):
    """Whether kappa can be used with a pair, and at what cost."""

    sound: bool
    reason: str  # why not; empty where sound
    free: bool  # f at the embedded solution is a stage: no evaluation is added


@lru_cache(maxsize=256)
def kappa(tableau: AnyTableau) -> Kappa:
    """Kappa of the pair of a tableau."""
    p, q = stability_function(tableau)
    difference = _difference(tableau)
    shift = next(k for k, c in enumerate(difference) if c != 0)
    series = []
    for k in range(shift, shift + TERMS):
        flow = sum(c * Fraction(1, factorial(k - j)) for j, c in enumerate(q) if j <= k)
        series.append(flow - (p[k] if k < len(p) else 0))
    # Q e^z - P loses z^(order+1)/(order+1)! to cancellation: the higher, the sooner
    near = 0.05 if tableau.order <= 2 else 0.5
    return Kappa(
        exponential=tuple(map(float, q)),
        numerator=tuple(map(float, p)),
        difference=tuple(float(c) for c in difference[shift:]),
        series=_truncated(tuple(map(float, series)), near),
        shift=shift,
        near=near,
    )


@lru_cache(maxsize=256)
def soundness(tableau: AnyTableau) -> Soundness:
    """Look for real zeros of R - R_hat other than 0: there kappa has a pole, and says nothing."""
    if embedded_weights(tableau) is None:
        return Soundness(False, f"{tableau.name} has no embedded pair", False)
    difference = [float(c) for c in _difference(tableau)]
    if not difference:
        return Soundness(False, f"the pair of {tableau.name} is blind to linear problems", False)
    while difference[0] == 0:
        difference.pop(0)
    roots = np.polynomial.polynomial.polyroots(difference)
    real = sorted(roots[abs(roots.imag) <= CLEAR * (1 + abs(roots))].real.tolist())
    if real:
        where = ", ".join(f"{z:.4g}" for z in real)
        return Soundness(
            False,
            f"the pair of {tableau.name} vanishes at z = dt lambda = {where}: there its error says "
            "nothing about the solution's",
            False,
        )
    free = isinstance(tableau, Tableau) and tableau.companion_stage is not None
    return Soundness(True, "", free)


def _difference(tableau: AnyTableau) -> list[Fraction]:
    """P - P_hat, with what only rounding left set to 0."""
    p, _ = stability_function(tableau)
    p_hat, _ = stability_function(tableau, embedded_weights(tableau))
    size = max(len(p), len(p_hat))
    pad = [row + (Fraction(0),) * (size - len(row)) for row in (p, p_hat)]
    difference = [
        x - y if abs(x - y) > tableau.tolerance * (abs(x) + abs(y)) else Fraction(0)
        for x, y in zip(*pad, strict=True)
    ]
    while difference and difference[-1] == 0:
        difference.pop()
    return difference
