"""Right-hand sides in plain numpy become graphs that are what they are, or are refused."""

from __future__ import annotations

import inspect
import itertools
import logging
import math
import random
import warnings
from functools import partial
from typing import Any

import numpy as np
import pytest
import scipy.integrate
import scipy.special
import torch
from cached import needs_compiler
from scipy_fields import FIELDS, Case
from torch.utils._pytree import tree_flatten
from traces import F64

import stiffguide
from stiffguide.fields.array_function import ArrayFunction
from stiffguide.fields.layout import Layout
from stiffguide.fronts.scipy import solve_ivp
from stiffguide.kernels import backend
from stiffguide.tracing import numpy_fields, tracer
from stiffguide.tracing.fingerprint import fingerprint
from stiffguide.tracing.traced_field import Traced
from stiffguide.tracing.tracer import UntraceableError

ROUNDING = 1e-11


def traced(f: Any, y0: Any, args: tuple[Any, ...] = (), *, column: bool = False) -> Traced:
    start = torch.tensor(np.array(y0, float))
    layout = Layout(start, batched=False)
    field = ArrayFunction(f, column=column)
    t0 = torch.full((1,), 0.1, dtype=F64)
    return tracer.trace(field, args, layout, t0, layout.flatten(start, "y0"))


def value(g: Traced, t: float, y: Any, args: tuple[Any, ...] = ()) -> Any:
    p = g.parameter_table(args, 1).numpy()
    found = g.plain.evaluate(g.values, np.float64(t), np.asarray(y, float).ravel(), p)
    return np.array([float(v) for v in found])


def slopes(g: Traced, t: float, y: Any) -> Any:
    """The Jacobian (F, F) of the graph of a field without parameters."""
    graph, _, jac, _ = g.derived
    found = graph.evaluate(list(jac.values()), np.float64(t), np.asarray(y, float))
    matrix = np.zeros((g.features, g.features))
    for (i, j), slope in zip(jac, found, strict=True):
        matrix[i, j] = slope
    return matrix


def called(c: Case, t: float, y: Any) -> Any:
    state = np.array(y, float)
    found = c.f(np.float64(t), state[:, None] if c.column else state, *c.args)
    out = np.empty(state.shape)
    out[...] = np.ravel(found) if c.column else found
    return out.ravel()


# what is followed ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FIELDS)
def test_the_graph_is_the_field(name, capsys):
    c = FIELDS[name]
    g = traced(c.f, c.y0, c.args, column=c.column)
    draw = np.random.default_rng(5)
    start = np.array(c.y0, float)
    for _ in range(8):
        y = start * draw.uniform(0.7, 1.3, start.shape) + draw.uniform(0.001, 0.01, start.shape)
        t = draw.uniform(0.0, 1.9)
        want, got = called(c, t, y), value(g, t, y, c.args)
        scale = np.abs(want) + 1e-3 * np.abs(want).max()
        assert (np.abs(got - want) <= ROUNDING * scale).all(), (got, want)


@pytest.mark.parametrize(
    "name", ["friction", "guarded", "contact", "saturated", "masked", "spline"]
)
def test_the_derivative_of_a_graph_is_that_of_the_field(name):
    c = FIELDS[name]
    g, y, step = traced(c.f, c.y0), np.array(c.y0, float) + 0.03, 1e-6
    for j in range(y.size):
        there, back = y.copy(), y.copy()
        there[j] += step
        back[j] -= step
        want = (called(c, 0.3, there) - called(c, 0.3, back)) / (2 * step)
        assert np.abs(slopes(g, 0.3, y)[:, j] - want).max() <= 1e-5 * (1 + np.abs(want).max())


