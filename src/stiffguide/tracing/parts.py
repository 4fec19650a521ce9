"""Operations of ATen taken apart into simpler ones, where torch's own table does not do it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from stiffguide.graphs.refusal import UntraceableError

Parts = Callable[..., Any]
LARGEST_FACTORISED = 8  # rows of a matrix


def _trilinear(a: Tensor, b: Tensor, c: Tensor, *rest: Any) -> Tensor:
    """The sum over some axes of a b c, each with new axes where it has none."""
    for axes, which in zip(rest[:3], range(3), strict=True):
        for axis in axes:
            a, b, c = (x.unsqueeze(axis) if k == which else x for k, x in enumerate((a, b, c)))
    made: Tensor = (a * b * c).sum(rest[3])
    return made


def _distances(x: Tensor, y: Tensor, p: float, mode: int | None) -> Tensor:
    between = x.unsqueeze(-2) - y.unsqueeze(-3)
    found: Tensor = torch.linalg.vector_norm(between, p, dim=-1)
    return found


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    attn_mask: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    if dropout_p:
        raise UntraceableError("f draws random numbers (dropout in an attention)")
    scores = query @ key.mT * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if is_causal:
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(later, float("-inf"))
    if attn_mask is not None:
        scores = scores + attn_mask
    return torch.softmax(scores, -1) @ value, torch.logsumexp(scores, -1)


def _leaky(
    x: Tensor,
    noise: Tensor,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    generator: Any = None,
) -> Tensor:
    if training:
        raise UntraceableError("f draws random numbers (rrelu)")
    return torch.nn.functional.leaky_relu(x, (lower + upper) / 2)


def _cholesky(
    matrix: Tensor, *, upper: bool = False, check_errors: bool = False
) -> tuple[Tensor, Tensor]:
    n = matrix.shape[-1]
    if n > LARGEST_FACTORISED:
        raise UntraceableError(
            f"f factorises a matrix of {n} rows; in a kernel {LARGEST_FACTORISED} are the most"
        )
    columns: list[list[Tensor]] = []
    for j in range(n):
        entry = matrix[..., j, j] - sum(c[j] * c[j] for c in columns)
        pivot = torch.sqrt(entry)
        column = [torch.zeros_like(pivot)] * j + [pivot]
        for i in range(j + 1, n):
            column.append((matrix[..., i, j] - sum(c[i] * c[j] for c in columns)) / pivot)
        columns.append(column)
    factor = torch.stack([torch.stack(column, -1) for column in columns], -1)
    fine = torch.zeros(matrix.shape[:-2], dtype=torch.int32, device=matrix.device)
    return factor.mH if upper else factor, fine


def _substituted(
    a: Tensor, b: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    """X of a X = b for a triangular matrix a (..., n, n)."""
    if not left:
        return _substituted(a.mT, b.mT, upper=not upper, unitriangular=unitriangular).mT
    n = a.shape[-1]
    solved: dict[int, Tensor] = {}
    for i in reversed(range(n)) if upper else range(n):
        row = b[..., i, :] - sum(a[..., i, j, None] * x for j, x in solved.items())
        solved[i] = row if unitriangular else row / a[..., i, i, None]
    return torch.stack([solved[i] for i in range(n)], -2)


def taken_apart(func: Any, base: str, args: Any, kwargs: Any, targets: list[Tensor]) -> Any:
    """An operation as others, carried out: by our own table, or torch's; or NotImplemented."""
    from torch._decomp import decomposition_table  # late: most fields never need it

    rule = PARTS.get(base) or decomposition_table.get(func)
    out = rule(*args, **kwargs) if rule else func.decompose(*args, **kwargs)
    if out is NotImplemented and targets and hasattr(torch.ops.aten, base):
        value = getattr(torch.ops.aten, base)(*args, **kwargs)
        return targets[0].copy_(value)
    return out


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool((a == b).all())


def _close(*args: Any, **kwargs: Any) -> bool:
    return bool(torch.isclose(*args, **kwargs).all())


PARTS: dict[str, Parts] = {
    "equal": _equal,
    "allclose": _close,
    "_trilinear": _trilinear,
    "_cdist_forward": _distances,
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "rrelu_with_noise": _leaky,
    "linalg_cholesky_ex": _cholesky,
    "linalg_solve_triangular": _substituted,
}
# These draw random numbers only if they are told to.
QUIET = frozenset({"_scaled_dot_product_flash_attention_for_cpu", "rrelu_with_noise"})
