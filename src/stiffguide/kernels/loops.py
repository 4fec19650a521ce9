"""A field of many unknowns as loops in C: seen once, built, and compared before it is used."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stiffguide import forward_mode
from stiffguide.errors import UnsupportedError
from stiffguide.graphs.refusal import UntraceableError
from stiffguide.kernels.emitting.loops import emitted
from stiffguide.kernels.running.loops import Loops, there
from stiffguide.tracing.agreement import NOISE, points
from stiffguide.tracing.stencils.stencil import stencil
from stiffguide.tracing.traced_field import ENOUGH

Field = Callable[[Tensor, Tensor], Tensor]
Values = NDArray[Any]
DTYPES: dict[torch.dtype, Any] = {torch.float32: np.float32, torch.float64: np.float64}
SEED = 1

_turn = itertools.count(SEED + 1)  # seeds of the points at which loops are compared again
_alone = threading.RLock()  # torch counts how deep it is in jvp for all threads together


class Refusal(NamedTuple):
    """Why a field cannot be loops."""

    sentence: str


def loops(f: Field, t: Tensor, y: Tensor, *, build: bool = True) -> Loops | Refusal | None:
    """The loops of f(t (1,), y (1, F)) -> (1, F) as f is now, around a point.

    None where their library is not there and not to be built.
    What f reads besides t and y, such as parameters, is as it was at this call.
    """
    try:
        return _made(f, t, y, build=build)
    except UnsupportedError as error:
        return Refusal(f"no loops: {str(error).removeprefix('kernel: ')}")


def _made(f: Field, t: Tensor, y: Tensor, *, build: bool) -> Loops | None:
    if y.device.type != "cpu" or y.dtype not in DTYPES or y.shape[0] != 1:
        raise UntraceableError(
            f"y0 is {y.dtype} on {y.device} in {y.shape[0]} rows, and loops are for one row of "
            "float64 or float32 on the CPU"
        )
    found = stencil(f, t, y)
    text = emitted(found)
    if not build and there(text.text) is None:
        return None
    made = Loops(text, found.table, DTYPES[y.dtype], found.met)
    _compare(made, f, t, y)
    return made


def _compare(made: Loops, f: Field, t0: Tensor, y0: Tensor) -> None:
    """Raise UntraceableError where the loops differ from f, or from its derivative."""
    draw, telling = np.random.default_rng(SEED), 0
    for t, y in points(t0, y0, SEED):
        if telling == ENOUGH:
            return
        now, state = float(t), y[0].numpy()
        value, values = _value(made, f, t, y)
        jac = made.pattern.matrix(values)
        if np.isfinite(value).all() and np.isfinite(values).all():
            v = draw.standard_normal(len(state)).astype(state.dtype)
            if (product := _forward(f, t, y, v)) is not None:
                slope = made.slope(now, state)
                _refuse("J v + df/dt", product, jac @ v + slope, abs(jac) @ abs(v) + abs(slope))
            else:
                _refuse("v J", _backward(f, t, y, v), jac.T @ v, abs(jac.T) @ abs(v))
            telling += 1
    if not telling:
        raise UntraceableError("f is not finite near y0, so that nothing can be compared with it")


def agrees(made: Loops, f: Field, t0: Tensor, y0: Tensor) -> bool:
    """Whether loops that were made before have the value of f where it was not compared before."""
    try:
        _value(made, f, *next(points(t0, y0, next(_turn))))
    except UntraceableError:
        return False
    return True


def _value(made: Loops, f: Field, t: Tensor, y: Tensor) -> tuple[Values, Values]:
    """f (F,) and the values of J (nnz,); raises UntraceableError where the loops have another f."""
    now, state = float(t), y[0].numpy()
    with torch.no_grad():
        value = f(t.clone(), y.clone())[0].numpy()
    # what is not written to must not look like what lay there before
    values = made.jacobian(now, state, np.full(made.pattern.nnz, np.nan, state.dtype))
    terms = abs(made.pattern.matrix(values)) @ abs(state)
    _refuse("f", value, made.field(now, state, np.full_like(state, np.nan)), terms)
    return value, values


def _refuse(what: str, theirs: Values, ours: Values, terms: Values) -> None:
    """Raise UntraceableError for a difference, which counts against the size of the terms."""
    eps = np.finfo(theirs.dtype).eps
    with np.errstate(all="ignore"):
        away = np.abs(ours - theirs)
        same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
        terms = np.abs(theirs) + terms
        same |= away <= eps**0.7 * (terms + NOISE * np.nan_to_num(terms).max())
    if not same.all():
        i = int(np.flatnonzero(~same)[0])
        raise UntraceableError(
            f"f is not what its loops say: component {i} of {what} is {theirs[i]:.9g}, they say "
            f"{ours[i]:.9g}"
        )


def _forward(f: Field, t: Tensor, y: Tensor, v: Values) -> Values | None:
    """J v + df/dt by torch; None where an operation has no derivative in this mode."""
    forward_mode.load()
    try:
        with torch.no_grad(), _alone:
            along = torch.ones_like(t), torch.from_numpy(v)[None]
            product = torch.func.jvp(f, (t.clone(), y), along)[1]
    except Exception:
        return None
    found: Values = product[0].numpy()
    return found


def _backward(f: Field, t: Tensor, y: Tensor, v: Values) -> Values:
    """v J by torch; raises UntraceableError."""
    try:
        with torch.enable_grad():
            x = y.clone().requires_grad_()
            (product,) = torch.autograd.grad(f(t.clone(), x)[0], x, torch.from_numpy(v))
    except Exception as error:
        raise UntraceableError(
            f"f has no derivative by torch to compare with ({str(error).splitlines()[0]})"
        ) from error
    found: Values = product[0].numpy()
    return found
