"""The mark of a function, which a fingerprint leaves: equal marks, equal functions."""

from __future__ import annotations

import struct
from operator import is_
from typing import Any, NamedTuple

from torch import Tensor


class Mark(NamedTuple):
    """Equal marks: nothing has changed, if it is complete: if all was followed to its end.

    `alive` keeps the objects, so that no id is used twice. Floats and tensors stand apart from the
    rest, each in the order in which they are met, so that one can see whether they alone differ.
    """

    values: tuple[Any, ...]
    floats: tuple[float, ...]
    tensors: tuple[Tensor, ...]
    alive: tuple[Any, ...]
    complete: bool

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Mark)
            and self.values == other.values
            and (not self.floats or self.bits == other.bits)
            and all(map(is_, self.tensors, other.tensors))
        )

    def __ne__(self, other: object) -> bool:
        return not self == other  # a tuple has a notion of its own

    def __hash__(self) -> int:
        return hash((self.values, self.bits))

    @property
    def bits(self) -> bytes:
        """The floats, to be compared: nan is itself, and 0.0 is not -0.0."""
        return struct.pack(f"{len(self.floats)}d", *self.floats)


def changed(old: Mark, new: Mark) -> tuple[int, ...]:
    """Which floats differ between marks that have as many."""
    if old.bits == new.bits:
        return ()
    pairs = enumerate(zip(old.floats, new.floats, strict=True))
    return tuple(k for k, (a, b) in pairs if a.hex() != b.hex())
