"""The user's state (a tensor, or tuples, lists and dicts of such) as (B, F), and back.

Where a complex state is to be real numbers, flat states are (B, 2F): see `parts`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from stiffguide.errors import InputError
from stiffguide.fields import parts

NUMBERS = (int, float, complex)  # these are states of one entry, too


class Layout:
    """How a state is laid out; made from y0, it checks whatever else claims to be a state."""

    def __init__(self, y0: Any, *, batched: bool) -> None:
        self.batched = batched
        self.split = False  # flat states hold the parts of complex numbers
        self._tree = _shape_of(y0)
        leaves = _leaves(y0, "y0")
        tensors = [_real_tensor(leaf, path) for path, leaf in leaves]
        self._paths = [path for path, _ in leaves]
        self._shapes = [t.shape[1:] if batched else t.shape for t in tensors]
        self._sizes = [s.numel() for s in self._shapes]
        self.dtype: torch.dtype = tensors[0].dtype
        self.device: torch.device = tensors[0].device
        for path, t in zip(self._paths[1:], tensors[1:], strict=True):
            self.dtype = torch.promote_types(self.dtype, t.dtype)
            if t.device != self.device:
                raise InputError(f"{path} is on {t.device}, {self._paths[0]} on {self.device}")
        if batched:
            self._check_rows(tensors)
        self.rows: int = tensors[0].shape[0] if batched else 1
        self.features: int = sum(self._sizes)
        if self.features == 0:
            raise InputError("y0 has no entries")

    def _check_rows(self, tensors: list[Tensor]) -> None:
        for path, t in zip(self._paths, tensors, strict=True):
            if t.ndim == 0:
                raise InputError(
                    f"{path} is a scalar: with batched=True its first axis is the rows"
                )
            if t.shape[0] != tensors[0].shape[0]:
                raise InputError(
                    f"{path} has {t.shape[0]} rows, {self._paths[0]} has {tensors[0].shape[0]}"
                )

    def in_parts(self) -> Layout:
        """The same states, complex ones, with flat states of real and imaginary parts."""
        return self._with_split(True)

    def whole(self) -> Layout:
        """The same states with flat states of their own numbers."""
        return self._with_split(False)

    def _with_split(self, split: bool) -> Layout:
        made = copy.copy(self)
        made.split = split
        return made

    @property
    def single(self) -> bool:
        """The state is one tensor."""
        return self._tree is None

    @property
    def feature_shape(self) -> tuple[int, ...]:
        """Shape of one row of a single-tensor state."""
        return tuple(self._shapes[0])

    def flatten(self, state: Any, what: str = "f") -> Tensor:
        """(B, F) from a state; raises InputError, naming `what`, if it has another layout."""
        flat = self._flat(state, what)
        return parts.split(flat) if self.split else flat

    def _flat(self, state: Any, what: str) -> Tensor:
        if self._tree is None and isinstance(state, Tensor):
            return self._flat_leaf(state, 0, what)
        if _shape_of(state) != self._tree:
            raise InputError(
                f"{what} is {_outline(_shape_of(state))}, y0 is {_outline(self._tree)}"
            )
        flat = [self._flat_leaf(leaf, i, what) for i, (_, leaf) in enumerate(_leaves(state, what))]
        return flat[0] if len(flat) == 1 else torch.cat(flat, -1)

    def _flat_leaf(self, leaf: Any, i: int, what: str) -> Tensor:
        if type(leaf) in NUMBERS:
            leaf = torch.tensor(leaf, dtype=self.dtype, device=self.device)
        if not isinstance(leaf, Tensor):
            raise InputError(f"{what} is {_describe(leaf)} where y0 has a tensor")
        expected = (self.rows, *self._shapes[i]) if self.batched else tuple(self._shapes[i])
        if tuple(leaf.shape) != expected:
            raise InputError(
                f"{what} has shape {tuple(leaf.shape)}, y0 has {expected}"
                + (f" at {self._paths[i]}" if not self.single else "")
            )
        if leaf.dtype != self.dtype:
            if torch.promote_types(leaf.dtype, self.dtype) != self.dtype:
                raise InputError(
                    f"{what} has dtype {leaf.dtype}, y0 has {self.dtype}: convert one of them"
                )
            leaf = leaf.to(self.dtype)
        if leaf.device != self.device:
            raise InputError(f"{what} is on {leaf.device}, y0 on {self.device}: move one of them")
        flat: Tensor = leaf.reshape(self.rows, self._sizes[i])
        return flat

    def unflatten(self, flat: Tensor, *lead: int) -> Any:
        """The user's state from (..., F); `lead` are the leading axes (default: its own)."""
        front = tuple(lead) if lead or not self.batched else (self.rows,)
        flat = parts.join(flat) if self.split else flat
        if self._tree is None:
            return flat.reshape(front + self.feature_shape)
        pieces: tuple[Tensor, ...] = flat.split(self._sizes, -1)
        leaves = [p.reshape(front + tuple(s)) for p, s in zip(pieces, self._shapes, strict=True)]
        return _build(self._tree, iter(leaves))

    def unflatten_columns(self, flat: Tensor) -> Any:
        """From (..., F, P), every entry of a state with an axis (P,) behind its own."""
        axis = flat.ndim - 2
        turned = flat.movedim(-1, axis)
        state = self.unflatten(turned, *turned.shape[:-1])
        return tree_map(lambda leaf: leaf.movedim(axis, -1), state)

    def mask(self, given: Any, what: str) -> Tensor:
        """The components (F,) bool meant by truth values in the nesting of one row's state.

        One value may stand for all entries of a tensor. Raises InputError, naming `what`.
        """
        if _shape_of(given) != self._tree:
            raise InputError(
                f"{what} is {_outline(_shape_of(given))}, y0 is {_outline(self._tree)}"
            )
        chosen = []
        for (path, leaf), shape in zip(_leaves(given, what), self._shapes, strict=True):
            value = torch.as_tensor(leaf, device=self.device)
            if value.dtype != torch.bool:
                raise InputError(f"{path} has dtype {value.dtype}; give truth values, or indices")
            if value.ndim and value.shape != shape:
                raise InputError(
                    f"{path} has shape {tuple(value.shape)}; give True, or the shape of a row's "
                    f"state, {tuple(shape)}"
                )
            chosen.append(value.expand(shape).reshape(-1))
        return torch.cat(chosen)

    def component(self, index: int, of: str = "y") -> str:
        """The name of feature `index` in the user's terms, such as y[2] or y['a'][0, 1]."""
        if self.split:
            part = "real" if index < self.features else "imaginary"
            return f"the {part} part of {self.whole().component(index % self.features, of)}"
        for path, shape, size in zip(self._paths, self._shapes, self._sizes, strict=True):
            if index < size:
                name = of + path.removeprefix("y0")
                place = []
                for n in reversed(shape):
                    place.append(str(index % n))
                    index //= n
                return name + (f"[{', '.join(reversed(place))}]" if place else "")
            index -= size
        raise IndexError(index)


