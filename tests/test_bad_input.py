"""Bad input: one clear sentence, at the door, that names the argument; and the borders of good."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction as F
from typing import Any

import numpy as np
import pytest
import torch
from families import close, every_family, real
from torch import Tensor

import stiffguide as sg
from stiffguide import InputError, Status, UnsupportedError
from stiffguide.catalogue import TABLEAUX
from stiffguide.catalogue.collocation import on_nodes
from stiffguide.tableaux.exact import sqrt
from stiffguide.tableaux.tableau import Tableau

NAN, INF = float("nan"), float("inf")


def decay(t: Tensor, y: Tensor, *args: Any) -> Tensor:
    return -y


def call(**changes: Any) -> sg.Solution:
    """A good solve with something in it replaced."""
    given = {"f": decay, "y0": real(1.0, 2.0, 3.0), "t0": 0.0, "t1": 1.0, **changes}
    return sg.solve(given.pop("f"), given.pop("y0"), given.pop("t0"), given.pop("t1"), **given)


def batch(**changes: Any) -> sg.Solution:
    """The same with two rows."""
    return call(**{"y0": real(1.0, 2.0, 3.0).repeat(2, 1), "batched": True, **changes})


def refused(words: str, kind: type[Exception] = InputError) -> Any:
    return pytest.raises(kind, match=words)


def sentence(error: pytest.ExceptionInfo[Exception]) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert 10 < len(text) < 250
    return text


# every bad argument: what it is called in the sentence, and what else the sentence says ----------

TIMES = {
    "t0 nan": ({"t0": NAN}, "t0 must be finite"),
    "t1 nan": ({"t1": NAN}, "t1 must be finite"),
    "t1 inf": ({"t1": INF}, "t1 is infinite and nothing would stop the solve: give save_at=Steady"),
    "t0 inf": ({"t0": -INF}, "t0 must be finite"),
    "t0 text": ({"t0": "soon"}, "t0 is not a number: 'soon'"),
    "t1 none": ({"t1": None}, "t1 is not a number: None"),
    "t1 complex": ({"t1": 1j}, "t1 is not a number"),
    "t0 list": ({"t0": [0.0, 0.0, 0.0]}, r"t0 has shape \(3,\); give a scalar"),
    "t1 matrix": ({"t1": torch.ones(1, 1)}, r"t1 has shape \(1, 1\)"),
    "tstops graph": ({"tstops": real(0.5).requires_grad_()}, "tstops requires grad"),
    "t1 unseen": (
        {"f": lambda t, y: -y * float(t), "t1": real(1.0)[0].requires_grad_()},
        "autograd does not see how f depends on t, and so neither what t1 does",
    ),
    "save_at before": ({"save_at": [-0.1, 0.5]}, "save_at: every time must lie between t0 and t1"),
    "save_at beyond": ({"save_at": [0.5, 1.1]}, "save_at: every time must lie between t0 and t1"),
    "save_at unsorted": ({"save_at": [0.5, 0.2]}, "save_at: the times must be sorted"),
    "save_at nan": ({"save_at": [0.5, NAN]}, "save_at: the times must be finite"),
    "save_at number": ({"save_at": 1.0}, "save_at: needs at least one time, shape"),
    "save_at empty": ({"save_at": []}, "save_at: needs at least one time"),
    "save_at matrix": ({"save_at": real(0.5).reshape(1, 1)}, r"save_at has shape \(1, 1\)"),
    "save_at text": ({"save_at": "end"}, "save_at: not a list of times"),
    "tstops nan": ({"tstops": [NAN]}, "tstops must be finite"),
    "tstops shape": ({"tstops": torch.ones(2, 1)}, r"tstops has shape \(2, 1\)"),
    "tstops text": ({"tstops": "noon"}, "tstops"),
    "first_step zero": ({"first_step": 0.0}, "first_step must be positive, not 0.0"),
    "first_step negative": ({"first_step": -1.0}, "first_step must be positive"),
    "first_step nan": ({"first_step": NAN}, "first_step must be positive"),
    "first_step text": ({"first_step": "small"}, "first_step"),
    "max_step zero": ({"max_step": 0}, "max_step must be positive"),
    "max_step negative": ({"max_step": -0.1}, "max_step must be positive"),
    "max_attempts zero": ({"max_attempts": 0}, "max_attempts must be at least 1, not 0"),
    "max_attempts none": ({"max_attempts": None}, "max_attempts"),
    "max_attempts nan": ({"max_attempts": NAN}, "max_attempts"),
}

TOLERANCES = {
    "rtol negative": ({"rtol": -1e-6}, "rtol must be finite and not negative, got -1e-06"),
    "atol negative": ({"atol": real(1.0, -1.0, 1.0)}, "atol must be finite and not negative"),
    "rtol nan": ({"rtol": NAN}, "rtol must be finite"),
    "atol inf": ({"atol": INF}, "atol must be finite"),
    "both zero": ({"rtol": 0.0, "atol": 0.0}, "rtol and atol are both zero"),
    "one zero": ({"rtol": 0.0, "atol": real(1.0, 0.0, 1.0)}, "rtol and atol are both zero"),
    "rtol shape": ({"rtol": torch.ones(2)}, r"rtol has shape \(2,\)"),
    "atol shape": ({"atol": torch.ones(4, 3)}, r"atol has shape \(4, 3\)"),
    "atol text": ({"atol": "tight"}, "atol"),
    "atol none": ({"atol": None}, "atol"),
    "rtol dict": ({"rtol": {"a": 1.0}}, "rtol"),
}

STATES = {
    "numpy": ({"y0": np.ones(3)}, "y0 is a numpy.ndarray: .*torch"),
    "none": ({"y0": None}, "y0 is a NoneType"),
    "text": ({"y0": "one"}, "y0 is a str"),
    "integer": ({"y0": torch.ones(3, dtype=torch.int64)}, r"y0 has dtype torch.int64.*double"),
    "bool": ({"y0": torch.ones(3, dtype=torch.bool)}, "y0 has dtype torch.bool"),
    "sparse": ({"y0": torch.ones(3).to_sparse()}, r"y0 is torch.sparse_coo: give y0.to_dense\(\)"),
    "empty": ({"y0": torch.zeros(0)}, "y0 has no entries"),
    "empty tuple": ({"y0": ()}, "y0 is empty"),
    "empty dict": ({"y0": {}}, "y0 is empty"),
    "tree": (
        {"y0": {"a": torch.ones(2), "b": torch.ones(1)}, "f": lambda t, y: {"a": y["a"]}},
        r"the value of f is a dict with keys \('a',\), y0 is a dict with keys \('a', 'b'\)",
    ),
    "pair": (
        {"y0": (torch.ones(2), torch.ones(1)), "f": lambda t, y: y[0]},
        "the value of f is a tensor, y0 is a tuple of 2",
    ),
    "leaf": (
        {"y0": (torch.ones(2), torch.ones(1)), "f": lambda t, y: (y[0], y[0])},
        r"the value of f has shape \(2,\), y0 has \(1,\) at y0\[1\]",
    ),
    "list inside": ({"y0": (real(1.0), None)}, r"y0\[1\] is a NoneType"),
    "numpy inside": ({"y0": {"a": np.ones(2)}}, r"y0\['a'\] is a numpy.ndarray"),
    "integer inside": ({"y0": {"a": torch.ones(2).int()}}, r"y0\['a'\] has dtype torch.int32"),
    "scalar rows": ({"y0": real(1.0)[0], "batched": True}, "y0 is a scalar.*batched=True"),
    "ragged rows": (
        {"y0": (torch.ones(2, 1), torch.ones(3, 1)), "batched": True},
        r"y0\[1\] has 3 rows, y0\[0\] has 2",
    ),
    "no features": ({"y0": torch.zeros(2, 0), "batched": True}, "y0 has no entries"),
    "devices": (
        {"y0": (torch.ones(2), torch.ones(2, device="meta"))},
        r"y0\[1\] is on meta, y0\[0\] on cpu",
    ),
}

FIELDS = {
    "f none": ({"f": None}, "f must be callable, not NoneType"),
    "f tensor": ({"f": torch.ones(3)}, "f must be callable, not Tensor"),
    "f shape": ({"f": lambda t, y: y[:2]}, r"the value of f has shape \(2,\), y0 has \(3,\)"),
    "f sum": ({"f": lambda t, y: y.sum()}, r"the value of f has shape \(\), y0 has \(3,\)"),
    "f text": ({"f": lambda t, y: "1.0", "y0": torch.ones(1)}, "the value of f is a str"),
    "f list of none": ({"f": lambda t, y: [None], "y0": torch.ones(1)}, "the value of f is a list"),
    "f returns none": ({"f": lambda t, y: None}, "the value of f is a NoneType where y0 has"),
    "f number": ({"f": lambda t, y: 1.0}, r"the value of f has shape \(\), y0 has \(3,\)"),
    "f double": (
        {"f": lambda t, y: -y.double(), "y0": torch.ones(3)},
        "the value of f has dtype torch.float64, y0 has torch.float32",
    ),
    "f complex": ({"f": lambda t, y: 1j * y}, "the value of f has dtype torch.complex128"),
    "f elsewhere": ({"f": lambda t, y: y.to("meta")}, "the value of f is on meta, y0 on cpu"),
    "f in place": ({"f": lambda t, y: y.mul_(-1)}, "f changes y in place"),
    "f in place in time": ({"f": lambda t, y: t.add_(1) * y}, "f changes t in place"),
    "f in place below": ({"f": lambda t, y: y[:2].mul_(-1).new_ones(3)}, "f changes y in place"),
    "args elsewhere": ({"args": (torch.ones(2, device="meta"),)}, r"args\[0\] is on meta"),
    "args list": ({"args": [1.0]}, "args must be a tuple.*not list"),
    "args tensor": ({"args": real(1.0)}, "args must be a tuple.*not Tensor"),
}

METHODS = {
    "method unknown": (
        {"method": "rodas6"},
        "method: 'rodas6' is unknown; did you mean '.*rodas5p",
    ),
    "method far": ({"method": "zzz"}, "method: 'zzz' is unknown"),
    "method none": ({"method": None}, "method: .*not NoneType"),
    "method class": ({"method": int}, "method: .*not type"),
    "backend": ({"backend": "cuda"}, "backend: 'cuda' is unknown; give 'eager'"),
    "no pair": ({"method": "rk4"}, r"rk4 has no embedded pair.*controller=Fixed\(dt\)"),
    "controller": ({"controller": 0.1}, r"controller: give PID\(\), Fixed\(dt\) or Grid"),
    "controller class": ({"controller": sg.PID}, r"controller: give PID\(\)"),
    "save_at class": ({"save_at": sg.EveryStep}, r"save_at: give EveryStep\(\), not the class"),
    "guidance": ({"guidance": 0.5}, "guidance: give a rule"),
    "jac elsewhere": ({"jac": torch.eye(3, device="meta")}, "jac is on meta, y0 on cpu"),
    "jac text": ({"jac": "exact"}, "jac: 'exact' is unknown"),
    "jac number": ({"jac": 1.0}, "jac must be a function"),
    "jac shape": ({"jac": lambda t, y: -torch.eye(2)}, r"jac returned shape \(2, 2\).*\(3, 3\)"),
    "jac constant": ({"jac": torch.eye(4)}, r"jac .*shape \(4, 4\)"),
    "jac list": ({"jac": lambda t, y: [1.0]}, "jac returned a list, not a tensor"),
}

LOBATTO_IIIB = Tableau(
    name="lobatto_iiib4",
    a=((F(1, 6), F(-1, 6)), (F(1, 6), F(1, 3)), (F(1, 6), F(5, 6))),
    b=(F(1, 6), F(2, 3), F(1, 6)),
    c=(F(0), F(1, 2), F(1)),
    order=4,
    source="Hairer and Wanner II, IV.5, table 5.8",
)
BURRAGE = on_nodes("burrage", (2 - sqrt(2), 2 + sqrt(2)), 2, "Burrage, BIT 18 (1978) 22-41")

UNSUPPORTED = {
    "half": ({"y0": torch.ones(3).half()}, "rodas5p solves linear systems.*float16.*y0.float"),
    "singular": ({"method": LOBATTO_IIIB}, "a of lobatto_iiib4 is singular.*use 'radau5'"),
    "no basis": ({"method": BURRAGE}, "a of burrage has too few eigenvectors.*use 'radau5'"),
    "large": (
        {"f": lambda t, y: y.mean() - y, "y0": torch.ones(5000), "method": "rodas5p"},
        "rodas5p would factorise a dense Jacobian, too large for 5000 .*0.2 GB .*explicit",
    ),
    "large complex": (
        {
            "f": lambda t, y: y.mean() - y,
            "y0": torch.ones(3000, dtype=torch.complex64),
            "method": "rodas5p",
        },
        "a dense Jacobian, too large for 6000 real and imaginary parts.*explicit",
    ),
    "kernel complex": (
        {"y0": torch.ones(3, dtype=torch.complex128), "backend": "kernel"},
        "kernel: .*it computes in real numbers and y0 is torch.complex128; use backend='eager'",
    ),
}

BAD = TIMES | TOLERANCES | STATES | FIELDS | METHODS


@pytest.mark.parametrize(("changes", "words"), BAD.values(), ids=BAD)
def test_bad_arguments_are_refused_by_name(changes: dict[str, Any], words: str) -> None:
    with refused(words) as error:
        call(**changes)
    sentence(error)


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.inference_mode])
@pytest.mark.parametrize("batched", [False, True])
def test_what_f_changes_in_place_is_not_the_users(mode: Any, batched: bool) -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        t.add_(1)
        return y.mul_(-3)

    with mode():
        t0, y0 = torch.zeros(2 if batched else (), dtype=torch.float64), real(1.0, math.nan)
        for start in (t0, 0.0):
            with refused("f changes y in place"):
                sg.solve(f, y0, start, 1.0, batched=batched)
        assert torch.equal(t0, torch.zeros_like(t0))
        close(y0, real(1.0, math.nan))
        end = sg.solve(lambda t, y: torch.cos(t) + 0 * y, y0[:1], 0.0, 1.0).y
        close(end, torch.tensor([[1 + math.sin(1.0)]], dtype=torch.float64), rtol=1e-5)


@pytest.mark.parametrize("method", ["rodas5p", "tsit5"])
def test_a_state_from_inference_mode_is_one_like_others(method: str) -> None:
    with torch.inference_mode():
        y0 = real(1.0, 2.0)
    close(sg.solve(lambda t, y: -y, y0, 0.0, 1.0, method=method).y[0], y0 * math.exp(-1), rtol=1e-5)
    with refused("f changes y in place"):
        sg.solve(lambda t, y: y.mul_(-1), y0, 0.0, 1.0, method=method)


@pytest.mark.parametrize(("changes", "words"), UNSUPPORTED.values(), ids=UNSUPPORTED)
def test_what_is_not_offered_is_refused_with_the_way_out(changes: Any, words: str) -> None:
    with refused(words, UnsupportedError) as error:
        call(**changes)
    assert "use" in sentence(error) or "monitor" in str(error.value)


BATCHES = {
    "t0 rows": ({"t0": torch.zeros(3)}, r"t0 has shape \(3,\); give a scalar or \(2,\)"),
    "t1 matrix": ({"t1": torch.ones(2, 1)}, r"t1 has shape \(2, 1\)"),
    "t1 nan": ({"t1": real(1.0, NAN)}, "t1 must be finite"),
    "rtol rows": ({"rtol": torch.ones(5)}, r"rtol has shape \(5,\).*or \(2,\) per row"),
    "atol rows": ({"atol": real(1.0, -1.0)}, "atol must be finite and not negative"),
    "save_at rows": ({"save_at": torch.ones(3, 2)}, "save_at: 3 rows of times for 2 rows of y0"),
    "save_at beyond": (
        {"save_at": [0.5, 0.9], "t1": real(0.6, 1.0)},
        "save_at: every time must lie between t0 and t1",
    ),
    "f rows": ({"f": lambda t, y: -y[:1]}, r"the value of f has shape \(1, 3\), y0 has \(2, 3\)"),
    "f solo": ({"f": lambda t, y: -y[0]}, r"the value of f has shape \(3,\), y0 has \(2, 3\)"),
    "jac rows": (
        {"jac": lambda t, y: torch.zeros(4, 3, 3)},
        r"jac returned shape \(4, 3, 3\).*return \(2, 3, 3\)",
    ),
    "jac order": ({"jac": lambda t, y: torch.zeros(3, 3, 2)}, r"jac returned shape \(3, 3, 2\)"),
    "grid rows": ({"controller": sg.Grid(torch.zeros(3, 2))}, "Grid: 3 rows of times for 2 rows"),
    "grid ends": ({"controller": sg.Grid([0.0, 0.5])}, "Grid: the times must begin at t0 and end"),
    "monitor": ({"monitor": lambda t, y: [True] * 3}, r"monitor returned shape \(3,\)"),
    "monitor text": ({"monitor": lambda t, y: "stop"}, "monitor"),
    "monitor state": ({"monitor": lambda t, y: y > 0}, r"monitor returned shape \(2, 3\)"),
}


@pytest.mark.parametrize(("changes", "words"), BATCHES.values(), ids=BATCHES)
def test_bad_arguments_of_a_batch_are_refused_by_name(changes: Any, words: str) -> None:
    with refused(words) as error:
        batch(**changes)
    sentence(error)


def test_an_ambiguous_tolerance_is_refused() -> None:
    square = torch.ones(3, 3, dtype=torch.float64)
    tight = real(1e-4, 1e-6, 1e-8)
    with refused("rtol of shape .* may mean 3 rows or 3 components"):
        call(y0=square, batched=True, rtol=tight)
    by_row = call(y0=square, batched=True, rtol=tight.unsqueeze(1))
    by_component = call(y0=square, batched=True, rtol=tight.unsqueeze(0))
    assert len(set(by_row.stats.accepted.tolist())) == 3
    assert len(set(by_component.stats.accepted.tolist())) == 1


BUILT = {
    "fixed zero": (lambda: sg.Fixed(0.0), "Fixed: dt must be positive"),
    "fixed nan": (lambda: sg.Fixed(NAN), "Fixed: dt must be positive"),
    "grid one": (lambda: sg.Grid([0.0]), "Grid: needs at least two times"),
    "grid nan": (lambda: sg.Grid([0.0, NAN]), "Grid: the times must be finite"),
    "grid order": (lambda: sg.Grid([0.0, 2.0, 1.0]), "Grid: the times must be sorted"),
    "pid safety": (lambda: sg.PID(safety=1.5), "PID: safety"),
    "pid factors": (lambda: sg.PID(min_factor=2.0), "PID: needs 0 < min_factor < 1"),
    "pid sum": (lambda: sg.PID(icoeff=0.0), "PID: the coefficients"),
    "steady": (lambda: sg.SteadyState(rtol=-1.0), "SteadyState: rtol and atol"),
    "steady zero": (lambda: sg.SteadyState(0.0, 0.0), "SteadyState: rtol and atol"),
    "problem": (lambda: sg.problems.get("robertsen"), "robertson"),
}


@pytest.mark.parametrize(("make", "words"), BUILT.values(), ids=BUILT)
def test_bad_settings_are_refused_at_birth(make: Callable[[], Any], words: str) -> None:
    with refused(words) as error:
        make()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["Rodas5P", "AUTO", "Tsit5"])
def test_names_of_methods_have_no_case(name: str) -> None:
    assert call(method=name).success


def test_tableaux_and_methods_are_methods_too() -> None:
    for name in ("bosh3", "rodas4", "kvaerno3"):
        expected = call(method=name, rtol=1e-3).y
        for method in (TABLEAUX[name], sg.methods.get(name)):
            assert torch.equal(call(method=method, rtol=1e-3).y, expected)


def test_at_needs_dense_and_a_fitting_shape() -> None:
    with refused("at: .*dense=True"):
        call().at(0.5)
    with refused(r"at: t has shape \(3, 2\)"):
        batch(dense=True).at(torch.zeros(3, 2))


def test_an_exception_of_the_field_is_the_users_own() -> None:
    class Mine(Exception):
        pass

    def f(t: Tensor, y: Tensor) -> Tensor:
        raise Mine

    with pytest.raises(Mine):
        call(f=f)


# numerical trouble is a status, not an exception --------------------------------------------------


@every_family
@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_a_start_that_is_not_finite_is_a_status(name: str, value: float) -> None:
    by_state = call(y0=real(1.0, value, 1.0), method=name)
    by_field = call(f=lambda t, y: y * value, method=name)
    for solution in (by_state, by_field):
        assert int(solution.status) == Status.NON_FINITE
        assert not solution.success
        assert "check y0 and the arguments of f" in solution.message
        assert solution.stats.accepted == 0
        with pytest.raises(sg.SolveFailed, match="not finite"):
            solution.raise_if_failed()


# the borders of what is good ----------------------------------------------------------------------


@every_family
def test_no_interval_gives_y0_back(name: str) -> None:
    y0 = real(1.0, 2.0, 3.0)
    solution = call(y0=y0, t0=0.5, t1=0.5, method=name, save_at=[0.5, 0.5], dense=True)
    assert int(solution.status) == Status.SUCCESS
    assert torch.equal(solution.y, y0.repeat(2, 1))
    assert torch.equal(solution.at(0.5), y0)
    assert torch.equal(call(y0=y0, t0=2.0, t1=2.0, method=name).y, y0.unsqueeze(0))
    steps = call(y0=y0, t0=0.5, t1=0.5, method=name, save_at=sg.EveryStep())
    assert torch.equal(steps.t, real(0.5))


@every_family
def test_no_rows_are_no_trouble(name: str) -> None:
    empty = torch.zeros(0, 3, dtype=torch.float64)
    for settings in ({}, {"save_at": [0.5, 1.0]}, {"save_at": sg.EveryStep()}, {"dense": True}):
        solution = call(y0=empty, batched=True, method=name, **settings)
        assert solution.y.shape[0] == solution.t.shape[0] == 0
        assert solution.y.shape[2] == 3
        assert solution.success.all()
        solution.raise_if_failed()
        assert "Solution" in repr(solution)


@every_family
def test_one_row_keeps_its_axis(name: str) -> None:
    solution = call(y0=real(1.0, 2.0, 3.0).unsqueeze(0), batched=True, method=name)
    alone = call(method=name)
    assert solution.y.shape == (1, 1, 3)
    assert solution.t.shape == (1, 1)
    assert solution.status.shape == (1,)
    assert torch.equal(solution.y[0], alone.y)


@every_family
@pytest.mark.parametrize("y0", [2.0, 2, real(2.0)[0]], ids=["float", "int", "0-d"])
def test_a_number_is_a_state(name: str, y0: Any) -> None:
    solution = call(y0=y0, method=name, atol=1e-6)
    assert solution.y.shape == (1,)
    assert abs(float(solution.y) - 2 * np.exp(-1)) < 1e-4


def test_numbers_of_every_kind_are_times_and_tolerances() -> None:
    expected = call().y
    for zero, one in ((0, 1), (np.float64(0), np.float32(1)), (torch.tensor(0), torch.tensor(1))):
        assert torch.equal(call(t0=zero, t1=one).y, expected)
    for rtol in (1e-6, np.float64(1e-6), real(1e-6)[0], [1e-6] * 3, np.full(3, 1e-6)):
        torch.testing.assert_close(call(rtol=rtol).y, expected, rtol=1e-12, atol=0)
    assert torch.equal(call(save_at=np.array([1.0])).y, expected)
    assert torch.equal(call(save_at=[1]).y, expected)


def test_tolerances_follow_the_nesting_of_the_state() -> None:
    y0 = {"a": real(1.0, 2.0), "b": real(3.0)}
    solution = sg.solve(
        lambda t, y: {k: -v for k, v in y.items()},
        y0,
        0.0,
        1.0,
        atol={"a": real(1e-9, 1e-8), "b": real(1e-7)},
    )
    assert solution.success
    with refused("atol"):
        sg.solve(lambda t, y: y, y0, 0.0, 1.0, atol={"a": real(1e-9), "b": real(1e-7)})