def test_a_side_that_is_not_taken_reaches_neither_value_nor_derivative():
    def by_if(t, y):
        a = math.sqrt(y[0]) if y[0] > 0 else -y[0]
        b = 1 / y[1] if y[1] != 0 else 5 * y[1]
        c = math.log(y[2]) if y[2] > 0 else 2.0 * y[2]
        return [a, b, c]

    def by_where(t, y):
        x, z, w = y
        with np.errstate(all="ignore"):
            return [
                np.where(x > 0, np.sqrt(x), -x),
                np.where(z != 0, 1 / z, 5 * z),
                np.where(w > 0, np.log(w), 2.0 * w),
            ]

    for f in (by_if, by_where):
        g = traced(f, [1.0, 1.0, 1.0])
        assert value(g, 0.0, [-4.0, 0.0, -1.0]).tolist() == [4.0, 0.0, -2.0]
        assert slopes(g, 0.0, [-4.0, 0.0, -1.0]).tolist() == [[-1, 0, 0], [0, 5, 0], [0, 0, 2]]
        assert slopes(g, 0.0, [4.0, 2.0, 2.0]).tolist() == [
            [0.25, 0, 0],
            [0, -0.25, 0],
            [0, 0, 0.5],
        ]


def test_a_function_that_raises_on_one_side_has_no_value_there():
    def f(t, y):
        if y[0] < 0:
            raise ValueError("negative concentration")
        return -y

    g = traced(f, [1.0, 1.0])
    assert value(g, 0.0, [2.0, 3.0]).tolist() == [-2.0, -3.0]
    assert np.isnan(value(g, 0.0, [-2.0, 3.0])).all()


def ifs(n):
    def f(t, y):
        total = 0.0
        for k in range(n):
            total += k if y[k] > 0.5 * k else -1.0
        return total - y

    return f


def test_as_many_paths_as_a_kernel_may_have_and_no_more():
    y = np.array([0.3, 0.2, 2.0, 1.0, 2.3, 0.1])
    assert value(traced(ifs(6), y), 0.0, y) == pytest.approx(ifs(6)(0.0, y), abs=1e-14)
    with pytest.raises(UntraceableError, match=r"more than 64 ways.*line .* of test_numpy_fields"):
        traced(ifs(7), np.linspace(0, 1, 7))


def test_the_greatest_of_python_is_the_first_that_is_not_surpassed():
    g = traced(lambda t, y: [max(y[0], y[1]), max(y[1], y[0]), np.maximum(y[0], y[1])], [1.0, 2, 3])
    assert value(g, 0.0, [1.0, 2.0, 0.0]).tolist() == [2.0, 2.0, 2.0]
    assert slopes(g, 0.0, [1.0, 1.0, 0.0])[:2].tolist() == [[1, 0, 0], [0, 1, 0]]
    nan = float("nan")
    for a, b in ((nan, 1.0), (1.0, nan)):
        want = [max(a, b), max(b, a), nan]
        assert value(g, 0.0, [a, b, 0.0]) == pytest.approx(want, nan_ok=True)


# what is refused ----------------------------------------------------------------------------------

GENERATOR = np.random.default_rng(0)
KEPT: dict[str, Any] = {"last": 0.0}
CALLS = [0]


def formatted(t, y):
    return [len("%.3f" % y[0]), -y[1]]  # here  # noqa: UP031


def indexed(t, y):
    return [[1.0, 2.0][int(y[0])], y[1]]  # here


def long_as_it_likes(t, y):
    return [sum(1 for _ in range(int(t))), y[1]]  # here


def random_numbers(t, y):
    return -y + GENERATOR.normal(size=2)  # here


def random_of_numpy(t, y):
    return -y + np.random.rand(2)  # here


def random_of_python(t, y):
    return -y + random.random()  # here


def eigenvalues(t, y):
    return np.linalg.eigvals(np.outer(y, y)).real  # here


def gamma(t, y):
    return [math.gamma(y[0]), y[1]]  # here


def of_a_helper(t, y):
    return [_helper(y[0]), y[1]]


def _helper(x):
    return math.lgamma(x)  # here


def bessel(t, y):
    return scipy.special.jv(0, y)  # here


def quadrature(t, y):
    return [scipy.integrate.quad(lambda s: s * y[0], 0, 1)[0], 0.0]  # here


def fourier(t, y):
    return np.fft.fft(y).real  # here


def complex_numbers(t, y):
    return ((1 + 2j) * y[0]).real, y[1]  # here


