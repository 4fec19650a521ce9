"""Gradients by the times of a solve: its ends, and those at which it is looked at."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from families import SMOOTH, close, every_smooth, real
from torch import Tensor

import stiffguide as sg
from stiffguide.errors import UnsupportedError
from stiffguide.problems import robertson

FAMILIES = [*SMOOTH, "dopri5", "rosenbrock23", "kencarp4", "secant_heun"]
every = pytest.mark.parametrize("name", FAMILIES)
LOW = ("sdirk2", "rkc2", "rosenbrock23", "secant_heun")
Y0, K = real(0.3, 0.8), real(3.0)[0]


def tolerances(name: str) -> dict[str, Any]:
    rtol = 1e-5 if name in LOW else 1e-8
    return {"method": name, "rtol": rtol, "atol": rtol / 10}


def field(t: Tensor, y: Tensor, k: Tensor) -> Tensor:
    """Non-autonomous and nonlinear; `curve` is its solution."""
    a, b = y.unbind(-1)
    return torch.stack((-k * (a - torch.sin(t)) + torch.cos(t), b * b * torch.cos(t)), -1)


def curve(t: Tensor, t0: Tensor, y0: Tensor, k: Tensor) -> Tensor:
    """A relaxation towards the sine, and a curve with a pole."""
    a, b = y0.unbind(-1)
    left = torch.sin(t) + (a - torch.sin(t0)) * torch.exp(-k * (t - t0))
    return torch.stack((left, 1 / (1 / b - torch.sin(t) + torch.sin(t0))), -1)


def leaf(*values: float) -> Tensor:
    return real(*values).requires_grad_()


def slopes(values: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    """The gradients of a sum with uneven weights."""
    weights = torch.linspace(1, 2, values.numel(), dtype=torch.float64).reshape(values.shape)
    return list(torch.autograd.grad((values * weights).sum(), leaves, retain_graph=True))


def agree(found: Tensor, exact: Tensor, leaves: list[Tensor], rtol: float) -> None:
    close(found.detach(), exact.detach(), rtol=rtol, atol=rtol)
    for ours, theirs in zip(slopes(found, leaves), slopes(exact, leaves), strict=True):
        close(ours, theirs, rtol=rtol, atol=rtol)


def test_the_curve_solves_the_field() -> None:
    t, t0 = real(0.4)[0], real(0.1)[0]
    slope = torch.autograd.functional.jacobian(lambda t: curve(t, t0, Y0, K), t)
    close(slope, field(t, curve(t, t0, Y0, K), K))
    close(curve(t0, t0, Y0, K), Y0)


@every
@pytest.mark.parametrize(("begin", "end"), [(0.1, 0.5), (0.4, 0.1)])
def test_by_both_ends(name: str, begin: float, end: float) -> None:
    t0, t1 = leaf(begin), leaf(end)
    found = sg.solve(field, Y0, t0[0], t1[0], args=(K,), **tolerances(name))
    exact = curve(t1[0], t0[0], Y0, K)
    agree(found.y[-1], exact, [t0, t1], 100 * tolerances(name)["rtol"])
    assert torch.equal(slopes(found.t, [t1])[0], real(1.0))


@every
@pytest.mark.parametrize("sign", [1, -1])
def test_by_saved_times(name: str, sign: int) -> None:
    t0, times = leaf(0.1), leaf(0.1, 0.1 + 0.1 * sign, 0.1 + 0.3 * sign)
    saved = {"save_at": times, "args": (K,), **tolerances(name)}
    found = sg.solve(field, Y0, t0[0], 0.1 + 0.3 * sign, **saved)
    exact = curve(times[:, None], t0[:, None], Y0, K).squeeze(1)
    agree(found.y, exact, [t0, times], 1e-2 if name in LOW else 1e-5)
    assert found.t.requires_grad


@pytest.mark.parametrize("name", ["tsit5", "rodas5p", "kvaerno5"])
def test_central_differences(name: str) -> None:
    def go(t0: Tensor, t1: Tensor, time: Tensor) -> Tensor:
        tight = {"method": name, "rtol": 1e-12, "atol": 1e-12, "max_step": 0.005}
        found = sg.solve(field, Y0, t0[0], t1[0], args=(K,), save_at=[time[0], t1[0]], **tight)
        return found.y

    leaves = [leaf(0.1), leaf(0.2), leaf(0.1618)]
    found = slopes(go(*leaves), leaves)
    for i, slope in enumerate(found):
        ends = []
        for h in (1e-4, -1e-4):
            with torch.no_grad():
                moved = go(*(x + h * (i == j) for j, x in enumerate(leaves)))
            ends.append((moved * torch.linspace(1, 2, 4).double().reshape(2, 2)).sum())
        close(slope[0], (ends[0] - ends[1]) / 2e-4, rtol=1e-6)


@every
def test_gradcheck_of_the_end_of_fixed_steps(name: str) -> None:
    """The last step is differentiated as it is: exactly, whatever its error."""

    def end(t1: Tensor, k: Tensor) -> Tensor:
        settings = {"method": name, "controller": sg.Fixed(0.07), "rtol": 1e-10, "atol": 1e-11}
        return sg.solve(field, Y0, 0.1, t1, args=(k,), **settings).y[-1]

    leaves = (real(0.22)[0].requires_grad_(), K.clone().requires_grad_())
    assert torch.autograd.gradcheck(end, leaves, rtol=1e-6, atol=1e-8)
    if name != "secant_heun":
        assert torch.autograd.gradgradcheck(end, leaves, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["tsit5", "rodas5p", "kencarp4"])
def test_second_derivatives_by_all_times(name: str) -> None:
    def kept(t0: Tensor, t1: Tensor, time: Tensor) -> Tensor:
        settings = {"method": name, "controller": sg.Fixed(0.002), "rtol": 1e-9, "atol": 1e-10}
        times = [t0, time, t1]
        return sg.solve(field, Y0, t0, t1, args=(K,), save_at=times, **settings).y

    leaves = tuple(real(x)[0] for x in (0.1, 0.12, 0.1175))
    weights = torch.linspace(1, 2, 6).double().reshape(3, 2)
    found = torch.autograd.functional.hessian(lambda *x: (kept(*x) * weights).sum(), leaves)
    exact = torch.autograd.functional.hessian(
        lambda a, b, c: (torch.stack((Y0, curve(c, a, Y0, K), curve(b, a, Y0, K))) * weights).sum(),
        leaves,
    )
    for ours, theirs in zip(found, exact, strict=True):
        close(torch.stack(ours), torch.stack(theirs), rtol=1e-3, atol=1e-3)


def test_a_stiff_end_has_the_accuracy_of_the_solve() -> None:
    """f(t1, y1) would be wrong by 6 per cent here."""
    p, t1 = robertson(), real(40.0)[0].requires_grad_()
    found = sg.solve(p.f, p.y0, 0.0, t1, rtol=1e-6, atol=1e-9, method="rodas5p").y[-1]
    exact = sg.solve(p.f, p.y0, 0.0, 40.0, rtol=1e-10, atol=1e-14, method="rodas5p").y[-1]
    slope = torch.stack([torch.autograd.grad(x, t1, retain_graph=True)[0] for x in found])
    close(slope, p.f(t1.detach(), exact), rtol=1e-4)


@every_smooth
def test_every_row_has_its_own_times(name: str) -> None:
    t0, t1 = leaf(0.0, 0.1, 0.4), leaf(0.3, 0.3, 0.1)
    times = torch.stack((t0.detach(), (t0 + t1).detach() / 2, t1.detach()), 1).requires_grad_()
    y0 = torch.stack((Y0, 1.1 * Y0, 0.9 * Y0))
    settings = {"args": (K,), "batched": True, **tolerances(name)}
    found = sg.solve(field, y0, t0, t1, **settings)
    agree(found.y[:, 0], curve(t1, t0, y0, K), [t0, t1], 100 * tolerances(name)["rtol"])
    assert torch.equal(slopes(found.t, [t1])[0], torch.linspace(1, 2, 3).double())
    stopped = sg.solve(field, y0, t0, t1, tstops=[0.2, 0.25], **settings)
    agree(stopped.y[:, 0], curve(t1, t0, y0, K), [t0, t1], 100 * tolerances(name)["rtol"])
    saved = sg.solve(field, y0, t0, t1, save_at=times, **settings).y
    exact = curve(times, t0.unsqueeze(1), y0.unsqueeze(1), K)
    agree(saved, exact, [t0, times], 1e-2 if name in LOW else 1e-5)


@every_smooth
def test_a_time_that_f_knows_too_adds_up(name: str) -> None:
    t1 = real(0.7)[0].requires_grad_()
    found = sg.solve(field, Y0, 0.1, t1, args=(4 * t1,), **tolerances(name)).y[-1]
    agree(found, curve(t1, real(0.1)[0], Y0, 4 * t1), [t1], 100 * tolerances(name)["rtol"])


@every_smooth
def test_every_step_and_stops_between(name: str) -> None:
    t0, t1 = leaf(0.1), leaf(0.6)
    settings = {"args": (K,), "tstops": [0.3, 0.9], **tolerances(name)}
    found = sg.solve(field, Y0, t0[0], t1[0], save_at=sg.EveryStep(), **settings)
    rtol = 100 * tolerances(name)["rtol"]
    times = found.t.detach().clone()
    times = torch.cat((t0, times[1:-1], t1))
    agree(found.y, curve(times[:, None], t0[:, None], Y0, K).squeeze(1), [t0, t1], rtol)
    close(found.t, times)
    ours, theirs = slopes(found.t, [t0, t1]), slopes(times, [t0, t1])
    assert all(map(torch.equal, ours, theirs))


def test_the_state_at_its_own_start_does_not_move() -> None:
    t0 = real(0.1)[0].requires_grad_()
    found = sg.solve(field, Y0, t0, 0.5, args=(K,), save_at=[t0, 0.4], method="tsit5")
    assert torch.equal(found.y[0].detach(), Y0)
    assert not torch.autograd.grad(found.y[0].sum(), t0)[0].any()


@every_smooth
def test_a_dense_solution_has_a_slope_everywhere(name: str) -> None:
    settings = {"args": (K,), **tolerances(name)}
    found = sg.solve(field, Y0, 0.1, 0.6, dense=True, **settings)
    ends = sg.solve(field, Y0, 0.1, 0.6, save_at=sg.EveryStep(), **settings).t
    for times in (real(0.1, 0.1234, 0.6), ends):
        times = times.clone().requires_grad_()
        exact = curve(times, real(0.1), Y0, K)
        agree(found.at(times), exact, [times], 1e-2 if name in LOW else 1e-4)
        agree(found.at(list(times)), exact, [times], 1e-2 if name in LOW else 1e-4)


@pytest.mark.parametrize("name", ["tsit5", "rodas5p", "kvaerno5"])
def test_complex_states(name: str) -> None:
    t0, t1 = leaf(0.2), leaf(0.9)
    start, rate = torch.tensor([1 + 1j], dtype=torch.complex128), -1 + 2j

    def f(t: Tensor, z: Tensor) -> Tensor:
        return rate * z * torch.cos(t)

    found = sg.solve(f, start, t0[0], t1[0], **tolerances(name))
    exact = start * torch.exp(rate * (torch.sin(t1) - torch.sin(t0)))
    agree(torch.view_as_real(found.y[-1]), torch.view_as_real(exact), [t0, t1], 1e-5)


@every_smooth
def test_float32(name: str) -> None:
    t0, t1 = (torch.tensor(t, requires_grad=True) for t in (0.1, 0.9))
    found = sg.solve(field, Y0.float(), t0, t1, args=(K.float(),), method=name, rtol=1e-4)
    agree(found.y[-1].double(), curve(t1, t0, Y0, K), [t0, t1], 1e-2)
    assert found.y.dtype == t0.dtype


# where there is none -----------------------------------------------------------------------------


def bursting(t: Tensor, y: Tensor) -> Tensor:
    """Row 1 reaches infinity at t = 1/3; the others decay."""
    bursts = torch.arange(y.shape[0]).unsqueeze(1) == 1
    return torch.where(bursts, 3 * y * y, -y) * (1 + 0 * t.unsqueeze(1))


@every_smooth
@pytest.mark.parametrize("save_at", [None, [0.0, 0.1, 0.9], sg.EveryStep()])
def test_a_failed_row_has_none_and_leaves_the_others_alone(name: str, save_at: Any) -> None:
    t0, t1 = leaf(0.0, 0.0, 0.0), leaf(1.0, 1.0, 1.0)
    times = {"batched": True, "save_at": save_at}
    start = torch.ones(3, 1, dtype=torch.float64)
    with pytest.warns(sg.StiffguideWarning, match="row 1 failed"):
        found = sg.solve(
            bursting, start, t0, t1, method=name, rtol=1e-3, atol=1e-4, max_attempts=60, **times
        )
    fine = slopes(torch.nansum(found.y[[0, 2]], 1), [t0, t1])
    assert all(torch.isfinite(x).all() for x in fine)
    assert not fine[0][1].any()
    assert not fine[1][1].any()
    whole = slopes(torch.nansum(found.y, 1), [t0, t1])
    assert all(torch.isnan(x).tolist() == [False, True, False] for x in whole)


def test_a_row_without_a_value_at_its_start_leaves_the_others_alone() -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        return torch.where(torch.arange(2).unsqueeze(1) == 1, torch.inf, -y)

    t0, start = real(0.0)[0].requires_grad_(), real(1.0, 1.0).unsqueeze(1)
    with pytest.warns(sg.StiffguideWarning, match="row 1 failed"):
        found = sg.solve(f, start, t0, 0.5, batched=True, checks=False)
    (slope,) = torch.autograd.grad(found.y[0, 0, 0], t0)
    close(slope, torch.exp(real(-0.5))[0], rtol=1e-4)


def test_a_row_that_was_stopped_hangs_on_its_start_alone() -> None:
    t0, t1 = leaf(0.0), leaf(1.0)
    found = sg.solve(field, Y0, t0[0], t1[0], args=(K,), monitor=lambda t, y: t > 0.3)
    reached = found.t.detach()
    assert int(found.status) == sg.Status.EVENT
    exact = curve(reached, t0, Y0, K)
    close(slopes(found.y[0], [t0])[0], slopes(exact, [t0])[0], rtol=1e-3)
    assert not slopes(found.y, [t1])[0].any()
    assert not found.t.requires_grad or not slopes(found.t, [t1])[0].any()


def test_an_infinite_end_has_none() -> None:
    t0, t1 = leaf(0.0), leaf(torch.inf)
    found = sg.solve(lambda t, y: -y + t0[0] * 0, real(1.0), t0[0], t1[0], save_at=sg.SteadyState())
    assert found.success
    assert 0 < float(found.y.detach()) < 1e-5
    assert not any(x.any() for x in slopes(found.y, [t1]))
    assert torch.isfinite(slopes(found.y, [t0])[0]).all()


def test_no_interval_but_a_slope() -> None:
    t0, t1 = leaf(0.3, 0.0), leaf(0.3, 0.5)
    y0 = torch.stack((Y0, Y0))
    found = sg.solve(field, y0, t0, t1, args=(K,), batched=True, method="tsit5", rtol=1e-8)
    agree(found.y[:, 0], curve(t1, t0, y0, K), [t0, t1], 1e-5)


def test_nothing_is_recorded_without_autograd() -> None:
    t0, t1 = real(0.1)[0].requires_grad_(), real(0.5)[0].requires_grad_()
    with torch.no_grad():
        found = sg.solve(field, Y0, t0, t1, args=(K,), save_at=torch.stack((t0, t1)))
    assert not found.y.requires_grad
    assert not found.t.requires_grad


# backends ----------------------------------------------------------------------------------------

TIMES = {
    "t0": {"t0": real(0.1)[0].requires_grad_()},
    "t1": {"t1": real(0.5)[0].requires_grad_()},
    "save_at": {"save_at": leaf(0.2, 0.3)},
    "a list": {"save_at": [0.2, real(0.3)[0].requires_grad_()]},
    "AtTimes": {"save_at": sg.AtTimes(leaf(0.2, 0.3))},
}


@pytest.mark.parametrize("times", TIMES.values(), ids=TIMES)
def test_kernels_leave_them_to_the_loop(times: dict[str, Any]) -> None:
    call = {"t0": 0.1, "t1": 0.5, "method": "tsit5", **times}

    def f(t: Tensor, y: Tensor) -> Tensor:
        return -y * torch.cos(t)

    with pytest.raises(UnsupportedError, match=r"gradients through a kernel .* not by times"):
        sg.solve(f, Y0, backend="kernel", **call)
    found = sg.solve(f, Y0, backend="auto", **call)
    assert found.backend == "eager"
    assert found.y.requires_grad


def test_prepare_would_make_numbers_of_them() -> None:
    with pytest.raises(UnsupportedError, match="prepare makes numbers of it"):
        sg.prepare(field, like=Y0, args=(K,), save_at=leaf(0.2), backend="eager")
    prepared = sg.prepare(field, like=Y0, args=(K,), backend="eager")
    t1 = real(0.5)[0].requires_grad_()
    assert prepared(Y0, 0.1, t1, K).y.requires_grad
