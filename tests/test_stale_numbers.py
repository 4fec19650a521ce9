"""A kernel computes with the numbers that its field has today, however they have changed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import changes_of_containers  # noqa: F401 - fills the tables
import changes_of_names  # noqa: F401 - fills the tables
import changes_of_objects  # noqa: F401 - fills the tables
import changes_of_torch  # noqa: F401 - fills the tables
import changes_unseen  # noqa: F401 - fills the tables
import pytest
import torch
from changes import FOLLOWED, UNSEEN, Way
from torch import Tensor
from traces import F64, traced

import stiffguide as sg
from stiffguide.tracing import agreement
from stiffguide.tracing.fingerprint import fingerprint

WAYS = FOLLOWED | UNSEEN
Y = torch.tensor([0.5, 1.0, 2.0], dtype=F64)
T = torch.tensor(0.5, dtype=F64)
COMPILER = shutil.which("g++") or shutil.which("clang++")


@pytest.fixture(autouse=True)
def default_dtype() -> Iterator[None]:
    before = torch.get_default_dtype()
    yield
    torch.set_default_dtype(before)


def value(f: Callable[..., Tensor]) -> Tensor:
    """What the trace of f, as it is remembered, has for a value."""
    found = traced(f, Y)
    p = torch.atleast_2d(found.parameter_table((), 1))
    parts = found.plain.evaluate(found.values, T.numpy()[None], Y.numpy()[None], p.numpy())
    return torch.stack([torch.as_tensor(x, dtype=F64).reshape(()) for x in parts])


@pytest.mark.parametrize("name", WAYS)
def test_a_number_that_has_changed_is_noticed(name: str) -> None:
    f, change = WAYS[name]()
    before = f(T, Y)
    torch.testing.assert_close(value(f), before, rtol=1e-12, atol=0)
    torch.testing.assert_close(value(f), before, rtol=1e-12, atol=0)
    with torch.no_grad():
        change()
    after = f(T, Y)
    assert not torch.allclose(after, before, rtol=1e-9)
    torch.testing.assert_close(value(f), after, rtol=1e-12, atol=0)


@pytest.mark.parametrize(("name", "way"), WAYS.items())
def test_what_is_followed_to_its_end_is_trusted_and_nothing_else(name: str, way: Way) -> None:
    f, _ = way()
    assert fingerprint(f).complete is (name in FOLLOWED)


@pytest.mark.parametrize("name", FOLLOWED)
def test_a_field_that_is_trusted_is_not_evaluated_again(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    f, _ = FOLLOWED[name]()
    first = traced(f, Y)

    def refuse(*args: Any) -> Tensor:
        raise AssertionError

    monkeypatch.setattr(agreement, "evaluate", refuse)
    assert traced(f, Y) is first


def test_a_field_that_is_not_trusted_is_evaluated_where_it_was_not_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    f, _ = UNSEEN["a_long_list"]()
    first, evaluate, places = traced(f, Y), agreement.evaluate, []

    def watched(f: Any, args: Any, layout: Any, t: Tensor, y: Tensor) -> Tensor:
        places.append(y)
        return evaluate(f, args, layout, t, y)

    monkeypatch.setattr(agreement, "evaluate", watched)
    assert all(traced(f, Y) is first for _ in range(3))
    assert len({tuple(y.flatten().tolist()) for y in places}) == len(places) == 3


def test_a_trace_that_was_made_where_f_has_no_value_does_not_survive() -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        return torch.log(y) - y.mean(0, keepdim=True)

    many = Y.expand(2, 3) + torch.tensor([[0.0], [1.0]], dtype=F64)
    assert not traced(f, -many, batched=True).sure  # it has the mean of one row
    with pytest.raises(sg.UnsupportedError, match="not what its trace says"):
        traced(f, many, batched=True)


def test_a_trace_that_holds_is_trusted_in_the_end() -> None:
    f = torch.log
    g = lambda t, y: f(y)  # noqa: E731
    made = traced(g, -Y)
    for sure in (False, True):
        assert traced(g, Y) is made
        assert made.sure is sure


@pytest.mark.skipif(COMPILER is None, reason="needs a C++ compiler")
@pytest.mark.parametrize("name", ["a_global", "a_cache", "a_private_dict_of_a_module", "a_file"])
def test_a_solve_by_a_kernel_is_that_of_today(name: str) -> None:
    f, change = WAYS[name]()
    settings: Any = {"method": "bosh3", "rtol": 1e-6, "atol": 1e-9}
    for _ in range(2):
        kernel = sg.solve(f, Y, 0.0, 1.0, backend="kernel", **settings)
        eager = sg.solve(f, Y, 0.0, 1.0, **settings)
        torch.testing.assert_close(kernel.y, eager.y, rtol=1e-8, atol=0)
        change()