def _real_tensor(leaf: Any, path: str) -> Tensor:
    if type(leaf) in NUMBERS:
        wide = torch.complex128 if isinstance(leaf, complex) else torch.float64
        leaf = torch.tensor(leaf, dtype=wide)
    if not isinstance(leaf, Tensor):
        raise InputError(f"{path} is {_describe(leaf)}: give a tensor, see torch.as_tensor")
    if leaf.layout is not torch.strided:
        raise InputError(f"{path} is {leaf.layout}: give {path}.to_dense()")
    if not (leaf.dtype.is_floating_point or leaf.dtype.is_complex):
        raise InputError(
            f"{path} has dtype {leaf.dtype}: a state needs a floating-point dtype, "
            "for example y0.double()"
        )
    return leaf


def _shape_of(state: Any) -> Any:
    """The nesting of a state: None for a tensor, else (type, keys or None, children)."""
    if isinstance(state, Tensor):  # asked first: it is the common case
        return None
    if isinstance(state, Mapping):
        return ("dict", tuple(state), tuple(_shape_of(v) for v in state.values()))
    if isinstance(state, tuple) and hasattr(state, "_fields"):
        return (type(state), None, tuple(map(_shape_of, state)))
    if isinstance(state, (tuple, list)):
        return (type(state).__name__, None, tuple(map(_shape_of, state)))
    return None


def _leaves(state: Any, path: str) -> list[tuple[str, Any]]:
    if isinstance(state, Tensor):
        return [(path, state)]
    if isinstance(state, Mapping):
        children = [(f"{path}[{k!r}]", v) for k, v in state.items()]
    elif isinstance(state, (tuple, list)):
        children = [(f"{path}[{i}]", v) for i, v in enumerate(state)]
    else:
        return [(path, state)]
    found = [leaf for p, v in children for leaf in _leaves(v, p)]
    if not found:
        raise InputError(f"{path} is empty")
    return found


def _build(tree: Any, leaves: Any) -> Any:
    if tree is None:
        return next(leaves)
    kind, keys, children = tree
    values = [_build(child, leaves) for child in children]
    if kind == "dict":
        return dict(zip(keys, values, strict=True))
    if kind == "list":
        return values
    return tuple(values) if kind == "tuple" else kind(*values)


def _outline(tree: Any) -> str:
    if tree is None:
        return "a tensor"
    kind, keys, children = tree
    name = kind if isinstance(kind, str) else kind.__name__
    return f"a {name} with keys {keys}" if kind == "dict" else f"a {name} of {len(children)}"


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    return f"a {type(value).__module__}.{type(value).__qualname__}".replace("builtins.", "")
