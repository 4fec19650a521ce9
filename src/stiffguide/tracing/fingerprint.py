"""What a function depends on besides its arguments, as a value to compare.

Numbers, strings, small arrays, containers and objects count by what is in them, code and tensors
by identity (tensors are read at each call, so what matters is which tensor it is). Followed are:
closure cells, defaults, the globals that the code names, helper functions, `functools.partial`,
bound methods, callable objects and modules with their attributes. What torch, numpy and the
standard library define is taken to stay as it is, and so is all that lies deeper than `DEEPEST`.
A function that is defined anew, such as a lambda in a loop, has the mark of the one before.
"""

from __future__ import annotations

import functools
import sys
import types
import weakref
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

DEEPEST = 8
LONGEST = 1024  # entries of a container, bytes of an array: beyond, identity counts
BUDGET = 20_000  # values; beyond, identity counts
SETTLED = sys.stdlib_module_names | {"torch", "numpy", "scipy"}
VALUES = frozenset({int, float, complex, bool, str, bytes, type(None), torch.dtype, torch.device})
HIDDEN = frozenset({"_parameters", "_buffers", "_modules"})


class Mark(NamedTuple):
    """Equal marks: nothing has changed. `alive` keeps the objects, so that no id is used twice."""

    values: tuple[Any, ...]
    alive: tuple[Any, ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mark) and self.values == other.values

    def __hash__(self) -> int:
        return hash(self.values)


def fingerprint(f: Callable[..., Any], *more: Any) -> Mark:
    """The mark of a function, and of further values such as its fixed arguments."""
    walk = _Walk()
    walk.visit(f, 0)
    for value in more:
        walk.visit(value, 0)
    return Mark(tuple(walk.values), tuple(walk.alive))


class _Walk:
    def __init__(self) -> None:
        self.values: list[Any] = []
        self.alive: list[Any] = []
        self._seen: dict[int, int] = {}

    def visit(self, value: Any, depth: int) -> None:
        kind: type = type(value)
        if kind in VALUES:
            # 1, 1.0 and True are equal, nan is not equal to itself, 0.0 and -0.0 may differ
            self.values.append(kind)
            self.values.append(repr(value) if kind is float else value)
            return
        met = len(self._seen)
        place = self._seen.setdefault(id(value), met)
        self.values.append(place)
        if place < met:
            return  # the same object as before
        shallow = depth <= DEEPEST and len(self.values) < BUDGET
        visitor = _visitor(kind) if shallow else None
        if visitor is None:
            self.identity(value)
        else:
            visitor(self, value, depth + 1)

    def identity(self, value: Any) -> None:
        """This object and no other."""
        self.values.append(id(value))
        self.alive.append(value)

    def function(self, f: types.FunctionType, depth: int) -> None:
        if _settled(f.__module__):
            return self.identity(f)
        self.identity(f.__code__)
        for cell in f.__closure__ or ():
            try:
                self.visit(cell.cell_contents, depth)
            except ValueError:  # not assigned yet
                self.values.append("empty")
        for value in f.__defaults__ or ():
            self.visit(value, depth)
        for value in (f.__kwdefaults__ or {}).values():
            self.visit(value, depth)
        space = f.__globals__
        for name in _globals(f.__code__):
            if name in space:
                self._named(space[name], f.__code__, depth)

    def _named(self, value: Any, code: types.CodeType, depth: int) -> None:
        """A global: what it is, or, of a module of the user, what the code takes from it."""
        if not isinstance(value, types.ModuleType):
            self.visit(value, depth)
        elif not _settled(value.__name__):
            self.identity(value)
            for name in _globals(code):
                if name in value.__dict__:
                    self.visit(value.__dict__[name], depth)

    def partial(self, value: functools.partial[Any], depth: int) -> None:
        self.visit(value.func, depth)
        self.items(value.args, depth)
        self.mapping(value.keywords, depth)

    def method(self, value: types.MethodType, depth: int) -> None:
        self.visit(value.__func__, depth)
        self.visit(value.__self__, depth)

    def items(self, value: Iterable[Any], depth: int) -> None:
        for count, item in enumerate(value):
            if count == LONGEST:
                return self.identity(value)
            self.visit(item, depth)

    def mapping(self, value: dict[Any, Any], depth: int) -> None:
        self.values.append(len(value))
        for count, (key, item) in enumerate(value.items()):
            if count == LONGEST:
                return self.identity(value)
            self.visit(key, depth)
            self.visit(item, depth)

    def array(self, value: Any, depth: int) -> None:
        if value.nbytes <= 8 * LONGEST and value.dtype != object:
            self.values.append((value.shape, value.dtype.str, value.tobytes()))
        else:
            self.identity(value)

    def module(self, value: nn.Module, depth: int) -> None:
        """A torch module: tensors by identity, submodules, and its own numbers."""
        state = value.__dict__
        for name in HIDDEN:
            for key, item in state[name].items():
                self.values.append(key)
                self.visit(item, depth)
        for name, item in state.items():
            if name not in HIDDEN and type(item) in VALUES:
                self.values.append(item)
        if not _settled(type(value).__module__):
            for name, item in state.items():
                if not name.startswith("_") and type(item) not in VALUES:
                    self.visit(item, depth)
        self.kind(type(value), depth)

    def instance(self, value: Any, depth: int) -> None:
        """Any other object: its attributes, and what its class says."""
        kind = type(value)
        if _settled(kind.__module__) and kind is not types.SimpleNamespace:
            return self.identity(value)
        if id(value) in FROZEN:
            self.values.append(FROZEN[id(value)][1])
            return self.kind(kind, depth)
        if _constant(value):
            walk = _Walk()
            walk.mapping(value.__dict__, depth)
            if not walk.alive:  # nothing in it was too deep or too long to be looked at
                self.values.append(_remember(value, tuple(walk.values)))
                return self.kind(kind, depth)
        if hasattr(value, "__dict__"):
            self.mapping(value.__dict__, depth)
        for name in getattr(kind, "__slots__", ()):
            self.visit(getattr(value, name, None), depth)
        self.kind(kind, depth)

    def kind(self, kind: type, depth: int) -> None:
        """A class of the user: numbers and functions among its attributes."""
        self.values.append(id(kind))
        if id(kind) in self._seen:
            return
        self._seen[id(kind)] = len(self._seen)
        self.alive.append(kind)
        for base in kind.__mro__:
            if _settled(base.__module__):
                continue
            for name, item in vars(base).items():
                function = getattr(item, "__func__", getattr(item, "fget", item))
                if name.startswith("__") and name != "__call__":
                    continue
                if type(function) in VALUES or isinstance(function, types.FunctionType):
                    self.visit(function, depth)


