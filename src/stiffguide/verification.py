"""What a method does, measured: its observed order, and how its error estimate shrinks with dt.

Coefficients that satisfy the order conditions can still meet a wrong program; so the order is also
measured, on an orbit (cos t, sin t) that a coupled, nonlinear, non-autonomous field keeps:

y1' = -y2 + 0.55 (y1^2 - y2 cos t - cos^2 t + cos t sin t),
y2' =  y1 + 0.55 (sin(y2 - sin t) + y1 y2 - cos t sin t).

Several rows start at different times, so that no zero of an error constant is taken for an order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import islice

import torch
from torch import Tensor

from stiffguide import methods
from stiffguide.errors import InputError
from stiffguide.fields import jacobian
from stiffguide.solve import solve
from stiffguide.stepping.contracts import Method
from stiffguide.stepping.controllers import Fixed
from stiffguide.stepping.tolerance import Tolerance
from stiffguide.tableaux.rosenbrock import RosenbrockTableau
from stiffguide.tableaux.tableau import Tableau

AnyMethod = str | Tableau | RosenbrockTableau | Method

ROWS = 25  # starting times
LENGTH = 3.0  # of the interval that is solved with fixed steps
STEPS = (128, 96, 64, 48, 32, 24, 20, 16, 14, 12, 10, 8, 7, 6, 5)
LONGEST, RATIO, RUNGS = 0.5, math.sqrt(0.5), 19  # of the single steps whose estimate is looked at
ROUNDING = 2e-13  # global errors below it say more about float64 than about a method
ESTIMATE_ROUNDING = 3e-15  # the same for an estimate, a sum of few terms
NEWTON = 1e-14  # tolerance of the nonlinear solver: its error must not be seen
EXPONENT_ALLOWANCE = 0.3  # how far the observed exponent of a sound estimate may be off
POINTS = 4  # the finest ones above rounding decide

Point = tuple[float, float]  # a step size, and the error that belongs to it


def orbit(t: Tensor) -> Tensor:
    """The solution (..., 2) of the problem above."""
    return torch.stack((torch.cos(t), torch.sin(t)), -1)


def orbit_field(t: Tensor, y: Tensor) -> Tensor:
    """The field of the problem above, for t (...,) and y (..., 2)."""
    a, b = y.unbind(-1)
    c, s = torch.cos(t), torch.sin(t)
    first = a * a - c * b - c * (c - s)
    second = torch.sin(b - s) + a * b - c * s
    return torch.stack((0.55 * first - b, 0.55 * second + a), -1)


def orbit_jac(t: Tensor, y: Tensor) -> Tensor:
    """The Jacobian (..., 2, 2) of `orbit_field`."""
    a, b = y.unbind(-1)
    c, s = torch.cos(t), torch.sin(t)
    rows = (1.1 * a, -0.55 * c - 1, 0.55 * b + 1, 0.55 * (torch.cos(b - s) + a))
    return torch.stack(rows, -1).reshape(*a.shape, 2, 2)


def observed_order(method: AnyMethod) -> float:
    """The exponent p of the global error O(dt^p), over solves with fixed steps.

    Fitted to the finest steps whose error stands above rounding; for how near it comes to the
    order of a sound method, see `order_allowance`.
    """
    return slope(_global_errors(method), ROUNDING, f"{_stepper(method).name}: observed order")


def observed_error_exponent(method: AnyMethod) -> float:
    """The exponent q of the error estimate O(dt^q) of one step, `error_order` + 1 if all is well.

    Raises InputError where the method has no embedded pair.
    """
    stepper = _stepper(method)
    if stepper.error_order is None:
        raise InputError(f"{stepper.name} has no embedded pair, and so no error estimate")
    what = f"{stepper.name}: observed error exponent"
    return slope(_estimates(stepper), ESTIMATE_ROUNDING, what)


def order_allowance(order: int) -> float:
    """How far the observed order of a sound method may be off: float64 leaves high ones no room."""
    return 0.15 if order <= 6 else 0.3


def slope(points: Iterable[Point], rounding: float, what: str) -> float:
    """The exponent p of error = C dt^p, by least squares over the first points above rounding.

    Raises InputError where too few of the errors are finite and above rounding.
    """
    sound = (point for point in points if rounding < point[1] < math.inf)
    known = list(islice(sound, POINTS))
    if len(known) < POINTS:
        raise InputError(f"{what}: only {len(known)} of the errors are finite and above rounding")
    x, y = torch.tensor(known, dtype=torch.float64).log().unbind(-1)
    x = x - x.mean()
    return float((x * y).sum() / (x * x).sum())


def _global_errors(method: AnyMethod) -> Iterator[Point]:
    """Fine to coarse; nan where a solve failed."""
    t0 = _starts()
    t1 = t0 + LENGTH
    for steps in STEPS:
        dt = LENGTH / steps
        solution = solve(
            orbit_field,
            orbit(t0),
            t0,
            t1,
            method=method,
            rtol=NEWTON,
            atol=NEWTON,
            batched=True,
            jac=orbit_jac,
            controller=Fixed(dt),
        )
        failed = not bool(solution.success.all())
        yield dt, math.nan if failed else _rms(solution.y[:, -1] - orbit(t1))


def _estimates(stepper: Method) -> list[Point]:
    """The error estimate of one step from the exact solution, all step sizes in one batch."""
    lengths = [LONGEST * RATIO**k for k in range(RUNGS)]
    starts = _starts()
    t0 = starts.repeat(len(lengths))
    dt = torch.tensor(lengths, dtype=torch.float64).repeat_interleave(starts.shape[0])
    y0 = orbit(t0)
    f = jacobian.GivenJacobian(orbit_field, orbit_jac)
    tolerance = Tolerance(NEWTON, NEWTON)
    with torch.no_grad():
        step = stepper.step(f, t0, dt, y0, f(t0, y0), stepper.init(f, t0, y0), tolerance)
    assert step.error is not None
    error = step.error
    if step.ok is not None:
        error = torch.where(step.ok.unsqueeze(-1), error, float("nan"))
    sizes = [_rms(e) for e in error.unflatten(0, (len(lengths), -1))]
    return list(zip(lengths, sizes, strict=True))[::-1]


def _starts() -> Tensor:
    return torch.linspace(0.0, 2.0, ROWS, dtype=torch.float64)


def _rms(error: Tensor) -> float:
    return float(error.square().mean().sqrt())


def _stepper(method: AnyMethod) -> Method:
    if isinstance(method, str):
        return methods.get(method)
    if isinstance(method, (Tableau, RosenbrockTableau)):
        return methods.from_tableau(method)
    return method
