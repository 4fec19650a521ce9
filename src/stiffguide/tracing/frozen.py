"""Objects that cannot change: what is in them is read once."""

from __future__ import annotations

import weakref
from typing import Any, NamedTuple

from stiffguide.tracing.followed import VALUES


class Content(NamedTuple):
    """What is in an object, floats apart from the rest."""

    values: tuple[Any, ...]
    floats: tuple[float, ...]
    object: weakref.ref[Any]


FROZEN: dict[int, Content] = {}  # by id


def remember(value: Any, values: tuple[Any, ...], floats: tuple[float, ...]) -> Content:
    """Keep what is in an object that cannot change, for as long as the object lives."""
    key = id(value)
    content = Content(values, floats, weakref.ref(value, lambda _: FROZEN.pop(key, None)))
    return FROZEN.setdefault(key, content)


def constant(value: Any) -> bool:
    """Whether it is made of numbers, strings, tuples and frozen dataclasses, all the way down."""
    kind = type(value)
    if kind in VALUES:
        return True
    if kind in (tuple, frozenset):
        return all(map(constant, value))
    settings = getattr(kind, "__dataclass_params__", None)
    if settings is None or not settings.frozen or not hasattr(value, "__dict__"):
        return False
    return all(map(constant, value.__dict__.values()))
