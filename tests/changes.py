"""Ways in which a number that a field is made of can change between two solves.

Each is a function that returns the field and the change. `followed` are those that a fingerprint
sees by itself; the others cost an evaluation of the field.
"""

from __future__ import annotations

import argparse
import array
import collections
import contextlib
import contextvars
import ctypes
import dataclasses
import enum
import functools
import itertools
import json
import math
import operator
import os
import queue
import string
import sys
import threading
import types
import typing
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

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


# names ------------------------------------------------------------------------------------------


RATE = 1.0
TENSOR = number(1.0)
NESTED: dict[str, Any] = {"a": {"b": [1.0]}}


def rate() -> float:
    return RATE


def rate_below() -> float:
    def inner() -> float:
        return sum([RATE for _ in range(1)])

    return inner()


def global_(name: str, value: Any) -> Callable[[], None]:
    return item(globals(), name, value)


@followed
def a_closure() -> Any:
    k = 1.0

    def f(t: Any, y: Tensor) -> Tensor:
        return -k * y

    def change() -> None:
        nonlocal k
        k = 2.0

    return f, change


@followed
def a_global() -> Any:
    global_("RATE", 1.0)()
    return (lambda t, y: -RATE * y), global_("RATE", 2.0)


@followed
def a_global_of_a_helper() -> Any:
    global_("RATE", 1.0)()
    return by(rate), global_("RATE", 2.0)


@followed
def a_global_in_nested_code() -> Any:
    global_("RATE", 1.0)()
    return by(rate_below), global_("RATE", 2.0)


@followed
def a_global_tensor_replaced() -> Any:
    global_("TENSOR", number(1.0))()
    return (lambda t, y: -TENSOR * y), global_("TENSOR", number(2.0))


@followed
def a_nested_container() -> Any:
    NESTED["a"]["b"][0] = 1.0
    return (lambda t, y: -NESTED["a"]["b"][0] * y), item(NESTED["a"]["b"], 0)


@followed
def a_default() -> Any:
    def f(t: Any, y: Tensor, k: float = 1.0) -> Tensor:
        return -k * y

    return f, setting(f, "__defaults__", (2.0,))


@followed
def a_mutable_default() -> Any:
    def f(t: Any, y: Tensor, k: Any = [1.0]) -> Tensor:  # noqa: B006
        return -k[0] * y

    return f, item(f.__defaults__[0], 0)  # type: ignore[index]


@followed
def a_keyword_default() -> Any:
    def f(t: Any, y: Tensor, *, k: float = 1.0) -> Tensor:
        return -k * y

    return f, item(f.__kwdefaults__, "k")


@followed
def an_attribute_of_the_function() -> Any:
    def f(t: Any, y: Tensor) -> Tensor:
        return -f.k * y  # type: ignore[attr-defined]

    f.k = 1.0  # type: ignore[attr-defined]
    return f, setting(f, "k")


@followed
def an_attribute_of_a_helper() -> Any:
    def helper() -> Any:
        return helper.k  # type: ignore[attr-defined]

    helper.k = 1.0  # type: ignore[attr-defined]
    return by(helper), setting(helper, "k")


@followed
def the_code_of_the_function() -> Any:
    f, g = (lambda t, y: -y), (lambda t, y: -2 * y)
    return f, setting(f, "__code__", g.__code__)


@followed
def a_helper_replaced() -> Any:
    box = types.SimpleNamespace(f=lambda: 1.0)
    return by(lambda: box.f()), setting(box, "f", lambda: 2.0)


@followed
def a_partial_keyword() -> Any:
    f = functools.partial(lambda t, y, k: -k * y, k=1.0)
    return f, item(f.keywords, "k")


@followed
def a_partial_object() -> Any:
    box = [1.0]
    return functools.partial(lambda box, t, y: -box[0] * y, box), item(box, 0)


@followed
def a_decorator() -> Any:
    box = {"k": 1.0}

    def scaled(g: Field) -> Field:
        @functools.wraps(g)
        def f(*args: Any) -> Tensor:
            return box["k"] * g(*args)

        return f

    return scaled(lambda t, y: -y), item(box, "k")


