"""Jacobians of fields: differences in any units and at any border, and who makes them when."""

from __future__ import annotations

import copy
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from families import close, real
from hypothesis import example, given
from torch import Tensor

import stiffguide as sg
from stiffguide.fields.jacobian import (
    AutogradJacobian,
    DifferenceJacobian,
    GivenJacobian,
    wrap,
)
from stiffguide.stepping.contracts import Linearisation, Units

ONE = real(1.0)


def units(y: Tensor, dt: float = 1e-3, rtol: float = 1e-6, atol: float = 1e-9) -> Units:
    return Units(torch.full(y.shape[:1], dt, dtype=torch.float64), atol + rtol * y.abs())


# differences ------------------------------------------------------------------------------------


def mixed(t: Tensor, y: Tensor) -> Tensor:
    """Fast and slow, coupled, in (B, 3)."""
    a, b, c = y.unbind(-1)
    fast = 1e4 * (torch.cos(t) * b - a)
    return torch.stack((fast, a * c - b * b * b, torch.sin(3 * t) + a - torch.exp(-c) * b), -1)


POINTS = real(0.3, 1.2, 0.7, 0.0, 2.0, -0.4, 1e-7, 0.5, 1e-9).reshape(3, 3)
TIMES = real(0.0, 0.7, -30.0)
BINARY = st.integers(-20, 20).map(lambda k: 4.0**k)  # exact in every step of the arithmetic,
DECIMAL = st.integers(-12, 12).map(lambda k: 10.0**k)  # and not


def beside(found: Tensor, expected: Tensor, size: Tensor) -> float:
    """The largest difference in units of a size."""
    return float(((found - expected).abs() / size).detach().max())


def in_units(of_time: float, of_state: float) -> Linearisation:
    """The differences of `mixed` made in other units, and brought back."""
    here = units(POINTS)
    there = Units(of_time * here.dt, of_state * here.scale)
    f = DifferenceJacobian(lambda t, y: of_state / of_time * mixed(t / of_time, y / of_state))
    jac, slope, nfe = f.linearise(of_time * TIMES, of_state * POINTS, there, time=True)
    assert slope is not None
    return Linearisation(jac * of_time, slope * of_time * of_time / of_state, nfe)


@given(of_time=BINARY, of_state=BINARY)
@example(of_time=4.0**-20, of_state=1.0)
@example(of_time=4.0**20, of_state=1.0)
@example(of_time=1.0, of_state=4.0**-20)
@example(of_time=1.0, of_state=4.0**20)
def test_the_units_of_time_and_state_are_free(of_time: float, of_state: float) -> None:
    found, plain = in_units(of_time, of_state), in_units(1.0, 1.0)
    assert torch.equal(found.jac, plain.jac)
    assert torch.equal(found.time, plain.time)


@given(of_time=DECIMAL, of_state=DECIMAL)
def test_decimal_units_differ_by_rounding_alone(of_time: float, of_state: float) -> None:
    found, plain = in_units(of_time, of_state), in_units(1.0, 1.0)
    assert beside(found.jac, plain.jac, plain.jac.abs().amax(-1, keepdim=True)) < 1e-5
    assert beside(found.time, plain.time, 1 + plain.time.abs()) < 1e-5


@pytest.mark.parametrize(
    "here",
    [
        units(POINTS),
        units(POINTS, dt=-1e-3),
        units(POINTS, dt=1e-9),
        units(POINTS, dt=1e-15),
        units(POINTS, atol=0.0),
        units(POINTS, atol=1e-30),
        units(POINTS, atol=1e-5, rtol=1e-2),
    ],
)
def test_a_step_cannot_tell_differences_from_the_derivative(here: Units) -> None:
    exact = AutogradJacobian(mixed).linearise(TIMES, POINTS, here, time=True)
    found = DifferenceJacobian(mixed).linearise(TIMES, POINTS, here, time=True)
    value, h = mixed(TIMES, POINTS), here.dt.unsqueeze(-1)
    way = (h * value).unsqueeze(-1)
    size = value.abs() + (exact.jac.abs() @ way.abs()).squeeze(-1)
    assert beside((found.jac @ way).squeeze(-1), (exact.jac @ way).squeeze(-1), size) < 1e-6
    assert beside(h * found.time, h * exact.time, size) < 1e-6


