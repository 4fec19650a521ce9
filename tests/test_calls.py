"""A solve that a kernel repeats leanly is the solve that `solve` would have made."""

from __future__ import annotations

import math
import shutil
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import stiffguide
from stiffguide import InputError, UnsupportedError
from stiffguide.kernels import memory
from stiffguide.kernels.calls import Call
from stiffguide.kernels.running import threads

F64 = torch.float64
COMPILER = shutil.which("g++") or shutil.which("clang++")
pytestmark = [
    pytest.mark.skipif(COMPILER is None, reason="needs a C++ compiler"),
    pytest.mark.usefixtures("plain_builds"),
]

Y0 = torch.tensor([1.0, 0.5, 0.2], dtype=F64)
ROWS = Y0 * torch.tensor([[1.0], [2.0], [0.5], [1.5], [3.0], [0.1]], dtype=F64)
RATES = torch.tensor([0.5, 2.0], dtype=F64)
TIMES = torch.linspace(0, 2, 5, dtype=F64)


def chain(t: Tensor, y: Tensor, k: Any) -> Tensor:
    a, b, c = y.unbind(-1)
    flow = k[..., 0] * a * torch.cos(t)
    return torch.stack((-flow, flow - k[..., 1] * b, k[..., 1] * b - c * c), -1)


def blow_up(t: Tensor, y: Tensor, k: Any) -> Tensor:
    return y * y + 0 * k[..., :1]


CASES: dict[str, dict[str, Any]] = {
    "one": {},
    "explicit": {"method": "tsit5"},
    "newton": {"method": "kvaerno5"},
    "tolerances": {"rtol": 1e-4, "atol": torch.tensor([1e-6, 1e-7, 1e-8], dtype=F64)},
    "list of tolerances": {"atol": [1e-6, 1e-7, 1e-8]},
    "times": {"save_at": TIMES},
    "list of times": {"save_at": [0.5, 1.0]},
    "array of times": {"save_at": np.array([0.0, 1.25])},
    "every step": {"save_at": stiffguide.EveryStep()},
    "every step of a row": {"save_at": stiffguide.EveryStep(), "y0": ROWS[:1], "batched": True},
    "many steps": {"save_at": stiffguide.EveryStep(), "max_step": 0.001},
    "every step until it fails": {"f": blow_up, "t1": 5.0, "save_at": stiffguide.EveryStep()},
    "the end": {"save_at": stiffguide.End()},
    "backwards": {"t0": 2.0, "t1": 0.0},
    "backwards at times": {"t0": 2.0, "t1": 0.0, "save_at": TIMES.flip(0)},
    "tensor times": {"t1": torch.tensor(2.0)},
    "limits": {"first_step": 1e-3, "max_step": 0.25, "max_attempts": 500},
    "any number of attempts": {"max_attempts": 10**15, "save_at": TIMES},
    "more attempts than one thread takes": {"max_attempts": 10**15, "t1": 40.0, "f": blow_up},
    "controller": {"controller": stiffguide.PID(icoeff=0.8)},
    "rows": {"y0": ROWS, "batched": True},
    "rows at times": {"y0": ROWS, "batched": True, "save_at": TIMES},
    "one row of a batch": {"y0": ROWS[:1], "batched": True, "save_at": TIMES},
    "four rows": {"y0": ROWS[:4], "batched": True},
    "parameters by row": {"y0": ROWS, "batched": True, "k": RATES * ROWS[:, :2]},
    "many rows": {"y0": ROWS.repeat(50, 1), "batched": True},
    "not contiguous": {"y0": torch.stack((Y0, Y0), 1)[:, 0]},
    "float32": {"y0": Y0.float(), "k": RATES.float()},
    "nested": {"y0": {"a": Y0}, "f": lambda t, y, k: {"a": chain(t, y["a"], k)}},
    "nothing to do": {"t1": 0.0},
    "fails": {"f": blow_up, "t1": 5.0},
    "fails at times": {"f": blow_up, "t1": 5.0, "save_at": [0.5, 0.9, 3.0]},
    "fails in a row": {"f": blow_up, "t1": 2.0, "y0": ROWS, "batched": True, "save_at": [0.1, 1.9]},
    "runs out": {"max_attempts": 3, "save_at": TIMES},
    "warned": {"atol": 10.0},
    "infinite": {"y0": Y0 * float("inf")},
}


