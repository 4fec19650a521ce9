"""A solve of M y' = f(t, y): what goes with a mass matrix, and a start that is consistent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from stiffguide.errors import InputError, UnsupportedError
from stiffguide.fields.coloured import ColouredJacobian
from stiffguide.fields.given_sparse import GivenSparse
from stiffguide.fields.jacobian import DifferenceJacobian
from stiffguide.fields.layout import Layout
from stiffguide.fields.mass import GivenMass
from stiffguide.gradients.times import Span
from stiffguide.kernels import Request
from stiffguide.stepping import constraints
from stiffguide.stepping.contracts import Field, Method, Units
from stiffguide.stepping.live import Problem, opened
from stiffguide.stepping.output import AtTimes, SteadyState
from stiffguide.tensors import finite, tangles

# that solve M y' = f
FAMILIES = ("Rosenbrock", "ESDIRK", "SDIRK", "BDF", "Radau", "fully implicit RK")
MOVED = 1.0  # tolerances: who changes a start by more says so
LITTLE = 1e-6  # of the interval: a time in which little happens
NOISE = 64  # roundings that an exact derivative may be wrong by
DIFFERENCE = 10  # times the root of a rounding, for a difference


def check(mass: GivenMass, p: Problem) -> None:
    """Raise UnsupportedError where something does not go with a mass."""
    method = p.method
    if method.family not in FAMILIES:
        raise UnsupportedError(
            f"{method.name} solves y' = f(t, y), and a mass was given; use 'rodas5p', 'kvaerno5' "
            "or 'bdf'"
        )
    if p.guidance is not None:
        raise UnsupportedError(
            "guidance takes f for y', which it is not where a mass is given; use an f "
            "that is solved for y'"
        )
    if any(isinstance(output, SteadyState) for output in p.outputs):
        raise UnsupportedError(
            "SteadyState takes f for y', which it is not where a mass is given; use a terminal "
            "event"
        )
    if p.nonnegative is not None:
        raise UnsupportedError(
            "nonnegative takes f for y', which it is not where a mass is given; use a terminal "
            "event to see a component fall, or an f that is solved for y'"
        )
    if mass.singular and not _accurate(method):
        raise UnsupportedError(
            f"{method.name} does not end its steps in a stage, so that equations without a "
            "derivative (the mass is singular) would not hold; use 'rodas5p', 'kvaerno5' or 'bdf'"
        )


def _accurate(method: Method) -> bool:
    """Whether a step ends in a state that fulfils its equations, and has the order it claims."""
    tableau: Any = getattr(method, "tableau", None)
    return tableau is None or bool(tableau.stiffly_accurate)


def _check_recorded(p: Problem, span: Span) -> None:
    """Raise UnsupportedError where derivatives with a mass are not known."""
    what = ""
    if tangles(span.t0):
        what = "t0"
    elif tangles(*(o.times for o in p.outputs if isinstance(o, AtTimes))):
        what = "save_at"
    elif p.jump_at is not None or any(x.jump for x in (p.events.triggers if p.events else ())):
        what = "jumps"
    if what:
        raise _unrecorded(what)


def _unrecorded(what: str) -> UnsupportedError:
    return UnsupportedError(
        f"gradients by or through {what} are not known where a mass is given; use detach(), or "
        "torch.no_grad()"
    )


def started(
    r: Request, p: Problem, f0: Tensor, span: Span | None
) -> tuple[Request, Problem, Tensor]:
    """The solve with its mass, from a consistent y0, and f (B, F) there; `span`: if recorded.

    Raises InputError where there is no such y0, or the index is above 1.
    """
    assert r.mass is not None
    if span is not None:
        _check_recorded(p, span)
    noise = noise_of(p.f, r.y0)
    p = p._replace(f=r.mass.field(p.f, r.y0))
    if not r.mass.singular or not len(r.y0):
        return r, p, f0
    if p.stops.shape[1] > 1 and p.jump_at is None:  # components without a derivative may jump
        if span is not None:
            raise _unrecorded("tstops")
        p = p._replace(jump_at=lambda t, y: y)
    y0, dt, t0 = r.y0.detach(), _little(p, r.t0), opened(p, r.t0, r.y0.detach())
    with torch.no_grad():
        found = constraints.consistent(p.f, t0, y0, dt, p.tolerance)
        sound = finite(y0, f0)
        units = Units(dt, p.tolerance.scale(found.y))
        regular = constraints.of_index_one(p.f, t0, found.y, units, noise)
    rows = torch.nonzero(sound & ~(found.ok & regular)).flatten().tolist()
    if rows:
        raise _refusal(r.layout, found, rows[0], regular=bool(regular[rows[0]]))
    moved = replace(p.tolerance, given=None).measure(found.y - y0, y0, found.y) > MOVED
    said = {i: _said(r.layout, y0, found, i) for i in torch.nonzero(moved).flatten().tolist()}
    y = found.y if span is None else constraints.attached(p.f, t0, r.y0, found.y, units)
    return r._replace(y0=y, caveats=said), p, p.f(t0, y)


def _little(p: Problem, t0: Tensor) -> Tensor:
    """A length of time (B,), signed."""
    span = p.stops[:, -1] - t0
    length = torch.where(torch.isfinite(span), span.abs(), torch.clamp(t0.abs(), min=1.0))
    return torch.copysign(torch.where(length > 0, length, 1.0) * LITTLE, span)


def noise_of(f: Field, like: Tensor) -> float:
    """What entries of its Jacobian may be wrong by, in parts of themselves."""
    eps = torch.finfo(like.dtype).eps
    exact = isinstance(f, GivenSparse) or not isinstance(f, DifferenceJacobian | ColouredJacobian)
    return NOISE * eps if exact else DIFFERENCE * float(eps**0.5)


def _said(layout: Layout, y0: Tensor, found: constraints.Consistent, row: int) -> str:
    """What became of a y0 that was not consistent."""
    j = int((found.y - y0)[row].abs().argmax())
    before, after = float(y0[row, j]), float(found.y[row, j])
    return (
        f"y0 was not consistent ({_residual(layout, found, row)}, and should be 0): the solve "
        f"begins with {layout.component(j)} = {after:.6g} in the place of {before:.6g}"
    )


def _residual(layout: Layout, found: constraints.Consistent, row: int) -> str:
    i = int(found.residual[row].abs().argmax())
    return (
        f"{layout.component(i, 'f')} without its derivatives is {float(found.residual[row, i]):.3g}"
    )


def _refusal(
    layout: Layout, found: constraints.Consistent, row: int, *, regular: bool
) -> InputError:
    """Why a row cannot begin."""
    where = f" in row {row}" if layout.batched else ""
    if not regular:
        return InputError(
            f"mass: the index of the system is above 1{where}, or y0 a singular point: the "
            "equations without a derivative do not determine the components without one. "
            "Differentiate such equations by t, once or more, until they do, or start elsewhere"
        )
    return InputError(
        f"y0 is not consistent{where}: {_residual(layout, found, row)}, and should be 0; Newton's "
        "iteration on the components without a derivative does not get there: give a y0 that is "
        "nearer"
    )
