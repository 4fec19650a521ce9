"""Equalities that hold for every step, to rounding: each of them sees another kind of mistake."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from stiffguide.errors import UnsupportedError
from stiffguide.tableaux.stability import stability_function
from stiffguide.verification.orbit import orbit, orbit_field, starts
from stiffguide.verification.report import Check
from stiffguide.verification.subject import AnyMethod, Foreign, Subject, subject

Polynomial = np.polynomial.Polynomial

SHIFT = 64.0  # of time: what is added to it is not rounded away
MIX = ((1.0, 0.5), (-0.25, 2.0))  # so that every Jacobian is full
NEAR = (-0.5, 0.5j, -0.4 + 0.7j, -1.3, -2 + 1j)  # z = lambda dt
FAR = (-30.0, -1e3, -50 + 200j)  # and for who solves systems
DIFFERENCE = 1e-5  # of a central difference, whose own error is then below 1e-9
GRADIENT = 1e-6  # how near a gradient must come to it


def polynomials(method: AnyMethod | Subject) -> Check:
    """A method of order p integrates a polynomial of degree p exactly, coupled and mixed.

    x1' = q(t) and x2' = r(t) + 0.7 x1 with x2 of degree p, seen through a matrix, from several
    starts. The degrees are tried from 1 up: the figure is the first error that is none of rounding,
    and the sentence says at which degree.
    """
    name, one = "polynomials", subject(method)
    if one.why:
        return Check.left_out(name, one.why)
    # an Adams method begins by steps of an order below its own
    degree = one.order - (_family(one) == "Adams")
    allowed, gap, at = 10 * one.accuracy, 0.0, 0
    for at in range(1, degree + 1):
        gap = _polynomial_error(one, at)
        if not gap <= allowed:
            break
    return Check.judged(
        name,
        gap <= allowed,
        gap,
        f"<= {allowed:.1g}",
        f"{one.name}: polynomials up to degree {degree} are met to {gap:.2g}",
        f"{one.name}: a polynomial of degree {at} is missed by {gap:.2g}; a method of order "
        f"{one.order} is exact up to degree {degree}",
    )


def _polynomial_error(one: Subject, degree: int) -> float:
    mix = torch.tensor(MIX, dtype=torch.float64)
    unmix = torch.linalg.inv(mix)
    q = Polynomial([0.9 - 0.3 * k for k in range(max(1, degree - 1))])
    r = Polynomial([0.5 + 0.2 * k for k in range(degree)])
    coupling = 0.7 if degree > 1 else 0.0

    def f(t: Tensor, y: Tensor) -> Tensor:
        x = y @ unmix.T
        return torch.stack((_at(q, t), _at(r, t) + coupling * x[..., 0]), -1) @ mix.T

    first = q.integ() + 0.25
    second = (r + coupling * first).integ() - 0.5
    times = starts(3).unsqueeze(-1) - 1 + torch.linspace(0, 1, 4, dtype=torch.float64)
    exact = [torch.stack((_at(first, t), _at(second, t)), -1) @ mix.T for t in times.T]
    found = one.march(f, exact[0], times)
    return float((found - exact[-1]).abs().max() / exact[-1].abs().max().clamp_min(1))


def _at(polynomial: Polynomial, t: Tensor) -> Tensor:
    value = torch.zeros_like(t)
    for c in reversed(polynomial.coef):
        value = value * t + float(c)
    return value


def time_shift(method: AnyMethod | Subject) -> Check:
    """f(t - s, y) from t0 + s is f(t, y) from t0: every stage is told t0 + c dt, and no other."""
    name, one = "time shift", subject(method)
    if one.why:
        return Check.left_out(name, one.why)
    t0 = starts(3)
    times = t0.unsqueeze(-1) + torch.tensor((0.0, 0.125, 0.25), dtype=torch.float64)
    here = one.march(orbit_field, orbit(t0), times)
    there = one.march(lambda t, y: orbit_field(t - SHIFT, y), orbit(t0), times + SHIFT)
    return _equal(
        name,
        one,
        _gap(there, here),
        f"a shift of time by {SHIFT:g} changes two steps",
        "a stage is told another time than t0 + c dt",
    )


def stability_of_steps(method: AnyMethod | Subject) -> Check:
    """A step on y' = lambda y multiplies by R(lambda dt), the R of the coefficients.

    Of an explicit method it sees b A^k 1, so every coefficient that is not multiplied by zero.
    """
    name, one = "stability function", subject(method)
    if one.why or one.tableau is None:
        return Check.left_out(name, one.why or f"{one.name} has no tableau to compare with")
    numerator, denominator = stability_function(one.tableau)
    worst, at, pair = 0.0, 0j, (0j, 0j)
    for z in map(complex, NEAR if len(denominator) == 1 else (*NEAR, *FAR)):
        due = _ratio([float(x) for x in numerator], [float(x) for x in denominator], z)
        found = _factor(one, z)
        gap = abs(found - due) / (1 + abs(z)) ** 2
        if not gap <= worst:
            worst, at, pair = gap, z, (found, due)
    return _equal(
        name,
        one,
        worst,
        f"at z = {at:.3g} a step multiplies by {pair[0]:.4g}, its coefficients by {pair[1]:.4g}",
        "the program is not that of the tableau",
    )


def _ratio(numerator: list[float], denominator: list[float], z: complex) -> complex:
    """P(z)/Q(z), in powers of 1/z where z is large."""
    if abs(z) <= 1:
        return complex(np.polyval(numerator[::-1], z) / np.polyval(denominator[::-1], z))
    lift = z ** (len(numerator) - len(denominator))
    return complex(lift * np.polyval(numerator, 1 / z) / np.polyval(denominator, 1 / z))


def _factor(one: Subject, z: complex) -> complex:
    """What a step of length 1 makes of (1, 0) under the rotation and growth that z is."""
    matrix = torch.tensor(((z.real, -z.imag), (z.imag, z.real)), dtype=torch.float64)
    times = torch.tensor(((0.0, 1.0),), dtype=torch.float64)
    start = torch.tensor(((1.0, 0.0),), dtype=torch.float64)
    real, imaginary = one.march(lambda t, y: y @ matrix.T, start, times)[0].tolist()
    return complex(real, imaginary)


def batch(method: AnyMethod | Subject) -> Check:
    """A batch equals its rows alone: what happens in one row is no business of the others.

    The rows of a Method have starts and lengths of their own; those of a Stepper share t and dt.
    """
    name, one = "batch", subject(method)
    if one.why or not one.batched:
        return Check.left_out(name, one.why or f"{one.name} takes one state at a time")
    together = _rows(one, (0, 1, 2, 3))
    alone = torch.cat([_rows(one, (i,)) for i in range(4)])
    gaps = (together - alone).abs().amax(-1)
    return _equal(
        name,
        one,
        _gap(together, alone),
        f"row {int(gaps.nan_to_num(torch.inf).argmax())} of 4 is not what it is alone",
        "rows share what should be their own: a norm, a step size, or an iteration",
    )


def permutation(method: AnyMethod | Subject) -> Check:
    """Rows in another order give the results in that order."""
    name, one = "permutation", subject(method)
    if one.why or not one.batched:
        return Check.left_out(name, one.why or f"{one.name} takes one state at a time")
    turned = (2, 0, 3, 1)
    gap = _gap(_rows(one, turned), _rows(one, (0, 1, 2, 3))[list(turned)])
    return _equal(
        name, one, gap, "rows in another order give other results", "a row knows its place"
    )


def _rows(one: Subject, rows: tuple[int, ...]) -> Tensor:
    """Two steps of rows beside the orbit, each at its own distance."""
    aside = torch.tensor(((0.0, 0.0), (0.2, -0.1), (-0.1, 0.2), (0.4, 0.3)), dtype=torch.float64)
    y0 = orbit(starts(4)) + aside
    if isinstance(one, Foreign):
        y, (t, dt) = y0[list(rows)], torch.tensor((0.5, 0.25), dtype=torch.float64)
        for k in range(2):
            y = one.one(orbit_field, t + k * dt, dt, y).y1
        return y
    dt = torch.tensor((0.05, 0.15, 0.02, 0.1), dtype=torch.float64)
    times = starts(4).unsqueeze(-1) + dt.unsqueeze(-1) * torch.arange(3)
    return one.march(orbit_field, y0[list(rows)], times[list(rows)])


def gradients(method: AnyMethod | Subject) -> Check:
    """Derivatives by autograd, of two steps by y0 and by a parameter of f, are differences.

    The figure is the largest gap, in units of the largest derivative.
    """
    name, one = "gradients", subject(method)
    if one.why or (isinstance(one, Foreign) and one.given.arrays != "torch"):
        return Check.left_out(name, one.why or f"{one.name} steps outside of autograd")
    times = torch.tensor(((0.3, 0.4, 0.5),), dtype=torch.float64)

    def end(leaf: Tensor) -> Tensor:
        """Of (y0, parameter), a sum with uneven weights."""
        value = one.march(lambda t, y: leaf[2] * orbit_field(t, y), leaf[:2].unsqueeze(0), times)
        return value[0, 0] + 2 * value[0, 1]

    leaf = torch.tensor((0.9, 0.4, 1.1), dtype=torch.float64, requires_grad=True)
    try:
        value = end(leaf)
    except UnsupportedError as error:
        return Check.left_out(name, str(error))
    if not value.requires_grad:
        return Check.left_out(name, f"{one.name}: what a step returns has no graph of autograd")
    (found,) = torch.autograd.grad(value, leaf)
    due = _differences(end, leaf.detach())
    gap = float((found - due).abs().max() / due.abs().max())
    allowed = max(GRADIENT, one.accuracy / DIFFERENCE)
    parts = ", ".join(f"{x:.6g} for {y:.6g}" for x, y in zip(found, due, strict=True))
    return Check.judged(
        name,
        gap <= allowed,
        gap,
        f"<= {allowed:.1g}",
        f"{one.name}: gradients by y0 and by a parameter agree with differences to {gap:.2g}",
        f"{one.name}: derivatives by y0[0], y0[1] and a parameter of f are {parts}",
    )


def _differences(end: Callable[[Tensor], Tensor], leaf: Tensor) -> Tensor:
    """Central ones."""
    found = []
    with torch.no_grad():
        for unit in DIFFERENCE * torch.eye(len(leaf), dtype=leaf.dtype):
            found.append((end(leaf + unit) - end(leaf - unit)) / (2 * DIFFERENCE))
    return torch.stack(found)


def _equal(name: str, one: Subject, gap: float, what: str, why: str) -> Check:
    """Whether two results are one, to the accuracy of the steps."""
    if math.isnan(gap):
        what, why = "a step failed, or gave what is no number", "nothing can be compared"
    return Check.judged(
        name,
        gap <= one.accuracy,
        gap,
        f"<= {one.accuracy:.1g}",
        f"{one.name}: equal to {gap:.2g}",
        f"{one.name}: {what} (by {gap:.2g}): {why}",
    )


def _gap(found: Tensor, expected: Tensor) -> float:
    """In units of the largest entry, nan where a row failed."""
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1))


def _family(one: Subject) -> str:
    return str(getattr(getattr(one, "method", None), "family", ""))
