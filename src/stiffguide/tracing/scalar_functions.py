"""The functions of `math` and `numpy`, for tensors in the place of numbers."""

from __future__ import annotations

import functools
import math
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

Function = Callable[..., Any]

_ALIKE = (
    *("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "sin", "cos", "tan"),
    *("sinh", "cosh", "tanh", "asin", "acos", "atan", "asinh", "acosh", "atanh", "atan2"),
    *("floor", "ceil", "trunc", "pow", "hypot", "fmod", "copysign", "erf", "erfc"),
    *("arcsin", "arccos", "arctan", "arcsinh", "arccosh", "arctanh", "arctan2", "square", "sign"),
    *("maximum", "minimum", "abs", "power", "deg2rad", "rad2deg", "reciprocal"),
)
_CALLED = {"fabs": "abs", "absolute": "abs", "power": "pow"}
_HOUSES = {"math": math, "numpy": np}


def of_tensors(value: Any) -> Any:
    """What stands for a library, or a function of one, where its arguments may be tensors."""
    if isinstance(value, types.ModuleType):
        return _Library(value) if value in _HOUSES.values() else value
    name = getattr(value, "__name__", "")
    house = "numpy" if isinstance(value, np.ufunc) else getattr(value, "__module__", "")
    if name in _ALIKE or name in _CALLED:
        found = getattr(_HOUSES.get(house), name, None)
        if found is value:
            return _either(value, name)
    return value


class _Library:
    """`math` or `numpy`, with some functions exchanged."""

    def __init__(self, module: types.ModuleType) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return of_tensors(getattr(self._module, name))


@functools.cache
def _either(f: Function, name: str) -> Function:
    theirs: Function = getattr(torch, _CALLED.get(name, name))

    @functools.wraps(f, updated=())
    def call(*args: Any, **more: Any) -> Any:
        if not any(isinstance(x, Tensor) for x in args):
            return f(*args, **more)
        return theirs(*[torch.as_tensor(x, dtype=torch.float64) for x in args], **more)

    return call
