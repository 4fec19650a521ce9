"""Which fields have been checked: remembered by their code and by what the code can call.

A field that is defined anew, such as a lambda in a loop, is known by its code; numbers and tensors
that it takes from outside count by their shapes at most. Functions, modules (and whether they are
in training mode) and other objects in its closure, its defaults or its arguments count by identity.
Nothing is kept alive: a verdict goes with the first of the objects that it is about.
"""

from __future__ import annotations

import functools
import threading
import weakref
from collections import OrderedDict
from collections.abc import Hashable
from types import FunctionType, MethodType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

REMEMBERED = 256
DEEPEST = 4
LONGEST = 64  # entries of a container that are looked at
PLAIN: frozenset[Any] = frozenset(
    {int, float, complex, bytes, type(None), torch.dtype, torch.device}
)
DATA: frozenset[Any] = PLAIN | {Tensor, nn.Parameter, np.ndarray}

Mode = tuple["weakref.ref[nn.Module]", bool]


class Recent(NamedTuple):
    """The last verdict on one function object, which is found without looking into it."""

    f: weakref.ref[Any]  # takes this record away when f dies
    jac: weakref.ref[Any] | None
    shape: Hashable
    modes: tuple[Mode, ...]  # modules in f, and whether they were in training mode


_memory: OrderedDict[Hashable, tuple[weakref.ref[Any], ...]] = OrderedDict()
_recent: OrderedDict[int, Recent] = OrderedDict()
_lock = threading.Lock()


def known(f: Any, args: tuple[Any, ...], jac: Any, shape: Hashable) -> bool:
    """Whether f, with such arguments and jac (or None), was remembered with this shape."""
    recent = _recent.get(id(f))
    if (
        recent is not None
        and recent.shape == shape
        and (jac is None if recent.jac is None else recent.jac() is jac)
        and all([type(value) in DATA for value in args])  # noqa: C419 - faster than a generator
        and all([getattr(m(), "training", None) is mode for m, mode in recent.modes])  # noqa: C419
    ):
        return True
    subject = _Subject(f, args, jac, shape)
    if subject.key not in _memory:
        return False
    _keep_recent(f, jac, shape, subject)
    return True


def remember(f: Any, args: tuple[Any, ...], jac: Any, shape: Hashable) -> None:
    """Keep the verdict until one of the objects dies, or many others have come."""
    subject = _Subject(f, args, jac, shape)
    key = subject.key
    try:
        # an id may be used again once its object is gone: the verdict has to go with it
        alive = [weakref.ref(x, lambda _: _memory.pop(key, None)) for x in subject.objects]
    except TypeError:  # an object that cannot be watched
        return
    with _lock:
        _memory[key] = tuple(alive)
        if len(_memory) > REMEMBERED:
            _memory.popitem(last=False)
    _keep_recent(f, jac, shape, subject)


def forget() -> None:
    """Drop every verdict."""
    with _lock:
        _memory.clear()
        _recent.clear()


def count() -> int:
    """How many verdicts are remembered."""
    return len(_memory)


def _keep_recent(f: Any, jac: Any, shape: Hashable, subject: _Subject) -> None:
    key = id(f)
    modules = [x for x in subject.objects if isinstance(x, nn.Module)]
    try:
        recent = Recent(
            weakref.ref(f, lambda _: _recent.pop(key, None)),
            None if jac is None else weakref.ref(jac),
            shape,
            tuple((weakref.ref(m), m.training) for m in modules),
        )
    except TypeError:
        return
    with _lock:
        _recent[key] = recent
        if len(_recent) > REMEMBERED:
            _recent.popitem(last=False)


class _Subject:
    """What a verdict is about: `key`, and the objects whose ids are in it."""

    def __init__(self, f: Any, args: tuple[Any, ...], jac: Any, shape: Hashable) -> None:
        self._parts: list[Any] = [shape]
        self.objects: list[Any] = []
        self._visit(f, 0)
        self._visit(args, 0)
        # a Jacobian may be a tensor, and then its values count
        if isinstance(jac, Tensor):
            self._identity(jac)
        else:
            self._visit(jac, 0)
        self.key: Hashable = tuple(self._parts)

    def _visit(self, value: Any, depth: int) -> None:
        kind = type(value)
        if kind in PLAIN:
            self._parts.append(kind)
        elif kind is str or kind is bool:  # a mode, perhaps
            self._parts.append(value)
        elif isinstance(value, (Tensor, np.ndarray)):
            self._parts.append(tuple(value.shape))
        elif depth > DEEPEST:
            self._identity(value)
        elif kind is FunctionType:
            self._function(value, depth + 1)
        elif isinstance(value, (tuple, list)):
            self._items(value, depth + 1)
        elif isinstance(value, dict):
            self._items(tuple(value.values()), depth + 1)
        elif kind is functools.partial:
            self._items((value.func, value.args, value.keywords), depth + 1)
        elif kind is MethodType:
            self._items((value.__func__, value.__self__), depth + 1)
        else:
            self._identity(value)

    def _items(self, values: tuple[Any, ...] | list[Any], depth: int) -> None:
        self._parts.append(len(values))
        for value in values[:LONGEST]:
            self._visit(value, depth)

    def _identity(self, value: Any) -> None:
        self._parts.append(id(value))
        self.objects.append(value)
        if isinstance(value, nn.Module):
            self._parts.append(value.training)

    def _function(self, f: FunctionType, depth: int) -> None:
        self._identity(f.__code__)
        for cell in f.__closure__ or ():
            try:
                self._visit(cell.cell_contents, depth)
            except ValueError:  # not assigned yet
                self._parts.append("empty")
        for more in (f.__defaults__, f.__kwdefaults__):
            self._visit(more, depth)
        for name in f.__code__.co_names:
            value = f.__globals__.get(name)
            if isinstance(value, nn.Module):
                self._identity(value)
