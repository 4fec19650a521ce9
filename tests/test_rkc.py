"""Stabilised explicit steps: how far they reach, what they cost, and the radius that they go by."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from families import close, fixed, real, wave, wavy
from torch import Tensor

import stiffguide as sg
from stiffguide.methods import rkc
from stiffguide.methods.rkc import RKC
from stiffguide.stepping.contracts import Step
from stiffguide.stepping.tolerance import Tolerance

SIDE = 30  # of the grid of a plate


def polynomial(s: int, x: Tensor) -> Tensor:
    """What s stages make of y' = lambda y at dt lambda = -x, by the recurrence of the steps."""
    before, rise = torch.zeros_like(x), torch.zeros_like(x)
    for mu, nu, by_f, by_f0, _ in rkc.stages_of(s):
        later = mu * rise + nu * before - x * (by_f * (1 + rise) + by_f0)
        before, rise = rise, later
    return 1 + rise


def plate(t: Tensor, y: Tensor) -> Tensor:
    """u_t = u_xx + u_yy on a square whose rim is at 0; (B, SIDE^2), of radius 8 (SIDE + 1)^2."""
    w = torch.nn.functional.pad(y.reshape(-1, SIDE, SIDE), (1, 1, 1, 1))
    near = w[:, 2:, 1:-1] + w[:, :-2, 1:-1] + w[:, 1:-1, 2:] + w[:, 1:-1, :-2]
    return ((SIDE + 1) ** 2 * (near - 4 * w[:, 1:-1, 1:-1])).reshape(y.shape)


def mode(k: int) -> Tensor:
    """An eigenvector (SIDE^2,) of the plate."""
    wave_of = torch.sin(math.pi * k * torch.arange(1, SIDE + 1).double() / (SIDE + 1))
    return (wave_of.unsqueeze(1) * wave_of).flatten()


def decay_of(k: int) -> float:
    """Its eigenvalue, without the sign."""
    return 8 * (SIDE + 1) ** 2 * math.sin(math.pi * k / (2 * (SIDE + 1))) ** 2


def stepped(f, dt: float, y0: Tensor, state=None) -> Step:
    """One step of a row."""
    t0, y0 = real(0.0), y0.unsqueeze(0)
    with torch.no_grad():
        state = RKC().init(f, t0, y0) if state is None else state
        return RKC().step(f, t0, real(dt), y0, f(t0, y0), state, Tolerance(1e-3, 1e-6))


# the formulas ------------------------------------------------------------------------------------


@pytest.mark.parametrize("s", range(2, 61))
def test_s_stages_are_stable_as_far_as_they_promise(s: int) -> None:
    inside = torch.linspace(0, 0.65 * (s * s - 1), 4000, dtype=torch.float64)
    assert polynomial(s, inside).abs().max() <= 1 + 1e-12
    beyond = torch.linspace(0.67 * s * s + 2, 0.75 * s * s + 4, 50, dtype=torch.float64)
    assert polynomial(s, beyond).abs().max() > 1


@pytest.mark.parametrize("s", [2, 3, 7, 60, rkc.MOST])
def test_inside_they_damp(s: int) -> None:
    inside = torch.linspace(2.0, 0.65 * (s * s - 1), 4000, dtype=torch.float64)
    if s > 2:
        assert polynomial(s, inside).abs().max() < 0.96


@pytest.mark.parametrize("s", [2, 3, 7, 60])
def test_they_are_of_order_2_in_dt_lambda(s: int) -> None:
    x = real(0.02, 0.01)
    error = (polynomial(s, x) - torch.exp(-x)).abs()
    assert math.log2(error[0] / error[1]) == pytest.approx(3, abs=0.05)