@followed
def a_name_of_builtins() -> Any:
    import builtins

    builtins.SPEED = 1.0  # type: ignore[attr-defined]
    return (lambda t, y: -SPEED * y), setting(builtins, "SPEED")  # type: ignore[name-defined]  # noqa: F821


@followed
def a_name_that_hides_a_builtin() -> Any:
    globals().pop("hash", None)
    return (lambda t, y: -(1.0 if hash.__module__ == "builtins" else 2.0) * y), global_(
        "hash", rate
    )


# objects ----------------------------------------------------------------------------------------


class Plain:
    k = 1.0
    table: typing.ClassVar[dict[str, float]] = {"k": 1.0}
    tensor = number(1.0)

    class Inner:
        k = 1.0

    def __init__(self) -> None:
        self.own = 1.0

    def __call__(self, t: Any, y: Tensor) -> Tensor:
        return -self.own * y

    def field(self, t: Any, y: Tensor) -> Tensor:
        return -self.own * y

    @property
    def by_global(self) -> float:
        return RATE

    @staticmethod
    def static() -> float:
        return RATE

    @classmethod
    def by_class(cls) -> float:
        return cls.k


@followed
def a_callable_object() -> Any:
    x = Plain()
    return x, setting(x, "own")


@followed
def a_bound_method() -> Any:
    x = Plain()
    return x.field, setting(x, "own")


@followed
def a_bound_method_in_a_closure() -> Any:
    class Box:
        v = 1.0

        def get(self) -> float:
            return self.v

    x = Box()
    return by(x.get), setting(x, "v")


@followed
def an_attribute_of_a_class() -> Any:
    Plain.k = 1.0
    return by(lambda: Plain.k), setting(Plain, "k")


@followed
def an_attribute_of_the_class_of_an_object() -> Any:
    Plain.k, x = 1.0, Plain()
    return by(lambda: x.k), setting(Plain, "k")


@followed
def a_dict_of_a_class() -> Any:
    Plain.table["k"], x = 1.0, Plain()
    return by(lambda: x.table["k"]), item(Plain.table, "k")


@followed
def a_tensor_of_a_class() -> Any:
    Plain.tensor, x = number(1.0), Plain()
    return by(lambda: x.tensor), setting(Plain, "tensor", number(2.0))


@followed
def a_class_in_a_class() -> Any:
    Plain.Inner.k, x = 1.0, Plain()
    return by(lambda: x.Inner.k), setting(Plain.Inner, "k")


@followed
def an_attribute_of_a_base() -> Any:
    class Base:
        k = 1.0

    class Derived(Base):
        pass

    x = Derived()
    return by(lambda: x.k), setting(Base, "k")


@followed
def a_property() -> Any:
    global_("RATE", 1.0)()
    x = Plain()
    return by(lambda: x.by_global), global_("RATE", 2.0)


@followed
def a_static_method() -> Any:
    global_("RATE", 1.0)()
    return by(Plain.static), global_("RATE", 2.0)


@followed
def a_class_method() -> Any:
    Plain.k = 1.0
    return by(Plain.by_class), setting(Plain, "k")


@followed
def a_method_replaced() -> Any:
    class Box:
        def get(self) -> float:
            return 1.0

    x = Box()
    return by(lambda: x.get()), setting(Box, "get", lambda self: 2.0)


@followed
def an_operator_of_a_class() -> Any:
    class Scale:
        def __mul__(self, y: Tensor) -> Tensor:
            return -y

    x = Scale()
    return (lambda t, y: x * y), setting(Scale, "__mul__", lambda self, y: -2 * y)


@followed
def a_descriptor() -> Any:
    class Given:
        value = 1.0

        def __get__(self, x: Any, kind: Any) -> float:
            return self.value

    class Box:
        k = Given()

    x = Box()
    return by(lambda: x.k), setting(vars(Box)["k"], "value")


