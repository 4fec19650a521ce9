"""What matrix products, convolutions, transforms and linear algebra do to index sets.

A product with a constant 0 leaves no trace, so that a matrix of constants that is mostly zeros is
as good as a sparse one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from stiffguide.graphs.refusal import UntraceableError
from stiffguide.tracing.beside import CONSTANT, Given
from stiffguide.tracing.index_sets import MOVING, check
from stiffguide.tracing.set_rules import SetRule, axes, united
from stiffguide.tracing.windows import slide

if TYPE_CHECKING:
    from stiffguide.tracing.sets import Sets

Sparse = tuple[Any, Any, Any]  # rows, columns and numbers of the entries that are no constant 0


def _entries(s: Sets, x: Tensor) -> Sparse:
    """Those of (G, I, K) as a matrix of blocks (G I, G K), one beneath the next."""
    if x.layout != torch.strided:
        if x.ndim != 2:
            raise UntraceableError("f multiplies by a batch of sparse matrices")
        x = x.to_sparse_coo().coalesce()
        at, values = x.indices().numpy(), x.values().numpy()
        rows, columns = at[:, values != 0]
        return rows, columns, np.zeros(len(rows), dtype=np.int64)
    numbers = s.numbers(x)
    g, i, k = ((numbers != CONSTANT) | (x != 0)).nonzero().numpy().T
    return g * x.shape[1] + i, g * x.shape[2] + k, numbers.numpy()[g, i, k]


def _matmul(s: Sets, a: Tensor, b: Tensor) -> Tensor:
    """Numbers (G, I, J) of the product of (G, I, K) with (G, K, J)."""
    if a.layout == torch.strided and b.layout == torch.strided:
        whole = _of_lines(s, a, b)
        if whole is not None:
            return whole
    i, k, left = _entries(s, a if a.layout != torch.strided or a.ndim == 3 else a[None])
    l, j, right = _entries(s, b if b.layout != torch.strided or b.ndim == 3 else b[None])
    groups, width = (a.shape[0] if a.ndim == 3 else 1), b.shape[-1]
    height, depth = groups * a.shape[-2], groups * a.shape[-1]
    by_row = np.argsort(l, kind="stable")
    starts = np.searchsorted(l[by_row], np.arange(depth + 1))
    many = np.diff(starts)[k]  # entries of b that each entry of a meets
    check(int(many.sum()))
    first = np.repeat(np.arange(len(k)), many)
    within = np.arange(len(first)) - np.repeat(np.cumsum(many) - many, many)
    second = by_row[starts[k[first]] + within]
    place = i[first] * width + j[second] % width
    # of each pair the two sets; constants have none
    terms = np.concatenate((left[first], right[second]))
    place = np.concatenate((place, place))[terms != CONSTANT]
    order = np.argsort(place, kind="stable")
    ends = np.searchsorted(place[order], np.arange(height * width + 1))
    united = torch.from_numpy(terms[terms != CONSTANT])
    return s.sets.product(order, ends, united).reshape(groups, -1, width)


def _of_lines(s: Sets, a: Tensor, b: Tensor) -> Tensor | None:
    """The same where nothing is a constant: all of a line of a, and of a column of b."""
    m, n = s.numbers(a), s.numbers(b)
    if not (bool(m.all()) and bool(n.all())):
        return None
    m, n = united(s, m, [m.ndim - 1]), united(s, n, [n.ndim - 2])
    return s.sets.union([m, n], torch.broadcast_shapes(m.shape, n.shape))


def _mm(first: str, second: str, s: Sets, a: Given, outs: list[Tensor]) -> list[Tensor]:
    """(self +) first @ second, of matrices and vectors."""
    left, right = a[first], a[second]
    if left.ndim == 1:
        left = left.unsqueeze(0)
    if right.ndim == 1:
        right = right.unsqueeze(1)
    made = _matmul(s, left, right).reshape(outs[0].shape)
    if "beta" in a and a["beta"] != 0:
        made = s.sets.union([s.numbers(a["self"]), made], made.shape)
    return [made]


def _windows(
    image: Sequence[int],
    sizes: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    """Places (..., *out, *sizes) of (..., *space) that every window sees; -1 is the padding."""
    places = torch.arange(prod(image)).reshape(tuple(image))
    both = [p for p in reversed(padding) for _ in (0, 1)]
    padded = torch.nn.functional.pad(places, both, value=-1)
    return slide(padded, sizes, stride, dilation)


def _taps(a: Given, image: torch.Size, weight: Tensor) -> tuple[Any, Any, tuple[int, ...]]:
    """Pairs (out, in) of places that a convolution with constants connects, and its shape."""
    windows = _windows(image, weight.shape[2:], a["stride"], a["padding"], a["dilation"])
    n, space = image[0], windows.shape[2 : weight.ndim]
    shape = (n, weight.shape[0], *space)
    out = torch.arange(prod(shape)).reshape(shape)
    deep, wide = weight.shape[1], weight.shape[0] // a["groups"]
    used = a["used"]
    check(int(used.sum()) * n * prod(space))
    pairs = []
    for channel, tap in product(range(deep), np.ndindex(*weight.shape[2:])):
        to = used[:, channel][(..., *tap)].nonzero()[:, 0]
        seen = windows[(..., *tap)][:, to // wide * deep + channel]
        pairs.append(torch.stack((out[:, to].flatten(), seen.flatten())))
    ends, starts = torch.cat(pairs, 1).numpy()
    return ends[starts >= 0], starts[starts >= 0], shape


def _convolution(s: Sets, a: Given, outs: list[Tensor]) -> list[Tensor]:
    x, weight = a["input"], a["weight"]
    a = {**a, "used": _used(s, weight)}
    if a["transposed"]:  # the adjoint of a convolution of the result
        starts, ends, _ = _taps(a, outs[0].shape, weight)
    else:
        ends, starts, _ = _taps(a, x.shape, weight)
    found = _connected(s, ends, starts, s.numbers(x), outs[0])
    if a["bias"] is not None:
        bias = s.numbers(a["bias"]).reshape(-1, *(1 for _ in x.shape[2:]))
        found = s.sets.union([found, bias], found.shape)
    return [found]


def _used(s: Sets, weight: Tensor) -> Tensor:
    """Which weights are no constant 0."""
    numbers = s.numbers(weight)
    if bool((numbers > MOVING).any()):
        raise UntraceableError("f convolves with weights that depend on y")
    return (weight != 0) | (numbers == MOVING)


def _back(s: Sets, a: Given, outs: list[Tensor]) -> list[Tensor]:
    """The derivative by the image."""
    if a["output_mask"][1] or a["output_mask"][2]:
        raise UntraceableError("f differentiates a convolution by its weights")
    a = {**a, "used": _used(s, a["weight"])}
    starts, ends, _ = _taps(a, a["input"].shape, a["weight"])
    if a["transposed"]:
        ends, starts, _ = _taps(a, a["grad_output"].shape, a["weight"])
    return [_connected(s, ends, starts, s.numbers(a["grad_output"]), outs[0])]


def _pool(ndim: int, s: Sets, a: Given, outs: list[Tensor]) -> list[Tensor]:
    """Means or maxima of windows on the last axes."""
    sizes = _each(a["kernel_size"], ndim)
    stride = _each(a["stride"], ndim) if a["stride"] else sizes
    padding, dilation = _each(a["padding"], ndim), _each(a.get("dilation", 1), ndim)
    numbers, out = s.numbers(a["self"]), outs[0]
    seen = _windows(numbers.shape, sizes, stride, padding, dilation)
    if seen.shape[: out.ndim] != out.shape:
        raise UntraceableError("f pools with ceil_mode")
    starts = seen.reshape(-1).numpy()
    ends = np.repeat(np.arange(out.numel()), prod(sizes))
    inside = starts >= 0
    return [_connected(s, ends[inside], starts[inside], numbers, out)] * len(outs)


def _each(value: int | Sequence[int], ndim: int) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * ndim if len(values) == 1 else values


def _connected(s: Sets, ends: Any, starts: Any, numbers: Tensor, out: Tensor) -> Tensor:
    order = np.argsort(ends, kind="stable")
    borders = np.searchsorted(ends[order], np.arange(out.numel() + 1))
    return s.sets.product(starts[order], borders, numbers.reshape(-1)).reshape(out.shape)


def _transform(s: Sets, a: Given, outs: list[Tensor]) -> list[Tensor]:
    """Fourier's: every entry of the axes."""
    x = s.numbers(a["self"])
    return [united(s, x, axes(a["dim"], x.ndim)).expand(outs[0].shape)]


