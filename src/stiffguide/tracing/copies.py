"""Copies of functions in which some of what they read is replaced; what is copied stays as it was.

`Copies(replace).of(f)` follows f through closure cells, defaults, the globals and builtins that its
code names, imports inside it, helper functions, `functools.partial`, bound methods, objects and
their classes, containers, and modules of the user. `replace` is asked about every value on the way
and told where it stands; what it leaves as it is, is followed on. An object has one copy, so that
what was shared stays shared, and f may write to its copies. Functions, classes and objects of
torch, numpy, scipy and the standard library are not followed, but for containers.
"""

from __future__ import annotations

import argparse
import builtins
import collections
import enum
import functools
import sys
import types
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple, cast

import numpy as np
from torch import nn

from stiffguide.tracing.followed import ATTRIBUTES, METACLASSES, settled
from stiffguide.tracing.module_copy import ModuleCopy
from stiffguide.tracing.reads import reads


class Place(NamedTuple):
    """Where a value stands: an item, or an attribute, of an object of the user.

    Cells have "cell_contents", functions ("__defaults__", k); globals are items of a module's
    dict, attributes items of an object's dict, and attributes proper only of slots and classes.
    """

    holder: Any
    key: Hashable
    attribute: bool = False

    def read(self) -> Any:
        """The value that stands there now."""
        if isinstance(self.holder, types.FunctionType):
            name, place = cast(tuple[str, int], self.key)
            return getattr(self.holder, name)[place]
        return getattr(self.holder, str(self.key)) if self.attribute else self.holder[self.key]


Replace = Callable[[Place, Any], Any]  # the value itself where nothing is to be replaced
Copier = Callable[["Copies", Any], Any]


class Copies:
    """The copies that belong together: an object that is met twice is copied once."""

    def __init__(self, replace: Replace) -> None:
        self._replace = replace
        self._made: dict[int, Any] = {}  # by the id of the original
        self._alive: list[Any] = []  # the originals
        self._filled: set[int] = set()  # cells
        self._named: dict[int, set[str]] = {}  # by the id of globals: what was copied of them

    def of(self, value: Any) -> Any:
        """The copy of a value, `replace` asked about what is in it but not about itself."""
        if id(value) in self._made:
            return self._made[id(value)]
        kind: type = type(value)
        copier = _copier(kind)
        return copier(self, value) if copier else value

    def at(self, holder: Any, key: Hashable, value: Any, *, attribute: bool = False) -> Any:
        """What stands for a value in a copy of its holder."""
        new = self._replace(Place(holder, key, attribute), value)
        return new if new is not value else self.of(value)

    def _keep(self, value: Any, copy: Any) -> Any:
        self._made[id(value)] = copy
        self._alive.append(value)
        return copy

    def _function(self, f: types.FunctionType) -> Any:
        if settled(f.__globals__.get("__name__")):
            return f
        cells = tuple(self._cell(cell) for cell in f.__closure__ or ())
        space = self._space(f.__globals__)
        new = types.FunctionType(f.__code__, space, f.__name__, None, cells or None)
        self._keep(f, new)
        for cell, old in zip(cells, f.__closure__ or (), strict=True):
            self._fill(cell, old)
        if f.__defaults__ is not None:
            new.__defaults__ = tuple(
                self.at(f, ("__defaults__", k), value) for k, value in enumerate(f.__defaults__)
            )
        if f.__kwdefaults__ is not None:
            new.__kwdefaults__ = self._items(f.__kwdefaults__, {})
        new.__qualname__, new.__module__ = f.__qualname__, f.__module__
        self._items(f.__dict__, new.__dict__)
        for name in reads(f.__code__).globals:
            self._global(f.__globals__, name)
        return new

    def _cell(self, cell: types.CellType) -> types.CellType:
        known: types.CellType | None = self._made.get(id(cell))
        return self._keep(cell, types.CellType()) if known is None else known

    def _fill(self, cell: types.CellType, old: types.CellType) -> None:
        if id(old) in self._filled:
            return
        self._filled.add(id(old))
        try:
            value = old.cell_contents
        except ValueError:  # not assigned yet
            return
        cell.cell_contents = self.at(old, "cell_contents", value, attribute=True)

    def _space(self, names: dict[str, Any]) -> dict[str, Any]:
        """The globals of copies: those of a module stay together."""
        if id(names) not in self._made:
            known = {"__builtins__": vars(builtins) | {"__import__": self._import}}
            self._named[id(names)] = set()
            self._keep(names, names | known)
        space: dict[str, Any] = self._made[id(names)]
        return space

    def _global(self, names: dict[str, Any], name: str) -> None:
        space, done = self._space(names), self._named[id(names)]
        if name in done:
            return
        done.add(name)
        if name in names:
            space[name] = self.at(names, name, names[name])
        elif hasattr(builtins, name) and name != "__import__":
            value = getattr(builtins, name)
            new = self.at(vars(builtins), name, value)
            if new is not value:
                space[name] = new

    def _import(self, name: str, *more: Any) -> Any:
        """What `import` inside a copied function gives."""
        module = __import__(name, *more)
        return self.at(sys.modules, module.__name__, module)

    def _module(self, module: types.ModuleType) -> Any:
        if settled(module.__name__):
            return module
        space, fetch = self._space(vars(module)), functools.partial(self._global, vars(module))
        return self._keep(module, ModuleCopy(module, space, fetch))

    def _partial(self, value: functools.partial[Any]) -> Any:
        args, named = self._entries(value.args), self._items(value.keywords, {})
        f = self.at(value, "func", value.func, attribute=True)
        return self._keep(value, functools.partial(f, *args, **named))

    def _method(self, value: types.MethodType) -> Any:
        owner = self.at(value, "__self__", value.__self__, attribute=True)
        return types.MethodType(self.of(value.__func__), owner)

    def _built_in(self, value: types.BuiltinFunctionType) -> Any:
        """A method in C of an object that has a copy, such as `list.append`."""
        owner = value.__self__
        if owner is None or isinstance(owner, (type, types.ModuleType)):
            return value
        new = self.at(value, "__self__", owner, attribute=True)
        return value if new is owner else getattr(new, value.__name__)

    def _cached(self, value: Any) -> Any:
        """A function with a cache, without it."""
        return self.at(value, "__wrapped__", value.__wrapped__, attribute=True)

    def _tuple(self, value: Any) -> Any:
        items, kind = self._entries(value), self.of(type(value))
        if kind is type(value) and all(a is b for a, b in zip(items, value, strict=True)):
            return value
        return self._keep(value, tuple.__new__(kind, items))

    def _list(self, value: Any) -> Any:
        new = self._bare(value)
        list.extend(new, self._entries(value))
        return new

    def _deque(self, value: Any) -> Any:
        new = self._bare(value)
        collections.deque.__init__(new, self._entries(value), value.maxlen)
        return new

    def _dict(self, value: Any) -> Any:
        new = self._bare(value)
        if isinstance(value, collections.defaultdict):
            old = value.default_factory
            new.default_factory = self.at(value, "default_factory", old, attribute=True)
        return self._items(value, new)

    def _bare(self, value: Any) -> Any:
        """An object of the copied class, with attributes and nothing else."""
        kind = self.of(type(value))
        maker = next(b for b in kind.__mro__ if settled(b.__module__) and "__new__" in vars(b))
        new = self._keep(value, maker.__new__(kind))
        if hasattr(value, "__dict__"):
            self._items(vars(value), vars(new))
        return new

    def _entries(self, value: Any) -> list[Any]:
        return [self.at(value, k, item) for k, item in enumerate(value)]

    def _items(self, value: Any, new: Any) -> Any:
        kind = collections.OrderedDict if isinstance(new, collections.OrderedDict) else dict
        for key, item in value.items():
            kind.__setitem__(new, key, self.at(value, key, item))
        return new

    def _instance(self, value: Any) -> Any:
        """An object: of the copied class, with copies of its attributes."""
        new = self._bare(value)
        for base in type(value).__mro__:
            for name, slot in vars(base).items():
                if isinstance(slot, types.MemberDescriptorType) and not settled(base.__module__):
                    try:
                        item = slot.__get__(value)
                    except AttributeError:  # not assigned yet
                        continue
                    object.__setattr__(new, name, self.at(value, name, item, attribute=True))
        return new

    def _kind(self, kind: type) -> Any:
        """A class of the user; its methods are copied when it exists, for they may name it."""
        if not _user(kind):
            return kind
        space = {name: vars(kind)[name] for name in MAKING if name in vars(kind)}
        bases = tuple(self.of(base) for base in kind.__bases__)
        new = self._keep(kind, type(kind)(kind.__name__, bases, space))
        for name, item in vars(kind).items():
            if name not in AUTOMATIC and not isinstance(item, types.MemberDescriptorType):
                setattr(new, name, self._member(kind, name, item))
        return new

    def _member(self, kind: type, name: str, item: Any) -> Any:
        if isinstance(item, (staticmethod, classmethod)):
            return type(item)(self.at(item, "__func__", item.__func__, attribute=True))
        if isinstance(item, property):
            return property(*(self.of(f) for f in (item.fget, item.fset, item.fdel)))
        if isinstance(item, functools.cached_property):
            new: functools.cached_property[Any] = functools.cached_property(self.of(item.func))
            new.__set_name__(kind, name)
            return new
        return self.at(kind, name, item, attribute=True)