FROZEN: dict[int, tuple[weakref.ref[Any], tuple[Any, ...]]] = {}  # by id


def _remember(value: Any, content: tuple[Any, ...]) -> tuple[Any, ...]:
    """Keep what is in an object that cannot change, for as long as the object lives."""
    key = id(value)
    FROZEN[key] = (weakref.ref(value, lambda _: FROZEN.pop(key, None)), content)
    return content


def _constant(value: Any) -> bool:
    """Whether it is made of numbers, strings, tuples and frozen dataclasses, all the way down."""
    kind = type(value)
    if kind in VALUES:
        return True
    if kind in (tuple, frozenset):
        return all(map(_constant, value))
    settings = getattr(kind, "__dataclass_params__", None)
    if settings is None or not settings.frozen or not hasattr(value, "__dict__"):
        return False
    return all(map(_constant, value.__dict__.values()))


def _settled(module: str | None) -> bool:
    return module is None or module.split(".", 1)[0] in SETTLED


@functools.cache
def _visitor(kind: type) -> Callable[[_Walk, Any, int], None] | None:
    by_kind: tuple[tuple[type | tuple[type, ...], Any], ...] = (
        (types.FunctionType, _Walk.function),
        (functools.partial, _Walk.partial),
        (types.MethodType, _Walk.method),
        (nn.Module, _Walk.module),
        ((tuple, list, set, frozenset), _Walk.items),
        (dict, _Walk.mapping),
        ((np.ndarray, np.generic), _Walk.array),
        ((Tensor, type, types.ModuleType, types.BuiltinFunctionType), None),
    )
    for base, visitor in by_kind:
        if issubclass(kind, base):
            return visitor  # type: ignore[no-any-return]
    return _Walk.instance


@functools.cache
def _globals(code: types.CodeType) -> tuple[str, ...]:
    """The names that a piece of code, and the functions inside it, look up."""
    names = dict.fromkeys(code.co_names)
    for value in code.co_consts:
        if isinstance(value, types.CodeType):
            names.update(dict.fromkeys(_globals(value)))
    return tuple(names)
