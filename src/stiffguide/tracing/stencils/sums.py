"""Sums of entries: along axes, over windows, with the weights of a matrix, into places.

A rule takes the operands, the arguments by the names of the schema, and the shape of the result.
Weights of matrices and convolutions that are zero have no part in a sum.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stiffguide.graphs.refusal import UntraceableError
from stiffguide.graphs.scalars import Scalar
from stiffguide.tracing.movement import destinations
from stiffguide.tracing.sources import readable
from stiffguide.tracing.stencils.entries import Numbers
from stiffguide.tracing.stencils.operands import Operands

Arguments = dict[str, Any]
Fold = Callable[[Scalar, Scalar], Scalar]
MOST_TERMS = 64  # of a sum
FIXED = "f multiplies by a matrix, or weights, that depend on t or y"


def _add(x: Scalar, y: Scalar) -> Scalar:
    return x + y


def _axes(a: Arguments, ndim: int) -> list[int]:
    dims = a.get("dim")
    if isinstance(dims, int):
        dims = [dims]
    return sorted(d % max(ndim, 1) for d in dims) if dims else list(range(ndim))


def _folded(fold: Fold, mean: bool, o: Operands, a: Arguments, shape: Any) -> Tensor:
    """Entries along some axes folded into one, in pairs, then pairs of pairs."""
    x = a["self"]
    axes = _axes(a, x.ndim)
    kept = [d for d in range(x.ndim) if d not in axes]
    terms = prod(x.shape[d] for d in axes)
    _limit(terms)
    numbers = o.all_numbers(x, x.shape)
    rows = numbers.reshape(x.shape).transpose(kept + axes).reshape(-1, terms)
    columns = [np.ascontiguousarray(column) for column in rows.T]
    while len(columns) > 1:
        pairs = zip(columns[::2], columns[1::2], strict=False)
        made = [o.entries.apply(fold, pair, len(rows)) for pair in pairs]
        columns = made + columns[len(columns) // 2 * 2 :]
    found = columns[0]
    if mean:
        found = o.entries.apply(lambda s: s / float(terms), [found], len(rows))
    return torch.from_numpy(found).reshape(tuple(shape))


def _limit(terms: int) -> None:
    if terms > MOST_TERMS:
        raise UntraceableError(
            f"f sums over {terms} entries, which depends on too much for a loop over a grid"
        )


def _gathered(
    o: Operands, start: Numbers | None, values: Numbers, places: NDArray[np.int64], size: int
) -> Numbers:
    """The sums of values that have the same place, on top of what is there at the start."""
    order = np.argsort(places, kind="stable")
    sorted_places = places[order]
    first = np.searchsorted(sorted_places, sorted_places)
    rank = np.arange(len(order)) - first
    _limit(int(rank.max()) + 1 if len(rank) else 0)
    sums = np.full(size, o.entries.zero) if start is None else start.copy()
    for k in range(int(rank.max()) + 1 if len(rank) else 0):
        these = order[rank == k]
        at = places[these]
        sums[at] = o.entries.apply(_add, [sums[at], values[these]], len(at))
    return sums


def _accumulated(name: str, source: str, o: Operands, a: Arguments, shape: Any) -> Tensor:
    """index_add and the like."""
    places = destinations(name, torch.Size(shape), a)
    values = a[source]
    if name == "scatter_add":
        values = values[tuple(slice(n) for n in places.shape)]
    numbers = o.all_numbers(values, places.shape)
    if a.get("alpha", 1) != 1:
        alpha = float(a["alpha"])
        numbers = o.entries.apply(lambda x: alpha * x, [numbers], len(numbers))
    start = o.all_numbers(a["self"], shape)
    found = _gathered(o, start, numbers, places.reshape(-1).numpy(), int(np.prod(shape)))
    return torch.from_numpy(found).reshape(tuple(shape))


def _matrix(matrix: Tensor) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Rows, columns and values of what is not zero."""
    if matrix.layout == torch.strided:
        dense = readable(matrix).cpu().double()
        at = dense.nonzero()
        return at[:, 0].numpy(), at[:, 1].numpy(), dense[at[:, 0], at[:, 1]].numpy()
    coo = matrix.detach().to_sparse_coo().coalesce().cpu()
    i, j = coo.indices().numpy()
    return i, j, coo.values().double().numpy()


def _product(o: Operands, left: Tensor, right: Tensor) -> Numbers:
    """The numbers of left @ right, of which one is constant, flattened."""
    if o.known(right):
        found = _product(o, right.t(), left.t())
        return found.reshape(right.shape[1], -1).T.reshape(-1)
    if not o.known(left):
        raise UntraceableError(FIXED)
    i, j, values = _matrix(left)
    weights = o.entries.constants(values)
    numbers = o.all_numbers(right, right.shape).reshape(right.shape)
    made = np.empty((left.shape[0], right.shape[1]), dtype=np.int64)
    for k in range(right.shape[1]):
        terms = o.entries.apply(lambda w, x: w * x, [weights, numbers[j, k]], len(j))
        made[:, k] = _gathered(o, None, terms, i, left.shape[0])
    return made.reshape(-1)


def _mm(left: str, right: str, o: Operands, a: Arguments, shape: Any) -> Tensor:
    return torch.from_numpy(_product(o, a[left], a[right])).reshape(tuple(shape))