@pytest.mark.parametrize("rho", [1.0, 300.0, 3e4])
def test_the_order_is_2_with_any_number_of_stages(rho: float) -> None:
    """A stiff third component drives two others, in a field that depends on time."""

    def f(t: Tensor, y: Tensor) -> Tensor:
        free, tied = y[..., :2], y[..., 2:]
        rest = torch.sin(2 * t) + 0.2 * free.sum(-1, keepdim=True) - tied
        return torch.cat((wavy(t, free) * (1 + 0.1 * rest), rho * rest), -1)

    y0 = torch.cat((wave(0.0), (0.2 * wave(0.0).sum()).reshape(1)))
    exact = sg.solve(f, y0, 0.0, 1.0, method="kvaerno5", rtol=1e-11, atol=1e-12).y[-1]
    ends = [fixed("rkc2", f, y0, 0.0, 1.0, n, rtol=1e-4, atol=1e-4) for n in (40, 80, 160)]
    errors = [float((end - exact)[:2].norm()) for end in ends]
    for coarse, fine in pairwise(errors):
        assert math.log2(coarse / fine) > 1.7


# what a solve costs ------------------------------------------------------------------------------


def test_a_plate_cools_in_few_evaluations() -> None:
    start = mode(1) + 0.5 * mode(3) + 0.2 * mode(20)
    settings = {"rtol": 1e-3, "atol": 1e-5}
    found = sg.solve(plate, start, 0.0, 0.2, method="rkc2", **settings).raise_if_failed()
    other = sg.solve(plate, start, 0.0, 0.2, method="tsit5", **settings).raise_if_failed()
    exact = sum(a * math.exp(-0.2 * decay_of(k)) * mode(k) for a, k in ((1, 1), (0.5, 3)))
    close(found.y[-1], exact, rtol=0, atol=3e-4)
    assert 4 * int(found.stats.nfe) < int(other.stats.nfe)


