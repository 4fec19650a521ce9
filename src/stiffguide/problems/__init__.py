"""The stiff test set in torch: fields, exact Jacobians, and reference values with their sources.

>>> problem = stiffguide.problems.get("hires")
>>> problem.f(problem.y0.new_zeros(()), problem.y0).shape
torch.Size([8])

Read `problem` (the record), then any other file; `constrained` holds systems M y' = f with a
singular M; `mass_action` and `ideal_gas` make fields of
tables of reactions.
Only `errors` may be imported: a problem knows no solver.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable

from stiffguide.errors import InputError
from stiffguide.problems.arenstorf import arenstorf
from stiffguide.problems.constrained import (
    akzo_nobel,
    heated_rod,
    pendulum,
    robertson_conserved,
    transistor_amplifier,
)
from stiffguide.problems.hydrogen_air import HYDROGEN_AIR
from stiffguide.problems.hydrogen_ignition import hydrogen_air, hydrogen_ignition
from stiffguide.problems.ideal_gas import Gas
from stiffguide.problems.kinetics import e5, e5_reduced, hires, orego
from stiffguide.problems.mass_action import Network
from stiffguide.problems.oscillators import (
    brusselator,
    lotka_volterra,
    van_der_pol,
    van_der_pol_field,
    van_der_pol_jac,
    van_der_pol_scaled,
    van_der_pol_scaled_field,
    van_der_pol_scaled_jac,
)
from stiffguide.problems.pollu import POLLU, pollu
from stiffguide.problems.problem import Problem
from stiffguide.problems.prothero_robinson import (
    prothero_robinson,
    prothero_robinson_field,
    prothero_robinson_jac,
)
from stiffguide.problems.reaction_diffusion import brusselator_1d, brusselator_2d
from stiffguide.problems.robertson import robertson, robertson_field, robertson_jac

__all__ = [
    "HYDROGEN_AIR",
    "POLLU",
    "Gas",
    "Network",
    "Problem",
    "akzo_nobel",
    "arenstorf",
    "brusselator",
    "brusselator_1d",
    "brusselator_2d",
    "constrained_names",
    "e5",
    "e5_reduced",
    "get",
    "heated_rod",
    "hires",
    "hydrogen_air",
    "hydrogen_ignition",
    "lotka_volterra",
    "names",
    "orego",
    "pendulum",
    "pollu",
    "prothero_robinson",
    "prothero_robinson_field",
    "prothero_robinson_jac",
    "robertson",
    "robertson_conserved",
    "robertson_field",
    "robertson_jac",
    "transistor_amplifier",
    "van_der_pol",
    "van_der_pol_field",
    "van_der_pol_jac",
    "van_der_pol_scaled",
    "van_der_pol_scaled_field",
    "van_der_pol_scaled_jac",
]

_REGISTRY: dict[str, Callable[[], Problem]] = {
    maker.__name__: maker
    for maker in (
        robertson,
        van_der_pol,
        van_der_pol_scaled,
        hires,
        orego,
        e5,
        e5_reduced,
        pollu,
        hydrogen_ignition,
        brusselator,
        brusselator_1d,
        brusselator_2d,
        prothero_robinson,
        lotka_volterra,
        arenstorf,
    )
}


_CONSTRAINED: dict[str, Callable[[], Problem]] = {
    maker.__name__: maker
    for maker in (robertson_conserved, akzo_nobel, transistor_amplifier, pendulum, heated_rod)
}


def names() -> tuple[str, ...]:
    """Names of the problems y' = f(t, y), the stiff test set first."""
    return tuple(_REGISTRY)


def constrained_names() -> tuple[str, ...]:
    """Names of the problems M y' = f(t, y), whose M is singular."""
    return tuple(_CONSTRAINED)


def get(name: str) -> Problem:
    """The problem of that name with its default parameters; its constructor takes others.

    Raises InputError, with the nearest names, for one that is none.
    """
    known = _REGISTRY | _CONSTRAINED
    if name not in known:
        near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(map(repr, near))}? There" if near else "there"
        raise InputError(f'no problem named "{name}"; {hint} are {", ".join(known)}')
    return known[name]()