def test_a_component_without_size_and_tolerance_has_differences() -> None:
    y = torch.zeros(1, 2, dtype=torch.float64)
    nothing = Units(real(1e-3), torch.zeros_like(y))
    jac = DifferenceJacobian(lambda t, y: -2 * y).linearise(real(0.0), y, nothing, time=False).jac
    close(jac, -2 * torch.eye(2, dtype=torch.float64).unsqueeze(0), rtol=1e-7)


def test_a_state_in_single_precision_has_differences() -> None:
    y, t = POINTS.float(), real(1e3, 1e4, 2e4)
    f = DifferenceJacobian(lambda t, y: y * torch.sin(t.to(y.dtype) / 1e3).unsqueeze(-1))
    found = f.linearise(t, y, units(y, dt=1.0, atol=1e-4, rtol=1e-3), time=True)
    exact = y.double() * torch.cos(t / 1e3).unsqueeze(-1) / 1e3
    assert beside(found.time, exact, 1e-9 + y.abs() / 1e3) < 0.05


# borders: where f is defined on one side only, or has no finite derivative ------------------------

BORDERS: dict[str, tuple[Any, float, float, float]] = {  # f, y, and bounds of the slope
    "a root from zero": (torch.sqrt, 0.0, 1e3, 1e6),
    "a root to zero": (lambda y: torch.sqrt(1 - y), 1.0, -1e6, -1e3),
    "a sine's inverse at 1": (torch.asin, 1.0, 1e3, 1e6),
    "a sine's inverse at -1": (torch.asin, -1.0, 1e3, 1e6),
    "a logarithm that is not taken": (
        lambda y: torch.where(y > 0, y * torch.log(y), -y),
        -1.0,
        -1.001,
        -0.999,
    ),
    "0/0 that is not taken": (
        lambda y: torch.where(y.abs() < 1e-7, 1.0, y / (1 - torch.exp(-y))),
        0.0,
        -1.0,
        1.0,
    ),
    "a power below 1": (lambda y: y**0.3, 0.0, 1e4, 1e9),
}


@pytest.mark.parametrize("name", BORDERS)
def test_differences_are_finite_where_f_is(name: str) -> None:
    f, at, low, high = BORDERS[name]
    both = lambda t, y: torch.cat((f(y[:, :1]), f(y[:, :1]) - y[:, 1:]), -1)  # noqa: E731
    # the second row is away from the border: what helps the first must not change it
    y, t = real(at, 0.5, 0.4 * at + 0.1, 0.5).reshape(2, 2), real(0.0, 0.0)
    there = units(y)
    for field in (
        AutogradJacobian(both),
        DifferenceJacobian(both),
        GivenJacobian(both, lambda t, y: torch.full((2, 2, 2), torch.inf)),
    ):
        jac, slope, nfe = field.by_differences(t, y, there, time=True)
        assert jac.isfinite().all()
        assert low <= float(jac[0, 0, 0]) <= high
        close(jac[:, 1, 1], real(-1.0, -1.0), rtol=1e-6)
        close(slope, torch.zeros_like(y))
        assert nfe in (4, 5)
    alone = DifferenceJacobian(both).linearise(t[1:], y[1:], units(y[1:]), time=False)
    assert torch.equal(jac[1], alone.jac[0])