def rounded(t, y):
    return y.astype(np.float32)  # here


def writes_its_state(t, y):
    y[0] = 0.0  # here
    return -y


def scales_its_state(t, y):
    y *= 2  # here
    return -y


def of_one_size(t, y):
    return -y if y > 0 else y  # here


def large_system(t, y):
    return np.linalg.solve(np.eye(9) + y[0], np.ones(9))[:2]  # here


def large_table(t, y):
    return np.interp(y, np.arange(300.0), np.arange(300.0) ** 2)  # here


def caught(t, y):
    try:
        return [math.gamma(y[0]), y[1]]  # here
    except Exception:
        return -y


def integers(t, y):
    dy = np.zeros(2, dtype=int)
    dy[0] = y[0]  # here
    return dy


REFUSED = {
    formatted: "as a Python float",
    indexed: "as an integer",
    long_as_it_likes: "as an integer",
    random_numbers: "random numbers",
    random_of_numpy: "random numbers",
    random_of_python: "random numbers",
    eigenvalues: "numpy.linalg.eigvals",
    gamma: "math.gamma",
    of_a_helper: "math.lgamma",
    bessel: "jv",
    quadrature: "quad",
    fourier: "numpy.fft.fft",
    complex_numbers: "complex",
    rounded: "float32",
    writes_its_state: "changes y",
    scales_its_state: "changes y",
    of_one_size: "ambiguous",
    large_system: "9 unknowns",
    large_table: "300 entries",
    caught: "math.gamma",
    integers: "integer",
}


@pytest.mark.parametrize("f", REFUSED, ids=lambda f: f.__name__)
def test_what_cannot_be_followed_is_refused_with_the_line(f):
    before = fingerprint(f)
    lines, first = inspect.getsourcelines(_helper if f is of_a_helper else f)
    line = first + next(k for k, text in enumerate(lines) if "# here" in text)
    if f is of_one_size:  # it fails by itself, which is the user's to see
        with pytest.raises(ValueError, match="ambiguous"):
            traced(f, [0.5, 0.2])
        return
    with pytest.raises(UntraceableError) as caught:
        traced(f, [0.5, 0.2])
    assert REFUSED[f] in str(caught.value)
    assert f"(line {line} of test_numpy_fields.py)" in str(caught.value)
    assert fingerprint(f) == before


def difference_of_calls(t, y):
    last, KEPT["last"] = KEPT["last"], y[0]
    return [y[0] - last, y[1]]


def counted(t, y):
    CALLS[0] += 1
    return -y * CALLS[0]


@pytest.mark.parametrize("f", [difference_of_calls, counted], ids=lambda f: f.__name__)
def test_what_is_kept_from_call_to_call_is_refused(f):
    with pytest.raises(UntraceableError, match=r"call to call|counts its calls"):
        traced(f, [0.5, 0.2])


def test_rows_of_a_batch_are_refused_in_one_sentence():
    y0 = torch.ones(3, 2, dtype=F64)
    layout = Layout(y0, batched=True)
    with pytest.raises(UntraceableError, match="only one row"):
        tracer.trace(ArrayFunction(lambda t, y: -y), (), layout, torch.zeros(3, dtype=F64), y0)


# what changes, and what must not ------------------------------------------------------------------


@pytest.mark.parametrize("name", FIELDS)
def test_tracing_changes_nothing_of_the_user(name):
    c = FIELDS[name]
    shapes = [np.shape(c.y0)]
    values, tree = tree_flatten(c.args)
    _, state = tree_flatten(torch.zeros(1))
    before = fingerprint(c.f, *values)
    question = numpy_fields.Question(c.f, shapes, state, c.column, values, tree)
    numpy_fields.answer(question)
    assert fingerprint(c.f, *values) == before


