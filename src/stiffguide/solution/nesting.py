"""How a state is nested, as data: in tuples, lists and dictionaries, down to tensors.

NamedTuples are tuples here, for no file names a type; `nested` gives them their names again from a
state that is nested so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from stiffguide import documents
from stiffguide.errors import InputError

KINDS: dict[str, Any] = {"dict": dict, "list": list, "tuple": tuple}

Nesting = Any  # None for a tensor, else [kind, members]; a member of a dict is [key, nesting]


class Unlike(Exception):
    """A state is not nested as the one that it should be like."""


def nesting(state: Any) -> Nesting:
    """How a state is nested; raises InputError for keys that are no data."""
    if isinstance(state, Mapping):
        for key in state:
            if not (key is None or isinstance(key, (str, int, float))):
                raise InputError(f"save: a state's key is {documents.shown(key)}: give texts")
        return ["dict", [[key, nesting(value)] for key, value in state.items()]]
    if isinstance(state, (tuple, list)):
        kind = "list" if isinstance(state, list) else "tuple"
        return [kind, [nesting(value) for value in state]]
    return None


def leaves(of: Nesting, name: str) -> Iterator[str]:
    """The names of the tensors of a state: keys that are words, else places."""
    if of is None:
        yield name
        return
    kind, members = of
    for place, member in enumerate(members):
        key, inner = member if kind == "dict" else (place, member)
        word = isinstance(key, str) and key.isascii() and key.isidentifier()
        yield from leaves(inner, f"{name}.{key if word else place}")


def tensors(state: Any) -> Iterator[Tensor]:
    """The tensors of a state, in the order of their names."""
    if isinstance(state, (Mapping, tuple, list)):
        for value in state.values() if isinstance(state, Mapping) else state:
            yield from tensors(value)
    else:
        yield state


def nested(of: Nesting, parts: Iterator[Tensor], like: Any) -> Any:
    """A state of these tensors; NamedTuples are those of `like`, a state that is nested so."""
    if of is None:
        if isinstance(like, (Mapping, tuple, list)):
            raise Unlike
        return next(parts)
    kind, members = of
    expected = KINDS[kind]
    if like is not None and (not isinstance(like, expected) or len(like) != len(members)):
        raise Unlike
    if kind == "dict":
        if like is not None and list(like) != [key for key, _ in members]:
            raise Unlike
        return {
            key: nested(inner, parts, None if like is None else like[key]) for key, inner in members
        }
    among: Any = [None] * len(members) if like is None else like
    values = [nested(inner, parts, one) for inner, one in zip(members, among, strict=True)]
    if kind == "list":
        return values
    make: Any = getattr(like, "_make", tuple)
    return make(values)
