"""A copy of a function reads what it is given, and what it was copied from stays as it was."""

from __future__ import annotations

import collections
import enum
import functools
import gc
import math
import sys
import threading
import types
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import pytest
import torch
from torch import nn

from stiffguide.tracing.copies import Copies
from stiffguide.tracing.fingerprint import fingerprint

T = TypeVar("T")
RATE = 2.0
TABLE = {"a": 2.0, "deep": [1, (2.0,)]}
config = types.ModuleType("config")
config.K = 2.0
calls = 0


class Mode(enum.Enum):
    FAST = 2.0


class Base:
    factor = 2.0

    def __init__(self, k):
        self.k = k

    def rate(self, y):
        return self.factor * y


class Rates(Base, Generic[T]):
    def __call__(self, y):
        return super().rate(y) + self.k

    @property
    def twice(self):
        return 2 * self.k

    @cached_property
    def thrice(self):
        return 3 * self.k

    @staticmethod
    def fixed(y):
        return RATE * y

    @classmethod
    def of(cls, y):
        return cls(2.0)(y)


class Slotted:
    __slots__ = ("__k", "unset")

    def __init__(self):
        self.__k = 2.0

    def rate(self, y):
        return self.__k * y


@dataclass(frozen=True)
class Frozen:
    k: float = 2.0
    more: list = field(default_factory=lambda: [2.0])

    def rate(self, y):
        return self.k * y + self.more[0]


class Record(NamedTuple):
    k: float = 2.0

    def rate(self, y):
        return self.k * y


class Dotted(dict):
    __getattr__ = dict.__getitem__


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.k = 2.0
        self.inner = nn.Sequential(nn.Tanh())

    def forward(self, y):
        return self.k * y


def helper(y, k=2.0, *, more=2.0):
    return y * k + more


def even(n, y):
    return y if n == 0 else odd(n - 1, y)


def odd(n, y):
    return RATE * even(n - 1, y)


def counted(y):
    global calls
    calls += 1
    return y * 2.0 if calls > 0 else y


def attributed(y):
    return attributed.k * y


attributed.k = 2.0


def closure():
    k = 2.0

    def inner(y):
        return sum(k * v for v in [y])

    return inner


def importing(y):
    from math import sqrt

    return sqrt(y) * RATE


def shared():
    buffer = [2.0]

    def put(y):
        buffer[0] = y

    def f(y):
        put(y)
        return buffer[0]

    return f


@functools.lru_cache
def cached(y):
    return RATE * y


history: list = []
keep = history.append
RATES, SLOTTED, FROZEN, RECORD = Rates(2.0), Slotted(), Frozen(), Record()
SPACE, DOTTED, LAYER = types.SimpleNamespace(k=2.0), Dotted(k=2.0), Layer()
QUEUE, ARRAY = collections.deque([2.0], maxlen=3), np.array([2.0])
FALLBACK = collections.defaultdict(lambda: RATE)

# what reads the number 2.0 from somewhere: f(1) is another one where 5.0 stands for it
READERS = {
    "global": lambda y: RATE * y,
    "dict": lambda y: TABLE["a"] * y,
    "nested": lambda y: TABLE["deep"][1][0] * y,
    "default": helper,
    "partial": partial(helper, k=3),
    "partial keyword": partial(lambda y, k: k * y, k=2.0),
    "partial argument": partial(lambda k, y: k * y, 2.0),
    "closure": closure(),
    "module": lambda y: config.K * y,
    "own attribute": attributed,
    "recursion": lambda y: even(2, y),
    "import": importing,
    "bound method": RATES.rate,
    "callable object": RATES,
    "property": lambda y: RATES.twice,
    "cached property": lambda y: Rates(RATE).thrice,
    "static method": lambda y: RATES.fixed(y),
    "class method": lambda y: Rates.of(y),
    "slots": SLOTTED.rate,
    "frozen dataclass": FROZEN.rate,
    "named tuple": RECORD.rate,
    "namespace": lambda y: SPACE.k * y,
    "dict of dots": lambda y: DOTTED.k * y,
    "torch module": LAYER,
    "deque": lambda y: QUEUE[0] * y,
    "factory": lambda y: FALLBACK["new"] * y,
    "cached function": cached,
}


def fives(place, value):
    """5.0 for 2.0, having seen that the place is where the number is."""
    if isinstance(value, float) and value == 2.0:
        assert place.read() is value
        return 5.0
    return value


def exchanged(f):
    return Copies(fives).of(f)


@pytest.mark.parametrize("name", READERS)
def test_a_copy_reads_what_is_put_in_place_and_the_original_does_not(name):
    f = READERS[name]
    before, mark = f(1), fingerprint(f)
    new = exchanged(f)
    assert new(1) != before
    assert f(1) == before
    assert fingerprint(f) == mark


@pytest.mark.parametrize("name", READERS)
def test_a_copy_in_which_nothing_is_replaced_does_the_same(name):
    assert Copies(lambda place, value: value).of(READERS[name])(1) == READERS[name](1)


def test_what_a_copy_writes_stays_in_the_copy():
    def f(y):
        keep(y)
        counted(y)
        ARRAY[0] = y
        config.K = y
        TABLE["deep"].append(y)
        RATES.k = y
        return shared()(y) + len(history) + ARRAY[0] + config.K + TABLE["deep"][-1] + RATES.k

    before = fingerprint(f)
    copy = Copies(lambda place, value: value).of(f)
    assert copy(7.0) == 7.0 + 1 + 4 * 7.0
    assert copy(7.0) == 7.0 + 2 + 4 * 7.0
    assert fingerprint(f) == before
    assert (calls, len(history), config.K) == (0, 0, 2.0)


def test_what_an_object_gives_back_is_not_given_back_by_its_copy():
    given_back = threading.Event()

    class Handle:
        def __del__(self):
            given_back.set()

    handle = Handle()
    copy = Copies(lambda place, value: value).of(handle)
    assert type(copy) is not Handle
    del copy
    gc.collect()
    assert not given_back.is_set()


def test_an_object_has_one_copy():
    inner = [1.0]
    both = Copies(lambda place, value: value).of([inner, inner, {"again": inner}])
    assert both[0] is both[1] is both[2]["again"] is not inner
    loop: list = []
    loop.append(loop)
    copy = Copies(lambda place, value: value).of(loop)
    assert copy[0] is copy is not loop
    assert Copies(fives).of(QUEUE).maxlen == 3


def test_classes_are_copied_with_their_objects():
    copies = Copies(fives)
    one, kind = copies.of(RATES), copies.of(Rates)
    assert isinstance(one, kind)
    assert kind.__mro__[1] is copies.of(Base) is not Base
    assert (type(RATES), Rates.factor, Base.factor) == (Rates, 2.0, 2.0)


def test_functions_and_objects_of_libraries_are_kept():
    copies = Copies(fives)
    sentinel = object()
    for value in (np.exp, math.sin, np.linalg.norm, Mode.FAST, True, sentinel, torch.ones(2), np):
        assert copies.of(value) is value


def test_modules_and_builtins_are_asked_for_by_name():
    asked = {}

    def replace(place, value):
        if isinstance(value, types.ModuleType) or value in (max, math.sqrt):
            asked[place.key] = place.holder
            return {"math": types.SimpleNamespace(sqrt=lambda y: -y)}.get(place.key, min)
        return value

    def f(y):
        return max(importing(y), 100)

    assert Copies(replace).of(f)(4) == -4 * RATE
    assert asked["math"] is sys.modules
    assert asked["max"]["max"] is max
