"""Plain floats that change from call to call build nothing after the second, wherever they are.

Each way of keeping a number gives a field for a number; its solves are compared with the closed
form, and builds and traces are counted.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import math
import shutil
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import stiffguide
from stiffguide.kernels import backend
from stiffguide.kernels.running import build
from stiffguide.tracing import reading, tracer

F64 = torch.float64
Y0 = torch.tensor([1.0, 2.0], dtype=F64)
COMPILER = shutil.which("g++") or shutil.which("clang++")
pytestmark = [
    pytest.mark.skipif(COMPILER is None, reason="needs a C++ compiler"),
    pytest.mark.usefixtures("plain_builds"),
]
Field = Callable[[Tensor, Tensor], Tensor]

RATE = 1.0
CONFIG = types.ModuleType("config")
TABLE = {"rate": 1.0, "more": [1.0]}


def helper(k: float, y: Tensor) -> Tensor:
    return -k * y


def in_global(k: float) -> Field:
    globals()["RATE"] = k
    return reads_global


def reads_global(t: Tensor, y: Tensor) -> Tensor:
    return -RATE * y


def in_module(k: float) -> Field:
    CONFIG.rate = k  # type: ignore[attr-defined]
    return reads_module


def reads_module(t: Tensor, y: Tensor) -> Tensor:
    return -CONFIG.rate * y  # type: ignore[attr-defined]


def in_dict(k: float) -> Field:
    TABLE["rate"] = k
    return reads_dict


def reads_dict(t: Tensor, y: Tensor) -> Tensor:
    return -TABLE["rate"] * y


class Model:
    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        return -self.rate * y

    def field(self, t: Tensor, y: Tensor) -> Tensor:
        return self(t, y)


class Slotted:
    __slots__ = ("rate",)

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        return -self.rate * y


@dataclasses.dataclass(frozen=True)
class Frozen:
    rate: float

    def field(self, t: Tensor, y: Tensor) -> Tensor:
        return -self.rate * y


class Layer(nn.Module):
    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return -self.rate * y


class Record(NamedTuple):
    rate: float


def defaults(k: float) -> Field:
    def f(t: Tensor, y: Tensor, rate: float = k) -> Tensor:
        return -rate * y

    return f


def computed(k: float) -> Field:
    def f(t: Tensor, y: Tensor) -> Tensor:
        half = k / 2
        return -(half + half**2 / half) * y

    return f


def chosen(k: float) -> Field:
    def f(t: Tensor, y: Tensor) -> Tensor:
        return -max(k, 0.7) * y if k > 0.5 else -k * y * 1.0

    return f


def through_math(k: float) -> Field:
    log = math.log(k)
    return lambda t, y: -math.exp(log) * np.cos(0.0) * y


def nested(k: float) -> Field:
    rates = {"all": [(k, 1.0)]}
    return lambda t, y: -rates["all"][0][0] * rates["all"][0][1] * y


def in_attribute_of_function(k: float) -> Field:
    def f(t: Tensor, y: Tensor) -> Tensor:
        return -f.rate * y  # type: ignore[attr-defined]

    f.rate = k  # type: ignore[attr-defined]
    return f


# the numbers of these become entries of the table
LIFTED: dict[str, Callable[[float], Field]] = {
    "closure": lambda k: lambda t, y: -k * y,
    "helper": lambda k: lambda t, y: helper(k, y),
    "partial": lambda k: functools.partial(lambda k, t, y: -k * y, k),
    "keyword": lambda k: functools.partial(lambda t, y, k: -k * y, k=k),
    "defaults": defaults,
    "global": in_global,
    "module": in_module,
    "dict": in_dict,
    "object": Model,
    "method": lambda k: Model(k).field,
    "object in a closure": lambda k: functools.partial(lambda m, t, y: -m.rate * y, Model(k)),
    "slots": Slotted,
    "frozen": lambda k: Frozen(k).field,
    "layer": Layer,
    "named tuple": lambda k: (lambda r: lambda t, y: -r.rate * y)(Record(k)),
    "namespace": lambda k: (lambda r: lambda t, y: -r.rate * y)(types.SimpleNamespace(rate=k)),
    "nested": nested,
    "attribute of a function": in_attribute_of_function,
    "computed": computed,
    "math": through_math,
    "chosen": chosen,
}


class ArrayModel:
    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, t: Any, y: Any) -> Any:
        return [-self.rate * np.cos(0.0) * x for x in y]


def in_numpy(k: float) -> Any:
    log = math.log(k)
    return lambda t, y: -np.exp(log) * np.asarray(y) * (math.sqrt(k) / k**0.5)


# functions of numpy arrays
LIFTED |= {
    "array closure": lambda k: lambda t, y: [-k * y[0], -k * y[1]],  # type: ignore[list-item]
    "array object": ArrayModel,  # type: ignore[dict-item]
    "array functions": in_numpy,
    "array branch": lambda k: lambda t, y: [-(k if k > 0.85 else 1.0 * k) * x for x in y],  # type: ignore[misc,list-item]
    "array partial": lambda k: functools.partial(lambda k, t, y: -k * np.array(y), k),
}

# these have to be seen to be used: f is traced again, and nothing is built
SEEN: dict[str, Callable[[float], Field]] = {
    "made a tensor": lambda k: lambda t, y: -torch.tensor(k, dtype=F64) * y,
    "in a list of a tensor": lambda k: lambda t, y: torch.tensor([-k, -k], dtype=F64) * y,
    "in an array": lambda k: lambda t, y: -float(np.asarray([k])[0]) * y,
    "formatted": lambda k: lambda t, y: -float(f"{k!r}") * y,
}


@pytest.fixture
def counts(monkeypatch, cache):
    """How often something was built, and traced."""
    found = {"make": 0, "trace": 0}
    monkeypatch.setattr(tracer, "_memory", collections.OrderedDict())

    def count(home: Any, name: str) -> None:
        inner = getattr(home, name)

        def counted(*args: Any, **more: Any) -> Any:
            found[name] += 1
            return inner(*args, **more)

        monkeypatch.setattr(home, name, counted)

    count(build, "make")
    count(reading, "trace")
    return found


def ends(way: Callable[[float], Field], rates: list[float]) -> list[Tensor]:
    return [stiffguide.solve(way(k), Y0, 0.0, 1.0, **BY).y[-1] for k in rates]


def assert_decays(found: list[Tensor], rates: list[float]) -> None:
    for y, k in zip(found, rates, strict=True):
        torch.testing.assert_close(y, Y0 * math.exp(-k), rtol=1e-5, atol=0)


BY: dict[str, Any] = {"backend": "kernel", "method": "tsit5"}
RATES = [1.0, 1.5, 0.8, 3.0, 1.0, 0.9]


@pytest.mark.parametrize("name", LIFTED)
def test_a_number_that_changes_is_a_parameter(counts, name):
    assert_decays(ends(LIFTED[name], RATES), RATES)
    assert counts["make"] <= 2
    assert counts["trace"] <= (4 if "array" in name else 2)  # tried with tensors first


@pytest.mark.parametrize("name", SEEN)
def test_a_number_that_must_be_seen_builds_nothing_either(counts, name):
    rates = [1.25, 1.5, 0.8, 3.0, 1.25, 0.9]
    assert_decays(ends(SEEN[name], rates), rates)
    assert counts["make"] <= 2


def test_a_branch_on_a_number_is_followed_both_ways(counts):
    def f(k: float) -> Field:
        return lambda t, y: -y if k > 1.0 else y * k

    for k in (2.0, 3.0, 0.5, 1.0, 1.5):
        y = stiffguide.solve(f(k), Y0, 0.0, 1.0, **BY).y[-1]
        torch.testing.assert_close(y, Y0 * math.exp(-1.0 if k > 1 else k), rtol=1e-5, atol=0)
    assert counts["make"] <= 2


def test_a_frozen_value_of_a_number_is_noticed(counts):
    """What goes to numpy behind torch's back is no parameter, though it looks like one."""

    def f(k: float) -> Field:
        return lambda t, y: -torch.as_tensor(np.add(k, 0.0)) * y

    assert_decays(ends(f, RATES), RATES)