def test_a_border_leaves_no_trace_in_a_gradient() -> None:
    k = real(2.0).requires_grad_()
    f = DifferenceJacobian(lambda t, y: k * torch.sqrt(1 - y))
    jac = f.linearise(real(0.0), real(1.0).unsqueeze(0), units(real(1.0).unsqueeze(0)), time=False)
    (slope,) = torch.autograd.grad(jac.jac.sum(), k)
    assert slope.isfinite().all()
    assert float(slope) < 0


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_time_is_nudged_into_the_step_and_out_of_it_only_where_it_must(sign: float) -> None:
    def tabled(t: Tensor, y: Tensor) -> Tensor:
        return torch.where(sign * t < 0, torch.nan, 3 * t).unsqueeze(-1) * y

    y = torch.ones(1, 1, dtype=torch.float64)
    for dt, nfe in ((sign, 3), (-sign, 4)):
        found = DifferenceJacobian(tabled).linearise(real(0.0), y, units(y, dt=dt), time=True)
        close(found.time, 3 * y, rtol=1e-7)
        assert found.nfe == nfe


def test_a_solve_in_femtoseconds_is_one_in_seconds() -> None:
    counts = []
    for w in (1e-12, 1.0, 1e15):
        found = sg.solve(
            lambda t, y, w=w: w * (torch.cos(w * t) - y),
            torch.zeros(1, dtype=torch.float64),
            0.0,
            20 / w,
            jac="differences",
            first_step=0.01 / w,
            max_attempts=1000,
        )
        exact = (np.cos(20) + np.sin(20) - np.exp(-20)) / 2
        close(found.raise_if_failed().y[-1], real(exact), rtol=1e-5)
        counts.append(int(found.stats.accepted + found.stats.rejected))
    assert max(counts) - min(counts) <= 2


# what autograd does not see -----------------------------------------------------------------------