def _system(s: Sets, a: Given, outs: list[Tensor]) -> list[Tensor]:
    """X of A X = B: all of A, and all of the side's column."""
    matrix, sides = s.numbers(a["A"]), s.numbers(a["B"])
    vector = sides.ndim == 1 or (sides.ndim == matrix.ndim - 1 and matrix.ndim > 2)
    if vector:
        sides = sides.unsqueeze(-1)
    whole = united(s, matrix, [matrix.ndim - 2, matrix.ndim - 1])
    lines = united(s, sides, [sides.ndim - (2 if a["left"] else 1)])
    shape = torch.broadcast_shapes(whole.shape, lines.shape)
    made = s.sets.union([whole, lines], shape)
    made = (made.squeeze(-1) if vector else made).expand(outs[0].shape)
    return [made] + [_all(s, [matrix], o) for o in outs[1:]]


def _factors(s: Sets, a: Given, outs: list[Tensor]) -> list[Tensor]:
    """Inverses, determinants, factors: all of the matrix."""
    given = [s.numbers(x) for x in a.values() if isinstance(x, Tensor) and x.ndim > 1]
    return [_all(s, given, o) for o in outs]


def _all(s: Sets, given: list[Tensor], out: Tensor) -> Tensor:
    """The union of matrices (..., n, m), for a result with the same axes in front."""
    parts = [united(s, x, [x.ndim - 2, x.ndim - 1]).squeeze((-2, -1)) for x in given]
    whole = s.sets.union(parts, torch.broadcast_shapes(*(p.shape for p in parts)))
    if out.shape[: whole.ndim] != whole.shape:
        raise UntraceableError("f uses a function of matrices in a form that has no rule")
    return whole.reshape((*whole.shape, *(1 for _ in out.shape[whole.ndim :]))).expand(out.shape)


