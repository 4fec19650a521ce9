"""What windows that slide over an image, of convolutions and pools, do to index sets."""

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
from stiffguide.tracing.beside import Given
from stiffguide.tracing.index_sets import MOVING, check
from stiffguide.tracing.set_rules import SetRule
from stiffguide.tracing.windows import slide

if TYPE_CHECKING:
    from stiffguide.tracing.sets import Sets


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


def _taps(used: Tensor, a: Given, image: Sequence[int]) -> tuple[Any, Any]:
    """Pairs (out, in) of places that weights (O, C / groups, *sizes) connect where they are used.

    In is a place of (N, C, *space), out of (N, O, *space).
    """
    windows = _windows(image, used.shape[2:], a["stride"], a["padding"], a["dilation"])
    shape = (image[0], len(used), *windows.shape[2 : used.ndim])
    check(int(used.sum()) * prod(shape) // max(len(used), 1))
    out = torch.arange(prod(shape)).reshape(shape)
    deep, wide = used.shape[1], len(used) // a["groups"]
    pairs = [torch.zeros(2, 0, dtype=torch.int64)]
    for channel, tap in product(range(deep), np.ndindex(*used.shape[2:])):
        to = used[:, channel][(..., *tap)].nonzero()[:, 0]
        seen = windows[(..., *tap)][:, to // wide * deep + channel]
        pairs.append(torch.stack((out[:, to].flatten(), seen.flatten())))
    ends, starts = torch.cat(pairs, 1).numpy()
    return ends[starts >= 0], starts[starts >= 0]


def _convolution(s: Sets, a: Given, outs: list[Tensor]) -> list[Tensor]:
    numbers, used, shape = s.numbers(a["input"]), _used(s, a["weight"]), outs[0].shape
    if a["transposed"]:  # the adjoint of a convolution of the result
        starts, ends = _taps(used, a, shape)
        found = _connected(s, ends, starts, numbers, shape)
    elif a["groups"] == 1:
        used, numbers, back = _alike(used, numbers)
        ends, starts = _taps(used, a, numbers.shape)
        of_each = (shape[0], len(used), *shape[2:])
        found = _connected(s, ends, starts, numbers, of_each)[:, back]
    else:
        ends, starts = _taps(used, a, numbers.shape)
        found = _connected(s, ends, starts, numbers, shape)
    if a["bias"] is not None:
        bias = s.numbers(a["bias"]).reshape(-1, *(1 for _ in shape[2:]))
        found = s.sets.union([found, bias], shape)
    return [found]


def _used(s: Sets, weight: Tensor) -> Tensor:
    """Which weights are no constant 0."""
    numbers = s.numbers(weight)
    if bool((numbers > MOVING).any()):
        raise UntraceableError("f convolves with weights that depend on y")
    return (weight != 0) | (numbers == MOVING)


def _alike(used: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Weights and image with channels that are alike as one, and which of them each result is.

    After a layer of a network all channels have the same sets.
    """
    classes: dict[bytes, list[int]] = {}
    for channel in range(numbers.shape[1]):
        key = numbers[:, channel].contiguous().numpy().tobytes()
        classes.setdefault(key, []).append(channel)
    united = torch.stack([used[:, own].any(1) for own in classes.values()], 1)
    rows, back = united.flatten(1).unique(dim=0, return_inverse=True)
    first = [own[0] for own in classes.values()]
    return rows.reshape(-1, *united.shape[1:]), numbers[:, first], back


def _back(s: Sets, a: Given, outs: list[Tensor]) -> list[Tensor]:
    """The derivative by the image."""
    if a["output_mask"][1] or a["output_mask"][2]:
        raise UntraceableError("f differentiates a convolution by its weights")
    used, numbers = _used(s, a["weight"]), s.numbers(a["grad_output"])
    if a["transposed"]:
        ends, starts = _taps(used, a, numbers.shape)
    else:
        starts, ends = _taps(used, a, a["input"].shape)
    return [_connected(s, ends, starts, numbers, outs[0].shape)]


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
    return [_connected(s, ends[inside], starts[inside], numbers, out.shape)] * len(outs)


def _each(value: int | Sequence[int], ndim: int) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * ndim if len(values) == 1 else values


def _connected(s: Sets, ends: Any, starts: Any, numbers: Tensor, shape: Sequence[int]) -> Tensor:
    """Unions of what lies at `starts`, for the places `ends` of a result."""
    order = np.argsort(ends, kind="stable")
    borders = np.searchsorted(ends[order], np.arange(prod(shape) + 1))
    return s.sets.product(starts[order], borders, numbers.reshape(-1)).reshape(tuple(shape))


WINDOWS: dict[str, SetRule] = {
    "convolution": _convolution,
    "convolution_backward": _back,
    "avg_pool2d": partial(_pool, 2),
    "avg_pool3d": partial(_pool, 3),
    "max_pool2d_with_indices": partial(_pool, 2),
    "max_pool3d_with_indices": partial(_pool, 3),
}
