"""A traced field is taken again where nothing changed, and traced anew where something did."""

from __future__ import annotations

import gc
import math
import types
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from traces import F64, traced

from stiffguide.tracing.fingerprint import FROZEN, LONGEST, fingerprint

RATE = 2.0
SETTINGS: dict[str, Any] = {"rate": 2.0, "deep": {"rates": [1.0, 2.0]}}
CONFIG = types.SimpleNamespace(rate=2.0)
Y3 = torch.ones(3, dtype=F64)


@dataclass
class Reactor:
    rate: float = 2.0

    def field(self, t: Tensor, y: Tensor) -> Tensor:
        return -self.rate * y

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        return -self.rate * y


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rate = 2.0
        self.inner = nn.Linear(3, 3).double()

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return self.rate * self.inner(y)


def helper(y: Tensor) -> Tensor:
    return RATE * y


def by_global(t: Tensor, y: Tensor) -> Tensor:
    return RATE * y


def by_helper(t: Tensor, y: Tensor) -> Tensor:
    return helper(y)


def by_nested_code(t: Tensor, y: Tensor) -> Tensor:
    return torch.stack([RATE * x for x in y])


def by_settings(t: Tensor, y: Tensor) -> Tensor:
    return SETTINGS["deep"]["rates"][1] * y


def by_namespace(t: Tensor, y: Tensor) -> Tensor:
    return CONFIG.rate * y


def with_rate(rate: Any) -> Any:
    return lambda t, y: rate * y


def with_default(rate: float) -> Any:
    def f(t: Tensor, y: Tensor, k: float = rate, *, more: float = rate) -> Tensor:
        return k * more * y

    return f


def with_keyword(t: Tensor, y: Tensor, k: float = 0.0) -> Tensor:
    return k * y


PAIRS = {
    "closure": (with_rate(2.0), with_rate(3.0)),
    "type": (with_rate(1), with_rate(1.0)),
    "truth": (with_rate(1), with_rate(True)),
    "default": (with_default(2.0), with_default(3.0)),
    "partial": (partial(with_keyword, k=2.0), partial(with_keyword, k=3.0)),
    "method": (Reactor(2.0).field, Reactor(3.0).field),
    "object": (Reactor(2.0), Reactor(3.0)),
    "array": (with_rate(np.ones(3)), with_rate(np.zeros(3))),
    "nested": (with_rate({"a": (1.0, [2.0])}), with_rate({"a": (1.0, [3.0])})),
    "tensor": (with_rate(Y3.clone()), with_rate(Y3.clone())),
}


@pytest.mark.parametrize("name", PAIRS)
def test_different_content_has_different_marks(name: str) -> None:
    a, b = PAIRS[name]
    assert fingerprint(a) != fingerprint(b)
    assert fingerprint(a) == fingerprint(a)
    assert hash(fingerprint(a)) == hash(fingerprint(a))


def test_a_function_defined_anew_has_the_mark_of_the_one_before() -> None:
    assert fingerprint(with_rate(2.0)) == fingerprint(with_rate(2.0))
    assert fingerprint(with_rate(float("nan"))) == fingerprint(with_rate(float("nan")))
    f = with_rate(2.0)
    g = traced(f, Y3)
    assert traced(with_rate(2.0), Y3) is g
    assert traced(with_rate(3.0), Y3) is not g