def test_a_function_that_cannot_be_followed_to_its_end_changes_nothing():
    store: dict[str, Any] = {"buffer": np.zeros(2), "seen": [], "calls": np.zeros(1, int)}

    def f(t, y):
        store["buffer"][0] = y[0]
        store["seen"].append(y[1])
        store["new"] = 1
        store["calls"][0] += 1
        return [math.gamma(y[0]), y[1]]

    before = fingerprint(f)
    _, state = tree_flatten(torch.zeros(1))
    _, none = tree_flatten(())
    with pytest.raises(UntraceableError):
        numpy_fields.answer(numpy_fields.Question(f, [(2,)], state, False, [], none))
    assert fingerprint(f) == before


def test_what_a_field_writes_to_files_and_logs_is_not_written_by_tracing(tmp_path, caplog):
    log, path = logging.getLogger("of a field"), tmp_path / "values"
    with path.open("w") as file:
        say = file.write

        def f(t, y):
            file.write(f"{t} {y[0]}")
            say(str(y))
            log.warning("t is %s", t)
            logging.getLogger("other").warning("y is %s", y)
            with open(path, "a") as more:
                more.write(f"{t}")
                print(t, file=more)
            return -y

        _, state = tree_flatten(torch.zeros(1))
        _, none = tree_flatten(())
        numpy_fields.answer(numpy_fields.Question(f, [(2,)], state, False, [], none))
    assert path.read_text() == ""
    assert caplog.text == ""


def test_an_iterator_is_not_used_up_by_tracing():
    numbers = iter([1.0, 2.0, 3.0])
    with pytest.raises(UntraceableError, match="iterator"):
        traced(lambda t, y: -y * next(numbers), [0.5, 0.2])
    assert next(numbers) == 1.0


def test_numbers_and_arrays_of_args_are_parameters():
    def f(t, y, k, M, n, more):
        return k * M @ y * n + more["a"]

    M = np.array([[1.0, 2.0], [3.0, 4.0]])
    one = traced(f, [0.5, 0.2], (2.0, M, 3, {"a": 1.0}))
    for k, matrix, a in ((3.0, M, 1.0), (2.0, M + 1, 0.0), (np.float64(0.0), M * 0, 2.5)):
        args = (k, matrix, 3, {"a": a})
        assert traced(f, [0.5, 0.2], args) is one
        assert value(one, 0.0, [1.0, 2.0], args) == pytest.approx(f(0, np.array([1.0, 2]), *args))
    assert traced(f, [0.5, 0.2], (2.0, M, 4, {"a": 1.0})).key != one.key
    assert traced(f, [0.5, 0.2], (2.0, np.eye(2, dtype=int), 3, {"a": 1.0})).key != one.key


def test_only_what_is_needed_as_a_number_is_fixed():
    def f(t, y, n, k, order):
        total = scipy.special.gamma(order) * y
        for _ in range(int(n)):
            total = total + k * y
        return total

    one = traced(f, [0.5, 0.2], (2.0, 0.3, 1.5))
    assert [leaf.role for leaf in one.leaves] == ["fixed", "number", "fixed"]
    assert traced(f, [0.5, 0.2], (2.0, 0.7, 1.5)) is one
    for args in ((3.0, 0.3, 1.5), (2.0, 0.3, 2.5)):
        g = traced(f, [0.5, 0.2], args)
        assert g is not one
        assert value(g, 0.0, [1.0, 2.0], args) == pytest.approx(f(0, np.array([1.0, 2]), *args))


RATES = np.array([1.0, 2.0])


class Model:
    def __init__(self):
        self.k = np.array([1.0, 2.0])
        self.more = {"rates": [1.0, 2.0]}

    def rhs(self, t, y):
        return -self.k * y * self.more["rates"][1]


def test_what_is_changed_in_place_is_noticed():
    model, tensor = Model(), torch.tensor([2.0, 3.0], dtype=F64)
    for f, change in (
        (lambda t, y: -tensor.numpy() * y, lambda: tensor.mul_(2.0)),
        (lambda t, y: -RATES * y, lambda: RATES.__setitem__(0, RATES[0] + 4.0)),
        (model.rhs, lambda: model.k.__imul__(3.0)),
        (model.rhs, lambda: model.more["rates"].__setitem__(1, 7.0)),
        (partial(lambda M, t, y: M @ y, A := np.eye(2)), lambda A=A: A.__setitem__((0, 1), 4.0)),
    ):
        y = np.array([0.5, 0.2])
        assert value(traced(f, y), 0.0, y) == pytest.approx(f(0.0, y))
        change()
        assert value(traced(f, y), 0.0, y) == pytest.approx(f(0.0, y))


