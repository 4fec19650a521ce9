"""A solution in arrays of numpy."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._pytree import tree_map

from stiffguide.solution.solution import Solution

Array = NDArray[Any]


class Happened(NamedTuple):
    """Every time that one event happened."""

    row: Array  # (M,) int64
    t: Array  # (M,)
    y: Any  # (M, ...), nested as y0


class Arrays(NamedTuple):
    """A solution in arrays of numpy, in the shapes of `Solution`; a scipy user's y is `y.T`."""

    t: Array  # (T,), or (B, T)
    y: Any  # (T, ...), or (B, T, ...); nested as y0
    success: Array  # () or (B,) bool
    status: Array  # () or (B,) int64, of `errors.Status`
    message: str
    accepted: Array  # () or (B,) int64, as the next four
    rejected: Array
    nfe: Array
    njac: Array
    nlu: Array
    events: tuple[Happened, ...]
    dy_dp: Any  # (T, ..., P), or None
    dy_dy0: Array | None  # (T, F, F)


def arrays(x: Solution[Any]) -> Arrays:
    """The solution, detached and on the CPU; bfloat16, which numpy lacks, as float32."""
    return Arrays(
        t=array(x.t),
        y=tree_map(array, x.y),
        success=array(x.success),
        status=array(x.status),
        message=x.message,
        **{name: array(count) for name, count in x.stats.as_dict().items()},
        events=tuple(
            Happened(array(one.row), array(one.t), tree_map(array, one.y)) for one in x.events
        ),
        dy_dp=tree_map(array, x.dy_dp),
        dy_dy0=None if x.dy_dy0 is None else array(x.dy_dy0),
    )


def array(x: Tensor | None) -> Any:
    """A tensor's numbers: an own copy where it is not on the CPU, or not plain."""
    if x is None:
        return None
    plain = x.detach().cpu().resolve_conj().resolve_neg()
    found: Array = (plain.float() if plain.dtype == torch.bfloat16 else plain).numpy()
    return np.asarray(found)