class Backless(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * x


def in_inference_mode(y: Tensor) -> Tensor:
    with torch.inference_mode():
        square = y * y
    return square * 1.0 + 0 * y


def without_grad(y: Tensor) -> Tensor:
    with torch.no_grad():
        square = y * y
    return square + 0 * y


def in_place_on_views(y: Tensor) -> Tensor:
    parts = y.clone().unbind(-1)
    for part in parts:
        part.mul_(part.clone())
    return torch.stack(parts, -1)


def of_energy(y: Tensor) -> Tensor:
    with torch.enable_grad():
        q = y.detach().requires_grad_()
        (slope,) = torch.autograd.grad((WEIGHT * q**3 / 3).sum(), q, create_graph=True)
    return slope


WEIGHT = real(1.0).requires_grad_()
HIDDEN: dict[str, Any] = {  # all of them y^2
    "floor division": lambda y: y * y + 0 * (y // 0.7),
    "a function without backward": Backless.apply,
    "inference mode": in_inference_mode,
    "no_grad": without_grad,
    "views of an unbind, in place": in_place_on_views,
    "another graph": of_energy,
    "detach": lambda y: y * y.detach(),
    "data": lambda y: y * y.data,
    "numpy": lambda y: torch.from_numpy(np.asarray(y)) * y,
    "numpy of detach": lambda y: torch.from_numpy(y.detach().numpy() ** 2) + 0 * y,
    "dlpack": lambda y: torch.from_numpy(np.from_dlpack(y)) * y,
    "a tensor of numbers": lambda y: torch.tensor(y.tolist(), dtype=y.dtype) * y,
    "a new tensor": lambda y: y.new_tensor(y.tolist()) * y,
    "a deep copy": lambda y: copy.deepcopy(y) * y,
    "an operation that no one differentiates": lambda y: (
        y * y + 0 * torch.special.gammainc(y + 1, ONE)
    ),
}
SEEN: dict[str, Any] = {
    "plain": lambda y: y * y,
    "with constants": lambda y: y * y * (2 * WEIGHT - WEIGHT).detach() * WEIGHT.item(),
    "a table read in passing": lambda y: y * y + 0 * torch.tensor([1.0, 2.0]).sum(),
    "functional": lambda y: torch.func.grad(lambda x: (x**3 / 3).sum())(y),
    "functional, forward": lambda y: torch.func.jvp(lambda x: x**3 / 3, (y,), (0 * y + 1,))[1],
    "cast": lambda y: torch.as_tensor(y).to(torch.float64) ** 2,
}


def whole(inner: Any) -> Any:
    """y' = cos t - 100 y^2, in (B, F)."""
    return lambda t, y: torch.cos(t).unsqueeze(-1) - 100 * inner(y)


@pytest.mark.parametrize("name", HIDDEN | SEEN)
def test_what_autograd_does_not_see_is_left_to_differences(name: str) -> None:
    f = whole((HIDDEN | SEEN)[name])
    y, t = real(0.5, 0.7).unsqueeze(0), real(0.3)
    field = wrap(f, None, t, y)
    assert type(field) is (DifferenceJacobian if name in HIDDEN else AutogradJacobian)
    jac, slope, _ = field.linearise(t, y, units(y), time=True)
    close(jac.detach(), torch.diag_embed(-200 * y), rtol=1e-5, atol=1e-4)
    close(slope.detach(), -torch.sin(t).expand(1, 2), rtol=1e-4)


@pytest.mark.parametrize("method", ["rodas5p", "kvaerno5"])
@pytest.mark.parametrize("name", HIDDEN)
def test_a_field_may_hide_from_autograd(name: str, method: str) -> None:
    inner = HIDDEN[name]
    y0, ends = real(0.5, 0.7), (0.0, 1.0)
    f = lambda t, y: torch.cos(t) - 100 * inner(y)  # noqa: E731
    with torch.no_grad():  # a gradient through these is refused
        found = sg.solve(f, y0, *ends, method=method, rtol=1e-5)
    plain = sg.solve(lambda t, y: torch.cos(t) - 100 * y * y, y0, *ends, method=method, rtol=1e-5)
    close(found.y, plain.y, rtol=1e-4)
    assert abs(int(found.stats.accepted) - int(plain.stats.accepted)) <= 2


@pytest.mark.parametrize("name", ["floor division", "a function without backward"])
def test_time_alone_may_hide(name: str) -> None:
    inner = HIDDEN[name]
    f = lambda t, y: inner(torch.cos(t)).unsqueeze(-1) - 100 * y * y  # noqa: E731
    y, t = real(0.5, 0.7).unsqueeze(0), real(0.3)
    for jac in (None, lambda t, y: torch.diag_embed(-200 * y)):
        field = wrap(f, jac, t, y)
        assert type(field) is (AutogradJacobian if jac is None else GivenJacobian)
        found = field.linearise(t, y, units(y), time=True)
        close(found.jac, torch.diag_embed(-200 * y), rtol=1e-12)
        close(found.time, -torch.sin(2 * t).expand(1, 2), rtol=1e-5)


@pytest.mark.parametrize("method", ["rodas5p", "kvaerno5"])
@pytest.mark.parametrize("name", ["floor division", "inference mode", "a deep copy", "dlpack"])
def test_what_hides_later_is_left_to_differences_then(name: str, method: str) -> None:
    inner = HIDDEN[name]

    def f(t: Tensor, y: Tensor) -> Tensor:
        return torch.cos(t) - 100 * (inner(y) if t > 0.3 else y * y)

    y0, ends = real(0.5, 0.7), (0.0, 1.0)
    found = sg.solve(f, y0, *ends, method=method, rtol=1e-5)
    plain = sg.solve(lambda t, y: torch.cos(t) - 100 * y * y, y0, *ends, method=method, rtol=1e-5)
    close(found.y, plain.y, rtol=1e-4)


@pytest.mark.usefixtures("eager")
def test_an_exception_of_the_field_stays_the_users_own() -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        if t > 0.3:
            raise RuntimeError("no data after 0.3")
        return -y

    with pytest.raises(RuntimeError, match=r"no data after 0\.3"):
        sg.solve(f, ONE, 0.0, 1.0)
