"""A name of the code: closures, globals, defaults, functions and modules."""

from __future__ import annotations

import functools
import math
import sys
import types
from typing import Any

import torch
from changes import D, Field, by, followed, item, number, setting
from torch import Tensor

RATE = 1.0
TENSOR = number(1.0)
NESTED: dict[str, Any] = {"a": {"b": [1.0]}}


def rate() -> float:
    return RATE


def rate_below() -> float:
    def inner() -> float:
        return sum([RATE for _ in range(1)])

    return inner()


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
    item(globals(), "RATE", 1.0)()
    return (lambda t, y: -RATE * y), item(globals(), "RATE", 2.0)


@followed
def a_global_of_a_helper() -> Any:
    item(globals(), "RATE", 1.0)()
    return by(rate), item(globals(), "RATE", 2.0)


@followed
def a_global_in_nested_code() -> Any:
    item(globals(), "RATE", 1.0)()
    return by(rate_below), item(globals(), "RATE", 2.0)


@followed
def a_global_tensor_replaced() -> Any:
    item(globals(), "TENSOR", number(1.0))()
    return (lambda t, y: -TENSOR * y), item(globals(), "TENSOR", number(2.0))


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
    f = lambda t, y: -(1.0 if hash.__module__ == "builtins" else 2.0) * y  # noqa: E731
    return f, item(globals(), "hash", rate)


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
