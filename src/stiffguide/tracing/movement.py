"""Operations of ATen that only move numbers about.

They do to an array of node numbers what they do to the values, so torch itself carries them out on
a tensor of node numbers: views stay views, and a write into a view reaches its base. Node 0 is the
constant 0, which is what such operations fill with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

MOVES = frozenset(
    {
        "alias", "detach", "detach_copy", "clone", "contiguous", "view", "_unsafe_view", "reshape",
        "_reshape_copy", "_reshape_alias", "flatten", "expand", "expand_copy", "permute",
        "permute_copy", "transpose", "t", "movedim", "squeeze", "unsqueeze", "select", "slice",
        "split", "split_with_sizes", "chunk", "unbind", "narrow", "diagonal", "diag_embed", "index",
        "index_select", "gather", "take", "cat", "stack", "roll", "flip", "rot90", "repeat", "tile",
        "unfold", "constant_pad_nd", "tril", "triu", "select_scatter", "slice_scatter",
        "diagonal_scatter", "index_put", "_index_put_impl", "_unsafe_index", "_unsafe_index_put",
        "scatter", "index_copy", "index_fill", "reflection_pad1d", "reflection_pad2d",
        "replication_pad1d", "replication_pad2d", "repeat_interleave", "im2col", "pixel_shuffle",
        "as_strided",
    }
)  # fmt: skip
INDICES = frozenset({"index", "indices", "repeats"})  # arguments whose values must be known
FILLS = frozenset({"value"})  # arguments that are numbers to fill with
VIEWS = frozenset({"view", "_unsafe_view"})


def move(func: Callable[..., Any], base: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Carry out a movement on node numbers."""
    if base in VIEWS:  # the numbers may lie in another order in memory
        return args[0].reshape(args[1])
    try:
        return func(*args, **kwargs)
    except NotImplementedError:  # some paddings exist for floating point only
        return _map(
            func(*_map(args, Tensor.double), **_map(kwargs, Tensor.double)),
            lambda numbers: numbers.to(torch.int64),
        )


def _map(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, dict):
        return {k: _map(v, function) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(_map(v, function) for v in value)
    return value


def destinations(name: str, shape: torch.Size, bound: dict[str, Any]) -> Tensor:
    """Where in the flattened result the entries of an accumulating write go."""
    places = torch.arange(shape.numel(), device="cpu").reshape(shape)
    if name == "index_add":
        return places.index_select(bound["dim"], bound["index"])
    if name == "scatter_add":
        index = bound["index"]
        kept = places
        for axis, size in enumerate(index.shape):
            if axis != bound["dim"] % len(shape):
                kept = kept.narrow(axis, 0, size)
        return kept.gather(bound["dim"], index)
    found: Tensor = torch.ops.aten.index.Tensor(places, bound["indices"])
    return found
