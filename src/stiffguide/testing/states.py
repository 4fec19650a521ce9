"""States as users hand them over: shapes and nestings, beside the flat state that they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from hypothesis import strategies as st
from torch import Tensor

Draw = st.DrawFn
Take = Callable[[int], Tensor]  # so many of the entries that are left


class Nested(NamedTuple):
    """A state of `size` entries in some nesting: `build` makes it of (size,), `flatten` undoes it.

    `told` is how it looks; with `build` of rows (B, size) every leaf has the axis of the rows.
    """

    told: str
    size: int
    build: Callable[[Tensor], Any]
    flatten: Callable[[Any], Tensor]


class Leaf(NamedTuple):
    """A tensor of a shape."""

    shape: tuple[int, ...]


Tree = Leaf | dict[str, Any] | tuple[Any, ...] | list[Any]


@st.composite
def states(draw: Draw, entries: int = 12) -> Nested:
    """Tensors of any shape in dicts, tuples and lists, of at most so many entries together."""
    shapes = st.lists(st.integers(1, 3), max_size=3).map(tuple)
    tree: Tree = draw(
        st.recursive(
            shapes.map(Leaf),
            lambda inner: st.one_of(
                st.dictionaries(st.sampled_from("abcd"), inner, min_size=1, max_size=3),
                st.lists(inner, min_size=1, max_size=3),
                st.lists(inner, min_size=1, max_size=3).map(tuple),
            ),
            max_leaves=4,
        ).filter(lambda tree: _size(tree) <= entries)
    )
    size = _size(tree)

    def build(flat: Tensor) -> Any:
        at = 0

        def fill(node: Tree) -> Any:
            nonlocal at
            if isinstance(node, Leaf):
                length = _size(node)
                part = flat[..., at : at + length]
                at += length
                return part.reshape((*flat.shape[:-1], *node.shape))
            if isinstance(node, dict):
                return {key: fill(child) for key, child in node.items()}
            return type(node)(fill(child) for child in node)

        return fill(tree)

    def flatten(state: Any) -> Tensor:
        parts: list[Tensor] = []

        def read(node: Tree, value: Any) -> None:
            if isinstance(node, Leaf):
                lead = value.shape[: value.ndim - len(node.shape)]
                parts.append(value.reshape((*lead, -1)))
            elif isinstance(node, dict):
                for key, child in node.items():
                    read(child, value[key])
            else:
                for child, part in zip(node, value, strict=True):
                    read(child, part)

        read(tree, state)
        return torch.cat(parts, -1)

    return Nested(_told(tree), size, build, flatten)


def _size(tree: Tree) -> int:
    if isinstance(tree, Leaf):
        return int(torch.Size(tree.shape).numel())
    return sum(map(_size, tree.values() if isinstance(tree, dict) else tree))


def _told(tree: Tree) -> str:
    if isinstance(tree, Leaf):
        return str(tree.shape)
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{key}: {_told(child)}" for key, child in tree.items()) + "}"
    left, right = "[]" if isinstance(tree, list) else "()"
    return left + ", ".join(map(_told, tree)) + right