# solves -------------------------------------------------------------------------------------------

SOLVED = {
    "robertson": (100.0, "rodas5p", {"atol": 1e-9}),
    "hodgkin_huxley": (5.0, "rodas5p", {}),
    "fitzhugh_nagumo": (20.0, "RK45", {}),
    "friction_of_sign": (5.0, "rodas5p", {}),
    "pump": (5.0, "rodas5p", {}),
    "seir_by_age": (20.0, "RK45", {}),
    "sparse_matrix": (0.1, "rodas5p", {}),
    "columns": (3.0, "RK45", {"vectorized": True}),
    "table": (1.9, "rodas5p", {"max_step": 0.05}),
}


@needs_compiler
@pytest.mark.parametrize("name", SOLVED)
def test_kernels_solve_what_scipy_solves(name):
    c, (end, method, more) = FIELDS[name], SOLVED[name]
    times = np.linspace(0, end, 5)
    options = {"rtol": 1e-6, "atol": 1e-8, "args": c.args or None, "t_eval": times} | more
    theirs = scipy.integrate.solve_ivp(
        c.f, (0, end), c.y0, **options | {"method": "Radau", "rtol": 1e-9, "atol": 1e-11}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mine = solve_ivp(c.f, (0, end), c.y0, method=method, backend="kernel", **options)
    assert mine.success
    assert isinstance(mine.y, np.ndarray)
    scale = 1e-6 + np.abs(theirs.y).max(axis=1, keepdims=True)
    assert (np.abs(mine.y - theirs.y) / scale).max() < 2e-4
    again = solve_ivp(c.f, (0, end), c.y0, method=method, backend="eager", **options)
    assert (np.abs(mine.y - again.y) / scale).max() < 2e-4


@needs_compiler
def test_other_arguments_build_nothing(cache):
    c = FIELDS["compartments"]
    for ka, km in itertools.product((1.2, 0.6), (3.0, 5.0)):
        args = (ka, 0.1, 8.0, km)
        mine = solve_ivp(c.f, (0, 10), c.y0, method="RK45", backend="kernel", args=args, rtol=1e-8)
        theirs = scipy.integrate.solve_ivp(c.f, (0, 10), c.y0, args=args, rtol=1e-8)
        assert mine.y[:, -1] == pytest.approx(theirs.y[:, -1], rel=1e-5)
        assert len(backend._KERNELS) == 1
        assert len([p for p in cache.iterdir() if not p.name.startswith(".")]) == 1


def test_what_has_no_kernel_says_so_by_the_line():
    with pytest.raises(stiffguide.UnsupportedError, match=r"math\.gamma.*line .*test_numpy_fields"):
        solve_ivp(gamma, (0, 1), [0.5, 0.2], backend="kernel")


# states -------------------------------------------------------------------------------------------


def test_states_of_any_shape_and_nesting_reach_functions_of_arrays():
    def matrices(t, Y):
        return Y @ Y - 0.5 * Y

    def pairs(t, y):
        return {"a": np.sin(y["b"]).sum(), "b": -y["b"] * y["a"]}

    Y = torch.rand(3, 3, dtype=F64)
    pair = {"a": torch.tensor(0.3, dtype=F64), "b": torch.rand(2, dtype=F64)}
    for f, y0 in ((matrices, Y), (pairs, pair)):
        layout, field = Layout(y0, batched=False), ArrayFunction(f)
        flat, t = layout.flatten(y0, "y0"), torch.zeros(1, dtype=F64)
        g = tracer.trace(field, (), layout, t, flat)
        want = layout.flatten(field(t[0], y0), "f")[0].numpy()
        assert value(g, 0.0, flat[0].numpy()) == pytest.approx(want, rel=1e-13)
