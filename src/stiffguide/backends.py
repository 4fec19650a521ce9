"""A solve by the backend that it is to have."""

from __future__ import annotations

from stiffguide import eager, kernels, recorded
from stiffguide.errors import UnsupportedError
from stiffguide.fields.split import flat_field
from stiffguide.progress import Progress
from stiffguide.solution import Result

NATIVE = (
    "kernel: cannot be used here, native steps of large systems are not kept in a file "
    "(checkpoint); use backend='eager'"
)


def result(
    r: kernels.Request, way: kernels.Way, why: str, watch: Progress, *, checks: bool
) -> Result:
    """What the solve comes to; `why` it is the eager loop's, if it is. Raises WantsArrays."""
    patience = None
    if r.sensitivities is not None:
        recorded.refuse(r)
    if way != "eager":
        try:
            found = kernels.solve(r, way)
        except Exception as error:  # whatever a function of arrays raises on tensors
            eager.look_for_arrays(r, error)
            raise
        if isinstance(found, Result):
            return found
        why, patience = found
        if way == "kernel" and r.checkpoint is not None and r.layout.rows:
            raise UnsupportedError(NATIVE)
    if r.sensitivities is not None:
        return recorded.solve(r, watch, why, way, checks=checks)
    try:
        flat = flat_field(r.f, r.args, r.layout)
        return eager.solve(r, flat, watch, why, patience, way, checks=checks)
    except kernels.Overtaken as overtaken:
        return kernels.run(overtaken.kernel, r, str(overtaken))
