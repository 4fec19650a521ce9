"""Python floats that a field is built of, as parameters: those that changed from trace to trace.

A float in a closure, a global, an attribute or a container is part of a graph, and another one
would ask for another kernel. Where nothing but floats has changed since f was traced, a copy of it
is traced in which tensors stand for these, and its graph serves whatever they are.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stiffguide.tracing.copies import Copies, Place
from stiffguide.tracing.fingerprint import fingerprint
from stiffguide.tracing.scalar_functions import of_tensors

Function = Callable[..., Any]
Key = tuple[int, Hashable, bool]  # of a place


@dataclass(frozen=True)
class Lifted:
    """A field in which symbols stand for floats: `slots` counts the floats of its mark."""

    f: Function
    slots: tuple[int, ...]
    symbols: tuple[Tensor, ...]
    places: tuple[Key, ...]  # of the floats

    def function(self, k: int) -> Function:
        """The k-th of several functions, or the only one."""
        found: Function = self.f[k] if isinstance(self.f, tuple) else self.f
        return found

    @contextmanager
    def moved(self) -> Iterator[None]:
        """Other values, which must not show in a graph."""
        before = [symbol.clone() for symbol in self.symbols]
        try:
            for symbol in self.symbols:
                symbol.copy_(1.015625 * symbol + 0.015625)
            yield
        finally:
            for symbol, value in zip(self.symbols, before, strict=True):
                symbol.copy_(value)


def lifted(f: Function, slots: Sequence[int]) -> Lifted | None:
    """A copy of f with symbols for some of its floats; None where it cannot be copied so."""
    places = _places(f)
    if any(slot not in places for slot in slots):
        return None
    floats = fingerprint(f).floats
    symbols = [torch.tensor(floats[slot], dtype=torch.float64) for slot in slots]
    keys = [places[slot] for slot in slots]
    table = dict(zip(keys, symbols, strict=True))

    def replace(place: Place, value: Any) -> Any:
        symbol = table.get(key(place)) if type(value) is float else None
        return of_tensors(value) if symbol is None else symbol

    return Lifted(Copies(replace).of(f), tuple(slots), tuple(symbols), tuple(keys))


def _places(f: Function) -> dict[int, Key]:
    """Where each float of a mark stands, as far as a copy of f reaches it.

    Found by a copy with floats of its own, which are met in the order of the mark.
    """
    own: dict[int, tuple[Place, float]] = {}  # by the id of the float, which is kept alive

    def replace(place: Place, value: Any) -> Any:
        if type(value) is not float:
            return value
        new = float(len(own)) + 0.5
        own[id(new)] = (place, new)
        return new

    floats = fingerprint(Copies(replace).of(f)).floats
    if len(floats) != len(fingerprint(f).floats):
        return {}
    return {k: key(own[id(x)][0]) for k, x in enumerate(floats) if id(x) in own}


def key(place: Place) -> Key:
    """A place, to be compared while what it is in is alive."""
    return id(place.holder), place.key, place.attribute