def test_every_evaluation_is_counted() -> None:
    calls = 0

    def f(t: Tensor, y: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return plate(t, y)

    found = sg.solve(
        f, mode(1) + mode(2), 0.0, 0.2, method="rkc2", rtol=1e-3, checks=False, backend="eager"
    )
    assert abs(calls - int(found.stats.nfe)) <= 2  # those that ask what f is like


def test_rows_of_different_stiffness_are_what_they_are_alone() -> None:
    rates = torch.stack((real(1.0, 2.0), real(1e3, 5.0), real(3e5, 1.0), real(0.1, 0.2)))

    def solve(rows: list[int]) -> sg.Solution:
        def f(t: Tensor, y: Tensor, k: Tensor) -> Tensor:
            return k * (torch.cos(t).unsqueeze(-1) - y * y * y)

        start = torch.stack((real(1.2, 0.5),) * 4)[rows]
        return sg.solve(
            f,
            start,
            0.0,
            real(2.0, 2.0, 1.0, 3.0)[rows],
            args=(rates[rows],),
            batched=True,
            method="rkc2",
            rtol=1e-4,
            atol=1e-6,
            checks=False,  # which are asked of batches, and counted
        ).raise_if_failed()

    together = solve([0, 1, 2, 3])
    assert len(set(together.stats.nfe.tolist())) == 4
    for row in range(4):
        alone = solve([row])
        assert torch.equal(together.y[row], alone.y[0])
        for count in ("accepted", "rejected", "nfe"):
            assert int(getattr(together.stats, count)[row]) == int(getattr(alone.stats, count)[0])


def test_more_stages_than_rounding_allows_are_refused_and_dt_is_shortened() -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        return -1e6 * (y - torch.cos(t))

    y0 = torch.ones(1)  # in float32
    found = sg.solve(f, y0, 0.0, 1e-2, method="rkc2", rtol=1e-4, atol=1e-6).raise_if_failed()
    assert int(found.stats.nfe) / int(found.stats.accepted) < 60
    close(found.y[-1], torch.cos(torch.full((1,), 1e-2)), rtol=1e-4)
    narrow = stepped(lambda t, y: -1e6 * y, 1e-6, y0)
    assert 1.54 * 1.2e6 * float(narrow.longest) < 30**2
    step = stepped(lambda t, y: -1e9 * y, 1.0, real(1.0))
    assert step.ok.tolist() == [False]
    assert 1.53e9 * 1.2 * float(step.longest) < rkc.MOST**2


def test_who_is_beyond_its_reach_is_told_so() -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        return -1e12 * (y - torch.cos(t))

    way = "asks for more stages than a step may have: use method='rodas5p' or 'bdf'"
    for limit in ({"controller": sg.Fixed(1.0)}, {"max_attempts": 40}):
        found = sg.solve(f, real(1.0), 0.0, 10.0, method="rkc2", **limit)
        assert not found.success
        assert way in found.message


def test_at_its_reach_no_attempt_is_lost() -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        return -1e9 * (y - 1)

    found = sg.solve(f, real(1.0), 0.0, 1e-2, method="rkc2").raise_if_failed()
    assert int(found.stats.accepted) > 50
    assert int(found.stats.rejected) <= 3


# the radius --------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [1, 2, SIDE])
def test_the_radius_of_a_symmetric_field_is_found(start: int) -> None:
    """Also where y and f are an eigenvector of another eigenvalue."""
    step = stepped(plate, 1e-4, mode(start))
    radius = float(step.state.radius)
    assert decay_of(SIDE) / 1.0 <= radius <= 1.3 * decay_of(SIDE)


def test_it_is_found_where_everything_is_zero() -> None:
    step = stepped(lambda t, y: 50 - 1e4 * y, 1e-4, real(0.0, 0.0))
    assert 1e4 <= float(step.state.radius) <= 1.3e4


def test_complex_eigenvalues_are_found_by_their_size() -> None:
    turn = real(0.0, 400.0, -4.0, 0.0).reshape(2, 2)  # of eigenvalues +-40 i
    step = stepped(lambda t, y: y @ turn.T, 1e-3, real(1.0, 1.0))
    assert 40 <= float(step.state.radius) <= 80
    start = torch.tensor([1 + 1j, 2.0], dtype=torch.complex128)
    whole = stepped(lambda t, y: -40j * y.conj(), 1e-3, start)
    assert 40 <= float(whole.state.radius) <= 1.3 * 40


def test_it_is_estimated_anew_when_old_or_after_a_failure() -> None:
    method, f = RKC(), plate
    first = stepped(f, 1e-4, mode(1))
    asked = int(first.work.nfe) - int(stepped(f, 1e-4, mode(1), first.state).work.nfe)
    assert asked >= rkc.LEAST
    old = first.state._replace(age=first.state.age * 0 + rkc.AGE)
    again = stepped(f, 1e-4, mode(1), old)
    assert int(again.work.nfe) - int(first.work.nfe) + asked >= rkc.LEAST
    # made for this very y0, it is kept
    assert method.retry(old, first.state).age.tolist() == [0]
    second = stepped(f, 1e-4, mode(1), first.state)
    assert method.retry(first.state, second.state).age.tolist() == [1]  # dt was short
    far = stepped(f, 1e-2, mode(1), first.state)
    assert method.retry(first.state, far.state).age.tolist() == [rkc.AGE]
    gone = method.restart(first.state, torch.tensor([True]))
    assert (float(gone.radius), gone.age.tolist()) == (0.0, [rkc.AGE])
    assert not gone.vector.any()


def test_stiffness_that_comes_elsewhere_is_found() -> None:
    """The old eigenvector knows nothing of the new one: the components are not coupled."""

    def f(t: Tensor, y: Tensor) -> Tensor:
        return torch.stack((-1e3 * (y[0] - 1), -1e5 * torch.sigmoid(50 * (t - 1)) * (y[1] - 1)))

    settings = {"method": "rkc2", "rtol": 1e-4, "atol": 1e-6, "max_attempts": 1000}
    found = sg.solve(f, real(1.0, 2.0), 0.0, 3.0, **settings).raise_if_failed()
    close(found.y[-1], real(1.0, 1.0), rtol=1e-3)
    assert int(found.stats.nfe) < 5000


def test_a_gradient_knows_no_stale_radius() -> None:
    """Where the steps are repeated nobody would reject what an old estimate made of them."""
    k = real(3e4)[0].requires_grad_()

    def f(t: Tensor, y: Tensor) -> Tensor:
        return -k * torch.exp(4 * t) * (y - torch.cos(t))

    settings = {"method": "rkc2", "rtol": 1e-4, "atol": 1e-6}
    found = sg.solve(f, real(1.0), 0.0, 1.0, **settings).raise_if_failed()
    exact = math.cos(1) + math.sin(1) / (3e4 * math.exp(4))
    close(found.y[-1], real(exact), rtol=1e-3)
    (slope,) = torch.autograd.grad(found.y[-1, 0], k)
    assert abs(float(slope)) < 1e-6
