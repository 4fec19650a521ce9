"""What a function depends on besides its arguments, as a value to compare.

Numbers, strings, small arrays, containers and objects count by what is in them, code and tensors
by identity (tensors are read at each call, so what matters is which tensor it is). Followed are:
closure cells, defaults, attributes of functions, the globals that the code names, helper functions,
`functools.partial`, bound methods, callable objects, their classes, and modules with their
attributes (see `followed` and `reads`). What is followed to its end makes a mark that is complete;
anything else, and all that lies too deep, is compared by identity and may have changed unseen.
A function that is defined anew, such as a lambda in a loop, has the mark of the one before.
"""

from __future__ import annotations

import builtins
import collections
import functools
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stiffguide.tracing.followed import (
    BUILDING,
    CONSTANTS,
    CONTENTS,
    INTERNALS,
    SPEAKING,
    VALUES,
    ordinary,
    pure,
    settled,
)
from stiffguide.tracing.frozen import FROZEN, constant, remember
from stiffguide.tracing.mark import Mark
from stiffguide.tracing.module_copy import ModuleCopy, original
from stiffguide.tracing.reads import OPAQUE, reads

DEEPEST = 8
LONGEST = 1024  # entries of a container, numbers of an array
BUDGET = 20_000  # values
SEQUENCES = (tuple, list, set, frozenset, collections.deque, torch.Size)
MODULES = (types.ModuleType, ModuleCopy)
MAPPINGS = (dict, collections.OrderedDict, collections.Counter, types.MappingProxyType)


def fingerprint(f: Callable[..., Any], *more: Any) -> Mark:
    """The mark of a function, and of further values such as its fixed arguments."""
    walk = _Walk()
    walk.values.append(torch.get_default_dtype())
    walk.visit(f, 0)
    for value in more:
        walk.visit(value, 0)
    return Mark(
        tuple(walk.values),
        tuple(walk.floats),
        tuple(walk.tensors),
        tuple(walk.alive),
        walk.complete,
    )