def solve(case: dict[str, Any], **more: Any) -> Any:
    given = {"f": chain, "y0": Y0, "t0": 0.0, "t1": 2.0, "k": RATES} | case | more
    f, y0, t0, t1, k = (given.pop(name) for name in ("f", "y0", "t0", "t1", "k"))
    return stiffguide.solve(f, y0, t0, t1, args=(k,), backend="kernel", **given)


def assert_the_same(a: Any, b: Any) -> None:
    for x, y in ((a.t, b.t), (a.counts, b.counts)):
        assert (x.shape, x.dtype) == (y.shape, y.dtype)
        assert torch.equal(x.nan_to_num(-1), y.nan_to_num(-1))
    for x, y in zip(*(torch.utils._pytree.tree_leaves(s.y) for s in (a, b)), strict=True):
        assert (x.shape, x.dtype) == (y.shape, y.dtype)
        assert torch.equal(x.nan_to_num(-1), y.nan_to_num(-1))
    assert a.messages == b.messages
    assert a.warnings == b.warnings
    assert (a.method, a.backend, a.stats.why, repr(a)) == (
        b.method,
        b.backend,
        b.stats.why,
        repr(b),
    )


LEAN = {"float32", "nested"}  # which are not repeated leanly


@pytest.mark.parametrize("name", CASES)
def test_a_repeated_solve_is_the_same(monkeypatch, name):
    memory.forget()
    whole = solve(CASES[name])
    used = []
    inner = Call.__call__
    monkeypatch.setattr(
        Call, "__call__", lambda self, *a: used.append(found := inner(self, *a)) or found
    )
    again = solve(CASES[name])
    assert_the_same(whole, again)
    assert [x is again for x in used] == ([] if name in LEAN else [True])


@pytest.mark.parametrize("name", ["one", "times", "rows at times", "parameters by row"])
def test_other_numbers_are_other_numbers(name):
    case = dict(CASES[name])
    memory.forget()
    solve(case)
    y0, k = case.pop("y0", Y0) * 1.5, case.pop("k", RATES) * 0.75
    repeated = solve(case, y0=y0, k=k, t1=2.5)
    memory.forget()
    assert_the_same(repeated, solve(case, y0=y0, k=k, t1=2.5))


def test_a_first_step_may_be_another_in_each_call():
    memory.forget()
    for first in (1e-3, None, 0.5, torch.tensor(0.25), 1e-3):
        found = solve({}, first_step=first)
        kept = dict(memory._CALLS)
        memory.forget()
        assert_the_same(found, solve({}, first_step=first))
        memory._CALLS.update(kept)
    assert len(memory._CALLS) == 1
    with pytest.raises(InputError, match="first_step must be positive"):
        solve({}, first_step=-1.0)
    failed = {"f": blow_up, "t1": 5.0}
    assert_the_same(solve(failed, first_step=0.1), solve(failed, first_step=0.1))


def test_what_is_asked_for_is_compared_by_value():
    atol, times = torch.tensor([1e-3] * 3, dtype=F64), TIMES.clone()
    memory.forget()
    coarse = solve({}, atol=atol, save_at=times)
    atol *= 1e-6
    fine = solve({}, atol=atol, save_at=times)
    assert not torch.equal(coarse.y, fine.y)
    times *= 0.5
    assert solve({}, atol=atol, save_at=times).t[-1] == 1.0
    assert coarse.t[-1] == fine.t[-1] == 2.0  # what was given back is nobody else's
    memory.forget()
    assert_the_same(solve({}, atol=atol, save_at=times), solve({}, atol=atol, save_at=times))


def test_a_solve_that_is_too_long_for_the_calling_thread_goes_on_in_another(monkeypatch):
    for case in ({"max_attempts": 10**15}, {"max_attempts": 10**15, "save_at": TIMES}):
        memory.forget()
        expected = solve(case)
        assert expected.counts[2] > 6
        monkeypatch.setattr(threads, "SHORT", 6 * 3**2)
        memory.forget()
        for _ in range(2):  # by the whole way, and repeated
            assert_the_same(solve(case), expected)
        monkeypatch.undo()


def test_what_is_given_back_is_its_owners():
    memory.forget()
    for case in (CASES["one"], CASES["times"], CASES["rows at times"]):
        first = solve(case)
        kept = first.y.clone(), first.t.clone()
        second = solve(case)
        second.y.zero_()
        second.t.zero_()
        third = solve(case)
        assert torch.equal(third.y, kept[0])
        assert torch.equal(third.t, kept[1])


