"""What matrix products, transforms and linear algebra do to index sets.

A product with a constant 0 leaves no trace, so that a matrix of constants that is mostly zeros is
as good as a sparse one.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from stiffguide.graphs.refusal import UntraceableError
from stiffguide.tracing.beside import CONSTANT, Given
from stiffguide.tracing.index_sets import check
from stiffguide.tracing.set_rules import SetRule, axes, united

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
    """The same where there is no constant 0: all of a line of a, and of a column of b."""
    m, n = s.numbers(a), s.numbers(b)
    if not all(bool(((k != CONSTANT) | (x != 0)).all()) for k, x in ((m, a), (n, b))):
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
