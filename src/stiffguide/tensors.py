"""The tensor idioms that every floor shares: rows, select, norms, weighted sums."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch.autograd import forward_ad
from torch.utils._pytree import tree_leaves

T = TypeVar("T")


def rows(value: Tensor, like: Tensor) -> Tensor:
    """Give a per-row value (B,) the trailing axes it needs to meet `like` (B, ...)."""
    return value.reshape(value.shape + (1,) * (like.ndim - value.ndim))


def select(mask: Tensor, new: T, old: T) -> T:
    """Take `new` in the rows where mask (B,) holds and `old` elsewhere, through NamedTuples."""
    if isinstance(new, Tensor) and isinstance(old, Tensor):
        return torch.where(rows(mask, new), new, old)  # type: ignore[return-value]
    if hasattr(new, "chosen") and type(new) is type(old):  # rows that are no tensors
        return new.chosen(mask, old)  # type: ignore[no-any-return]
    if isinstance(new, tuple) and isinstance(old, tuple):
        parts = [select(mask, n, o) for n, o in zip(new, old, strict=True)]
        return new._make(parts) if hasattr(new, "_make") else type(new)(parts)
    raise TypeError(f"select: {type(new).__name__} and {type(old).__name__} are not one state")


def magnitude(x: Tensor) -> Tensor:
    """|x|, entry by entry."""
    return x.abs()


def rms(x: Tensor) -> Tensor:
    """Root mean square over the features: (B, F) -> (B,); inf and nan come through."""
    size: Tensor = torch.linalg.vector_norm(x, dim=-1)
    return size / math.sqrt(x.shape[-1])


def finite(*values: Tensor) -> Tensor:
    """Rows (B,) in which every entry of every value (B, F) is finite."""
    # nan and inf survive the largest absolute value, which a norm finds far more slowly
    peaks: list[Tensor] = [v.abs().amax(-1) for v in values]
    worst = peaks[0]
    for peak in peaks[1:]:
        worst = torch.maximum(worst, peak)
    below: Tensor = worst < math.inf
    return below


@contextmanager
def lasting() -> Iterator[None]:
    """What is made here may be kept, whoever asks for it first.

    A tensor born in inference mode could never meet autograd again, and one born within a
    transform of torch.func ends with it.
    """
    with torch.inference_mode(False), torch.no_grad(), temporarily_clear_interpreter_stack():
        yield


@lru_cache(maxsize=4096)
def constant(values: tuple[Any, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """A small coefficient tensor, made once per dtype and device."""
    with lasting():
        return torch.tensor(values, dtype=dtype, device=device)


def combine(weights: tuple[Any, ...], vectors: Tensor) -> Tensor:
    """sum_j weights_j vectors_j: (S,) or (M, S) weights, (S, B, F) -> (B, F) or (M, B, F)."""
    w = constant(weights, vectors.dtype, vectors.device)
    flat = torch.matmul(w, vectors.reshape(vectors.shape[0], -1))
    return flat.reshape(w.shape[:-1] + vectors.shape[1:])


def real_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype of the absolute value."""
    return dtype.to_real() if dtype.is_complex else dtype


def listed(values: Any) -> Any:
    """A list in which a tensor requires a gradient as one tensor, which keeps it."""
    if isinstance(values, (list, tuple)) and tangles(*tree_leaves(values)):
        parts = [torch.as_tensor(listed(x), dtype=torch.float64) for x in values]
        return torch.stack(parts)
    return values


def tangles(*values: Any) -> bool:
    """Whether autograd is recording and one of the values takes part."""
    return torch.is_grad_enabled() and any(
        isinstance(v, Tensor) and v.requires_grad for v in values
    )


def transformed() -> bool:
    """Whether torch.func, or forward mode, is at work; see `gradients.transforms`."""
    return (
        torch._C._functorch.peek_interpreter_stack() is not None or forward_ad._current_level >= 0
    )


@contextmanager
def one_thread() -> Iterator[None]:
    """Small problems run fastest, and are timed most fairly, on one core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
