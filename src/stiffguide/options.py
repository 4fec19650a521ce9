"""The options of a solve as types, for functions that hand them on to it.

`tests/test_types.py` compares them with the signature of `solve`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

from stiffguide.algebra.krylov import Krylov
from stiffguide.gradients.modes import Gradient
from stiffguide.inputs import (
    Attempted,
    Events,
    Function,
    Jacobian,
    Monitor,
    Norm,
    Number,
    Numbers,
    PerEntry,
    Sensitivity,
    State,
    Times,
)
from stiffguide.kernels import Backend
from stiffguide.stepping.contracts import Controller, Guidance, Method, Output
from stiffguide.tableaux.rosenbrock import RosenbrockTableau
from stiffguide.tableaux.tableau import Tableau


class Options(TypedDict, total=False):
    """Those that a `sweep` takes: of the method, its steps and its outputs."""

    method: str | Tableau | RosenbrockTableau | Method
    rtol: PerEntry
    atol: PerEntry
    jac: Jacobian | None
    jac_sparsity: Any
    linear_solver: str | Krylov | None
    mass: Any
    save_at: Times | Output | None
    tstops: Number | Times | None
    first_step: Number | None
    max_step: Number | None
    max_attempts: int
    norm: Norm | None
    min_step: Number | None
    controller: Controller | None
    guidance: Guidance | None
    events: Events | None
    jump_at: Function | None
    nonnegative: Any
    backend: Backend
    checks: bool


class Again(Options, total=False):
    """Those that `resume` may be given again: all but f, args and what watches the solve."""

    y0: State
    t0: Numbers
    t1: Numbers
    batched: bool
    dense: bool
    on_attempt: Attempted | None
    sensitivities: Sequence[Sensitivity] | None
    gradient: Gradient
    monitor: Monitor | None
