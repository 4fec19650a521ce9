"""An object of the user, or its class."""

from __future__ import annotations

import argparse
import dataclasses
import enum
import functools
import types
import typing
from abc import ABC, abstractmethod
from typing import Any

from changes import by, followed, item, number, setting
from torch import Tensor

RATE = 1.0


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
    item(globals(), "RATE", 1.0)()
    x = Plain()
    return by(lambda: x.by_global), item(globals(), "RATE", 2.0)


@followed
def a_static_method() -> Any:
    item(globals(), "RATE", 1.0)()
    return by(Plain.static), item(globals(), "RATE", 2.0)


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

    item(globals(), "RATE", 1.0)()
    return by(lambda: Box().k), item(globals(), "RATE", 2.0)


@followed
def a_nested_object() -> Any:
    x, x.inner = types.SimpleNamespace(), types.SimpleNamespace(k=1.0)  # type: ignore[attr-defined]
    return by(lambda: x.inner.k), setting(x.inner, "k")


@followed
def an_exception_of_ones_own() -> Any:
    class Wrong(ValueError):
        k = 1.0

        def __init__(self) -> None:
            super().__init__("wrong")

    def read() -> float:
        try:
            raise Wrong
        except Wrong as error:
            return error.k

    return by(read), setting(Wrong, "k")