# of a class: what it is made with; what comes by itself, or gives back what originals hold
MAKING = ("__module__", "__qualname__", "__slots__", "__orig_bases__")
AUTOMATIC = frozenset({*MAKING, "__dict__", "__weakref__", "_abc_impl", "__del__"})
ATOMS = (enum.Enum, int)
CONTAINERS: dict[type, Copier] = {
    tuple: Copies._tuple,
    list: Copies._list,
    collections.deque: Copies._deque,
    dict: Copies._dict,
    collections.OrderedDict: Copies._dict,
    collections.defaultdict: Copies._dict,
}


@functools.cache
def _user(kind: type) -> bool:
    """Whether a class is the user's own, made in the ordinary way of ordinary bases."""
    if settled(kind.__module__) or type(kind) not in METACLASSES or issubclass(kind, ATOMS):
        return False
    for base in kind.__mro__:
        library = base in ATTRIBUTES or base in CONTAINERS or _layer(base)
        if not library and (settled(base.__module__) or "__init_subclass__" in vars(base)):
            return False
    return True


def _layer(kind: type) -> bool:
    return issubclass(kind, nn.Module) and kind.__module__.startswith("torch.nn.")


@functools.cache
def _copier(kind: type) -> Copier | None:
    exact: dict[type, Copier] = {
        types.FunctionType: Copies._function,
        types.ModuleType: Copies._module,
        functools.partial: Copies._partial,
        types.MethodType: Copies._method,
        types.BuiltinFunctionType: Copies._built_in,
        functools._lru_cache_wrapper: Copies._cached,
        **dict.fromkeys((set, np.ndarray), lambda copies, x: copies._keep(x, x.copy())),
        **dict.fromkeys((types.SimpleNamespace, argparse.Namespace), Copies._instance),
        **CONTAINERS,
    }
    ours = _user(kind) or _layer(kind)
    if kind in exact:
        return exact[kind]
    if issubclass(kind, type):
        return Copies._kind
    if not ours:
        return None
    return next((c for base, c in CONTAINERS.items() if issubclass(kind, base)), Copies._instance)