@followed
def a_cached_property() -> Any:
    class Box:
        @functools.cached_property
        def k(self) -> float:
            return 1.0

    x = Box()
    assert x.k == 1.0
    return by(lambda: x.k), item(x.__dict__, "k")


@followed
def slots() -> Any:
    class Box:
        __slots__ = ("k",)

    class More(Box):
        __slots__ = "more"

    x = More()
    x.k, x.more = 1.0, 0.0
    return by(lambda: x.k), setting(x, "k")


@followed
def a_dataclass() -> Any:
    @dataclasses.dataclass
    class Rates:
        k: float = 1.0

    x = Rates()
    return by(lambda: x.k), setting(x, "k")


@followed
def a_frozen_dataclass_around_a_list() -> Any:
    @dataclasses.dataclass(frozen=True)
    class Rates:
        k: list[float]

    x = Rates([1.0])
    return by(lambda: x.k[0]), item(x.k, 0)


@followed
def a_named_tuple_around_a_list() -> Any:
    class Rates(typing.NamedTuple):
        k: list[float]

    x = Rates([1.0])
    return by(lambda: x.k[0]), item(x.k, 0)


@followed
def a_namespace() -> Any:
    x = types.SimpleNamespace(k=1.0)
    return by(lambda: x.k), setting(x, "k")


@followed
def parsed_arguments() -> Any:
    x = argparse.Namespace(k=1.0)
    return by(lambda: x.k), setting(x, "k")


@followed
def a_tensor_of_parsed_arguments() -> Any:
    x = argparse.Namespace(k=number(1.0))
    return by(lambda: x.k), setting(x, "k", number(2.0))


@followed
def an_abstract_class() -> Any:
    class Base(ABC):
        k = 1.0

        @abstractmethod
        def get(self) -> float: ...

    class Box(Base):
        def get(self) -> float:
            return self.k

    return by(Box().get), setting(Base, "k")


@followed
def an_attribute_of_an_enumeration() -> Any:
    class Kind(enum.Enum):
        SLOW = 1

    Kind.SLOW.k = 1.0  # type: ignore[attr-defined]
    return by(lambda: Kind.SLOW.k), setting(Kind.SLOW, "k")  # type: ignore[attr-defined]


@followed
def an_object_made_in_the_field() -> Any:
    class Box:
        def __init__(self) -> None:
            self.k = RATE

    global_("RATE", 1.0)()
    return by(lambda: Box().k), global_("RATE", 2.0)


@followed
def a_nested_object() -> Any:
    x, x.inner = types.SimpleNamespace(), types.SimpleNamespace(k=1.0)  # type: ignore[attr-defined]
    return by(lambda: x.inner.k), setting(x.inner, "k")


# containers -------------------------------------------------------------------------------------


@followed
def a_list() -> Any:
    x = [1.0]
    return by(lambda: x[0]), item(x, 0)


@followed
def a_deque() -> Any:
    x = collections.deque([1.0])
    return by(lambda: x[0]), item(x, 0)


@followed
def an_ordered_dict() -> Any:
    x = collections.OrderedDict(k=1.0)
    return by(lambda: x["k"]), item(x, "k")


@followed
def a_view_of_a_dict() -> Any:
    x = {"k": 1.0}
    view = types.MappingProxyType(x)
    return by(lambda: view["k"]), item(x, "k")


@followed
def a_set() -> Any:
    x = {1.0}
    return by(lambda: max(x)), lambda: x.add(2.0)


@followed
def a_list_of_tensors() -> Any:
    x = [number(1.0)]
    return by(lambda: x[0]), item(x, 0, number(2.0))


@followed
def a_method_of_a_dict() -> Any:
    x = {"k": 1.0}
    get = x.get
    return by(lambda: get("k")), item(x, "k")


@followed
def a_small_array() -> Any:
    x = np.ones(3)
    return by(lambda: float(x[1])), item(x, 1)


