"""Ways in which a number that a field is made of can change between two solves.

Each is a function that returns the field and the change. `FOLLOWED` are those that a fingerprint
sees by itself; the others cost an evaluation of the field. They stand in `changes_*.py`, by where
the number is kept.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

D = torch.float64
Field = Callable[[Any, Tensor], Tensor]
Way = Callable[[], tuple[Field, Callable[[], Any]]]

FOLLOWED: dict[str, Way] = {}
UNSEEN: dict[str, Way] = {}


def followed(way: Way) -> Way:
    FOLLOWED[way.__name__] = way
    return way


def unseen(way: Way) -> Way:
    UNSEEN[way.__name__] = way
    return way


def number(x: float) -> Tensor:
    return torch.tensor(x, dtype=D)


def by(read: Callable[[], Any]) -> Field:
    """A field that reads a rate."""
    return lambda t, y: -read() * y


def setting(target: Any, name: str, value: Any = 2.0) -> Callable[[], None]:
    return lambda: setattr(target, name, value)


def item(target: Any, key: Any, value: Any = 2.0) -> Callable[[], None]:
    return lambda: operator.setitem(target, key, value)
