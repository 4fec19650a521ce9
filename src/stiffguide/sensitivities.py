"""What a solve is to be differentiated by: numbers among the arguments of f, and the start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor
from torch.utils._pytree import keystr, tree_flatten_with_path, tree_leaves, tree_unflatten

from stiffguide.errors import InputError, UnsupportedError
from stiffguide.fields.layout import Layout
from stiffguide.inputs import Sensitivity
from stiffguide.stepping.contracts import Method

START = "y0"
WAY = "give a list such as [0, 'y0']: indices into args, keys of a dict there, and 'y0'"
CLASHES = {  # settings that move states otherwise than steps do, and ways out
    "events": "an event moves with what it depends on; use gradients (requires_grad) instead",
    "jump_at": "a jump is no step; use gradients (requires_grad) instead",
    "guidance": "guidance moves states between steps; use one of the two",
    "mass": "they are those of y' = f; use gradients (requires_grad) instead",
    "nonnegative": "a state held at zero has no derivative there; use one of the two",
    "dense": "there is no interpolant of them; use save_at for the times that are wanted",
}


class Leaf(NamedTuple):
    """A tensor, an array or a number among the arguments."""

    place: int  # among the leaves of args
    name: str
    per_row: bool  # its first axis may be that of the rows

    def names(self, shape: Sequence[int]) -> list[str]:
        """Those of its entries, in their order."""
        if not shape:
            return [self.name]
        places = np.ndindex(*shape)
        return [f"{self.name}[{', '.join(map(str, place))}]" for place in places]


class Wanted(NamedTuple):
    """What was asked for: the columns of `dy_dp` come from the leaves in their order."""

    leaves: tuple[Leaf, ...]
    start: bool  # by y0, too


def wanted(given: Any, args: tuple[Any, ...], layout: Layout) -> Wanted | None:
    """What the user asked for; raises InputError. None where that is nothing."""
    if given is None:
        return None
    if isinstance(given, (str, int, Mapping)) or not isinstance(given, Sequence):
        raise InputError(f"sensitivities: {WAY}, not {given!r}")
    if layout.dtype.is_complex:
        raise UnsupportedError(
            f"sensitivities: y0 is {layout.dtype}, and they are derivatives of real numbers; use "
            "real and imaginary parts as components"
        )
    found, start = [], False
    for entry in given:
        if isinstance(entry, str) and entry == START:
            start = True
        else:
            found += _leaves(entry, args, layout)
    return Wanted(tuple(found), start) if found or start else None


def refuse(settings: Mapping[str, Any], method: Method) -> None:
    """Raise UnsupportedError where sensitivities do not go with a setting, or with the method."""
    for name, value in settings.items():
        if value is not None and value is not False:
            raise UnsupportedError(f"sensitivities do not go with {name}: {CLASHES[name]}")
    if method.multistep:
        raise UnsupportedError(
            f"sensitivities: the steps of {method.name} rest on all steps before; use 'rodas5p' or "
            "'kvaerno5'"
        )


def _leaves(entry: Sensitivity, args: tuple[Any, ...], layout: Layout) -> list[Leaf]:
    """The leaves of args that an entry names."""
    paths, tree = tree_flatten_with_path(args)
    numbers: Any = tree_unflatten(list(range(len(paths))), tree)
    for step in _path(entry, args):
        numbers = numbers[step]
    found = []
    for place in tree_leaves(numbers):
        path, value = paths[place]
        name = f"args{keystr(path)}"
        _check(value, name)
        tensor = isinstance(value, Tensor) and layout.batched and value.ndim > 0
        found.append(Leaf(place, name, tensor and value.shape[0] == layout.rows))
    return found


def _path(entry: Sensitivity, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The way to what an entry names, from args on."""
    if isinstance(entry, str):
        holders = [i for i, x in enumerate(args) if isinstance(x, Mapping) and entry in x]
        if len(holders) == 1:
            return holders[0], entry
        many = f"is a key of args{holders}" if holders else "is no key of a dict in args"
        raise InputError(f"sensitivities: {entry!r} {many}; name it as (0, {entry!r}), or 'y0'")
    path = entry if isinstance(entry, tuple) and entry else (entry,)
    at: Any = args
    for k, step in enumerate(path):
        name = "args" + "".join(f"[{s!r}]" for s in path[:k])
        if isinstance(at, Mapping):
            if step not in at:
                raise InputError(f"sensitivities: {name} has no key {step!r}, only {list(at)}")
        elif not isinstance(at, (tuple, list)):
            raise InputError(
                f"sensitivities: {name} is of type {_kind(at)} and has no part {step!r}"
            )
        elif type(step) is not int:
            raise InputError(f"sensitivities: {WAY}; {step!r} is none of these")
        elif not 0 <= step < len(at):
            many = f"0 to {len(at) - 1}" if len(at) else "none: it is empty"
            raise InputError(f"sensitivities: {name} has no entry {step}, only {many}")
        at = at[step]
    return path


def _check(value: Any, name: str) -> None:
    """Raise InputError where a value has no derivative."""
    if isinstance(value, float):
        return
    kind = _kind(value)
    if isinstance(value, Tensor):
        if value.is_floating_point():
            return
        kind = f"{kind} of {value.dtype}"
    elif isinstance(value, np.ndarray):
        if value.dtype.kind == "f":
            return
        kind = f"{kind} of {value.dtype}"
    raise InputError(
        f"sensitivities: {name} is of type {kind}; give a float, or a tensor or an array of floats"
    )


def _kind(value: Any) -> str:
    return type(value).__name__


def columns(x: Wanted, shapes: Mapping[int, Sequence[int]]) -> list[tuple[int, int]]:
    """(leaf of args, entry) of every column, from the shapes of leaves without an axis of rows."""
    return [(leaf.place, k) for leaf in x.leaves for k in range(prod(shapes[leaf.place]))]


def names(x: Wanted, shapes: Mapping[int, Sequence[int]]) -> tuple[str, ...]:
    """What the columns are called."""
    return tuple(name for leaf in x.leaves for name in leaf.names(shapes[leaf.place]))