def test_what_cannot_be_used_is_refused_as_ever():
    memory.forget()
    solve(CASES["times"])
    with pytest.raises(InputError, match="between t0 and t1"):
        solve(CASES["times"], t1=1.0)
    with pytest.raises(InputError, match="sorted"):
        solve(CASES["times"], t0=2.0, t1=0.0)
    assert solve(CASES["times"], k=RATES.clone().requires_grad_()).y.requires_grad
    with pytest.raises(InputError, match="finite"):
        solve({}, t1=float("nan"))
    with torch.no_grad():
        solve(CASES["times"], k=RATES.clone().requires_grad_())


def test_a_field_of_the_same_code_is_not_taken_for_another():
    def scaled(k: Any) -> Any:
        return lambda t, y, _: -k * y

    memory.forget()
    for k in (1.0, 2.0, torch.tensor(3.0, dtype=F64), torch.tensor(4.0, dtype=F64), 5.0):
        found = solve({"f": scaled(k)}, rtol=1e-8)
        expected = Y0 * math.exp(-2 * float(k))
        torch.testing.assert_close(found.y[0], expected, rtol=1e-6, atol=0)


def test_calls_are_bounded(monkeypatch):
    monkeypatch.setattr(memory, "MOST", 3)
    memory.forget()
    for k in range(10):
        solve({}, max_attempts=100 + k)
        assert len(memory._CALLS) <= 3


# prepared -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in CASES if n not in ("float32",)])
def test_prepared_is_solve(name):
    case = {"f": chain, "y0": Y0, "t0": 0.0, "t1": 2.0, "k": RATES} | CASES[name]
    f, y0, t0, t1, k = (case.pop(x) for x in ("f", "y0", "t0", "t1", "k"))
    prepared = stiffguide.prepare(f, like=y0, args=(k,), backend="kernel", **case)
    assert prepared.why == ""
    expected = solve(CASES[name])
    for _ in range(3):
        assert_the_same(prepared(y0, t0, t1, k), expected)


def test_prepared_builds_at_once_and_nothing_later(monkeypatch, cache, auto):
    from stiffguide.kernels.running import build

    prepared = stiffguide.prepare(chain, like=Y0, args=(RATES,))
    monkeypatch.setattr(build, "make", None)
    for scale in (1.0, 2.0):
        assert prepared(scale * Y0, 0.0, 1.0, scale * RATES).stats.backend == "kernel"


def test_what_has_no_kernel_is_prepared_all_the_same(auto):
    def f(t: Tensor, y: Tensor) -> Tensor:
        return -torch.special.bessel_j0(y)

    prepared = stiffguide.prepare(f, like=Y0)
    assert "bessel" in prepared.why
    found = prepared(Y0, 0.0, 1.0)
    assert found.stats.backend == "eager"
    assert torch.equal(found.y, stiffguide.solve(f, Y0, 0.0, 1.0, backend="eager").y)
    with pytest.raises(UnsupportedError, match="bessel"):
        stiffguide.prepare(f, like=Y0, backend="kernel")


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"rtol": -1.0}, "rtol"),
        ({"atol": [1.0, 2.0]}, "atol"),
        ({"save_at": "x"}, "save_at"),
        ({"max_step": 0}, "max_step"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"method": "rodas"}, "rodas"),
        ({"backend": "fast"}, "fast"),
        ({"t0": "now"}, "t0"),
        ({"args": [RATES]}, "args must be a tuple"),
        ({"args": [RATES], "backend": "eager"}, "args must be a tuple"),
    ],
)
def test_settings_are_checked_when_they_are_given(settings, match):
    with pytest.raises(InputError, match=match):
        stiffguide.prepare(chain, like=Y0, **{"args": (RATES,), "backend": "kernel"} | settings)


@pytest.mark.parametrize("make", [stiffguide.prepare, stiffguide.compile])
def test_what_is_no_function_is_refused(make):
    with pytest.raises(InputError, match="f must be callable, not int"):
        make(3, like=Y0)


def test_a_field_that_fails_beside_the_start_is_prepared_as_it_is_solved(auto):
    def narrow(t: Tensor, y: Tensor) -> Tensor:
        if not bool(y[0] <= 1.0):
            raise ValueError("y[0] is above 1")
        return torch.special.bessel_j0(y) - y

    prepared = stiffguide.prepare(narrow, like=Y0)
    assert prepared.why
    assert prepared(Y0, 0.0, 0.1).stats.backend == "eager"
