"""Where no fingerprint reaches."""

from __future__ import annotations

import array
import collections
import contextlib
import contextvars
import ctypes
import functools
import itertools
import json
import operator
import os
import queue
import string
import threading
import types
import warnings
import weakref
from typing import Any

import numpy as np
import torch
from changes import D, by, item, number, setting, unseen
from changes_of_names import CONFIG, module
from changes_of_objects import Plain
from torch import Tensor, nn

RATE = 1.0


def rate() -> float:
    return RATE


@unseen
def a_long_list() -> Any:
    x = [1.0] * 2000
    return by(lambda: x[1500]), item(x, 1500)


@unseen
def a_large_array() -> Any:
    x = np.ones(3000)
    return by(lambda: float(x[7])), item(x, 7)


@unseen
def an_array_of_objects() -> Any:
    x = np.array([1.0, "k"], dtype=object)
    return by(lambda: x[0]), item(x, 0)


@unseen
def a_user_dict() -> Any:
    x = collections.UserDict(k=1.0)
    return by(lambda: x["k"]), item(x, "k")


@unseen
def a_default_dict() -> Any:
    x = collections.defaultdict(lambda: 1.0)
    return by(lambda: x["k"]), item(x, "k")


@unseen
def a_chain_of_dicts() -> Any:
    x = {"k": 1.0}
    chain = collections.ChainMap({}, x)
    return by(lambda: chain["k"]), item(x, "k")


@unseen
def an_array_of_the_library() -> Any:
    x = array.array("d", [1.0])
    return by(lambda: x[0]), item(x, 0)


@unseen
def bytes_in_place() -> Any:
    x = bytearray([1])
    return by(lambda: float(x[0])), item(x, 0, 2)


@unseen
def a_view_of_memory() -> Any:
    x = memoryview(array.array("d", [1.0]))
    return by(lambda: x[0]), item(x, 0)


@unseen
def a_number_of_ctypes() -> Any:
    x = ctypes.c_double(1.0)
    return by(lambda: x.value), setting(x, "value")


@unseen
def a_context_variable() -> Any:
    x = contextvars.ContextVar("x", default=1.0)
    return by(x.get), lambda: x.set(2.0)


@unseen
def a_local_of_the_thread() -> Any:
    x = threading.local()
    x.k = 1.0
    return by(lambda: x.k), setting(x, "k")


@unseen
def the_environment() -> Any:
    os.environ["STIFFGUIDE_TEST_RATE"] = "1.0"
    read = lambda: float(os.environ["STIFFGUIDE_TEST_RATE"])  # noqa: E731
    return by(read), item(os.environ, "STIFFGUIDE_TEST_RATE", "2.0")


@unseen
def a_look_into_globals() -> Any:
    item(globals(), "RATE", 1.0)()
    return (lambda t, y: -globals()["RATE"] * y), item(globals(), "RATE", 2.0)


@unseen
def an_evaluated_string() -> Any:
    item(globals(), "RATE", 1.0)()
    return (lambda t, y: -eval("RATE") * y), item(globals(), "RATE", 2.0)


@unseen
def an_attribute_by_name() -> Any:
    CONFIG.k, name = 1.0, "".join("k")
    return (lambda t, y: -getattr(CONFIG, name) * y), setting(CONFIG, "k")


@unseen
def the_dict_of_a_module() -> Any:
    CONFIG.k = 1.0
    return (lambda t, y: -vars(CONFIG)["k"] * y), setting(CONFIG, "k")


@unseen
def a_module_held_by_an_object() -> Any:
    x = types.SimpleNamespace(config=module("held", k=1.0))
    return by(lambda: x.config.k), setting(x.config, "k")


@unseen
def a_module_that_makes_up_attributes() -> Any:
    x = {"k": 1.0}
    made = module("lazy", __getattr__=lambda name: x[name])
    return (lambda t, y: -made.k * y), item(x, "k")


@unseen
def a_class_that_makes_up_attributes() -> Any:
    class Box:
        def __init__(self) -> None:
            self.table = array.array("d", [1.0])

        def __getattr__(self, name: str) -> Any:
            if name == "k":
                return self.table[0]
            raise AttributeError(name)

    x = Box()
    return by(lambda: x.k), item(x.table, 0)


@unseen
def a_class_of_a_class() -> Any:
    class Meta(type):
        k = 1.0

    class Box(metaclass=Meta):
        pass

    return by(lambda: Box.k), setting(Meta, "k")


@unseen
def a_dict_with_attributes() -> Any:
    class Table(dict):  # type: ignore[type-arg]
        pass

    x = Table(k=1.0)
    x.factor = 1.0  # type: ignore[attr-defined]
    return by(lambda: x["k"] * x.factor), setting(x, "factor")  # type: ignore[attr-defined]


