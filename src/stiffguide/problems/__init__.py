"""The stiff test set in torch: fields, exact Jacobians, and reference values with their sources.

>>> problem = stiffguide.problems.get("hires")
>>> problem.f(problem.y0.new_zeros(()), problem.y0).shape
torch.Size([8])

Read `problem` (the record), then any other file; `mass_action` and `ideal_gas` make fields of
tables of reactions.
Only `errors` may be imported: a problem knows no solver.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable

from stiffguide.errors import InputError
from stiffguide.problems.arenstorf import arenstorf
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
    "arenstorf",
    "brusselator",
    "brusselator_1d",
    "brusselator_2d",
    "e5",
    "e5_reduced",
    "get",
    "hires",
    "hydrogen_air",
    "hydrogen_ignition",
    "lotka_volterra",
    "names",
    "orego",
    "pollu",
    "prothero_robinson",
    "prothero_robinson_field",
    "prothero_robinson_jac",
    "robertson",
    "robertson_field",
    "robertson_jac",
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


def names() -> tuple[str, ...]:
    """Names that `get` knows, the stiff test set first."""
    return tuple(_REGISTRY)


def get(name: str) -> Problem:
    """The problem of that name with its default parameters; its constructor takes others."""
    if name not in _REGISTRY:
        near = difflib.get_close_matches(name.lower(), names(), n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(map(repr, near))}? There" if near else "there"
        raise InputError(f'no problem named "{name}"; {hint} are {", ".join(names())}')
    return _REGISTRY[name]()
