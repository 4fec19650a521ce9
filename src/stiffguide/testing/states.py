"""States as users hand them over: shapes and nestings, beside the flat state that they are."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from hypothesis import strategies as st
from torch import Tensor

Draw = st.DrawFn


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
    return Nested(_told(tree), _size(tree), partial(_filled, tree), partial(_flat, tree))


def _filled(tree: Tree, flat: Tensor) -> Any:
    """The state whose entries are those of flat (..., size), in their order."""
    sizes = [_size(leaf) for leaf in _leaves(tree)]
    parts = iter(flat.split(sizes, -1))

    def fill(node: Tree) -> Any:
        if isinstance(node, Leaf):
            return next(parts).reshape((*flat.shape[:-1], *node.shape))
        if isinstance(node, dict):
            return {key: fill(child) for key, child in node.items()}
        return type(node)(fill(child) for child in node)

    return fill(tree)


def _flat(tree: Tree, state: Any) -> Tensor:
    """The entries (..., size) of a state, in their order."""
    if isinstance(tree, Leaf):
        lead: tuple[int, ...] = state.shape[: state.ndim - len(tree.shape)]
        part: Tensor = state.reshape((*lead, -1))
        return part
    keys = tree if isinstance(tree, dict) else range(len(tree))
    return torch.cat([_flat(tree[key], state[key]) for key in keys], -1)  # type: ignore[index]


def _leaves(tree: Tree) -> list[Leaf]:
    if isinstance(tree, Leaf):
        return [tree]
    return [
        x for each in (tree.values() if isinstance(tree, dict) else tree) for x in _leaves(each)
    ]


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
