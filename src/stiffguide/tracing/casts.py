"""What a change of dtype does to numbers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stiffguide.graphs.graph import Graph
from stiffguide.graphs.refusal import UntraceableError
from stiffguide.graphs.scalars import array


def cast(
    graph: Graph, func: Any, source: Tensor, numbers: Tensor, out: Tensor, coarsest: float
) -> Tensor:
    """Node numbers of `source`, which has `numbers`, in the dtype and shape of `out`.

    Raises UntraceableError where its eps exceeds both `coarsest` and that of the source.
    """
    numbers = numbers.expand(out.shape)
    change: tuple[Any, ...]
    if out.dtype == torch.bool and source.dtype != torch.bool:
        change = ("ne", graph.const(0.0))
    elif source.is_floating_point() and not out.is_floating_point():
        change = ("trunc",)
    else:
        if source.is_floating_point() and torch.finfo(out.dtype).eps > max(
            coarsest, torch.finfo(source.dtype).eps
        ):
            raise UntraceableError(f"f rounds to {out.dtype} ({func}), coarser than the state")
        return numbers.clone()
    op, *rest = change
    return array([graph.add(op, n, *rest) for n in numbers.flatten().tolist()], out.shape)