def test_another_tensor_in_a_new_function_is_not_traced_again(counts):
    for scale in (1.0, 2.0, 0.5):
        k = torch.tensor([1.5, 2.5], dtype=F64) * scale
        y = stiffguide.solve(
            lambda t, y, k=k: -k * y, Y0, 0.0, 1.0, backend="kernel", method="tsit5"
        ).y[-1]
        torch.testing.assert_close(y, Y0 * torch.exp(-k), rtol=1e-5, atol=0)
    assert counts == {"make": 1, "trace": 1}


@pytest.mark.parametrize(
    "other",
    [
        torch.tensor([0.0, 2.5], dtype=F64),  # another structure
        torch.tensor([1.5, 2.5], dtype=torch.float32),
        torch.tensor([1.5], dtype=F64),
        torch.tensor(1.5, dtype=F64),
    ],
    ids=["zero", "float32", "one entry", "no axis"],
)
def test_a_tensor_of_another_kind_is_traced_again(counts, other):
    def f(k: Tensor) -> Field:
        return lambda t, y: (-k * y).to(F64)

    for k in (torch.tensor([1.5, 2.5], dtype=F64), other):
        y = stiffguide.solve(f(k), Y0, 0.0, 1.0, **BY).y[-1]
        torch.testing.assert_close(y, Y0 * torch.exp(-k.to(F64)), rtol=1e-5, atol=0)
    assert counts["trace"] == 2


def test_one_tensor_twice_is_not_two():
    def f(a: Tensor, b: Tensor) -> Field:
        return lambda t, y: -a * b * y

    one, two = (torch.tensor([k, k], dtype=F64) for k in (1.5, 2.5))
    for a, b in ((one, one), (one, two), (two, two), (two, one)):
        y = stiffguide.solve(f(a, b), Y0, 0.0, 1.0, **BY).y[-1]
        torch.testing.assert_close(y, Y0 * torch.exp(-a * b), rtol=1e-5, atol=0)


def test_objects_are_left_as_they_were(counts):
    model, layer = Model(1.0), Layer(1.0)
    for k in (1.0, 2.0, 3.0):
        model.rate = layer.rate = k
        for f in (model, layer, model.field):
            stiffguide.solve(f, Y0, 0.0, 1.0, **BY)
        assert vars(model) == {"rate": k}
        assert layer.rate == k
        assert type(RATE) is float


def test_many_fits_build_twice(counts):
    """As a fit calls, in the three ways of handing a number over."""
    rates = [1 + 0.01 * k for k in range(60)]
    assert_decays(ends(LIFTED["closure"], rates), rates)
    assert_decays(ends(LIFTED["object"], rates), rates)
    for k in rates:
        stiffguide.solve(
            lambda t, y, k: -k * y, Y0, 0.0, 1.0, args=(k,), backend="kernel", method="tsit5"
        )
    assert counts["make"] <= 5
    backend.forget()


def test_the_sign_of_a_zero_is_that_of_today():
    def signed(k: float) -> Field:
        return lambda t, y: -math.copysign(1.0, k) * y - k

    found = ends(signed, [1.0, 2.0, 0.0, -0.0, 0.0])
    assert_decays(found[2:], [1.0, -1.0, 1.0])
