"""Parameters of B rows: an array (B, ...), or a dict of such."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from stiffguide.errors import InputError

Array = NDArray[Any]
Parameters = Any  # an array (B, ...), or a dict of them
BLOCK = 2**20  # rows that are hashed together


def mapped(arrays: Parameters, change: Callable[[Any], Any]) -> Parameters:
    """The same with every array changed."""
    if isinstance(arrays, Mapping):
        return {name: change(array) for name, array in arrays.items()}
    return change(arrays)


def named(arrays: Parameters) -> dict[str, Array]:
    """Arrays by their names; what has none is "p"."""
    return dict(arrays) if isinstance(arrays, Mapping) else {"p": arrays}


def length(arrays: Parameters) -> int:
    """The number of rows."""
    return len(next(iter(named(arrays).values())))


def digest(arrays: Parameters) -> str:
    """A hash of names, kinds and numbers."""
    found = hashlib.sha256()
    for name, array in named(arrays).items():
        found.update(f"{name} {array.dtype.str} {array.shape}".encode())
        for start in range(0, len(array), BLOCK):
            found.update(np.ascontiguousarray(array[start : start + BLOCK]).tobytes())
    return found.hexdigest()


def checked(params: Any) -> Parameters:
    """Checked: numpy arrays (N, ...) of numbers, with one N."""
    held = mapped(params, _array)
    lengths = {name: len(array) for name, array in named(held).items()}
    if len(set(lengths.values())) != 1:
        shown = ", ".join(f"{name} {rows}" for name, rows in lengths.items()) or "nothing"
        raise InputError(f"params must have one number of rows, not {shown}")
    if not next(iter(lengths.values())):
        raise InputError("params have no rows: there is nothing to solve")
    return held


def _array(value: Any) -> Array:
    found = value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asanyarray(value)
    if found.dtype.kind not in "biuf" or found.ndim == 0:
        raise InputError(
            f"params must be arrays of numbers (N, ...), not {found.dtype} {found.shape}"
        )
    return found