@pytest.mark.parametrize("f", [by_global, by_helper, by_nested_code])
def test_globals_are_followed(f: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint(f)
    key = traced(f, Y3).key
    monkeypatch.setitem(globals(), "RATE", 3.0)
    assert fingerprint(f) != before
    assert traced(f, Y3).key != key


def test_containers_and_objects_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    for f, change in (
        (by_settings, lambda: monkeypatch.setitem(SETTINGS["deep"], "rates", [1.0, 3.0])),
        (by_namespace, lambda: monkeypatch.setattr(CONFIG, "rate", 3.0)),
    ):
        before = fingerprint(f)
        change()
        assert fingerprint(f) != before


def test_modules_are_followed() -> None:
    module = Scaled()
    before = fingerprint(module)
    with torch.no_grad():
        module.inner.weight.mul_(2)
    assert fingerprint(module) == before  # values are read at each call
    for change in (
        lambda: setattr(module, "rate", 3.0),
        lambda: setattr(module.inner, "weight", nn.Parameter(torch.ones(3, 3, dtype=F64))),
        lambda: module.train(not module.training),
    ):
        change()
        assert fingerprint(module) != before
        before = fingerprint(module)


@pytest.mark.parametrize("kind", [np.array, torch.tensor])
def test_attributes_of_modules_may_be_of_many_numbers(kind: Any) -> None:
    module = Scaled()
    module.table = kind([1.0, 2.0])
    before = fingerprint(module)
    assert fingerprint(module) == before
    module.table = kind([1.0, 2.0, 3.0])
    assert fingerprint(module) != before


def test_a_tensor_that_is_replaced_is_noticed() -> None:
    box = {"k": torch.tensor([1.5, 2.5, 3.5], dtype=F64)}
    f = lambda t, y: box["k"] * y  # noqa: E731
    g = traced(f, Y3)
    box["k"] = torch.tensor([4.5, 5.5, 6.5], dtype=F64)
    again = traced(f, Y3)
    assert again is not g
    assert again.key == g.key  # the same kernel, another table
    assert again.parameter_table((), 1).tolist() == [4.5, 5.5, 6.5]


def test_integers_of_a_captured_tensor_are_part_of_the_graph() -> None:
    order = torch.tensor([2, 1, 0])
    f = lambda t, y: y[order]  # noqa: E731
    g = traced(f, Y3)
    order[0] = 0
    assert g.fitted(f, (), 1) is None
    assert set(traced(f, Y3).derived.jac) == {(0, 0), (1, 1), (2, 0)}


def test_other_arguments_do_not_fit() -> None:
    f = lambda t, y, k, n: k * y**n  # noqa: E731
    k = torch.tensor([1.5, 2.5, 3.5], dtype=F64)
    g = traced(f, Y3, (k, 2))
    assert g.fitted(f, (2 * k, 2), 1) is not None
    for args in ((k, 3), (k.float(), 2), (k[:1], 2), (k,), (1.5, 2)):
        assert g.fitted(f, args, 1) is None


def test_a_trace_of_one_row_is_not_used_for_many() -> None:
    k = torch.tensor([2.0, 3.0, 4.0], dtype=F64)
    f = lambda t, y, k: k * y  # noqa: E731 - by row for one row, by component for three
    one = traced(f, torch.ones(1, 3, dtype=F64), (k[:1],), batched=True)
    assert one.parameters[0].per_row
    many = traced(f, torch.ones(3, 3, dtype=F64), (k,), batched=True)
    assert not any(p.per_row for p in many.parameters)


def test_floats_that_python_computes_with_are_part_of_the_graph() -> None:
    f = lambda t, y, mu: math.sqrt(abs(mu)) * y  # noqa: E731
    g = traced(f, Y3, (2.0,))
    assert g.parameters == []
    assert g.fitted(f, (3.0,), 1) is None
    assert traced(f, Y3, (-1.0,)).key != g.key


def test_threads_trace_side_by_side() -> None:
    fields = [with_rate(float(i)) for i in range(4)] * 4
    alone = [traced(f, Y3).key for f in fields]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda f: traced(f, Y3).key, fields)) == alone


@pytest.mark.slow
def test_an_operator_of_functions_works_after_it_was_traced() -> None:
    f = lambda t, y: torch.cond(t > 0, lambda y: 2 * y, lambda y: -y, (y,))  # noqa: E731
    assert traced(f, Y3).values
    assert torch.equal(f(torch.tensor(1.0), Y3), 2 * Y3)


def test_cycles_end() -> None:
    box: list[Any] = [1.0]
    box.append(box)
    assert fingerprint(with_rate(box)) == fingerprint(with_rate(box))


@dataclass(frozen=True)
class Rates:
    slow: float
    others: tuple[float, ...] = (1.0, 2.0)
    loose: object = None

    def field(self, t, y):
        return -self.slow * y * self.others[0]


@settings(max_examples=20)
@given(st.floats(0.1, 10), st.floats(0.1, 10))
def test_frozen_objects_count_by_what_is_in_them(a, b):
    mark = fingerprint(Rates(a).field)
    assert fingerprint(Rates(a).field) == mark  # another object, equal numbers
    assert (fingerprint(Rates(b).field) == mark) == (a == b)
    assert fingerprint(Rates(a, (3.0, 2.0)).field) != mark


def test_a_frozen_object_with_loose_parts_is_read_each_time():
    rates = Rates(1.0, loose=[1.0])
    mark = fingerprint(rates.field)
    assert fingerprint(rates.field) == mark
    rates.loose.append(2.0)
    assert fingerprint(rates.field) != mark


def test_a_long_frozen_object_is_itself_and_no_other():
    numbers = tuple(map(float, range(LONGEST + 2)))
    first, second = Rates(1.0, numbers), Rates(1.0, (*numbers[:-1], -1.0))
    assert fingerprint(first.field) == fingerprint(first.field)
    assert fingerprint(first.field) != fingerprint(second.field)
    assert id(first) not in FROZEN


def test_what_is_known_of_an_object_goes_with_it():
    before = len(FROZEN)
    rates = Rates(1.0)
    fingerprint(rates.field)
    assert len(FROZEN) == before + 1
    del rates
    gc.collect()
    assert len(FROZEN) == before
