"""Convolutions and pools: what a window that slides over an array of node numbers sees."""

from __future__ import annotations

import math
from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from stiffguide.graphs.graph import Graph
from stiffguide.graphs.refusal import UntraceableError
from stiffguide.graphs.scalars import Scalar, array, total
from stiffguide.tracing.matrices import products
from stiffguide.tracing.reductions import Fold, largest


def slide(x: Tensor, sizes: Sequence[int], strides: Sequence[int], gaps: Sequence[int]) -> Tensor:
    """Windows of the last axes of x: (..., *places, *sizes)."""
    first = x.ndim - len(sizes)
    for k, (size, stride, gap) in enumerate(zip(sizes, strides, gaps, strict=True)):
        x = x.unfold(first + k, (size - 1) * gap + 1, stride)[..., ::gap]
    return x


def _padded(x: Tensor, padding: Sequence[int], number: int) -> Tensor:
    both = [p for p in reversed(padding) for _ in (0, 1)]
    return torch.nn.functional.pad(x, both, value=number)


def convolution(graph: Graph, a: dict[str, Any]) -> Tensor:
    """Cross-correlation of (N, C, ...) with weights (O, C / groups, ...), with its bias."""
    x, weight, groups = a["input"], a["weight"], a["groups"]
    sizes = weight.shape[2:]
    x = slide(_padded(x, a["padding"], graph.const(0.0)), sizes, a["stride"], a["dilation"])
    batch, channels, space = x.shape[0], x.shape[1], x.shape[2 : 2 + len(sizes)]
    x = x.reshape(batch, groups, channels // groups, prod(space), prod(sizes))
    seen = x.permute(0, 1, 3, 2, 4).flatten(-2).tolist()
    kernels = weight.reshape(groups, weight.shape[0] // groups, -1).tolist()
    pages = [[products(graph, w, k) for w, k in zip(page, kernels, strict=True)] for page in seen]
    made = array(pages, (batch, groups, prod(space), -1))
    out = made.mT.reshape(batch, -1, *space)
    if a["bias"] is None:
        return out
    offset = a["bias"].reshape(-1, *(1 for _ in space)).expand_as(out)
    sums = [
        graph.add("add", n, b)
        for n, b in zip(out.flatten().tolist(), offset.flatten().tolist(), strict=True)
    ]
    return array(sums, out.shape)


def _pool(graph: Graph, a: dict[str, Any], fold: Fold, fill: float, gaps: Sequence[int]) -> Tensor:
    """Fold what each window sees of (..., H, W)."""
    sizes, padding = _pair(a["kernel_size"]), _pair(a["padding"])
    strides = _pair(a["stride"]) if a["stride"] else sizes
    if a["ceil_mode"]:
        raise UntraceableError("f pools with ceil_mode, which a kernel cannot carry out")
    x = slide(_padded(a["self"], padding, graph.const(fill)), sizes, strides, gaps)
    seen = x.reshape(-1, prod(sizes)).tolist()
    folded = [fold([Scalar(graph, n) for n in window]).number for window in seen]
    return array(folded, x.shape[:-2])


def _pair(value: Sequence[int]) -> list[int]:
    return list(value) * 2 if len(value) == 1 else list(value)


def average_pool(graph: Graph, a: dict[str, Any]) -> Tensor:
    """Means of windows; the padding counts as zeros."""
    size = a["divisor_override"] or prod(_pair(a["kernel_size"]))
    if any(a["padding"]) and not a["count_include_pad"]:
        raise UntraceableError("f pools without counting the padding: a kernel cannot do that")
    return _pool(graph, a, lambda values: total(values) / float(size), 0.0, (1, 1))


def largest_pool(graph: Graph, a: dict[str, Any]) -> tuple[Tensor | None, ...]:
    """Maxima of windows; their places are not known."""
    return _pool(graph, a, largest, -math.inf, _pair(a["dilation"])), None
