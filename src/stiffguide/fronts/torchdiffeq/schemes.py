"""The methods by torchdiffeq's names, and ours beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any, NamedTuple

from stiffguide import methods
from stiffguide.catalogue import TABLEAUX
from stiffguide.catalogue.explicit import DORMAND_PRINCE
from stiffguide.fronts.torchdiffeq.reused import Reused
from stiffguide.methods.adams import LOWEST, Adams
from stiffguide.stepping.contracts import Method
from stiffguide.tableaux.rosenbrock import RosenbrockTableau
from stiffguide.tableaux.tableau import Tableau

SCIPY = "scipy_solver"
BY_DORMAND = DORMAND_PRINCE.b_error or ()
# Dormand and Prince's pair with the smaller estimate of Shampine, Math. Comp. 46 (1986) 135-150
SHAMPINE = replace(DORMAND_PRINCE, b_error=tuple(x * Fraction(2, 3) for x in BY_DORMAND))
# torchdiffeq's names. They choose dt by their error,
ADAPTIVE = {
    "dopri8": methods.get("dopri8"),
    "dopri5": methods.from_tableau(SHAMPINE),
    "tsit5": methods.get("tsit5"),
    "bosh3": methods.get("bosh3"),
}
REUSED = {"fehlberg2": "fehlberg2", "adaptive_heun": "heun"}  # which save an evaluation
# or take the steps that they are given.
GIVEN = {
    "euler": "euler",
    "midpoint": "midpoint",
    "heun2": "heun",
    "heun3": "heun3",
    "rk4": "rk4_38",
    "implicit_euler": "implicit_euler",
    "implicit_midpoint": "implicit_midpoint",
    "trapezoid": "trapezoid",
    "radauIIA3": "radau_iia3",
    "gl4": "gauss4",
    "radauIIA5": "radau_iia5",
    "gl6": "gauss6",
    "sdirk2": "sdirk2",
    "trbdf2": "trbdf2",
}
ADAMS = {"explicit_adams": False, "implicit_adams": True, "fixed_adams": True}  # corrected?
ADAMS_OPTIONS = ("max_order", "max_iters")
STEPS = ("step_size", "grid_constructor")


class Scheme(NamedTuple):
    """A method, and how it comes by its steps."""

    name: str
    method: str | Method  # as `solve` takes it
    given: bool  # the lengths of its steps are given
    own: bool = False  # not one of torchdiffeq's

    @property
    def callbacks(self) -> tuple[str, ...]:
        """The callbacks of a func that are called."""
        if self.name == SCIPY:
            return ()
        return CALLBACKS[:1] if self.given else CALLBACKS


CALLBACKS = ("callback_step", "callback_accept_step", "callback_reject_step")


def scheme(method: Any, options: dict[str, Any]) -> Scheme:
    """The scheme of a name, a tableau or a method; options that shape it are taken out.

    Raises ValueError for an unknown name.
    """
    if method is None:
        method = "dopri5"
    if isinstance(method, str):
        known = _known(method, options)
        if known is not None:
            return known
        name, stepper = method, methods.get(method)
    else:
        made: Callable[[Any], Method] = methods.from_tableau
        stepper = made(method) if isinstance(method, (Tableau, RosenbrockTableau)) else method
        name = stepper.name
    stepped = any(options.get(step) is not None for step in STEPS)
    given = stepped or stepper.error_order is None
    automatic = isinstance(method, str) and method.lower() in methods.ANY
    return Scheme(name, "auto" if automatic and not given else stepper, given, own=True)


def _known(name: str, options: dict[str, Any]) -> Scheme | None:
    """The scheme of one of torchdiffeq's names, or None for one of ours."""
    if name == SCIPY:
        return Scheme(name, name, given=False)
    if name in ADAPTIVE:
        return Scheme(name, ADAPTIVE[name], given=False)
    if name in REUSED:
        tableau = TABLEAUX[REUSED[name]]
        assert isinstance(tableau, Tableau)
        return Scheme(name, Reused(tableau), given=False)
    if name in GIVEN:
        return Scheme(name, methods.get(GIVEN[name]), given=True)
    if name in ADAMS:
        chosen = {key: options.pop(key) for key in ADAMS_OPTIONS if key in options}
        implicit = bool(options.pop("implicit", True)) and ADAMS[name]
        if chosen.get("max_order", LOWEST) < LOWEST:
            return Scheme(name, methods.get("rk4_38"), given=True)  # with which they begin
        return Scheme(name, Adams(implicit=implicit, **chosen), given=True)
    if name.lower() in (*methods.names(), *methods.ANY, "radau"):
        return None
    theirs = [*ADAPTIVE, *REUSED, *GIVEN, *ADAMS, SCIPY]
    raise ValueError(
        f"Invalid method {name!r}: give one of {theirs}, or one of stiffguide's own, such as "
        "'auto', 'rodas5p' or 'kvaerno5'"
    )
