"""The objects that a solve is given: method, controller, guidance, outputs."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from stiffguide import methods
from stiffguide.errors import InputError, UnsupportedError
from stiffguide.fields.layout import Layout
from stiffguide.fields.split import Split
from stiffguide.methods.bdf.method import BDF
from stiffguide.methods.explicit_rk import ExplicitRK
from stiffguide.sharing.pair import Pair, Price
from stiffguide.stepping.contracts import Controller, Guidance, Method, Output
from stiffguide.stepping.controllers import PID
from stiffguide.stepping.nonnegative import Nonnegative
from stiffguide.stepping.output import AtTimes, Dense, End, SteadyState, kept
from stiffguide.stepping.tolerance import Tolerance
from stiffguide.tableaux.rosenbrock import RosenbrockTableau
from stiffguide.tableaux.tableau import Tableau
from stiffguide.tensors import listed

# The tuning that each family needs: explicit methods oscillate at the edge of stability under an I
# controller (Hairer and Wanner II, IV.2); Newton's factors are worth keeping
# where dt hardly changes.
TUNING: dict[str, PID] = {
    "explicit RK": PID(pcoeff=0.4, icoeff=0.3, max_factor=10.0),
    "stabilised explicit": PID(pcoeff=0.4, icoeff=0.3, max_factor=10.0),
    "secant": PID(icoeff=1.0),
    "Rosenbrock": PID(icoeff=1.0, max_factor=6.0),
    "ESDIRK": PID(pcoeff=0.3, icoeff=0.4, hold=(1.0, 1.2)),
    "IMEX": PID(pcoeff=0.3, icoeff=0.4, hold=(1.0, 1.2)),
    "SDIRK": PID(pcoeff=0.3, icoeff=0.4, hold=(1.0, 1.2)),
    "Radau": PID(icoeff=1.0, max_factor=8.0, hold=(1.0, 1.2)),
    "BDF": PID(icoeff=1.0, max_factor=10.0),
}
WHICH = "give True, indices of components, or truth values in the shape of one row's state"

OF_ONE = "sensitivities are derivatives of the steps of one method"
ALONE = "auto is {name} alone, for {reason}"
TIGHT = 1e-8  # rtol, below which a higher order costs less


def pair(
    layout: Layout, tolerance: Tolerance, controller: Controller | None, *, large: bool
) -> Pair:
    """The methods that share the rows where nobody names one."""
    tight = float(torch.as_tensor(tolerance.rtol).max()) < TIGHT
    explicit = methods.get("verner76" if tight else "tsit5")
    assert isinstance(explicit, ExplicitRK)
    small = {methods.AUTO: 8.0 + layout.features}
    each = {"bdf": 4.0} if layout.rows == 1 else {"kvaerno5": 15.0}
    ((name, price),) = (each if large else small).items()
    stiff = methods.get(name)
    chosen = [controller or TUNING[m.family] for m in (explicit, stiff)]
    return Pair(explicit, stiff, (chosen[0], chosen[1]), Price.of(explicit, stiff, price))


def automatic(method: Any) -> bool:
    """Whether nobody named a method."""
    return isinstance(method, str) and method.lower() in methods.ANY


def alone(layout: Layout, guidance: Any, controller: Any, mass: Any, save_at: Any) -> str:
    """Why "auto" is one method, or ""."""
    reason = ""
    if guidance is not None:
        reason = "guidance is bound to one method"
    elif controller is not None and type(controller) is not PID:
        reason = "the controller was given"
    elif mass is not None:
        reason = "explicit methods take no mass matrix"
    elif isinstance(save_at, SteadyState):
        reason = "an explicit method comes to rest late"
    elif layout.device.type != "cpu":
        reason = f"y0 is on {layout.device}"
    return reason and ALONE.format(name=methods.AUTO, reason=reason)


def method(given: Any, layout: Layout, f: Any = None) -> Method:
    """A method by name, from a tableau, or as it is; raises InputError, also if y0 is unfit.

    A field in two parts has methods of its own under the names of their implicit halves.
    """
    if isinstance(f, Split):
        return _additive(given, layout)
    if isinstance(given, str):
        stepper = methods.get(given)
    elif isinstance(given, (Tableau, RosenbrockTableau)):
        stepper = methods.from_tableau(given)
    elif hasattr(given, "family") and not isinstance(given, type):
        stepper = given
        if stepper.family == "IMEX":
            raise InputError(f"{stepper.name} (IMEX): give f as a pair, f=(explicit, implicit)")
    else:
        raise InputError(f"method: give a name or a tableau, not {type(given).__name__}")
    if stepper.implicit:
        _check_linear_systems(stepper, layout)
    if isinstance(stepper, BDF) and layout.device.type != "cpu":
        raise UnsupportedError(
            f"{stepper.name} steps on the CPU, and y0 is on {layout.device}; use 'kvaerno5' there, "
            "or give y0.cpu()"
        )
    return stepper


def _additive(given: Any, layout: Layout) -> Method:
    """The method of a field in two parts; raises UnsupportedError where it has none."""
    name = given.lower() if isinstance(given, str) else getattr(given, "name", type(given).__name__)
    name = methods.AUTO_ADDITIVE if automatic(given) else name
    own = getattr(given, "family", "") == "IMEX"
    if not own and not (isinstance(given, str) and name in methods.ADDITIVE):
        *some, last = map(repr, methods.ADDITIVE)
        raise UnsupportedError(
            f"f is a pair (explicit, implicit), and {name} solves one f; use method="
            f"{', '.join(some)} or {last}, or give the sum of the parts as f"
        )
    stepper: Any = given if own else methods.ADDITIVE[name]
    _check_linear_systems(stepper, layout)
    return stepper  # type: ignore[no-any-return]


def check_additive(stepper: Method, mass: Any, bounds: Nonnegative | None) -> None:
    """Raise UnsupportedError where something does not go with a field in two parts."""
    if stepper.family != "IMEX":
        return
    if mass is not None:
        raise UnsupportedError(
            "f is a pair, whose sum is y', and a mass was given; use one f and method='kvaerno5'"
        )
    if bounds is not None:
        raise UnsupportedError(
            "nonnegative: a component at zero is held there by the sum of both parts, and f is a "
            "pair; use one f and method='kvaerno5'"
        )


def _check_linear_systems(stepper: Method, layout: Layout) -> None:
    """Raise UnsupportedError where those of an implicit method cannot be solved."""
    whole = layout.dtype.is_complex
    if torch.finfo(layout.dtype).bits < 32:
        way = "y0.to(torch.complex64)" if whole else "y0.float()"
        raise UnsupportedError(
            f"{stepper.name} solves linear systems, which torch does not for {layout.dtype}: "
            f"use {way}, or an explicit method such as 'tsit5'"
        )


def flat_layout(layout: Layout, stepper: Method, rule: Guidance | None) -> Layout:
    """How states are laid out for the loop: complex ones in parts where real numbers are needed.

    Newton's iteration and the direction of an error are real affairs, unless f is holomorphic.
    """
    real = stepper.implicit or stepper.family == "secant" or rule is not None
    return layout.in_parts() if real and layout.dtype.is_complex else layout


def controller(given: Controller | None, stepper: Method) -> Controller:
    """The controller, or what suits the family of the method; raises InputError."""
    if given is not None and (isinstance(given, type) or not hasattr(given, "judge")):
        raise InputError("controller: give PID(), Fixed(dt) or Grid(times)")
    chosen: Controller = given or TUNING.get(stepper.family, PID())
    if chosen.adaptive and stepper.error_order is None:
        raise InputError(
            f"{stepper.name} has no embedded pair to choose dt by: give controller=Fixed(dt) or "
            "Grid(times), or use a method with a pair such as 'tsit5' or 'rodas5p'"
        )
    if isinstance(stepper, BDF) and stepper.fixed_order is None and not chosen.adaptive:
        raise UnsupportedError(
            f"{stepper.name} chooses order and dt together, and {type(chosen).__name__} gives "
            "it dt; use 'bdf1' to 'bdf5', whose order is fixed"
        )
    return chosen


def guidance(given: Guidance | None, stepper: Method) -> Guidance | None:
    """The rule for this method; raises InputError."""
    if given is None:
        return None
    if isinstance(given, type) or not hasattr(given, "bind"):
        raise InputError("guidance: give a rule such as ErrorDirection() of stiffguide.guidance")
    if stepper.multistep:
        raise UnsupportedError(
            f"guidance moves y1, and {stepper.name} goes on from values of several steps, which "
            "would not belong together; use 'heun', or another one-step method"
        )
    return given.bind(stepper)


def outputs(save_at: Any, dense: bool, layout: Layout, tolerance: Tolerance) -> tuple[Output, ...]:
    """What is kept, and the interpolant if it is wanted; raises InputError."""
    chosen: Output
    if save_at is None:
        chosen = End()
    elif isinstance(save_at, type):
        raise InputError(f"save_at: give {save_at.__name__}(), not the class")
    elif hasattr(save_at, "record"):
        chosen = save_at.bind(tolerance) if isinstance(save_at, SteadyState) else save_at
    else:
        try:
            times = torch.as_tensor(listed(save_at), dtype=torch.float64, device=layout.device)
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError(f"save_at: not a list of times: {save_at!r}") from error
        times = times.clone()  # for they are given back
        if times.ndim == 2 and not layout.batched:
            raise InputError(f"save_at has shape {tuple(times.shape)}; give (T,)")
        chosen = AtTimes(times)
    if dense:
        return chosen, Dense()
    return (chosen,)


def check_that_it_ends(t1: Tensor, keep: tuple[Output, ...], *, stopping: bool) -> None:
    """Raise InputError where t1 is infinite and nothing may stop the solve."""
    watched = stopping or not all(map(kept, keep))
    if not watched and bool(torch.isinf(t1).any()):
        raise InputError(
            "t1 is infinite and nothing would stop the solve: give save_at=SteadyState(), a "
            "terminal event, a monitor, or a finite t1"
        )


def nonnegative(
    given: Any, layout: Layout, flat0: Tensor, guidance: Any = None
) -> Nonnegative | None:
    """The components that must not be negative, or None; raises InputError, also if one is in y0.

    `flat0` (B, F) is y0.
    """
    if given is None or given is False:
        return None
    if guidance is not None:
        raise UnsupportedError(
            "nonnegative: guidance moves y1 after the verdict, and could move it below zero; use "
            "one of the two"
        )
    if layout.dtype.is_complex:
        raise UnsupportedError(
            f"nonnegative: y0 is {layout.dtype}, and complex numbers are not ordered; use real "
            "numbers for the state"
        )
    which = _chosen(given, layout)
    if not bool(which.any()):
        return None
    below = torch.nonzero(which & (flat0 < 0))
    if len(below):
        row, i = below[0].tolist()
        who = f" in row {row}" if layout.batched else ""
        raise InputError(
            f"nonnegative: {layout.component(i, 'y0')} = {float(flat0[row, i]):g}{who}; a "
            "component that must not be negative cannot begin there"
        )
    return Nonnegative(which)


def _chosen(given: Any, layout: Layout) -> Tensor:
    """Components (F,) bool, from True, indices, or truth values in the shape of a row."""
    if given is True:
        return torch.ones(layout.features, dtype=torch.bool, device=layout.device)
    nested = isinstance(given, (list, tuple, Mapping)) and not (
        isinstance(given, (list, tuple)) and all(type(i) is int for i in given)
    )
    if nested and not layout.single:
        return layout.mask(given, "nonnegative")
    table = _whole_or_truth(given, "nonnegative").to(layout.device)
    if table.dtype == torch.bool:
        return layout.mask(table, "nonnegative")
    places = table.reshape(-1)
    outside = places[(places < 0) | (places >= layout.features)]
    if len(outside):
        raise InputError(
            f"nonnegative: there is no component {int(outside[0])}, only 0 to {layout.features - 1}"
        )
    which = torch.zeros(layout.features, dtype=torch.bool, device=layout.device)
    which[places] = True
    return which


def _whole_or_truth(given: Any, name: str) -> Tensor:
    """Whole numbers as int64, or truth values; raises InputError for anything else."""
    reason = f"{name}: {WHICH}, not {reprlib.repr(given)}"
    try:
        table = torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise InputError(reason) from error
    if table.dtype == torch.bool:
        return table
    if table.numel() and (table.is_floating_point() or table.is_complex()):
        raise InputError(reason)
    return table.long()
