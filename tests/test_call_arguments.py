"""A solve that is repeated reads the numbers that it is given, wherever and however they lie."""

from __future__ import annotations

import copy
import math
import pickle
import shutil
from typing import Any

import pytest
import torch
from test_calls import CASES, RATES, TIMES, Y0, assert_the_same, chain, solve
from torch import Tensor

import stiffguide
from stiffguide.kernels import memory

F64 = torch.float64
COMPILER = shutil.which("g++") or shutil.which("clang++")
pytestmark = [
    pytest.mark.skipif(COMPILER is None, reason="needs a C++ compiler"),
    pytest.mark.usefixtures("plain_builds"),
]


@pytest.mark.parametrize("case", ["one", "fails"])
@pytest.mark.parametrize("name", ["rtol", "atol", "save_at"])
def test_settings_that_change_in_place_are_not_those_of_an_earlier_call(case, name):
    ours = TIMES.clone() if name == "save_at" else torch.tensor([1e-2] * 3, dtype=F64)
    theirs = ours.clone()
    memory.forget()
    expected = solve(CASES[case], **{name: ours})
    ours *= 0.25
    assert_the_same(solve(CASES[case], **{name: theirs}), expected)


def by_name(t: Tensor, y: Tensor, k: Any) -> Tensor:
    return k["birth"] - k["death"] * y


def by_place(t: Tensor, y: Tensor, few: Any, more: Any) -> Tensor:
    return len(few) - sum(more) * y if isinstance(few, tuple) else sum(few) - more * y


@pytest.mark.parametrize(
    ("f", "args", "other"),
    [
        (by_name, ({"birth": 1.0, "death": 2.0},), ({"death": 2.0, "birth": 1.0},)),
        (by_place, ([1.0, 2.0], 3.0), ((1.0,), [2.0, 3.0])),
        (by_place, ((1.0,), [2.0, 3.0]), ((1.0, 2.0), [3.0])),
    ],
)
def test_arguments_that_are_nested_in_another_way_are_others(f, args, other):
    y0 = torch.ones(1, dtype=F64)
    memory.forget()
    for given in (args, other, args, other):
        ends = [
            stiffguide.solve(f, y0, 0.0, 1.0, args=given, backend=way).y
            for way in ("kernel", "kernel", "eager")
        ]
        for end in ends[:2]:
            torch.testing.assert_close(end, ends[2], rtol=1e-4, atol=0)


def negated(x: Tensor) -> Tensor:
    """The same numbers, in a view of memory that holds them with the other sign."""
    found = torch.complex(torch.zeros_like(x), -x).conj().imag
    assert found.is_neg()
    return found


def test_the_numbers_of_a_tensor_are_not_always_those_of_its_memory():
    y0, k = torch.tensor([0.75], dtype=F64), torch.tensor([0.5], dtype=F64)

    def field(captured: Tensor) -> Any:
        return lambda t, y, k: captured - k * y

    end = 1 - 0.25 * math.exp(-1.0)
    memory.forget()
    for captured in (k, negated(k)):
        for start, rate in ((y0, k), (negated(y0), k), (y0, negated(k)), (y0, k)):
            for rtol in (1e-6, negated(torch.tensor([1e-6], dtype=F64))):
                found = solve({"f": field(captured), "y0": start, "k": rate}, rtol=rtol)
                assert found.y.item() == pytest.approx(end, rel=1e-5)


@pytest.mark.parametrize("name", ["rtol", "atol", "save_at"])
@pytest.mark.parametrize("form", [torch.clone, Tensor.numpy, Tensor.tolist])
def test_what_is_prepared_keeps_the_settings_that_it_was_given(name, form):
    given = form(TIMES.clone() if name == "save_at" else torch.tensor([1e-2] * 3, dtype=F64))
    more = {"args": (RATES,), "backend": "kernel", name: given}
    prepared = stiffguide.prepare(chain, like=Y0, **more)
    expected = solve({}, **{name: copy.deepcopy(given)})
    given[1] = 0.25
    for _ in range(2):
        found = prepared(Y0, 0.0, 2.0, RATES)
        assert torch.equal(found.t, expected.t)
        assert torch.equal(found.y, expected.y)


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_what_is_prepared_and_was_used_can_be_copied(way):
    prepared = stiffguide.prepare(chain, like=Y0, args=(RATES,), backend="kernel")
    expected = prepared(Y0, 0.0, 2.0, RATES)
    for other in (way(prepared), prepared):
        assert torch.equal(other(Y0, 0.0, 2.0, RATES).y, expected.y)
