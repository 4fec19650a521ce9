"""Generated kernels do what the eager loop does: the same steps, states, endings and outputs."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from typing import Any

import pytest
import torch
from agreement import PART, assert_same, assert_same_steps, assert_within, both
from torch import Tensor

import stiffguide
from stiffguide import EveryStep, InputError, Status, UnsupportedError, methods, problems
from stiffguide.kernels import memory
from stiffguide.kernels.emitting import coefficients
from stiffguide.methods.esdirk import Esdirk
from stiffguide.methods.explicit_rk import ExplicitRK
from stiffguide.methods.rosenbrock import Rosenbrock
from stiffguide.problems import robertson_field, van_der_pol_field
from stiffguide.solution import Solution

D = torch.float64
COMPILER = shutil.which("g++") or shutil.which("clang++")
pytestmark = pytest.mark.skipif(COMPILER is None, reason="needs a C++ compiler")

PAIRED = [m for m in map(methods.get, methods.names()) if m.error_order is not None]
ONE_PASS = [m.name for m in PAIRED if isinstance(m, (ExplicitRK, Rosenbrock))]
NEWTON = [m.name for m in PAIRED if isinstance(m, Esdirk)]
START = torch.tensor([1.0, 0.0, 0.5, -0.5], dtype=D)
TOLERANCE = {"rtol": 1e-5, "atol": 1e-8}
STIFF = (("hires", 1.0), ("orego", 0.1), ("robertson", 1e-9), ("pollu", 1.0))


def assert_same_work(kernel: Solution, eager: Solution) -> None:
    assert torch.equal(kernel.stats.njac, eager.stats.njac)
    assert torch.equal(kernel.stats.nlu, eager.stats.nlu)
    # autograd evaluates f for a Jacobian, which a kernel has by formulas
    assert torch.equal(kernel.stats.nfe + kernel.stats.njac, eager.stats.nfe)


def pendulum(t: Tensor, y: Tensor) -> Tensor:
    """Two coupled, driven, damped oscillators."""
    a, b, c, d = y.unbind(-1)
    return torch.stack((b, -torch.sin(a) - 0.1 * b + 0.3 * c + torch.cos(t), d, -c - 0.2 * a), -1)


# a first step as long as the interval: see agreement.py
EACH = {"first_step": 5.0, "save_at": EveryStep(), **TOLERANCE}


def assert_step_by_step(kernel: Solution, eager: Solution) -> None:
    assert_same_steps(kernel, eager)
    assert_within(kernel.y, eager.y, 1.0, **TOLERANCE)  # y may be steep where a dt differs
    assert_within(kernel.y[-1], eager.y[-1], PART, **TOLERANCE)


@pytest.mark.parametrize("method", ONE_PASS)
def test_the_same_steps_as_eager(method: str) -> None:
    for t0, t1 in ((0.0, 5.0), (5.0, 1.0)):
        kernel, eager = both(pendulum, START, t0, t1, method=method, **EACH)
        assert int(eager.stats.rejected) > 0
        assert_step_by_step(kernel, eager)
        assert_same_work(kernel, eager)


def spoilt(numbers: Any, entry: int, by: float) -> Any:
    """A vector or a matrix with one number changed."""
    if isinstance(numbers[0], tuple):
        return (*numbers[:entry], spoilt(numbers[entry], 0, by), *numbers[entry + 1 :])
    return (*numbers[:entry], numbers[entry] * (1 + by), *numbers[entry + 1 :])


@pytest.mark.parametrize(
    ("method", "letter", "entry", "by"),
    [
        ("dopri5", "a", 4, 1e-6),
        ("dopri5", "c", 3, 1e-6),
        ("dopri5", "b_error", 2, 1e-4),
        ("rodas4", "a", 3, 1e-6),
        ("rodas4", "big_c", 4, 1e-6),
        ("rodas4", "g", 1, 1e-6),
        ("rodas4", "b_error", -1, 1e-4),
    ],
)
def test_a_wrong_coefficient_is_noticed(
    method: str, letter: str, entry: int, by: float, monkeypatch
) -> None:
    right = coefficients.of(methods.get(method))
    entry %= len(getattr(right, letter))
    wrong = replace(right, **{letter: spoilt(getattr(right, letter), entry, by)})
    monkeypatch.setattr(coefficients, "of", lambda method: wrong)
    memory.forget()
    kernel, eager = both(pendulum, START, 0.0, 5.0, method=method, **EACH)
    with pytest.raises(AssertionError, match="not close"):
        assert_step_by_step(kernel, eager)


@pytest.mark.parametrize("setting", [{"safety": 0.9001}, {"icoeff": 0.30001}, {"pcoeff": 0.40001}])
def test_another_controller_is_noticed(setting: dict[str, float]) -> None:
    plain = {"pcoeff": 0.4, "icoeff": 0.3}
    kernel, eager = (
        stiffguide.solve(
            pendulum, START, 0.0, 5.0, method="dopri5", backend=backend, **EACH,
            controller=stiffguide.PID(**plain | changed),
        )
        for backend, changed in (("kernel", setting), ("eager", {}))
    )  # fmt: skip
    with pytest.raises(AssertionError, match="not close"):
        assert_step_by_step(kernel, eager)


def walled(t: Tensor, y: Tensor) -> Tensor:
    return torch.where(y[..., :1] > 10, float("nan"), pendulum(t, y))


@pytest.mark.parametrize("method", ["heun", "rodas4", "dop853"])
def test_the_first_step_is_as_long_as_that_of_the_eager_loop(method: str) -> None:
    sizes = torch.tensor([1.0, 1.0, 1.0, 0.0, 1e-9, 1e6, 1.0, 1.0], dtype=D)
    y0 = START * sizes.unsqueeze(1)
    y0[2, :2], y0[5, 0] = 9.999, -1e6  # one Euler step away from the wall; very large
    t0 = torch.tensor([0.0, 3.0, 0.0, 0.0, 0.0, 0.0, 1e13, 0.0], dtype=D)
    span = torch.tensor([5.0, -1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1e-9], dtype=D)
    settings = {"method": method, "batched": True, "save_at": EveryStep(), "max_attempts": 1}
    kernel, eager = both(walled, y0, t0, t0 + span, rtol=1e-2, atol=1e-2, **settings)
    assert eager.stats.accepted.tolist() == [1] * 8
    torch.testing.assert_close(kernel.t - t0[:, None], eager.t - t0[:, None], rtol=1e-8, atol=0)


@pytest.mark.parametrize("method", ONE_PASS + NEWTON)
def test_a_step_and_the_length_of_the_next_to_rounding(method: str) -> None:
    settings = {
        "method": method,
        "first_step": 0.25 * methods.get(method).error_order,  # errors well above rounding
        "controller": stiffguide.PID(safety=0.5, max_factor=100.0),  # and a next one to be accepted
        "max_attempts": 2,
        "save_at": EveryStep(),
    }
    kernel, eager = both(pendulum, START, 0.0, 9.0, rtol=1e-2, atol=1e-2, **settings)
    torch.testing.assert_close(kernel.t, eager.t, rtol=1e-9, atol=0)
    torch.testing.assert_close(kernel.y[1], eager.y[1], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("method", NEWTON)
def test_newton_methods_agree_within_the_tolerance(method: str) -> None:
    # the eager loop keeps Jacobians from step to step, the kernel has a new one each time
    kernel, eager = both(pendulum, START, 0.0, 5.0, method=method, first_step=5.0, **TOLERANCE)
    assert kernel.success
    assert eager.success
    assert_within(kernel.y, eager.y, 1.0, **TOLERANCE)
    accepted = int(eager.stats.accepted)
    assert abs(int(kernel.stats.accepted) - accepted) <= 3 + 0.03 * accepted


@pytest.mark.parametrize(("name", "part"), STIFF)
@pytest.mark.parametrize("method", ["rodas5p", "kvaerno5"])
def test_stiff_problems(name: str, part: float, method: str) -> None:
    p = problems.get(name)
    t1 = p.t0 + part * (p.t1 - p.t0)
    atol = p.atol_for(1e-6)
    atol = torch.tensor(atol, dtype=D) if isinstance(atol, tuple) else atol
    settings = {"method": method, "first_step": t1 - p.t0}
    kernel, eager = both(p.f, p.y0, p.t0, t1, rtol=1e-6, atol=atol, **settings)
    if method == "rodas5p":
        assert_same_steps(kernel, eager)
    assert_within(kernel.y, eager.y, PART if method == "rodas5p" else 1.0, rtol=1e-6, atol=atol)


def rows_of_robertson(rows: int) -> tuple[Tensor, Tensor]:
    """y0 (B, 3) and rate constants (B, 3), spread over two decades."""
    draw = torch.Generator().manual_seed(1)
    k = torch.tensor([0.04, 3e7, 1e4], dtype=D).repeat(rows, 1)
    k[:, :2] *= torch.exp(torch.randn(rows, 2, dtype=D, generator=draw))
    return torch.tensor([1.0, 0.0, 0.0], dtype=D).repeat(rows, 1), k


def test_rows_with_parameters_of_their_own() -> None:
    y0, k = rows_of_robertson(40)
    settings = {"args": (k,), "batched": True, "first_step": 1e3, "atol": 1e-10}
    assert_same(*both(robertson_field, y0, 0.0, 1e3, **settings), atol=1e-10)


@pytest.mark.parametrize("method", ["rodas5p", "kvaerno5"])
def test_many_rows_refill_the_lanes(method: str) -> None:
    y0, k = rows_of_robertson(10_000)
    settings = {"batched": True, "method": method, "first_step": 1e4, "backend": "kernel"}
    many = stiffguide.solve(robertson_field, y0, 0.0, 1e4, args=(k,), **settings)
    assert bool(many.success.all())
    torch.testing.assert_close(many.y.sum(-1), torch.ones_like(many.t), rtol=0, atol=1e-6)
    for row in (0, 17, 5001, 9999):
        one = slice(row, row + 1)
        alone = stiffguide.solve(robertson_field, y0[one], 0.0, 1e4, args=(k[one],), **settings)
        torch.testing.assert_close(alone.y[0], many.y[row], rtol=1e-9, atol=1e-15)
        assert int(alone.stats.accepted[0]) == int(many.stats.accepted[row])


def test_rows_of_very_different_length() -> None:
    mu = torch.logspace(0, 3, 33, dtype=D)
    y0 = torch.tensor([2.0, 0.0], dtype=D).repeat(33, 1)
    settings = {"args": (mu,), "batched": True, "first_step": 20.0, **TOLERANCE}
    assert_same(*both(van_der_pol_field, y0, 0.0, 20.0, **settings), **TOLERANCE)


def test_spans_and_tolerances_by_row() -> None:
    rows = 7
    y0 = torch.linspace(0.5, 1.5, rows, dtype=D).unsqueeze(1) * torch.ones(4, dtype=D)
    t0 = torch.linspace(0, 1, rows, dtype=D)
    t1 = torch.tensor([3.0, 0.0, 2.0, 0.5, 1.0, 5.0, 1.0], dtype=D)  # there, back, and nowhere
    rtol = torch.logspace(-7, -3, rows, dtype=D).unsqueeze(1)
    atol = torch.tensor([[1e-6, 1e-7, 1e-8, 1e-9]], dtype=D)
    for settings in ({"max_step": 0.2}, {"first_step": 0.01}, {"method": "tsit5"}):
        settings = {"batched": True, "rtol": rtol, "atol": atol, "first_step": 3.0, **settings}
        kernel, eager = both(pendulum, y0, t0, t1, **settings)
        assert_same(kernel, eager, rtol=rtol.unsqueeze(1), atol=atol)


@pytest.mark.parametrize("method", ["rodas5p", "rosenbrock23", "tsit5", "dop853", "verner76"])
def test_given_times(method: str) -> None:
    times = torch.tensor([0.0, 0.0, 0.01, 0.5, 0.51, 2.0, 3.0], dtype=D)
    table = torch.stack((times, times / 2))
    settings = {"method": method, "first_step": 3.0}
    assert_same(*both(pendulum, START, 0.0, 3.0, save_at=times, **settings))
    assert_same(*both(pendulum, START, 0.0, -3.0, save_at=-times, **settings))
    rows = START.repeat(2, 1)
    assert_same(*both(pendulum, rows, 0.0, 3.0, save_at=table, batched=True, **settings))


@pytest.mark.parametrize("method", ["rodas5p", "tsit5", "dop853", "rodas3"])
def test_every_step_and_dense_output(method: str) -> None:
    y0 = torch.tensor([[1.0, 0.0, 0.5, -0.5], [0.1, 0.0, 0.0, 0.0]], dtype=D)
    settings = {"method": method, "batched": True, "first_step": 3.0}
    assert_same(*both(pendulum, y0, 0.0, 3.0, save_at=EveryStep(), **settings), part=1.0)
    kernel, eager = both(pendulum, y0, 0.0, 3.0, dense=True, **settings)
    times = torch.linspace(0, 3, 23, dtype=D)
    assert_within(kernel.at(times), eager.at(times), PART)
    assert bool(kernel.at(torch.tensor([3.1], dtype=D)).isnan().all())


@pytest.mark.parametrize("method", ["tsit5", "dop853", "verner76"])
@pytest.mark.parametrize("kept", [{"save_at": EveryStep()}, {"dense": True}, {"save_at": [1.0]}])
def test_an_interpolant_costs_evaluations_only_where_it_is_made(method: str, kept: Any) -> None:
    kernel, eager = both(pendulum, START, 0.0, 3.0, method=method, first_step=3.0, **kept)
    assert int(eager.stats.rejected) > 0
    assert_same_work(kernel, eager)


def test_single_precision() -> None:
    y0 = torch.tensor([1.0, 0.0, 0.5, -0.5])
    kernel, eager = both(pendulum, y0, 0.0, 3.0, rtol=1e-4, atol=1e-5)
    assert kernel.y.dtype == torch.float32
    assert kernel.t.dtype == D
    torch.testing.assert_close(kernel.y, eager.y, rtol=1e-3, atol=1e-4)


def blow_up(t: Tensor, y: Tensor) -> Tensor:
    return y**2


def out_of_domain(t: Tensor, y: Tensor) -> Tensor:
    return torch.log(y) - 1.0


def jump(t: Tensor, y: Tensor) -> Tensor:
    return torch.where(y > 0, -1e300 * y, y)


@pytest.mark.parametrize("method", ["rodas5p", "tsit5", "kvaerno5"])
@pytest.mark.parametrize("f", [blow_up, out_of_domain, jump])
def test_the_same_failures(f, method: str) -> None:
    y0 = torch.tensor([[0.9], [0.1], [1.5], [float("nan")], [-1.0], [0.0]], dtype=D)
    settings = {"batched": True, "method": method, "max_attempts": 2000}
    kernel, eager = both(f, y0, 0.0, 3.0, **settings)
    assert kernel.status.tolist() == eager.status.tolist()
    assert set(kernel.messages) == set(eager.messages)
    assert {int(Status.NON_FINITE)} <= set(kernel.status.tolist())
    fine = eager.success
    torch.testing.assert_close(kernel.y[fine], eager.y[fine], rtol=1e-6, atol=1e-12)


def test_attempts_are_limited() -> None:
    y0 = torch.tensor([1.0, 0.0, 0.5, -0.5], dtype=D)
    kernel, eager = both(pendulum, y0, 0.0, 50.0, max_attempts=7)
    assert kernel.status.tolist() == eager.status.tolist() == int(Status.MAX_ATTEMPTS)
    assert kernel.message == eager.message


def test_a_matrix_that_needs_pivoting() -> None:
    # W = I/(dt gamma) - J with a diagonal that vanishes beside what stands next to it
    matrix = torch.tensor([[0.0, 1e5, 0.0], [0.0, 0.0, 1e5], [-1.0, -1e2, -1e2]], dtype=D)

    def f(t: Tensor, y: Tensor) -> Tensor:
        return y @ matrix.T

    y0 = torch.tensor([1e-3, 1e-5, 1e-8], dtype=D).repeat(6, 1)
    settings = {"batched": True, "first_step": 0.02, **TOLERANCE}
    assert_same(*both(f, y0, 0.0, 0.02, **settings), **TOLERANCE)


@pytest.mark.parametrize("size", [1, 2, 13, 20, 64, 130])
def test_sizes(size: int) -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        """Heat conduction with a reaction."""
        padded = torch.nn.functional.pad(y, (1, 1))
        return size**2 * (padded[..., 2:] - 2 * y + padded[..., :-2]) + y * (1 - y)

    y0 = torch.sin(torch.linspace(0.1, 3, size, dtype=D))
    tolerance = {"rtol": 1e-4, "atol": 1e-7}
    for method, part in (("rodas4", PART), ("kvaerno3", 10.0)):
        kernel, eager = both(f, y0, 0.0, 0.2, method=method, first_step=0.2, **tolerance)
        assert kernel.success
        assert_within(kernel.y, eager.y, part, **tolerance)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"controller": stiffguide.Fixed(0.1)}, "PID"),
        ({"method": "rk4", "controller": stiffguide.Fixed(0.1)}, "PID"),
        ({"method": "secant_heun"}, "secant_heun"),
        ({"save_at": stiffguide.SteadyState()}, "output"),
    ],
)
@pytest.mark.usefixtures("auto")
def test_what_a_kernel_cannot_do(settings, reason: str, caplog) -> None:
    y0 = torch.tensor([1.0, 0.0, 0.5, -0.5], dtype=D)
    with pytest.raises(UnsupportedError, match=reason):
        stiffguide.solve(pendulum, y0, 0.0, 0.2, backend="kernel", **settings)
    with caplog.at_level("INFO", logger="stiffguide"):
        solution = stiffguide.solve(pendulum, y0, 0.0, 0.2, backend="auto", **settings)
    assert bool(solution.success)
    assert reason in caplog.text


def test_a_backend_by_a_wrong_name() -> None:
    with pytest.raises(InputError, match="kernel"):
        stiffguide.solve(pendulum, torch.zeros(4, dtype=D), 0.0, 1.0, backend="fast")


@pytest.mark.usefixtures("auto")
def test_ahead_of_time() -> None:
    rate = 0.7

    def f(t: Tensor, y: Tensor) -> Tensor:
        return -rate * y + torch.sin(t)

    y0 = torch.ones(3, dtype=D)
    assert "not built" in stiffguide.solve(f, y0, 0.0, 1.0).stats.why
    first = stiffguide.compile(f, like=y0)
    again = stiffguide.compile(f, like=y0)
    assert (first.cached, again.cached) == (False, True)
    assert again.seconds < 0.5
    solution = stiffguide.solve(f, y0, 0.0, 1.0)
    assert solution.stats.backend == "kernel"
    assert math.isclose(float(solution.t), 1.0)


def test_a_closure_that_changes() -> None:
    rate = 1.0

    def f(t: Tensor, y: Tensor) -> Tensor:
        return -rate * y

    y0 = torch.ones(1, dtype=D)
    assert float(stiffguide.solve(f, y0, 0.0, 1.0, backend="kernel").y) == pytest.approx(
        math.exp(-1), rel=1e-5
    )
    rate = 2.0
    assert float(stiffguide.solve(f, y0, 0.0, 1.0, backend="kernel").y) == pytest.approx(
        math.exp(-2), rel=1e-5
    )


def test_a_captured_tensor_is_read_at_each_call() -> None:
    rate = torch.tensor([1.5, 2.5], dtype=D)

    def f(t: Tensor, y: Tensor) -> Tensor:
        return -rate * y

    y0 = torch.ones(2, dtype=D)
    for _ in range(2):
        solution = stiffguide.solve(f, y0, 0.0, 1.0, backend="kernel")
        torch.testing.assert_close(solution.y[0], torch.exp(-rate), rtol=1e-5, atol=0)
        rate += 0.25


def test_two_fields_of_one_graph_keep_their_own_tensors() -> None:
    def made(rate: Tensor) -> Any:
        return lambda t, y: -rate * y

    rates = torch.tensor([[1.5, 2.5], [0.5, 0.75]], dtype=D)
    fields = [made(rate) for rate in rates]
    y0 = torch.ones(2, dtype=D)
    for k in (0, 1, 0, 1):
        solution = stiffguide.solve(fields[k], y0, 0.0, 1.0, backend="kernel")
        torch.testing.assert_close(solution.y[0], torch.exp(-rates[k]), rtol=1e-5, atol=0)


def test_conditions_that_cross_from_one_function_to_the_next() -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        inside, late = (y > 0.3) & (y < 2), t > 0.5
        dy = -y
        for k in range(20):  # more statements than stand in one function
            dy = dy + 0.01 * torch.where(inside, torch.sin(y + k), y.flip(-1) * k / 40)
            dy = dy + 0.01 * torch.where(inside | late[..., None], torch.cos(y * k), y.roll(1, -1))
        return dy

    y0 = torch.linspace(0.4, 1.0, 6, dtype=D).repeat(8, 1)
    tolerance = {"rtol": 1e-4, "atol": 1e-6}
    settings = {"batched": True, "method": "rodas4", "first_step": 0.4, **tolerance}
    assert_same(*both(f, y0, 0.0, 0.4, **settings), **tolerance)


@pytest.mark.parametrize("backend", ["eager", "kernel", "auto"])
def test_a_batch_without_rows_is_solved(backend: str) -> None:
    y0 = torch.zeros(0, 3, dtype=D)
    solution = stiffguide.solve(lambda t, y: -y, y0, 0.0, 1.0, batched=True, backend=backend)
    assert solution.y.shape == (0, 1, 3)
    assert solution.stats.accepted.shape == (0,)
    with pytest.raises(InputError, match="no rows"):
        stiffguide.compile(lambda t, y: -y, like=y0, batched=True)


def test_a_time_beyond_every_float_is_refused() -> None:
    with pytest.raises(InputError, match="t1 is not a number"):
        stiffguide.solve(lambda t, y: -y, torch.ones(1, dtype=D), 0, 10**400)