@unseen
def a_list_with_attributes() -> Any:
    class Table(list):  # type: ignore[type-arg]
        pass

    x = Table([1.0])
    x.factor = 1.0  # type: ignore[attr-defined]
    return by(lambda: x[0] * x.factor), setting(x, "factor")  # type: ignore[attr-defined]


@unseen
def a_float_with_attributes() -> Any:
    class Rate(float):
        pass

    x = Rate(1.0)
    x.factor = 1.0  # type: ignore[attr-defined]
    return by(lambda: float(x) * x.factor), setting(x, "factor")  # type: ignore[attr-defined]


@unseen
def a_cache() -> Any:
    item(globals(), "RATE", 1.0)()
    cached = functools.lru_cache(None)(lambda: RATE)

    def change() -> None:
        item(globals(), "RATE", 2.0)()
        cached.cache_clear()

    return by(cached), change


@unseen
def an_iterator() -> Any:
    x = [1.0]
    forever = iter(lambda: x[0], None)
    return by(lambda: next(forever)), item(x, 0)


@unseen
def a_generator() -> Any:
    x = [1.0]

    def values() -> Any:
        while True:
            yield x[0]

    made = values()
    return by(lambda: next(made)), item(x, 0)


@unseen
def an_item_getter() -> Any:
    x = {"k": 1.0}
    return by(functools.partial(operator.itemgetter("k"), x)), item(x, "k")


@unseen
def an_attribute_getter() -> Any:
    x = types.SimpleNamespace(k=1.0)
    return by(functools.partial(operator.attrgetter("k"), x)), setting(x, "k")


@unseen
def a_weak_reference() -> Any:
    class Box:
        k = 1.0

    x = Box()
    seen = weakref.ref(x)
    return by(lambda: seen().k), setting(x, "k")  # type: ignore[union-attr]


@unseen
def a_weak_dict() -> Any:
    x: Any = weakref.WeakValueDictionary()
    held = {"box": Plain()}
    x["k"] = held["box"]
    return by(lambda: x["k"].own), setting(held["box"], "own")


@unseen
def a_queue() -> Any:
    x: Any = queue.Queue()
    x.put(1.0)
    return by(lambda: x.queue[0]), item(x.queue, 0)


@unseen
def a_deep_container() -> Any:
    x: Any = {"k": 1.0}
    inner = x
    for _ in range(12):
        x = {"a": x}

    def read() -> Any:
        y = x
        for _ in range(12):
            y = y["a"]
        return y["k"]

    return by(read), item(inner, "k")


@unseen
def a_deep_chain_of_helpers() -> Any:
    item(globals(), "RATE", 1.0)()
    helper = rate
    for _ in range(12):
        helper = (lambda g: lambda: g())(helper)
    return by(helper), item(globals(), "RATE", 2.0)


@unseen
def a_file(tmp: Any = None) -> Any:
    import tempfile

    handle = tempfile.NamedTemporaryFile("w+", suffix=".json")  # noqa: SIM115

    def write(k: float) -> None:
        handle.seek(0)
        handle.truncate()
        json.dump({"k": k}, handle)
        handle.flush()

    def read() -> float:
        handle.seek(0)
        return float(json.load(handle)["k"])

    write(1.0)
    return by(read), lambda: write(2.0)


@unseen
def a_compiled_module() -> Any:
    class Scripted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.k = 1.0

        def forward(self, t: Tensor, y: Tensor) -> Tensor:
            return -self.k * y

    with contextlib.suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates its script
        x = torch.jit.script(Scripted())
        return x, setting(x, "k")
    raise AssertionError


@unseen
def a_distribution() -> Any:
    x = torch.distributions.Normal(number(1.0), number(1.0))
    return by(lambda: x.mean), setting(x, "loc", number(2.0))


@unseen
def a_template() -> Any:
    class Words(string.Formatter):
        def __init__(self) -> None:
            self.k = 1.0

    x = Words()
    return by(lambda: x.k), setting(x, "k")


@unseen
def a_counter_of_itertools() -> Any:
    x = {"k": itertools.cycle([1.0])}
    return by(lambda: next(x["k"])), item(x, "k", itertools.cycle([2.0]))


@unseen
def a_subclass_of_a_tensor() -> Any:
    class Scaled(Tensor):
        factor = 1.0

    x = types.SimpleNamespace(w=torch.ones((), dtype=D).as_subclass(Scaled))
    x.w.factor = 1.0
    return by(lambda: float(x.w.factor)), setting(x.w, "factor")


@unseen
def an_error_with_a_value() -> Any:
    x = ValueError()
    x.k = 1.0  # type: ignore[attr-defined]
    return by(lambda: x.k), setting(x, "k")  # type: ignore[attr-defined]
