"""The options of scipy's `solve_ivp`, and ours beside them, as types."""

from __future__ import annotations

from typing import Any, TypedDict

from stiffguide.algebra.krylov import Krylov
from stiffguide.inputs import Number, PerEntry
from stiffguide.kernels import Backend


class Options(TypedDict, total=False):
    """What `solve_ivp` takes by name."""

    first_step: Number | None
    max_step: Number
    rtol: PerEntry
    atol: PerEntry
    jac: Any  # a function, a matrix or None, as in scipy
    jac_sparsity: Any
    nonnegative: Any
    linear_solver: str | Krylov | None
    backend: Backend
    # which scipy knows of LSODA alone, and which have no effect here
    min_step: Number
    lband: int | None
    uband: int | None