PRODUCTS: dict[str, SetRule] = {
    "mm": partial(_mm, "self", "mat2"),
    "bmm": partial(_mm, "self", "mat2"),
    "mv": partial(_mm, "self", "vec"),
    "dot": partial(_mm, "self", "tensor"),
    "vdot": partial(_mm, "self", "other"),
    "addmm": partial(_mm, "mat1", "mat2"),
    "_sparse_addmm": partial(_mm, "mat1", "mat2"),
    "addmv": partial(_mm, "mat", "vec"),
    "baddbmm": partial(_mm, "batch1", "batch2"),
    "convolution": _convolution,
    "convolution_backward": _back,
    "avg_pool2d": partial(_pool, 2),
    "avg_pool3d": partial(_pool, 3),
    "max_pool2d_with_indices": partial(_pool, 2),
    "max_pool3d_with_indices": partial(_pool, 3),
    "_linalg_solve_ex": _system,
    **dict.fromkeys(("_fft_r2c", "_fft_c2c", "_fft_c2r"), _transform),
    **dict.fromkeys(
        (
            "linalg_inv_ex", "_linalg_det", "_linalg_slogdet", "linalg_cholesky_ex", "linalg_qr",
            "linalg_solve_triangular", "cholesky_solve", "linalg_lu_factor_ex", "linalg_lu",
            "_linalg_eigh", "linalg_eig", "_linalg_eigvals", "_linalg_svd", "linalg_matrix_exp",
            "linalg_pinv", "linalg_lstsq", "linalg_lu_solve", "linalg_eigvals",
        ),
        _factors,
    ),
}  # fmt: skip
