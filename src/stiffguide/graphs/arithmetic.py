"""What the operations of a graph mean: on numbers, on numpy arrays, and on torch tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

Function = Callable[..., Any]
TRUTHS = frozenset({"lt", "le", "eq", "ne", "and", "or", "not"})


def canonical(value: float) -> float:
    """The one float that stands for a value: no -0.0, and only one nan."""
    value = float(value)
    return math.nan if value != value else value + 0.0


def fold(op: str, values: Sequence[float]) -> float:
    """An operation on constants."""
    with np.errstate(all="ignore"):
        return float(NUMPY[op](*(np.float64(v) for v in values)))


class Operations(Protocol):
    """The operations of a graph in one array library."""

    def constant(self, value: float) -> Any:
        """A constant as the library likes it."""
        ...

    def apply(self, op: str, values: Sequence[Any]) -> Any:
        """One operation; truth values are 0 and 1."""
        ...


class NumpyOperations:
    """Operations on numpy arrays and numbers, in float64."""

    def constant(self, value: float) -> Any:
        """A numpy float, so that 1/0 is inf."""
        return np.float64(value)

    def apply(self, op: str, values: Sequence[Any]) -> Any:
        """One operation."""
        result = NUMPY[op](*values)
        return result * 1.0 if op in TRUTHS else result


class TorchOperations:
    """Operations on tensors, in the dtype and on the device of one of them."""

    def __init__(self, like: Tensor) -> None:
        self._like = like

    def constant(self, value: float) -> Any:
        """A 0-dimensional tensor."""
        return self._like.new_tensor(value)

    def apply(self, op: str, values: Sequence[Any]) -> Any:
        """One operation."""
        result: Tensor = TORCH[op](*values)
        return result.to(self._like.dtype) if op in TRUTHS else result


def prepare(t: Any, y: Any, p: Any) -> tuple[Any, Any, Operations]:
    """y and p as arrays that can be indexed, and the operations that go with them."""
    tensors = [v for v in (y, t, p) if isinstance(v, Tensor)]
    if tensors:
        like = tensors[0]
        return torch.as_tensor(y), torch.as_tensor(p, dtype=like.dtype), TorchOperations(like)
    return np.asarray(y, dtype=np.float64), np.asarray(p, dtype=np.float64), NumpyOperations()


def _sign(x: Any) -> Any:
    return np.greater(x, 0) * 1.0 - np.less(x, 0)


def _where(condition: Any, a: Any, b: Any) -> Any:
    return np.where(np.asarray(condition) != 0, a, b)[()]


def _erf(x: Any) -> Any:
    from scipy import special  # which takes a tenth of a second to load

    return special.erf(x)


def _erfc(x: Any) -> Any:
    from scipy import special

    return special.erfc(x)


NUMPY: dict[str, Function] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "neg": np.negative,
    "pow": np.float_power, "fmod": np.fmod, "atan2": np.arctan2,
    "sqrt": np.sqrt, "exp": np.exp, "expm1": np.expm1, "log": np.log, "log1p": np.log1p,
    "abs": np.abs, "sign": _sign,
    "sin": np.sin, "cos": np.cos, "tan": np.tan,
    "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan,
    "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh,
    "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh,
    "erf": _erf, "erfc": _erfc,
    "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc, "round": np.round,
    "min": np.minimum, "max": np.maximum,
    "lt": np.less, "le": np.less_equal, "eq": np.equal, "ne": np.not_equal,
    "and": np.logical_and, "or": np.logical_or, "not": np.logical_not,
    "where": _where,
}  # fmt: skip

TORCH: dict[str, Function] = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div, "neg": torch.neg,
    "pow": torch.pow, "fmod": torch.fmod, "atan2": torch.atan2,
    "sqrt": torch.sqrt, "exp": torch.exp, "expm1": torch.expm1,
    "log": torch.log, "log1p": torch.log1p,
    "abs": torch.abs, "sign": torch.sign,
    "sin": torch.sin, "cos": torch.cos, "tan": torch.tan,
    "asin": torch.asin, "acos": torch.acos, "atan": torch.atan,
    "sinh": torch.sinh, "cosh": torch.cosh, "tanh": torch.tanh,
    "asinh": torch.asinh, "acosh": torch.acosh, "atanh": torch.atanh,
    "erf": torch.erf, "erfc": torch.erfc,
    "floor": torch.floor, "ceil": torch.ceil, "trunc": torch.trunc, "round": torch.round,
    "min": torch.minimum, "max": torch.maximum,
    "lt": torch.lt, "le": torch.le, "eq": torch.eq, "ne": torch.ne,
    "and": torch.logical_and, "or": torch.logical_or, "not": torch.logical_not,
    "where": lambda c, a, b: torch.where(c != 0, a, b),
}  # fmt: skip
