"""Whether a function is, at a glance, what it was: all that it reads is the same objects as before.

A fingerprint takes a few microseconds, which a small solve feels. Where a function reads nothing
but what cannot change without becoming another object (numbers, tensors, libraries, functions that
read no more), it is enough to look for these. In doubt there is no glance, and the fingerprint
decides.
"""

from __future__ import annotations

import builtins
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from stiffguide.tracing.followed import CONSTANTS, VALUES, pure, settled
from stiffguide.tracing.reads import OPAQUE, Reads, reads

DEEPEST = 3
LONGEST = 64  # names
TENSORS = (Tensor, nn.Parameter)
MISSING: Any = object()


class Glance(NamedTuple):
    """What a function was made of and read, object by object."""

    code: types.CodeType
    cells: tuple[Any, ...]
    defaults: tuple[Any, ...] | None
    names: tuple[tuple[dict[str, Any], str, Any], ...]  # what stood where
    helpers: tuple[tuple[types.FunctionType, Any], ...]  # each with its glance
    dtype: torch.dtype | None  # the default one

    def holds(self, f: Any) -> bool:
        """Whether a function of the same code reads the same objects."""
        if type(f) is not types.FunctionType or f.__code__ is not self.code or f.__dict__:
            return False
        if f.__defaults__ is not self.defaults or f.__kwdefaults__:
            return False
        if self.cells:
            for cell, value in zip(f.__closure__ or (), self.cells, strict=True):
                if cell.cell_contents is not value:
                    return False
        for space, name, value in self.names:
            if space.get(name, MISSING) is not value:
                return False
        for helper, glance in self.helpers:
            if not glance.holds(helper):
                return False
        return self.dtype is None or torch.get_default_dtype() is self.dtype


def glance(f: Callable[..., Any], depth: int = 0) -> Glance | None:
    """What a function reads; None where something in it could change and stay the same object."""
    if type(f) is not types.FunctionType or f.__dict__ or f.__kwdefaults__ or depth > DEEPEST:
        return None
    found = _Reader(depth)
    read = reads(f.__code__)
    try:
        cells = tuple(cell.cell_contents for cell in f.__closure__ or ())
    except ValueError:  # not assigned yet
        return None
    for value in (*cells, *(f.__defaults__ or ())):
        found.value(value, read)
    for name in read.globals:
        found.named(f.__globals__, name, read)
    if read.imports or found.doubt or len(found.names) > LONGEST:
        return None
    dtype = None if depth else torch.get_default_dtype()
    names, helpers = tuple(found.names), tuple(found.helpers)
    return Glance(f.__code__, cells, f.__defaults__, names, helpers, dtype)


class _Reader:
    """Collects what code reads, and doubts."""

    def __init__(self, depth: int) -> None:
        self.names: list[tuple[dict[str, Any], str, Any]] = []
        self.helpers: list[tuple[types.FunctionType, Any]] = []
        self.doubt = False
        self._depth = depth

    def named(self, space: dict[str, Any], name: str, read: Reads) -> None:
        """A global of the code."""
        if name in space:
            self.names.append((space, name, space[name]))
            self.value(space[name], read)
        elif hasattr(builtins, name) and name not in OPAQUE:
            self.names.append((space, name, MISSING))  # nobody has put another one in its way
            self.names.append((vars(builtins), name, getattr(builtins, name)))
            self.value(getattr(builtins, name), read)
        else:
            self.doubt = True

    def value(self, value: Any, read: Reads) -> None:
        """What a name, a cell or a default stands for."""
        kind = type(value)
        if kind in VALUES or kind in CONSTANTS:
            return
        if kind in TENSORS:
            self.doubt |= bool(value.__dict__)
        elif kind is types.ModuleType and pure(value):
            for name in read.attributes:
                item = value.__dict__.get(name)
                if type(item) in VALUES:
                    self.names.append((value.__dict__, name, item))
        elif isinstance(value, type):
            self.doubt |= not settled(value.__module__)
        elif kind is types.BuiltinFunctionType and isinstance(value.__self__, types.ModuleType):
            self.doubt |= not pure(value.__self__)
        elif kind is types.FunctionType and settled(value.__globals__.get("__name__")):
            self.doubt |= bool(value.__closure__ or value.__defaults__)
        elif kind is types.FunctionType and (inner := glance(value, self._depth + 1)) is not None:
            self.helpers.append((value, inner))
        else:
            self.doubt = True