class _Walk:
    def __init__(self) -> None:
        self.values: list[Any] = []
        self.floats: list[float] = []
        self.tensors: list[Tensor] = []
        self.alive: list[Any] = []
        self.complete = True
        self._seen: dict[Any, int] = {}  # objects by their ids, and classes whose insides are in

    def visit(self, value: Any, depth: int) -> None:
        kind: type = type(value)
        if kind in VALUES:
            self.values.append(kind)  # 1, 1.0 and True are equal
            if kind is float:
                self.floats.append(value)
            else:
                self.values.append(repr(value) if kind is complex else value)
            return
        met = len(self._seen)
        place = self._seen.setdefault(id(value), met)
        self.values.append(place)
        if place < met:
            return  # the same object as before
        self.alive.append(value)
        within = depth <= DEEPEST and len(self.values) < BUDGET
        visitor = _visitor(kind) if within else _Walk.unknown
        visitor(self, value, depth + 1)

    def identity(self, value: Any, depth: int = 0) -> None:
        """This object and no other."""
        self.values.append(id(value))
        self.alive.append(value)

    def unknown(self, value: Any, depth: int = 0) -> None:
        """This object, of which nobody knows what is in it."""
        self.complete = False
        self.identity(value)

    def function(self, f: types.FunctionType, depth: int) -> None:
        code, space = f.__code__, f.__globals__
        self.identity(code)
        names = reads(code)
        for cell in f.__closure__ or ():
            try:
                self._named(cell.cell_contents, names.attributes, depth)
            except ValueError:  # not assigned yet
                self.values.append("empty")
        for value in (*(f.__defaults__ or ()), *(f.__kwdefaults__ or {}).values()):
            self._named(value, names.attributes, depth)
        if settled(space.get("__name__")):
            return
        if f.__dict__:
            self.mapping(f.__dict__, depth)
        for name in names.globals:
            if name in space:
                self._named(space[name], names.attributes, depth)
            elif hasattr(builtins, name) and name not in OPAQUE:
                self.visit(getattr(builtins, name), depth)
            else:
                self.unknown(name)
        for name in names.imports:
            for end in range(1, name.count(".") + 2):
                part = ".".join(name.split(".")[:end])
                self._named(sys.modules.get(part), names.attributes, depth)

    def _named(self, value: Any, attributes: tuple[str, ...], depth: int) -> None:
        """What code names: what it is, or of a module what the code takes from it."""
        if not isinstance(value, types.ModuleType):
            return self.visit(value, depth)
        inside = value.__dict__ if type(value) is not ModuleCopy else original(value).__dict__
        if not pure(value) and (type(value) not in MODULES or "__getattr__" in inside):
            return self.unknown(value)
        self.identity(value)
        if id(value) in self._seen:
            return
        self._seen[id(value)] = len(self._seen)
        library = settled(value.__name__)
        self.complete &= pure(value) or not library
        for name in attributes:
            if name in inside and (not library or type(inside[name]) in VALUES):
                item = getattr(value, name) if type(value) is ModuleCopy else inside[name]
                self._named(item, attributes, depth + 1)

    def held(self, value: types.ModuleType, depth: int) -> None:
        """A module that an object holds, and code may take anything from."""
        self.complete &= pure(value)
        self.identity(value)

    def partial(self, value: functools.partial[Any], depth: int) -> None:
        self.visit(value.func, depth)
        self.items(value.args, depth)
        self.mapping(value.keywords, depth)

    def method(self, value: types.MethodType, depth: int) -> None:
        self.visit(value.__func__, depth)
        self.visit(value.__self__, depth)

    def built_in(self, value: types.BuiltinFunctionType, depth: int) -> None:
        """A function in C: of a module, or a method of an object."""
        owner = value.__self__
        self.values.append(value.__name__)
        if isinstance(owner, types.ModuleType):
            self.complete &= pure(owner)
            self.identity(value)
        elif owner is None or isinstance(owner, type):
            self.identity(value)
        else:
            self.visit(owner, depth)

    def items(self, value: Iterable[Any], depth: int) -> None:
        for count, item in enumerate(value):
            if count == LONGEST:
                return self.unknown(value)
            self.visit(item, depth)

    def record(self, value: Any, depth: int) -> None:
        """A named tuple."""
        self.items(value, depth)
        self.kind(type(value), depth)

    def mapping(self, value: Mapping[Any, Any], depth: int) -> None:
        self.values.append(len(value))
        for count, (key, item) in enumerate(value.items()):
            if count == LONGEST:
                return self.unknown(value)
            self.visit(key, depth)
            self.visit(item, depth)

    def array(self, value: Any, depth: int) -> None:
        if value.nbytes <= 8 * LONGEST and value.dtype != object:
            self.values.append((value.shape, value.dtype.str, value.tobytes()))
        else:
            self.unknown(value)

    def tensor(self, value: Tensor, depth: int) -> None:
        self.tensors.append(value)
        self.values.append((type(value), value.shape, value.dtype, value.device, value.layout))
        if value.__dict__:
            self.mapping(value.__dict__, depth)

    def module(self, value: nn.Module, depth: int) -> None:
        """A torch module: tensors by identity, submodules, and its own attributes."""
        state = value.__dict__
        for name in CONTENTS:
            for key, item in state[name].items():
                self.values.append(key)
                self.visit(item, depth)
        for name, item in state.items():
            if name not in CONTENTS and (name not in INTERNALS or item):
                self.values.append(name)
                self.visit(item, depth)
        self.kind(type(value), depth)

    def instance(self, value: Any, depth: int) -> None:
        """Any other object: its attributes, and what its class says."""
        kind = type(value)
        known = FROZEN.get(id(value))
        if known is None and constant(value):
            walk = _Walk()
            walk.mapping(value.__dict__, depth)
            if walk.complete:
                known = remember(value, tuple(walk.values), tuple(walk.floats))
        if known is not None:
            self.values.append(known.values)
            self.floats += known.floats
            return self.kind(kind, depth)
        if hasattr(value, "__dict__"):
            self.mapping(value.__dict__, depth)
        for base in kind.__mro__:
            slots = vars(base).get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                self.visit(getattr(value, name, None), depth)
        self.kind(kind, depth)

    def class_(self, value: type, depth: int) -> None:
        """A class that code names, of which it may make objects."""
        self.values.append(id(value))
        if not settled(value.__module__):
            # of an exception that code makes, all that its own classes do not say is its arguments
            self.complete &= ordinary(value) or issubclass(value, BaseException)
            self.kind(value, depth)
            for base in value.__mro__:
                inside = {} if settled(base.__module__) else vars(base)
                for name in sorted(BUILDING & set(inside)):
                    self._member(inside[name], depth)

    def kind(self, kind: type, depth: int) -> None:
        """A class of the user: its attributes, all but those that make objects or print them."""
        self.values.append(id(kind))
        key = ("inside", id(kind))
        if key in self._seen:
            return
        self._seen[key] = len(self._seen)
        self.alive.append(kind)
        for base in kind.__mro__:
            if settled(base.__module__):
                continue
            for name, item in vars(base).items():
                if name not in SPEAKING and name not in BUILDING:
                    self._member(item, depth)

    def _member(self, item: Any, depth: int) -> None:
        """An attribute of a class."""
        kind = type(item)
        inner = {property: "fget", functools.cached_property: "func"}.get(kind, "__func__")
        self.visit(getattr(item, inner, item), depth)


@functools.cache
def _visitor(kind: type) -> Callable[[_Walk, Any, int], None]:
    exact: dict[type, Callable[[_Walk, Any, int], None]] = {
        **dict.fromkeys(CONSTANTS, _Walk.identity),
        **dict.fromkeys(SEQUENCES, _Walk.items),
        **dict.fromkeys(MAPPINGS, _Walk.mapping),
        **dict.fromkeys((Tensor, nn.Parameter, nn.Buffer), _Walk.tensor),
        types.FunctionType: _Walk.function,
        types.ModuleType: _Walk.held,
        functools.partial: _Walk.partial,
        types.MethodType: _Walk.method,
        **dict.fromkeys((types.BuiltinFunctionType, types.MethodWrapperType), _Walk.built_in),
        np.ndarray: _Walk.array,
    }
    plain = ordinary(kind)
    if kind in exact:
        return exact[kind]
    if issubclass(kind, np.generic):
        return _Walk.array
    if issubclass(kind, type):
        return _Walk.class_
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return _Walk.record
    if not plain:
        return _Walk.unknown
    return _Walk.module if issubclass(kind, nn.Module) else _Walk.instance
