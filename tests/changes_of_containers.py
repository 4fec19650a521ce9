"""A container or an array."""

from __future__ import annotations

import collections
import types
from typing import Any

import numpy as np
from changes import by, followed, item, number, setting


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