@followed
def a_scalar_of_numpy() -> Any:
    x = types.SimpleNamespace(k=np.float64(1.0))
    return by(lambda: float(x.k)), setting(x, "k", np.float64(2.0))


@followed
def a_complex_number() -> Any:
    x = [1.0 + 0.0j]
    return by(lambda: x[0].real), item(x, 0, 2.0 + 0.0j)


@followed
def an_exponent() -> Any:
    x = types.SimpleNamespace(n=2)
    return (lambda t, y: -(y**x.n)), setting(x, "n", 3)


@followed
def a_truth_value() -> Any:
    x = {"fast": False}
    return by(lambda: 2.0 if x["fast"] else 1.0), item(x, "fast", True)


@followed
def a_string() -> Any:
    x = {"law": "first"}
    return (lambda t, y: -y if x["law"] == "first" else -y * y), item(x, "law", "second")


@followed
def a_cycle() -> Any:
    x: list[Any] = [1.0]
    x.append(x)
    return by(lambda: x[1][0]), item(x, 0)


# modules ----------------------------------------------------------------------------------------


def module(name: str, **values: Any) -> Any:
    made: Any = types.ModuleType(name)
    made.__dict__.update(values)
    return made


CONFIG = module("config", k=1.0, inner=module("config.inner", k=1.0))


@followed
def a_module() -> Any:
    CONFIG.k = 1.0
    return (lambda t, y: -CONFIG.k * y), setting(CONFIG, "k")


@followed
def a_module_in_a_module() -> Any:
    CONFIG.inner.k = 1.0
    return (lambda t, y: -CONFIG.inner.k * y), setting(CONFIG.inner, "k")


@followed
def a_module_in_a_closure() -> Any:
    local = module("local", k=1.0)
    return (lambda t, y: -local.k * y), setting(local, "k")


@followed
def a_module_as_default() -> Any:
    local = module("local", k=1.0)

    def f(t: Any, y: Tensor, m: Any = local) -> Tensor:
        return -m.k * y

    return f, setting(local, "k")


@followed
def an_import_in_the_field() -> Any:
    sys.modules["rates_of_today"] = made = module("rates_of_today", k=1.0)

    def f(t: Any, y: Tensor) -> Tensor:
        import rates_of_today  # type: ignore[import-not-found]

        return -rates_of_today.k * y

    return f, setting(made, "k")


@followed
def an_import_from_in_the_field() -> Any:
    sys.modules["rates_of_today"] = made = module("rates_of_today", k=1.0)

    def f(t: Any, y: Tensor) -> Tensor:
        from rates_of_today import k

        return -k * y

    return f, setting(made, "k")


@followed
def a_constant_of_a_library() -> Any:
    math.rate = 1.0  # type: ignore[attr-defined]
    return by(lambda: math.rate), setting(math, "rate")  # type: ignore[attr-defined]


@followed
def the_default_dtype() -> Any:
    torch.set_default_dtype(torch.float32)
    return by(lambda: torch.tensor(0.1).double() * 10), lambda: torch.set_default_dtype(D)


# torch modules ----------------------------------------------------------------------------------


def linear() -> nn.Linear:
    layer = nn.Linear(3, 3, bias=False).double().requires_grad_(False)
    layer.weight.copy_(-torch.eye(3) - 0.1)
    return layer


class Net(nn.Module):
    table: typing.ClassVar[dict[str, float]] = {"k": 1.0}

    def __init__(self) -> None:
        super().__init__()
        self.k, self._k, self._own, self._w = 1.0, 1.0, {"k": 1.0}, number(1.0)
        self.layer = linear()

    def forward(self, t: Any, y: Tensor) -> Tensor:
        return self.k * self._k * self._own["k"] * self._w * self.table["k"] * self.layer(y)


def net(change: Callable[[Net], Any]) -> Any:
    made = Net()
    Net.table["k"] = 1.0
    return made, lambda: change(made)


@followed
def a_weight_replaced() -> Any:
    weight = nn.Parameter(-3 * torch.eye(3, dtype=D), requires_grad=False)
    return net(lambda x: setattr(x.layer, "weight", weight))


