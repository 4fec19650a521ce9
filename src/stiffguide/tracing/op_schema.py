"""The arguments of an ATen call by the names of its schema."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves


def tensors(value: Any) -> list[Tensor]:
    """The tensors in nested tuples, lists and dicts."""
    return [x for x in tree_leaves(value) if isinstance(x, Tensor)]


def arguments(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Every argument of a call, defaults included, in the order of the schema."""
    found = {}
    for place, argument in enumerate(func._schema.arguments):
        if place < len(args):
            found[argument.name] = args[place]
        else:
            found[argument.name] = kwargs.get(argument.name, argument.default_value)
    return found


def written(func: Any, given: dict[str, Any]) -> list[Tensor]:
    """The tensors that a call changes in place."""
    if not func._schema.is_mutable:
        return []
    names = [
        a.name for a in func._schema.arguments if a.alias_info is not None and a.alias_info.is_write
    ]
    return tensors([given[name] for name in names])


def replaced(
    func: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    change: Callable[[str, Any], Any],
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The same call with `change(name, value)` for every argument that was given."""
    names = [a.name for a in func._schema.arguments]
    new = tuple(change(name, value) for name, value in zip(names, args, strict=False))
    return new, {name: change(name, value) for name, value in kwargs.items()}


def functional(name: str) -> str:
    """The name of the operation that an in-place one carries out: add for add_ and __iadd__."""
    if name.startswith("__i") and name.endswith("__"):
        return name.replace("__i", "", 1).removesuffix("__")
    return name.removesuffix("_")
