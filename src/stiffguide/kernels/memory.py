"""The calls that were made before, by all that was asked of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stiffguide.fields.array_function import ArrayFunction
from stiffguide.kernels.calls import Call
from stiffguide.stepping.output import End, EveryStep
from stiffguide.tracing.tracer import anchor

MOST = 256  # calls, after which all are forgotten
SMALL = 512  # numbers of a tolerance or of times that are compared in every call
PLAIN = (torch.float64, torch.float32)

# with the objects that count by identity, for what is gone may have its address taken
_CALLS: dict[Hashable, tuple[Call, tuple[Any, ...]]] = {}


def asked(
    f: Callable[..., Any], y0: Any, numbers: tuple[Any, ...], objects: tuple[Any, ...]
) -> Hashable | None:
    """The name of a call, or None for one that is not worth a name.

    `numbers` count by what they are, `objects` by identity, and f by its code.
    """
    if type(y0) is not Tensor:
        return None
    values = []
    for value in numbers:
        if not isinstance(value, (float, int, str, type(None))):
            value = _content(value)
            if value is None:
                return None
        values.append(value)
    arrays = f.column if type(f) is ArrayFunction else None
    return anchor(f), arrays, y0.shape, *values, *[x if type(x) is str else id(x) for x in objects]


def _content(value: Any) -> Hashable | None:
    """A few numbers, or what is to be kept, as a value; None for anything else."""
    if type(value) in (End, EveryStep):
        return str(value.kept)
    if type(value) is Tensor and value.is_cpu and not (value.requires_grad or value.is_neg()):
        if value.numel() <= SMALL and value.dtype in PLAIN:
            return value.dtype, value.shape, value.numpy().tobytes()
    elif type(value) is np.ndarray:
        if value.size <= SMALL and value.dtype != object:
            return value.dtype.str, value.shape, value.tobytes()
    elif (
        type(value) in (list, tuple)
        and len(value) <= SMALL
        and all(isinstance(x, (float, int)) for x in value)
    ):
        return tuple(value)
    return None


def known(name: Hashable | None) -> Call | None:
    """The call of that name, if there is one."""
    found = _CALLS.get(name)
    return None if found is None else found[0]


def remember(name: Hashable, call: Call, objects: tuple[Any, ...]) -> None:
    """Keep a call, and the objects that its name is made of."""
    if len(_CALLS) >= MOST:
        _CALLS.clear()
    _CALLS[name] = (call, objects)


def forget() -> None:
    """Drop them all."""
    _CALLS.clear()
