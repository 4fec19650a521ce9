"""What a method does, measured: its order, and how its error estimate and dense output shrink.

Coefficients that satisfy the order conditions can still meet a wrong program; so the order is also
measured, on the orbit of `orbit`, from rows that start at different times.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import islice

import torch
from torch import Tensor

from stiffguide.errors import InputError
from stiffguide.verification.orbit import orbit, orbit_field, orbit_jac, starts
from stiffguide.verification.report import Check
from stiffguide.verification.subject import AnyMethod, Subject, subject

LENGTH = 3.0  # of the interval that is solved with fixed steps
STEPS = (128, 96, 64, 48, 32, 24, 20, 16, 14, 12, 10, 8, 7, 6, 5)
LONGEST, RATIO, RUNGS = 0.5, math.sqrt(0.5), 19  # of the single steps whose estimate is looked at
THETAS = (0.1, 0.3, 0.5, 0.7, 0.9)  # where a dense output is looked at
ROUNDING = 2e-13  # global errors below it say more about float64 than about a method
ESTIMATE_ROUNDING = 3e-15  # the same for an estimate, a sum of few terms
DENSE_ROUNDING = 2e-14  # and for a state between two others
EXPONENT_ALLOWANCE = 0.3
"""How far the observed exponent of a sound estimate may be off."""
POINTS = 4  # the finest ones above rounding decide

Point = tuple[float, float]  # a step size, and the error that belongs to it


def observed_order(method: AnyMethod | Subject) -> float:
    """The exponent p of the global error O(dt^p), over solves with fixed steps.

    Fitted to the finest steps whose error stands above rounding; for how near it comes to the
    order of a sound method, see `order_allowance`.
    """
    one = subject(method)
    floor = max(ROUNDING, STEPS[0] * one.noise)  # which every step adds
    return slope(_global_errors(one), floor, f"{one.name}: observed order")


def observed_error_exponent(method: AnyMethod | Subject) -> float:
    """The exponent q of the error estimate O(dt^q) of one step, `error_order` + 1 if all is well.

    Raises InputError where the method has no embedded pair.
    """
    one = subject(method)
    if one.error_order is None:
        raise InputError(f"{one.name} has no embedded pair, and so no error estimate")
    what = f"{one.name}: observed error exponent"
    return slope(_estimates(one), max(ESTIMATE_ROUNDING, one.noise), what)


def observed_dense_order(method: AnyMethod | Subject) -> float:
    """The order q of the dense output, whose error within one step is O(dt^(q + 1)).

    Raises InputError where there is none.
    """
    one = subject(method)
    if one.dense_order is None:
        raise InputError(f"{one.name} has no dense output")
    what = f"{one.name}: observed dense order"
    return slope(_dense_errors(one), max(DENSE_ROUNDING, one.noise), what) - 1


def order_allowance(order: int) -> float:
    """How far the observed order of a sound method may be off: float64 leaves high ones no room."""
    return 0.15 if order <= 6 else 0.3


def slope(points: Iterable[Point], rounding: float, what: str) -> float:
    """The exponent p of error = C dt^p, by least squares over the first points above rounding.

    Raises InputError where fewer than four points are finite and above rounding.
    """
    sound = (point for point in points if rounding < point[1] < math.inf)
    known = list(islice(sound, POINTS))
    if len(known) < POINTS:
        raise InputError(f"{what}: only {len(known)} of the errors are finite and above rounding")
    x, y = torch.tensor(known, dtype=torch.float64).log().unbind(-1)
    x = x - x.mean()
    return float((x * y).sum() / (x * x).sum())


def global_order(method: AnyMethod | Subject) -> Check:
    """Whether the observed order is the one that is claimed."""
    name, one = "observed order", subject(method)
    if one.why:
        return Check.left_out(name, one.why)
    try:
        seen = observed_order(one)
    except InputError as error:  # too few of the solves ended in numbers
        return Check(name, "violated", None, str(one.order), str(error))
    allowed = order_allowance(one.order)
    return Check.judged(
        name,
        abs(seen - one.order) <= allowed,
        seen,
        f"{one.order} +- {allowed:g}",
        f"{one.name}: the global error of fixed steps shrinks as dt^{seen:.2f}",
        f"{one.name}: the observed order is {seen:.2f}, claimed is {one.order}",
    )


def error_estimate(method: AnyMethod | Subject) -> Check:
    """Whether the error estimate shrinks as its orders promise: an exponent off is a wrong dt."""
    name, one = "error estimate", subject(method)
    if one.why or one.error_order is None:
        return Check.left_out(name, one.why or f"{one.name} claims no error estimate")
    due = one.error_order + 1
    try:
        seen = observed_error_exponent(one)
    except InputError as error:
        return Check(name, "violated", None, str(due), str(error))
    return Check.judged(
        name,
        abs(seen - due) <= EXPONENT_ALLOWANCE,
        seen,
        f"{due} +- {EXPONENT_ALLOWANCE:g}",
        f"{one.name}: the error estimate of a step shrinks as dt^{seen:.2f}",
        f"{one.name}: the error estimate shrinks as dt^{seen:.2f}, dt^{due} belongs to its orders",
    )


def dense_output(method: AnyMethod | Subject) -> Check:
    """Whether the dense output has its order; a higher one is no violation."""
    name, one = "dense output", subject(method)
    if one.why or one.dense_order is None:
        return Check.left_out(name, one.why or f"{one.name} claims no dense output")
    due = one.dense_order
    try:
        seen = observed_dense_order(one)
    except InputError as error:
        return Check(name, "violated", None, str(due), str(error))
    return Check.judged(
        name,
        seen >= due - EXPONENT_ALLOWANCE,
        seen,
        f">= {due - EXPONENT_ALLOWANCE:g}",
        f"{one.name}: between its ends a step is of order {seen:.2f}",
        f"{one.name}: the dense output is of order {seen:.2f}, claimed is {due}",
    )


def _global_errors(one: Subject) -> Iterator[Point]:
    """Fine to coarse; nan where a solve failed."""
    t0 = starts(one.rows)
    for steps in STEPS:
        fractions = torch.linspace(0.0, 1.0, steps + 1, dtype=torch.float64)
        times = t0.unsqueeze(-1) + LENGTH * fractions
        found = one.march(orbit_field, orbit(t0), times, orbit_jac)
        yield LENGTH / steps, _rms(found - orbit(times[:, -1]))


def _ladder(one: Subject) -> tuple[list[float], Tensor, Tensor]:
    """Lengths of single steps, and the starts and lengths (rows,) of all of them in one batch."""
    lengths = [LONGEST * RATIO**k for k in range(RUNGS)]
    begin = starts(one.rows)
    dt = torch.tensor(lengths, dtype=torch.float64).repeat_interleave(len(begin))
    return lengths, begin.repeat(len(lengths)), dt


def _estimates(one: Subject) -> list[Point]:
    """The error estimate of one step from the exact solution, from the shortest on."""
    lengths, t0, dt = _ladder(one)
    error = one.step(orbit_field, t0, dt, orbit(t0), orbit_jac).error
    if error is None:
        raise InputError(f"{one.name}: its step returned no error estimate")
    return _by_length(lengths, error)


def _dense_errors(one: Subject) -> list[Point]:
    """The error between the ends of one step from the exact solution, from the shortest on."""
    lengths, t0, dt = _ladder(one)
    dense = one.step(orbit_field, t0, dt, orbit(t0), orbit_jac).dense
    if dense is None:
        raise InputError(f"{one.name}: its step returned no dense output")
    gaps = [dense(theta) - orbit(t0 + theta * dt) for theta in THETAS]
    return _by_length(lengths, torch.cat(gaps, -1))


def _by_length(lengths: list[float], error: Tensor) -> list[Point]:
    sizes = [_rms(e) for e in error.unflatten(0, (len(lengths), -1))]
    return list(zip(lengths, sizes, strict=True))[::-1]


def _rms(error: Tensor) -> float:
    return float(error.square().mean().sqrt())
