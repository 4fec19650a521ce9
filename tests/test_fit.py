"""`fit`: what it finds is what least squares find, and what it is given is looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from cached import needs_compiler
from scipy.optimize import least_squares
from scipy.stats import t as student
from torch import Tensor

import stiffguide as sg
from stiffguide.errors import InputError, SolveFailed, UnsupportedError
from stiffguide.fields.layout import Layout
from stiffguide.fitting.parameters import taken
from stiffguide.fitting.rowwise import of_arrays, rowwise
from stiffguide.tracing import tracer

D = torch.float64
TRUE = {"k": 2.0, "b": 0.5}
Y0 = torch.tensor([1.0, 0.0], dtype=D)
TIMES = torch.linspace(0.1, 4.0, 14, dtype=D)
FINE = {"rtol": 1e-9, "atol": 1e-12}
HOW: dict[str, Any] = {"backend": "kernel", "method": "rodas5p", "restarts": 30}
LOOP: dict[str, Any] = {"backend": "eager", "method": "tsit5", "restarts": 1, "rtol": 1e-4}


def chain(t: Tensor, y: Tensor, p: dict[str, Tensor]) -> Tensor:
    """A -> B -> nothing; all tests by kernels share this one."""
    a, b = y
    made = p["k"] * a
    return torch.stack((-made, made - p["b"] * b))


def chain_of_arrays(t: float, y: Any, k: Any) -> Any:
    a, b = y
    made = k[0] * a
    return np.array([-made, made - k[1] * b])


def exact(k: float = 2.0, b: float = 0.5, times: Tensor = TIMES) -> Tensor:
    first = torch.exp(-k * times)
    return torch.stack((first, k / (k - b) * (torch.exp(-b * times) - first)), -1)


def noisy(noise: float = 0.02) -> Tensor:
    draw = torch.Generator().manual_seed(3)
    return exact() + noise * torch.randn(len(TIMES), 2, generator=draw, dtype=D)


def start(k: float = 1.0, b: float = 1.0) -> dict[str, float]:
    return {"k": k, "b": b}


def looped(found: sg.Fit) -> sg.Fit:
    """The same, with a solution by the loop: for a single one a kernel is not worth its build."""
    written = found.written
    settings = replace(written.settings, backend="eager")
    return replace(found, written=replace(written, settings=settings))


@needs_compiler
@pytest.mark.parametrize("form", ["dict", "tensor", "array", "tuple", "numpy f"])
def test_without_noise_the_parameters_come_back_in_their_form(form: str) -> None:
    pair = torch.tensor([1.0, 1.0], dtype=D)
    forms: dict[str, tuple[Callable[..., Any], Any]] = {
        "dict": (chain, start()),
        "tensor": (lambda t, y, k: chain(t, y, {"k": k[0], "b": k[1]}), pair),
        "array": (lambda t, y, k: chain(t, y, {"k": k[0], "b": k[1]}), pair.numpy()),
        "tuple": (lambda t, y, k, b: chain(t, y, {"k": k, "b": b}), (1.0, pair[0])),
        "numpy f": (chain_of_arrays, pair.numpy()),
    }
    f, params = forms[form]
    found = sg.fit(f, Y0, TIMES, exact(), params, **HOW, **FINE)
    assert int((found.all.cost < 1e-14).sum()) == 30
    torch.testing.assert_close(found.values, torch.tensor([2.0, 0.5], dtype=D), rtol=1e-7, atol=0)
    values = found.params.values() if form == "dict" else found.params
    assert [float(x) for x in values] == pytest.approx([2.0, 0.5], rel=1e-7)
    inner = found.params["k"] if form == "dict" else found.params[0]
    kinds = {"tensor": Tensor, "array": np.float64, "numpy f": np.float64}
    assert isinstance(inner, kinds.get(form, float))
    assert isinstance(found.params, type(params))
    torch.testing.assert_close(looped(found).solution.y, exact(), rtol=1e-7, atol=1e-9)


@needs_compiler
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("log", [True, False])
def test_parameters_covariance_and_intervals_are_scipys(known: bool, log: bool) -> None:
    data, sigma = noisy(), torch.tensor([0.02, 0.05], dtype=D)
    sigma = sigma if known else torch.ones(2, dtype=D)

    def residuals(u: Any) -> Any:
        y = exact(*map(float, np.exp(u) if log else u))
        return ((y - data) / sigma).numpy().ravel()

    given = {"sigma": sigma} if known else {}
    found = sg.fit(chain, Y0, TIMES, data, start(), log=log, **given, **HOW, **FINE)
    first = np.log([1.5, 0.8]) if log else np.array([1.5, 0.8])
    theirs = least_squares(residuals, first, xtol=1e-14, ftol=1e-14, gtol=1e-14)
    assert found.cost == pytest.approx(2 * theirs.cost, rel=1e-9)
    best = np.exp(theirs.x) if log else theirs.x
    np.testing.assert_allclose(found.values.numpy(), best, rtol=1e-6)
    covariance = np.linalg.inv(theirs.jac.T @ theirs.jac)
    covariance *= 1 if known else 2 * theirs.cost / 26
    reach = student.ppf(0.975, 26) * np.sqrt(np.diag(covariance))
    ends = np.stack((theirs.x - reach, theirs.x + reach), -1)
    np.testing.assert_allclose(found.intervals.numpy(), np.exp(ends) if log else ends, rtol=1e-5)
    natural = covariance * np.outer(best, best) if log else covariance
    np.testing.assert_allclose(found.covariance.numpy(), natural, rtol=1e-4, atol=1e-12)
    shown = torch.from_numpy(theirs.fun).reshape(14, 2)
    torch.testing.assert_close(found.residuals, shown, rtol=1e-4, atol=1e-5)


@needs_compiler
def test_what_was_not_measured_counts_for_nothing() -> None:
    data, kept = noisy(), torch.arange(14) % 3 > 0
    holes = torch.where(kept[:, None], data, torch.nan)
    ours = sg.fit(chain, Y0, TIMES, holes, start(), sigma=0.02, **HOW)
    less = sg.fit(chain, Y0, TIMES[kept], data[kept], start(), sigma=0.02, **HOW)
    torch.testing.assert_close(ours.values, less.values, rtol=1e-5, atol=0)
    torch.testing.assert_close(ours.covariance, less.covariance, rtol=1e-4, atol=0)
    assert torch.equal(ours.residuals.isnan(), holes.isnan())
    none = sg.fit(chain, Y0, TIMES[:1], data[:1], start(), **HOW)
    assert "no more values than parameters, and so no intervals" in none.message
    assert none.intervals.tolist() == [[0.0, torch.inf]] * 2
    one = sg.fit(chain, Y0, TIMES, data[:, 1], start(), sigma=0.02, observe=[1], **HOW)
    column = torch.stack((torch.full((14,), torch.nan, dtype=D), data[:, 1]), -1)
    same = sg.fit(chain, Y0, TIMES, column, start(), sigma=0.02, **HOW)
    torch.testing.assert_close(one.values, same.values)
    torch.testing.assert_close(one.intervals, same.intervals)


@needs_compiler
def test_experiments_share_parameters_and_each_has_times_of_its_own() -> None:
    data, first, second = noisy(), slice(0, 5), slice(5, 14)
    whole = sg.fit(chain, Y0, TIMES, data, start(), sigma=0.02, **HOW)
    parts = [sg.Experiment(Y0, TIMES[s], data[s]) for s in (first, second)]
    ours = sg.fit(chain, params=start(), experiments=parts, sigma=0.02, **HOW)
    torch.testing.assert_close(ours.values, whole.values, rtol=1e-5, atol=0)
    torch.testing.assert_close(ours.covariance, whole.covariance, rtol=1e-4, atol=0)
    assert ours.cost == pytest.approx(whole.cost, rel=1e-6)
    assert [x.shape for x in ours.residuals] == [(5, 2), (9, 2)]
    solutions = looped(ours).solution
    assert [s.y.shape for s in solutions] == [(5, 2), (9, 2)]
    (gone,) = {float(s.t[-1]) for s in solutions} - {float(TIMES[4])}
    assert gone == float(TIMES[-1])


@needs_compiler
def test_a_parameter_stays_within_its_bounds_and_one_at_a_bound_is_said() -> None:
    data = noisy()
    bounds = {"k": (0.5, 1.6)}
    found = sg.fit(chain, Y0, TIMES, data, start(), sigma=0.02, bounds=bounds, **HOW)
    assert found.params["k"] == 1.6
    assert bool((found.all.params[:, 0] <= 1.6).all())
    assert "k ended at its upper bound 1.6: it has no interval" in found.message
    assert bool(found.intervals[0].isnan().all())
    low, high = found.intervals[1].tolist()
    assert low < found.params["b"] < high
    wide = sg.fit(chain, Y0, TIMES, data, start(), sigma=0.02, bounds=(0.1, 9.0), **HOW)
    free = sg.fit(chain, Y0, TIMES, data, start(), sigma=0.02, **HOW)
    torch.testing.assert_close(wide.values, free.values, rtol=1e-5, atol=0)


@needs_compiler
def test_starts_that_cannot_be_solved_cost_no_more_than_themselves() -> None:
    """Fast rates need more attempts than there are: some starts fail, and some trials."""
    how = HOW | {"max_attempts": 30}
    bounds = {"k": (0.02, 200.0), "b": (0.005, 50.0)}
    found = sg.fit(chain, Y0, TIMES, noisy(), start(), sigma=0.02, bounds=bounds, **how)
    failed = found.all.cost == torch.inf
    assert 0 < int(failed.sum()) < 30
    assert f"{int(failed.sum())} starts could not be solved" in found.message
    assert not bool(found.all.params.isnan().any())
    assert not bool(found.all.converged[failed].any())
    few = sg.fit(chain, Y0, TIMES, noisy(), start(), **(how | {"max_attempts": 25, "restarts": 4}))
    assert "the best did not come to rest: beside it solves fail" in few.message
    free = sg.fit(chain, Y0, TIMES, noisy(), start(), sigma=0.02, **HOW)
    torch.testing.assert_close(found.values, free.values, rtol=1e-5, atol=0)
    how["max_attempts"] = 3
    with pytest.raises(SolveFailed, match=r"no start of the fit could be solved; .*max_attempts"):
        sg.fit(chain, Y0, TIMES, noisy(), start(), **how)


@needs_compiler
def test_a_picture_shows_data_and_model() -> None:
    pytest.importorskip("matplotlib")
    found = sg.fit(chain, Y0, TIMES, noisy(), start(2.0, 0.5), sigma=0.02, **HOW)
    panels = looped(found).plot().axes
    assert [panel.get_title() for panel in panels] == ["y[0]", "y[1]"]
    for panel, truth in zip(panels, exact().T, strict=True):
        curve, points = panel.lines[0], panel.lines[1]
        np.testing.assert_allclose(points.get_xdata(), TIMES.numpy())
        seen = np.interp(TIMES.numpy(), curve.get_xdata(), curve.get_ydata())
        np.testing.assert_allclose(seen, truth.numpy(), atol=0.05)
    markup = found._repr_html_()
    assert all(f"{name}</th>" in markup for name in found.names)
    assert f"{found.values[0]:.6g}</td>" in markup


def test_branches_of_one_row_are_followed_in_a_kernel() -> None:
    def f(t: Tensor, y: Tensor, k: Tensor) -> Tensor:
        return -k * y if y[0] > 0.5 else k * y**2

    form, _, theta = taken(2.0)
    field = rowwise(f, Layout(Y0, batched=False), form, ())
    rows = torch.linspace(0.1, 0.9, 8, dtype=D).unsqueeze(1).expand(8, 2)
    args, t = (theta.expand(8, 1) * torch.arange(1, 9).unsqueeze(1),), torch.zeros(8, dtype=D)
    traced = tracer.trace(field, args, Layout(rows, batched=True), t, rows)
    assert traced.paths == 2
    expected = torch.stack([f(t[0], y, k) for y, k in zip(rows, args[0], strict=True)])
    assert torch.equal(field(t, rows, *args), expected)
    assert torch.equal(of_arrays(f, Layout(Y0, batched=False), form, ())(t, rows, *args), expected)


# by the loop in torch: other fields, few starts ---------------------------------------------------


def test_by_the_loop_in_torch_it_is_the_same_and_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = exact()
    found = sg.fit(chain, Y0, TIMES, data, start(1.5, 0.7), progress=True, **LOOP)
    assert "100.0%" in capsys.readouterr().err
    assert found.values.tolist() == pytest.approx([2.0, 0.5], rel=1e-3)
    assert "by the loop in torch, because backend='eager' was asked for" in found.message
    with pytest.raises(UnsupportedError, match="f takes numpy arrays, for which it needs a kernel"):
        sg.fit(lambda t, y, k: np.array(-k * y), Y0, TIMES, data, 1.0, **LOOP)


def test_a_product_of_two_rates_is_all_that_is_determined() -> None:
    times = TIMES[::3]
    data = torch.exp(-2 * times).unsqueeze(1)

    def f(t: Tensor, y: Tensor, p: dict[str, Tensor]) -> Tensor:
        return -p["k"] * p["q"] * y

    found = sg.fit(f, Y0[:1], times, data, {"k": 1.0, "q": 1.5}, sigma=0.01, **LOOP)
    assert found.params["k"] * found.params["q"] == pytest.approx(2.0, rel=1e-4)
    assert "k and q are determined only as the product k * q" in found.message
    assert found.intervals.tolist() == [[0.0, torch.inf]] * 2


def test_initial_states_are_parameters_where_that_is_asked_for() -> None:
    """Two experiments, each with a start of its own, one rate and a known input."""
    times, (one, two) = TIMES[::3], (1.5, 0.6)

    def f(t: Tensor, y: Tensor, k: Tensor, feed: Tensor) -> Tensor:
        return feed - k * y

    data = [2.0 + (y - 2.0) * torch.exp(-0.5 * times) for y in (one, two)]
    asked = [{"y0": Y0[:1], "times": times, "data": y, "args": (1.0,)} for y in data]
    asked[1] = {**asked[1], "args": (2.0,), "data": 4.0 + (two - 4.0) * torch.exp(-0.5 * times)}
    found = sg.fit(f, params=1.0, experiments=asked, fit_y0=True, **LOOP)
    assert found.names == ("params", "y0[0] of experiments[0]", "y0[0] of experiments[1]")
    assert found.values.tolist() == pytest.approx([0.5, one, two], rel=1e-3)
    assert [float(y) for y in found.y0] == pytest.approx([one, two], rel=1e-3)
    assert found.params == pytest.approx(0.5, rel=1e-3)


# what is refused ----------------------------------------------------------------------------------

LINEAR = torch.nn.Linear(2, 2)  # in float32
BAD: list[tuple[dict[str, Any], str]] = [
    ({"data": exact()[:1]}, r"data has shape \(1, 2\); give \(14, 2\): 14 times, 2 components"),
    ({"data": exact()[:, :1]}, "or say with observe= which were measured"),
    ({"data": exact() * torch.nan}, "data has no value but nan"),
    ({"data": exact() / 0}, "data holds infinite values"),
    ({"data": "abc"}, "data is a str that holds no table of numbers"),
    ({"data": None}, "data is missing: give y0, times and data, or experiments"),
    ({"times": TIMES - 1}, r"t0 = 0, where y0 holds, lies between them"),
    ({"times": TIMES.flip(0)}, "times must be sorted, away from t0 = 0"),
    ({"times": TIMES * torch.inf}, "times must be finite"),
    ({"times": 0 * TIMES}, "times do not leave t0 = 0"),
    ({"times": TIMES[:1], "data": exact()[:1, :1], "observe": [0]}, "1 values are fewer than 2"),
    ({"observe": [2]}, r"observe=\[2\]: y0 has components 0 to 1"),
    ({"observe": [0, -2]}, "names a component twice"),
    ({"observe": "a"}, "observe is 'a'; give indices of components"),
    ({"sigma": 0.0}, "sigma must be positive and finite"),
    ({"sigma": torch.ones(3)}, r"sigma has shape \(3,\); give a number, \(2,\) by component"),
    ({"params": {}}, "params: there is nothing to fit"),
    ({"params": "k"}, "params is a str: give params as a tensor or an array, a dict"),
    ({"params": {"k": 1.0, "b": torch.nan}}, "b starts at a value that is not finite"),
    ({"params": {"k": 1.0, "b": -1.0}}, "b starts at -1, which has no logarithm: start above"),
    ({"log": ["kk"]}, "log: 'kk' is no parameter; there are k, b"),
    ({"log": 3}, "log is 3; give True, False, or the names of parameters"),
    ({"bounds": {"kk": (0, 1)}}, "bounds: 'kk' is no parameter; there are k, b"),
    ({"bounds": {"k": (2, 3)}}, "bounds of k run from 2 to 3, and exclude its start 1"),
    ({"bounds": {"k": (3, 2)}}, "bounds of k: 3 is not below 2"),
    ({"bounds": 3}, r"bounds: give a pair \(lower, upper\)"),
    ({"bounds": ([0, 0, 0], 9)}, "bounds: 3 values for 2 parameters"),
    ({"fit_y0": [5]}, r"fit_y0=\[5\]: y0 has components 0 to 1"),
    ({"restarts": 0}, "restarts is 0; give an integer from 1 on"),
    ({"level": 95}, "level is 95; give a number between 0 and 1"),
    ({"experiments": []}, "times and data stand in the experiments: leave them out"),
    ({"y0": Y0.to(torch.complex128)}, "fits are of real states on the CPU"),
    ({"y0": Y0 * torch.nan}, "y0 must be finite"),
    ({"t0": torch.inf}, "t0 must be a finite number"),
    ({"args": 3}, "args must be a tuple such as"),
    ({"f": 3}, "f must be callable, not int"),
    ({"f": lambda t, y, p: y[:1]}, r"the value of f has shape \(1,\), y0 has \(2,\)"),
    ({"f": lambda t, y, p: np.ones(3)}, r"the value of f has shape \(3,\), y0 has \(2,\)"),
    ({"f": lambda t, y, p: LINEAR(y)}, "f mixes dtypes .*, and y0 is torch.float64"),
    ({"f": lambda t, y, p: y / 0}, "f has a value that is not finite at t0, y0 and params"),
    ({"backend": "gpu"}, "backend: 'gpu' is unknown"),
    ({"rtol": -1.0}, "rtol must be finite and not negative"),
]


@pytest.mark.parametrize(("wrong", "sentence"), BAD, ids=[text[:30] for _, text in BAD])
def test_bad_input_gets_a_sentence(wrong: dict[str, Any], sentence: str) -> None:
    asked = {"f": chain, "y0": Y0, "times": TIMES, "data": exact(), "params": start()}
    with pytest.raises(InputError, match=sentence):
        sg.fit(**(asked | LOOP | wrong))


@pytest.mark.parametrize(
    ("experiments", "sentence"),
    [
        ([], "experiments is empty"),
        ([3], r"experiments\[0\] is no Experiment: give y0, times, data, sigma, args, t0"),
        ([{"time": 3}], r"experiments\[0\] is no Experiment"),
        ([{"y0": Y0}], r"experiments\[0\] is no Experiment"),
        ([(Y0, TIMES, exact()[1:])], r"experiments\[0\]: data has shape \(13, 2\)"),
        (
            [(Y0, TIMES, exact(), 1.0), (Y0, TIMES, exact())],
            r"experiments\[1\]: give sigma for every experiment, or for none",
        ),
        (
            [(Y0, TIMES, exact()), (Y0[:1], TIMES, exact()[:, :1])],
            r"experiments\[1\] has 1 components and 0 args, the first has 2 and 0",
        ),
    ],
)
def test_bad_experiments_get_a_sentence(experiments: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        sg.fit(chain, params=start(), experiments=experiments, **LOOP)