def _mv(o: Operands, a: Arguments, shape: Any) -> Tensor:
    found = _product(o, a["self"], a["vec"].unsqueeze(-1))
    return torch.from_numpy(found).reshape(tuple(shape))


def _bmm(o: Operands, a: Arguments, shape: Any) -> Tensor:
    pages = [_product(o, x, y) for x, y in zip(a["self"], a["mat2"], strict=True)]
    return torch.from_numpy(np.concatenate(pages)).reshape(tuple(shape))


def _fused(left: str, right: str, o: Operands, a: Arguments, shape: Any) -> Tensor:
    """Beta self + alpha left @ right."""
    vector = a[right].ndim == 1
    made = _product(o, a[left], a[right].unsqueeze(-1) if vector else a[right])
    alpha, beta = float(a["alpha"]), float(a["beta"])
    start = o.numbers(a["self"], shape)
    return o.combined(lambda x, m: beta * x + alpha * m, [start, made], shape)


def _average(o: Operands, a: Arguments, shape: Any) -> Tensor:
    """Means of windows of (..., H, W); the padding counts as zeros."""
    sizes = _pair(a["kernel_size"])
    padding = _pair(a["padding"])
    if a["ceil_mode"] or (any(padding) and not a["count_include_pad"]):
        raise UntraceableError(
            "f pools in a way that has no rule: ceil_mode, or padding not counted"
        )
    x = a["self"]
    numbers = torch.from_numpy(o.all_numbers(x, x.shape)).reshape(x.shape)
    both = [p for p in reversed(padding) for _ in (0, 1)]
    pages = torch.nn.functional.pad(numbers, both, value=o.entries.zero).flatten(0, -3)
    steps = {"stride": _pair(a["stride"]) if a["stride"] else sizes, "dilation": [1, 1]}
    total = np.full(prod(shape), o.entries.zero)
    _limit(prod(sizes))
    for tap in product(*map(range, sizes)):
        seen = _window(pages, tap, shape[-2:], steps)
        total = o.entries.apply(_add, [total, seen], len(total))
    size = float(a["divisor_override"] or prod(sizes))
    return o.combined(lambda s: s / size, [total], shape)


def _pair(value: Any) -> list[int]:
    return list(value) * 2 if len(value) == 1 else list(value)


def _convolution(o: Operands, a: Arguments, shape: Any) -> Tensor:
    """Cross-correlation of (N, C, ...) with weights (O, C / groups, ...): one tap at a time."""
    x, weight = a["input"], a["weight"]
    if a["transposed"] or not o.known(weight):
        raise UntraceableError(FIXED if not a["transposed"] else "f convolves transposed")
    weights = readable(weight).cpu().double()
    numbers = torch.from_numpy(o.all_numbers(x, x.shape)).reshape(x.shape)
    both = [p for p in reversed(a["padding"]) for _ in (0, 1)]
    padded = torch.nn.functional.pad(numbers, both, value=o.entries.zero)
    into, out_of = weight.shape[1], weight.shape[0] // a["groups"]
    pages = []
    for out in range(weight.shape[0]):
        first = out // out_of * into
        page = np.full(prod(shape[2:]) * shape[0], o.entries.zero)
        for tap in product(*(range(n) for n in weight.shape[1:])):
            factor = float(weights[(out, *tap)])
            if factor:
                seen = _window(padded[:, first + tap[0]], tap[1:], shape[2:], a)
                page = o.entries.apply(partial(_fma, factor), [page, seen], len(page))
        pages.append(torch.from_numpy(page).reshape(shape[0], *shape[2:]))
    found = torch.stack(pages, 1)
    if a["bias"] is None:
        return found
    bias = a["bias"].reshape(-1, *(1 for _ in shape[2:]))
    return o.combined(_add, [found.reshape(-1).numpy(), o.numbers(bias, shape)], shape)


def _fma(factor: float, total: Scalar, x: Scalar) -> Scalar:
    return total + factor * x


def _window(x: Tensor, tap: Any, shape: Any, a: Arguments) -> Numbers:
    """What a tap sees of (N, ...), flattened."""
    steps = zip(tap, shape, a["stride"], a["dilation"], strict=True)
    slices = [slice(k * gap, k * gap + (n - 1) * step + 1, step) for k, n, step, gap in steps]
    seen: Numbers = x[(slice(None), *slices)].reshape(-1).numpy()
    return seen


SUMS: dict[str, Callable[[Operands, Arguments, Any], Tensor]] = {
    "sum": partial(_folded, _add, False),
    "mean": partial(_folded, _add, True),
    "prod": partial(_folded, lambda x, y: x * y, False),
    "amax": partial(_folded, lambda x, y: x.apply("max", y), False),
    "amin": partial(_folded, lambda x, y: x.apply("min", y), False),
    "avg_pool2d": _average,
    "index_add": partial(_accumulated, "index_add", "source"),
    "scatter_add": partial(_accumulated, "scatter_add", "src"),
    "index_put_add": partial(_accumulated, "index_put", "values"),
    "mm": partial(_mm, "self", "mat2"),
    "_sparse_mm": partial(_mm, "sparse", "dense"),
    "mv": _mv,
    "bmm": _bmm,
    "addmm": partial(_fused, "mat1", "mat2"),
    "_sparse_addmm": partial(_fused, "mat1", "mat2"),
    "addmv": partial(_fused, "mat", "vec"),
    "convolution": _convolution,
}
