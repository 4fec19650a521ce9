"""`solve_ivp` keeps scipy's promises: same steps, same counts, same result, same refusals."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
import scipy.integrate
import scipy.sparse
import torch
from families import close, real

from stiffguide import SteadyState, solve
from stiffguide.fronts.scipy import solve_ivp

METHODS = ["RK23", "RK45", "DOP853"]
STIFF = ["rodas5p", "kvaerno5", "BDF", scipy.integrate.BDF, "Radau", scipy.integrate.Radau]
every_method = pytest.mark.parametrize("method", METHODS)
every_name = pytest.mark.parametrize("method", [*METHODS, "tsit5", "rodas5p", "kvaerno5"])


def rational(t, y):
    """y = (t/(t + 10), 10 t/(t + 10)^2)."""
    return np.array([y[1] / t, y[1] * (y[0] + 2 * y[1] - 1) / (t * (y[0] - 1))])


def rational_solution(t):
    return np.array([t / (t + 10), 10 * t / (t + 10) ** 2])


def decay(t, y):
    return -y


def kepler(t, y):
    r = np.hypot(y[0], y[1]) ** 3
    return [y[2], y[3], -y[0] / r, -y[1] / r]


def damped(t, y):
    return -50 * (y - np.cos(t))


def rotation(t, y):
    return (1j * np.arange(1, 4) - 0.1 * t) * y


def step_down(t, y):
    return [1.0 if t < 1.234 else -2.0]


PROBLEMS = {
    "rational": (rational, (5, 9), [1 / 3, 2 / 9]),
    "rational backwards": (rational, (5, 1), [1 / 3, 2 / 9]),
    "kepler": (kepler, (0, 5), [0.4, 0, 0, 2]),
    "damped": (damped, (0, 3), [0.0]),
    "complex": (rotation, (0, 7), [1 + 0j, 2, 3j]),
    "discontinuous": (step_down, (0, 3), [0.0]),
    "at rest": (lambda t, y: 0 * y, (0, 10), [1.0, 2.0]),
    "late": (lambda t, y: -1e-3 * y, (1e9, 1e9 + 20), [1.0]),
}
DEFAULTS = {"rtol": 1e-3, "atol": 1e-6}
TOLERANCES = {"loose": {}, "tight": {"rtol": 1e-6, "atol": 1e-9}}
SETTINGS = {
    "plain": {},
    "dense": {"dense_output": True},
    "stepped": {"first_step": 0.05, "max_step": 0.3},
    "vector tolerances": {"rtol": [1e-4], "atol": 1e-7, "dense_output": True},
}


# the same steps ---------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("tolerances", TOLERANCES.values(), ids=TOLERANCES)
@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
@every_method
def test_same_steps_as_scipy(method, problem, tolerances, settings):
    fun, span, y0 = problem
    options = {"method": method, **tolerances, **settings}
    ours = solve_ivp(fun, span, y0, **options)
    theirs = scipy.integrate.solve_ivp(fun, span, y0, **options)
    for name in ("nfev", "njev", "nlu", "status", "success", "message", "t_events", "y_events"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.t.shape == theirs.t.shape
    assert ours.y.shape == theirs.y.shape
    assert ours.y.dtype == theirs.y.dtype
    # an estimate is a difference of nearly equal numbers: dt agrees to less than rounding
    shift = 1e-6 * abs(span[1] - span[0])
    np.testing.assert_allclose(ours.t, theirs.t, rtol=1e-15, atol=shift)
    np.testing.assert_allclose(ours.y, theirs.y, rtol=1e-5, atol=1e-6)
    # and states at one time to a thousandth of the tolerance
    part = {name: 1e-3 * np.min(options.get(name, plain)) for name, plain in DEFAULTS.items()}
    np.testing.assert_allclose(ours.y[:, -1], theirs.y[:, -1], **part)
    if ours.sol is not None:
        inside = np.linspace(*span, 77)
        np.testing.assert_allclose(ours.sol(inside), theirs.sol(inside), **part)


@every_method
def test_states_agree_to_ten_digits(method):
    for tolerances in ({}, {"rtol": 1e-5}):
        ours = solve_ivp(rational, (5, 9), [1 / 3, 2 / 9], method, **tolerances)
        theirs = scipy.integrate.solve_ivp(rational, (5, 9), [1 / 3, 2 / 9], method, **tolerances)
        np.testing.assert_allclose(ours.t, theirs.t, rtol=1e-10)
        np.testing.assert_allclose(ours.y, theirs.y, rtol=1e-10)


@every_method
def test_same_values_at_given_times(method):
    times = np.linspace(5, 9, 11)[1:]
    ours = solve_ivp(rational, (5, 9), [1 / 3, 2 / 9], method, t_eval=times)
    theirs = scipy.integrate.solve_ivp(rational, (5, 9), [1 / 3, 2 / 9], method, t_eval=times)
    assert ours.nfev == theirs.nfev
    np.testing.assert_array_equal(ours.t, times)
    np.testing.assert_allclose(ours.y, theirs.y, rtol=1e-11)


@pytest.mark.usefixtures("eager")
def test_dense_output_of_dop853_costs_three_evaluations_a_step():
    plain = solve_ivp(kepler, (0, 5), [0.4, 0, 0, 2], "DOP853")
    dense = solve_ivp(kepler, (0, 5), [0.4, 0, 0, 2], "DOP853", dense_output=True)
    both = solve_ivp(
        kepler, (0, 5), [0.4, 0, 0, 2], "DOP853", dense_output=True, t_eval=np.linspace(0, 5, 99)
    )
    assert dense.nfev == plain.nfev + 3 * (len(plain.t) - 1)
    assert both.nfev == dense.nfev


@every_method
@pytest.mark.usefixtures("eager")
def test_nfev_counts_the_calls_of_fun(method):
    calls = []

    def fun(t, y):
        calls.append(t)
        return -y

    found = solve_ivp(fun, (0, 3), [1.0], method, dense_output=True)
    assert found.nfev == len(calls)
    assert all(0 <= t <= 3 for t in calls)


@every_name
def test_a_step_is_as_long_as_time_moves_where_time_is_coarse(method):
    start = 2.0**40  # neighbours of t are 2^-12 apart
    options = {"rtol": 1e-9, "atol": 1e-12}
    found = solve_ivp(lambda t, y: -y, (start, start + 2), real(1.0), method, **options)
    close(found.y[:, -1], real(np.exp(-2.0)), rtol=1e-7)


@every_name
def test_the_first_step_moves_time(method):
    assert solve_ivp(lambda t, y: 0 * y, (1e15, 1e15 + 100), [0.0], method).success


# the result -------------------------------------------------------------------------------------


@every_name
@pytest.mark.parametrize("span", [(5, 9), (5, 1)])
def test_result(method, span):
    found = solve_ivp(rational, span, [1 / 3, 2 / 9], method, dense_output=True)
    assert found.success is True
    assert (found.status, found.t_events, found.y_events) == (0, None, None)
    assert "end of the integration interval" in found.message
    assert (found.t[0], found.t[-1]) == span
    assert found.y.shape == (2, len(found.t))
    np.testing.assert_allclose(found.y, rational_solution(found.t), rtol=5e-3)
    np.testing.assert_allclose(found.sol(found.t), found.y, rtol=1e-15, atol=1e-15)
    middle = np.linspace(*span, 23)
    np.testing.assert_allclose(found.sol(middle), rational_solution(middle), rtol=5e-3)
    assert set(found) == set(scipy.integrate.solve_ivp(rational, span, [1 / 3, 2 / 9]))
    assert isinstance(found, scipy.optimize.OptimizeResult)
    assert all(type(found[name]) is int for name in ("nfev", "njev", "nlu", "status"))


@pytest.mark.parametrize("span", [(5, 9), (5, 1)])
@every_method
def test_dense_output_is_an_ode_solution(method, span):
    ours = solve_ivp(rational, span, [1 / 3, 2 / 9], method, dense_output=True).sol
    theirs = scipy.integrate.solve_ivp(
        rational, span, [1 / 3, 2 / 9], method, dense_output=True
    ).sol
    np.testing.assert_allclose(ours.ts, theirs.ts, rtol=1e-9)
    assert (ours.t_min, ours.t_max) == (theirs.t_min, theirs.t_max)
    assert ours.n_segments == theirs.n_segments == len(ours.interpolants)
    assert ours(6.0).shape == (2,)
    assert ours([6.0, 5.5]).shape == (2, 2)
    unsorted = np.array([4.9, 4.3, 5.0, 6.1, 10.0, 0.7])  # some before t0, some after t1
    np.testing.assert_allclose(ours(unsorted), theirs(unsorted), rtol=1e-5)
    for mine, other in zip(ours.interpolants, theirs.interpolants, strict=True):
        np.testing.assert_allclose([mine.t_old, mine.t], [other.t_old, other.t], rtol=1e-9)
        np.testing.assert_allclose(mine(5.2), other(5.2), rtol=1e-6)
    with pytest.raises(ValueError, match="1-D"):
        ours(np.ones((2, 2)))
    copy = pickle.loads(pickle.dumps(ours))
    np.testing.assert_array_equal(copy(unsorted), ours(unsorted))


@every_name
def test_no_interval(method):
    found = solve_ivp(decay, (4, 4), [2.0, 3.0], method, dense_output=True)
    assert found.success
    np.testing.assert_array_equal(found.t, [4, 4])
    np.testing.assert_array_equal(found.y, [[2, 2], [3, 3]])
    np.testing.assert_array_equal(found.sol(4), [2, 3])
    np.testing.assert_array_equal(found.sol([3, 4, 9]), [[2, 2, 2], [3, 3, 3]])
    assert solve_ivp(decay, (4, 4), [2.0], method, t_eval=[4.0]).y.tolist() == [[2.0]]


@every_name
@pytest.mark.parametrize("end", [10, np.inf])
def test_no_component(method, end):
    found = solve_ivp(lambda t, y: np.zeros(0), (0, end), np.zeros(0), method, dense_output=True)
    assert found.success
    np.testing.assert_array_equal(found.t, [0, end])
    assert found.y.shape == (0, 2)
    assert found.sol(7.0).shape == (0,)
    assert found.sol([1, 2, 3]).shape == (0, 3)


@every_name
def test_integers_become_floats_and_y0_is_left_alone(method):
    y0 = np.array([1, 2])
    found = solve_ivp(decay, (0, 1), y0, method)
    assert found.y.dtype == np.float64
    np.testing.assert_allclose(found.y[:, -1], y0 * np.exp(-1), rtol=5e-3)
    found.y[:] = 0
    assert y0.tolist() == [1, 2]


@every_method
def test_a_complex_field_of_a_real_state_loses_its_imaginary_part(method):
    with pytest.warns(np.exceptions.ComplexWarning):
        found = solve_ivp(lambda t, y: (-1 + 1j) * y, (0, 1), [1.0], method)
    assert found.y.dtype == np.float64
    np.testing.assert_allclose(found.y[0, -1], np.exp(-1), rtol=5e-3)


BUFFER = np.zeros(2)


def into_a_buffer(t, y):
    BUFFER[:] = y
    return BUFFER


@pytest.mark.parametrize(
    "fun",
    [
        lambda t, y: (y[0], y[1]),
        lambda t, y: y.tolist(),
        lambda t, y: y.astype(np.float32),
        into_a_buffer,
    ],
    ids=["tuple", "list", "float32", "one buffer"],
)
def test_what_fun_may_return(fun):
    found = solve_ivp(fun, (0, 1), [1.0, 2.0], rtol=1e-6)
    np.testing.assert_allclose(found.y[:, -1], np.exp(1) * np.array([1, 2]), rtol=1e-5)


def test_a_number_is_a_vector_of_one():
    assert solve_ivp(lambda t, y: 2.0, (0, 1), [1.0]).y[0, -1] == pytest.approx(3)
    with pytest.raises(ValueError, match="broadcast"):
        solve_ivp(lambda t, y: np.zeros(3), (0, 1), [1.0, 2.0])


@every_name
def test_vectorized(method):
    def columns(t, y):
        assert y.shape == (2, 1)
        return rational(t, y)

    plain = solve_ivp(rational, (5, 9), [1 / 3, 2 / 9], method)
    found = solve_ivp(columns, (5, 9), [1 / 3, 2 / 9], method, vectorized=True)
    np.testing.assert_array_equal(found.y, plain.y)


# t_eval -----------------------------------------------------------------------------------------


@every_name
@pytest.mark.parametrize(
    ("span", "times"),
    [
        ((5, 9), [5, 5.01, 7, 8, 8.01, 9]),
        ((5, 9), [5.01, 7, 8, 8.01]),
        ((5, 1), [5, 4.99, 3, 1.5, 1.01, 1]),
        ((5, 1), [4.99]),
    ],
)
def test_given_times(method, span, times):
    found = solve_ivp(rational, span, [1 / 3, 2 / 9], method, t_eval=times)
    np.testing.assert_array_equal(found.t, times)
    np.testing.assert_allclose(found.y, rational_solution(found.t), rtol=5e-3)
    dense = solve_ivp(rational, span, [1 / 3, 2 / 9], method, t_eval=times, dense_output=True)
    np.testing.assert_array_equal(dense.y, found.y)
    assert (dense.sol.ts[0], dense.sol.ts[-1]) == span


def test_no_times_give_no_points():
    found = solve_ivp(decay, (0, 1), [1.0], t_eval=[])
    assert found.success
    assert (found.t, found.y) == ([], [])
    assert solve_ivp(lambda t, y: -y, (0, 1), real(1.0), t_eval=[]).y.shape == (1, 0)


def test_times_that_were_not_reached_are_left_out():
    found = solve_ivp(lambda t, y: y**2, (0, 3), [1.0], t_eval=[0, 0.5, 0.9, 1.5, 3])
    assert (found.status, found.success) == (-1, False)
    assert found.t.tolist() == [0, 0.5, 0.9]
    np.testing.assert_allclose(found.y[0], [1, 2, 10], rtol=1e-2)


# what cannot be used, and what fails ------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"t_eval": [4, 6]}, "not within `t_span`"),
        ({"t_eval": [6, 5.5]}, "not properly sorted"),
        ({"t_eval": [6, 6]}, "not properly sorted"),
        ({"t_eval": [[6, 7]]}, "1-dimensional"),
        ({"t_span": (5, 1), "t_eval": [2, 3]}, "not properly sorted"),
        ({"t_span": (5, 6, 7)}, "unpack"),
        ({"y0": 1.0}, "1-dimensional"),
        ({"y0": [[1.0, 2.0]]}, "1-dimensional"),
        ({"y0": [1.0, np.nan]}, "must be finite"),
        ({"y0": [1.0, np.inf]}, "must be finite"),
        ({"max_step": 0}, "`max_step` must be positive"),
        ({"max_step": -1}, "`max_step` must be positive"),
        ({"first_step": 0}, "`first_step` must be positive"),
        ({"first_step": 4.5}, "`first_step` exceeds bounds"),
        ({"atol": [1e-6]}, "`atol` has wrong shape"),
        ({"atol": [1e-6] * 3}, "`atol` has wrong shape"),
        ({"atol": -1e-6}, "`atol` must be positive"),
        ({"rtol": [1e-3] * 3}, "broadcast"),
        ({"method": "RK46"}, "unknown"),
        ({"method": None}, "`method` must be one of"),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [np.array, torch.tensor])
def test_arguments_that_cannot_be_used(changes, sentence, kind):
    arguments = {"t_span": (5, 9), "y0": [1 / 3, 2 / 9]} | changes
    arguments["y0"] = kind(arguments["y0"])
    with pytest.raises(ValueError, match=sentence):
        solve_ivp(lambda t, y: -y, **arguments)


@pytest.mark.parametrize(
    ("method", "span"), [("Radau", (5, 9)), ("Radau", (5, 1)), ("BDF", (5, 9))]
)
@pytest.mark.parametrize("jac", [None, "given", "sparse"])
def test_implicit_methods_of_scipy_count_as_little_as_there(method, span, jac):
    """So many at most, where theirs take about as many."""

    def slope(t, y):
        other = y[1] * (y[0] + 2 * y[1] - 1) / (t * (y[0] - 1) ** 2)
        row = [y[1] / (t * (y[0] - 1)) - other, (y[0] + 4 * y[1] - 1) / (t * (y[0] - 1))]
        full = [[0, 1 / t], row]
        return scipy.sparse.csc_matrix(full) if jac == "sparse" else np.array(full)

    options = {} if jac is None else {"jac": slope}
    found = solve_ivp(rational, span, [1 / 3, 2 / 9], method, rtol=1e-3, atol=1e-6, **options)
    assert found.success
    assert 0 < found.njev < 3
    assert 0 < found.nlu < 10
    assert found.nfev < 40
    np.testing.assert_allclose(found.y[:, -1], rational_solution(span[1]), rtol=5e-3)


@pytest.mark.parametrize("method", ["LSODA", scipy.integrate.LSODA])
def test_lsoda_is_the_method_that_chooses(method):
    found = solve_ivp(decay, (0, 1), [1.0], method, rtol=1e-6)
    own = solve_ivp(decay, (0, 1), [1.0], "auto", rtol=1e-6)
    np.testing.assert_array_equal(found.t, own.t)
    np.testing.assert_allclose(found.y[0, -1], np.exp(-1), rtol=1e-5)


def test_args():
    found = solve_ivp(lambda t, y, a, b: a * y + b, (0, 1), [1.0], args=(-1, 0))
    np.testing.assert_allclose(found.y[0, -1], np.exp(-1), rtol=5e-3)
    assert solve_ivp(lambda t, y, a: a * y, (0, 1), [1.0], args=[-1]).success
    with pytest.raises(TypeError, match=r"args=\(-1,\)"):
        solve_ivp(lambda t, y, a: a * y, (0, 1), [1.0], args=-1)


def test_options_without_effect_are_named():
    with pytest.warns(UserWarning, match="no effect for a chosen solver: `jac`, `lband`"):
        solve_ivp(decay, (0, 1), [1.0], jac=None, lband=1)
    with pytest.warns(UserWarning, match="no effect for a chosen solver: `lband`"):
        solve_ivp(decay, (0, 1), [1.0], "rodas5p", jac=[[-1.0]], jac_sparsity=None, lband=1)


def test_a_relative_tolerance_below_rounding_is_raised():
    with pytest.warns(UserWarning, match="At least one element of `rtol` is too small") as caught:
        small = solve_ivp(decay, (0, 1), [1.0, 1.0], rtol=[1e-3, 1e-16])
    assert caught[0].filename == __file__
    assert abs(small.y[1, -1] - np.exp(-1)) < 1e-6
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solve_ivp(decay, (0, 1), [1.0, 1.0], rtol=[1e-1, 1e-1])


@every_method
def test_lengths_of_steps(method):
    for span in ((5, 9), (5, 1)):
        options = {"first_step": 0.1, "max_step": 0.5}
        found = solve_ivp(rational, span, [1 / 3, 2 / 9], method, **options)
        np.testing.assert_allclose(abs(found.t[1] - 5), 0.1)
        assert (abs(np.diff(found.t)) <= 0.5 + 1e-9).all()


@every_name
def test_a_singularity_is_a_returned_failure(method):
    found = solve_ivp(lambda t, y: y**2, (0, 3), [1.0], method)
    assert (found.status, found.success) == (-1, False)
    assert "step size is less than spacing between numbers" in found.message
    assert found.t[-1] == pytest.approx(1, abs=5e-3)
    assert np.isfinite(found.y).all()


@every_name
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_field_that_is_not_finite_is_a_returned_failure(method, value):
    found = solve_ivp(lambda t, y: value * y, (0, 1), [1.0], method)
    assert (found.status, found.success) == (-1, False)
    assert found.t.tolist() == [0]
    assert "not finite" in found.message


@every_method
def test_max_step_below_the_spacing_of_numbers_is_a_returned_failure(method):
    found = solve_ivp(rational, (5, 9), [1 / 3, 2 / 9], method, max_step=1e-20)
    assert found.status == -1
    assert "step size is less" in found.message


@every_name
@pytest.mark.parametrize("kind", [ZeroDivisionError, KeyboardInterrupt])
@pytest.mark.usefixtures("eager")
def test_what_fun_raises_comes_through(method, kind):
    def angry(t, y):
        if t > 0.5:
            raise kind("enough")
        return -y

    with pytest.raises(kind):
        solve_ivp(angry, (0, 1), [1.0], method)


@every_method
def test_fun_is_not_called_outside_of_the_interval(method):
    def guarded(t, y):
        assert 0 <= t <= 1e-4
        return 2 * y

    assert solve_ivp(guarded, (0, 1e-4), [1], method).success


# methods of this package, Jacobians -------------------------------------------------------------


def test_classes_and_steppers_as_method():
    from stiffguide.catalogue import TABLEAUX

    for cls in (scipy.integrate.RK23, scipy.integrate.RK45, scipy.integrate.DOP853):
        by_class = solve_ivp(decay, (0, 1), [1.0], cls)
        np.testing.assert_array_equal(by_class.y, solve_ivp(decay, (0, 1), [1.0], cls.__name__).y)
    by_tableau = solve_ivp(decay, (0, 1), [1.0], TABLEAUX["tsit5"])
    np.testing.assert_array_equal(by_tableau.y, solve_ivp(decay, (0, 1), [1.0], "tsit5").y)


K = np.array([0.04, 1e4, 3e7])


def robertson(t, y):
    fast = K[2] * y[1] ** 2
    slow = -K[0] * y[0] + K[1] * y[1] * y[2]
    return np.array([slow, -slow - fast, fast])


def robertson_jacobian(t, y):
    slow = np.array([-K[0], K[1] * y[2], K[1] * y[1]])
    fast = np.array([0, 2 * K[2] * y[1], 0])
    return np.array([slow, -slow - fast, fast])


@pytest.mark.parametrize("method", STIFF)
@pytest.mark.parametrize(
    "jac",
    [None, robertson_jacobian, lambda t, y: scipy.sparse.csc_matrix(robertson_jacobian(t, y))],
    ids=["differences", "array", "sparse"],
)
def test_stiff_methods_on_numpy_functions(method, jac):
    options = {"rtol": 1e-6, "atol": 1e-10, "jac": jac}
    found = solve_ivp(robertson, (0, 40), [1.0, 0, 0], method, **options)
    assert found.success
    assert found.njev > 0
    assert found.nlu > 0
    truth = [0.7158270687, 9.185534764e-6, 0.2841637457]  # Hairer and Wanner II, IV.10
    np.testing.assert_allclose(found.y[:, -1], truth, rtol=1e-4)


@pytest.mark.parametrize("method", STIFF)
def test_a_numpy_jacobian_of_a_field_that_depends_on_time(method):
    def forced(t, y, rate):
        return -rate * (y - np.cos(t)) - np.sin(t)

    for jac in (lambda t, y, rate: [[-rate]], np.array([[-1e3]])):
        options = {"args": (1e3,), "jac": jac, "rtol": 1e-7, "atol": 1e-9}
        found = solve_ivp(forced, (0, 5), [1.0], method, **options)
        np.testing.assert_allclose(found.y[0], np.cos(found.t), atol=1e-6)
        assert len(found.t) < 500  # an explicit method would need 1500


def test_a_complex_state_and_an_implicit_method():
    ends = [
        solve_ivp(decay, (0, 1), [1j], method, rtol=1e-8, atol=1e-10).y[:, -1]
        for method in ("rodas5p", "DOP853")
    ]
    np.testing.assert_allclose(*ends, rtol=1e-6)


# tensors ----------------------------------------------------------------------------------------


@every_name
def test_tensors_in_tensors_out(method):
    def fun(t, y, k):
        assert isinstance(t, torch.Tensor)
        assert isinstance(y, torch.Tensor)
        return [k * y[1], -k * y[0]]

    found = solve_ivp(fun, (0, 1), real(0, 1), method, args=(2.0,), dense_output=True, rtol=1e-6)
    close(found.y[:, -1], real(np.sin(2), np.cos(2)), rtol=1e-4)
    assert found.t.dtype == torch.float64
    close(found.sol(found.t), found.y, rtol=1e-15)
    assert found.sol(0.5).shape == (2,)
    single = solve_ivp(lambda t, y: -y, (0, 1), torch.ones(2), method, t_eval=torch.ones(1))
    assert (single.y.dtype, single.y.shape) == (torch.float32, (2, 1))
    whole = solve_ivp(lambda t, y: -y, (0, 1), torch.ones(2, dtype=torch.int64), method)
    assert whole.y.dtype == torch.float64


@every_method
def test_numpy_and_torch_take_the_same_steps(method):
    arrays = solve_ivp(lambda t, y: np.sin(t) - y, (0, 4), [1.0, 2.0], method)
    tensors = solve_ivp(lambda t, y: torch.sin(t) - y, (0, 4), real(1, 2), method)
    assert arrays.nfev == tensors.nfev
    np.testing.assert_allclose(tensors.y.numpy(), arrays.y, rtol=1e-9)


@every_name
def test_gradients_come_through(method):
    y0 = real(1.0).requires_grad_()
    rate = real(0.7).requires_grad_()
    found = solve_ivp(
        lambda t, y, k: -k * y, (0, 2), y0, method, args=(rate,), dense_output=True, rtol=1e-7
    )
    by_y0, by_rate = torch.autograd.grad(found.y[0, -1], (y0, rate), retain_graph=True)
    close(by_y0, torch.exp(-2 * rate.detach()), rtol=1e-4)
    close(by_rate, -2 * torch.exp(-2 * rate.detach()), rtol=1e-4)
    (inside,) = torch.autograd.grad(found.sol(1.0)[0], rate)
    close(inside, -torch.exp(-rate.detach()), rtol=1e-4)


# what the front asked of the core ---------------------------------------------------------------


def test_a_trajectory_goes_on_beyond_its_ends():
    def fun(t, y):
        return torch.stack((torch.ones_like(y[:, 0]), -100 * y[:, 1]), -1)

    rows = solve(
        fun, real(0, 1).repeat(2, 1), real(0, 0), real(1, -0.5), batched=True, dense=True,
        method="dopri5", first_step=0.9,
    )  # fmt: skip
    assert int(rows.stats.rejected.min()) > 0
    times = real(-0.25, 0.0, 0.25, 1.25).repeat(2, 1)
    assert rows.at(times).isnan().any(-1).tolist() == [
        [True, False, False, True],
        [False, False, True, True],
    ]
    # beyond the ends the rounding of a short step grows with the fifth power of the distance
    close(rows.trajectory.extended(times)[..., 0], times, rtol=1e-6, atol=1e-12)


def test_a_solve_may_have_no_end_but_a_stop():
    found = solve(
        lambda t, y: y * (1 - y), real(0.1), 0, float("inf"), save_at=SteadyState(), method="tsit5"
    )
    assert bool(found.success)
    close(found.y[0], real(1.0), rtol=1e-6)
    with pytest.raises(ValueError, match="t1 must be finite"):
        solve(lambda t, y: -y, real(1.0), 0, float("nan"))


def test_a_count_of_events_may_be_any_whole_number() -> None:
    def low(t, y):
        return y[0] - 0.5

    low.terminal = 2.0
    found, known = (
        fn(lambda t, y: [y[1], -y[0]], (0.0, 8.0), [0.0, 1.0], events=low, rtol=1e-8)
        for fn in (solve_ivp, scipy.integrate.solve_ivp)
    )
    assert found.status == known.status == 1
    assert abs(found.t_events[0] - known.t_events[0]).max() < 1e-5


@pytest.mark.parametrize("backend", ["eager", "kernel"])
@pytest.mark.parametrize("method", ["RK45", "rodas5p"])
def test_events_are_scipys(method, backend):
    def ground(t, y, g):
        return y[0]

    def top(t, y, g):
        return y[1]

    ground.terminal, ground.direction = 1.0, -1
    fun = lambda t, y, g: [y[1], -g]  # noqa: E731
    settings = {"events": [ground, top], "args": (9.8,), "rtol": 1e-8}
    found = solve_ivp(fun, (0, 100), [0.0, 10.0], method, backend=backend, **settings)
    theirs = scipy.integrate.solve_ivp(fun, (0, 100), [0.0, 10.0], "RK45", **settings)
    assert (found.status, found.message) == (theirs.status, theirs.message)
    for ours, other in zip(found.t_events, theirs.t_events, strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-9)
    for ours, other in zip(found.y_events, theirs.y_events, strict=True):
        np.testing.assert_allclose(ours, other, atol=1e-7)