@followed
def a_weight_in_place() -> Any:
    return net(lambda x: x.layer.weight.mul_(2))


@followed
def the_data_of_a_weight() -> Any:
    return net(lambda x: setattr(x.layer.weight, "data", 2 * x.layer.weight.data))


@followed
def a_number_of_a_module() -> Any:
    return net(lambda x: setattr(x, "k", 2.0))


@followed
def a_private_number_of_a_module() -> Any:
    return net(lambda x: setattr(x, "_k", 2.0))


@followed
def a_private_dict_of_a_module() -> Any:
    return net(lambda x: operator.setitem(x._own, "k", 2.0))


@followed
def a_private_tensor_of_a_module() -> Any:
    return net(lambda x: setattr(x, "_w", number(2.0)))


@followed
def a_dict_of_the_class_of_a_module() -> Any:
    return net(lambda x: operator.setitem(Net.table, "k", 2.0))


@followed
def a_layer_replaced() -> Any:
    return net(lambda x: setattr(x, "layer", nn.Identity()))


@followed
def a_setting_of_a_layer() -> Any:
    layer = nn.Softplus(beta=1.0)
    return (lambda t, y: -layer(y)), setting(layer, "beta")


@followed
def a_hook() -> Any:
    return net(lambda x: x.layer.register_forward_hook(lambda m, given, y: 2 * y))


@followed
def the_mode_of_a_module() -> Any:
    class Moody(nn.Module):
        def forward(self, t: Any, y: Tensor) -> Tensor:
            return -y if self.training else -2 * y

    made = Moody()
    return made, made.eval


@followed
def a_dict_of_parameters() -> Any:
    x = nn.ParameterDict({"k": nn.Parameter(number(1.0), requires_grad=False)})
    return by(lambda: x["k"]), item(x, "k", nn.Parameter(number(2.0), requires_grad=False))


@followed
def a_buffer() -> Any:
    made = nn.Module()
    made.register_buffer("k", number(1.0))
    return by(lambda: made.k), setting(made, "k", number(2.0))


@followed
def a_function_of_functions() -> Any:
    x = {"k": 1.0}
    return torch.vmap(lambda t, y: -x["k"] * y, in_dims=(None, 0)), item(x, "k")


@followed
def a_tensor_in_place() -> Any:
    x = torch.tensor([1.0, 2.0, 3.0], dtype=D)
    return (lambda t, y: -x * y), lambda: x.mul_(2)


@followed
def the_data_of_a_tensor() -> Any:
    x = torch.tensor([1.0, 2.0], dtype=D)
    return by(lambda: x.sum()), setting(x, "data", torch.tensor([1.0, 2.0, 3.0], dtype=D))


@followed
def the_zeros_of_a_tensor() -> Any:
    x = torch.tensor([1.0, 0.0, 1.0], dtype=D)
    return (lambda t, y: -x * y), lambda: x.fill_(2.0)


@followed
def an_attribute_of_a_tensor() -> Any:
    x = number(1.0)
    x.k = 1.0  # type: ignore[attr-defined]
    return by(lambda: x * x.k), setting(x, "k")  # type: ignore[attr-defined]


# what no fingerprint sees -----------------------------------------------------------------------


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
    global_("RATE", 1.0)()
    return (lambda t, y: -globals()["RATE"] * y), global_("RATE", 2.0)


@unseen
def an_evaluated_string() -> Any:
    global_("RATE", 1.0)()
    return (lambda t, y: -eval("RATE") * y), global_("RATE", 2.0)


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
    global_("RATE", 1.0)()
    cached = functools.lru_cache(None)(lambda: RATE)

    def change() -> None:
        global_("RATE", 2.0)()
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
    global_("RATE", 1.0)()
    helper = rate
    for _ in range(12):
        helper = (lambda g: lambda: g())(helper)
    return by(helper), global_("RATE", 2.0)


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

    with contextlib.suppress(Exception):
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
