"""A field of one state as a field of rows, each with parameters of its own.

Users write f(t, y, *parameters, *known) for one state, as for a solve that is not batched. In a
kernel one row is all that is ever looked at; the eager loop maps f over rows by `torch.vmap`, or
takes them one by one where f branches on their values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stiffguide.errors import InputError, UnsupportedError
from stiffguide.fields.array_function import ArrayFunction
from stiffguide.fields.flat import refuse_mixed_dtypes
from stiffguide.fields.layout import Layout
from stiffguide.fitting.parameters import Form

Function = Callable[..., Any]
WHAT = "the value of f"


def rowwise(f: Function, layout: Layout, form: Form, known: tuple[Any, ...]) -> Function:
    """field(t (B,), y (B, F), theta (B, n), *own), where `own` (B, ...) fills the gaps in known.

    Gaps are None, and there is one for each of `own`.
    """

    def one(t: Tensor, y: Tensor, theta: Tensor, *own: Tensor) -> Tensor:
        left = iter(own)
        args = [next(left) if x is None else x for x in known]
        value = f(t, layout.unflatten(y), *form.arguments(form.leaves(theta)), *args)
        return layout.flatten(value, WHAT)[0]

    def field(t: Tensor, y: Tensor, theta: Tensor, *own: Tensor) -> Tensor:
        if len(y) == 1:  # which a trace can follow
            return one(t[0], y[0], theta[0], *(x[0] for x in own)).unsqueeze(0)
        try:
            return torch.vmap(one)(t, y, theta, *own)
        except RuntimeError:  # in torch's words, on values that decide
            rows = zip(t, y, theta, *own, strict=True)
            return torch.stack([one(*row) for row in rows])

    vars(field)["by_row"] = True  # its branches are those of one row, which a trace may follow
    return field


def of_arrays(f: Function, layout: Layout, form: Form, known: tuple[Any, ...]) -> ArrayFunction:
    """The same of a function of numpy arrays."""
    if not layout.single:
        raise UnsupportedError("f takes numpy arrays, and y0 is nested: give y0 as one array")
    shape, shapes, keys = layout.feature_shape, form.shapes, form.keys
    sizes = [int(np.prod(s)) for s in shapes]
    ends = np.cumsum(sizes).tolist()
    places = [(end - size, end) for size, end in zip(sizes, ends, strict=True)]

    def one(t: Any, y: Any, theta: Any, *own: Any) -> Any:
        left = iter(own)
        args = [next(left) if x is None else x for x in known]
        leaves = []
        for (a, b), s in zip(places, shapes, strict=True):
            leaves.append(theta[a:b].reshape(s) if s else theta[a])
        given = leaves if keys is None else [dict(zip(keys, leaves, strict=True))]
        return f(t, y.reshape(shape), *given, *args)

    return ArrayFunction(one, by_row=True)


def understood(
    f: Function, layout: Layout, form: Form, known: tuple[Any, ...], at: tuple[Tensor, ...]
) -> Function:
    """f as a field of rows, whichever it takes; `at` is t (), y (F,), theta (n,), *own there.

    Raises what f raises on tensors where it takes neither these nor arrays.
    """
    if not callable(f):
        raise InputError(f"f must be callable, not {type(f).__name__}")
    field = rowwise(f, layout, form, known)
    rows = [x.unsqueeze(0) for x in at]
    try:  # numpy refuses a tensor with a gradient
        with torch.enable_grad():
            value = field(*(x.clone().requires_grad_() * 1 for x in rows))
        return _checked(field, value.detach())
    except Exception as error:  # whatever a function of arrays raises on tensors
        try:
            arrays = of_arrays(f, layout, form, known)
            arrays(*rows)
        except InputError as wrong:  # the shape of an array
            raise wrong from None
        except Exception:  # the user shall see what f says on tensors
            if isinstance(error, RuntimeError):
                refuse_mixed_dtypes(error, torch.float64)
            raise error from None
        return arrays


def _checked(field: Function, value: Tensor) -> Function:
    if not bool(value.isfinite().all()):
        raise InputError("f has a value that is not finite at t0, y0 and params, the start")
    return field
