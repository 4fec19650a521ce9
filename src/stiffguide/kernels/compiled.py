"""Generation ahead of time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from stiffguide import arguments, choices, methods
from stiffguide.errors import InputError, UnsupportedError
from stiffguide.fields.array_function import wanting_arrays
from stiffguide.fields.flat import field
from stiffguide.fields.layout import Layout
from stiffguide.inputs import Number, PerEntry, State
from stiffguide.kernels import backend
from stiffguide.kernels.running.run import Kernel
from stiffguide.sharing.pair import Pair
from stiffguide.stepping.contracts import Method
from stiffguide.tensors import real_dtype


@dataclass(frozen=True)
class Compiled:
    """What `compile` made, or found."""

    method: str
    features: int
    parameters: int
    cached: bool  # it was there already
    seconds: float  # that tracing and building took


def compile(
    f: Callable[..., Any],
    *,
    like: State,
    method: str | Method = "auto",
    batched: bool = False,
    args: tuple[Any, ...] = (),
    t0: Number = 0.0,
    rtol: PerEntry = 1e-6,
) -> Compiled:
    """Generate the kernel of f and a method now, so that `solve(..., backend="kernel")` need not.

    `like` is a state as `solve` will get it, `t0` a time at which f can be evaluated. Of "auto" the
    kernels of both methods are made; `rtol` decides which the explicit one is. When batched,
    the kernel for one row and the one for many are both made. Raises UnsupportedError, saying why,
    where there is no kernel for f, and InputError where `like` has no rows.
    """
    began = time.perf_counter()
    layout = Layout(like, batched=batched)
    field(f, args, layout)  # which refuses what is no function
    if not layout.rows:
        raise InputError("like: it has no rows, and a kernel is traced with one; give at least one")
    stepper: Method | Pair = methods.get(method) if isinstance(method, str) else method
    if choices.automatic(method) and layout.device.type == "cpu":
        tolerance = arguments.tolerance(rtol, 0.0, layout)
        stepper = choices.pair(layout, tolerance, None, large=False)
    start, _ = arguments.times(t0, t0, layout)
    kernel = kernel_of(f, args, layout, stepper, start, layout.flatten(like, "like"))
    widths = (False, True) if batched else (False,)
    found = [kernel.ready(wide=wide) for wide in widths]
    for wide in widths:
        kernel.built(wide=wide)
    return Compiled(
        method=stepper.name,
        features=layout.features,
        parameters=len(kernel.traced.parameters),
        cached=all(found),
        seconds=time.perf_counter() - began,
    )


def kernel_of(
    f: Callable[..., Any],
    args: tuple[Any, ...],
    layout: Layout,
    stepper: Method | Pair,
    t0: Tensor,
    y0: Tensor,
) -> Kernel:
    """The kernel of a function of tensors or of numpy arrays; raises UnsupportedError."""
    try:
        return backend.prepare(f, args, layout, stepper, t0, y0)
    except UnsupportedError:
        t = (t0 if layout.batched else t0[0]).to(real_dtype(layout.dtype))
        arrays = wanting_arrays(f, args, t, layout.unflatten(y0))
        if arrays is None:
            raise
        return backend.prepare(arrays, args, layout, stepper, t0, y0)
