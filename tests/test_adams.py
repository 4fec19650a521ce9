"""Adams methods: formulas for any steps, slopes that belong together, gradients through them."""

from __future__ import annotations

import math
from fractions import Fraction as F

import pytest
import torch
from families import close, real, wave, wavy
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import stiffguide as sg
from stiffguide.catalogue.adams import bashforth, moulton
from stiffguide.methods.adams import Adams, integrals, tables
from stiffguide.stepping.contracts import Method

BOTH: list[Method] = [Adams(implicit=False, max_order=7), Adams()]
both = pytest.mark.parametrize("method", BOTH, ids=lambda m: m.name)
TIGHT = {"rtol": 1e-12, "atol": 1e-14}
UNEVEN = [0.0, 0.05, 0.09, 0.15, 0.2, 0.22, 0.3]


def spread(steps: int, ends: float = 2.0) -> Tensor:
    """Times from 0 to the end, no two of them as far apart."""
    x = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    return ends * (x + 0.3 * torch.sin(40 * x) * x * (1 - x) / 5)


# formulas -----------------------------------------------------------------------------------------


def test_the_formulas_are_the_published_ones() -> None:
    """Hairer, Norsett and Wanner I, III.1, tables 1.1 and 1.2."""
    assert [24 * w for w in bashforth(4)] == [55, -59, 37, -9]
    assert [720 * w for w in moulton(5)] == [251, 646, -264, 106, -19]
    assert bashforth(12)[0] == F(4527766399, 958003200)
    assert moulton(11)[-1] == F(-3250433, 479001600)


@settings(max_examples=3)
@given(gaps=st.lists(st.floats(0.3, 3), min_size=1, max_size=11), ending=st.booleans())
def test_weights_integrate_every_polynomial_that_they_can(gaps: list[float], ending: bool) -> None:
    """Also beside nodes that are not there; and equal steps have those of the tables."""
    nodes = [0.0]
    for gap in gaps[:-1]:
        nodes.append(nodes[-1] - gap)
    nodes = [1.0] * ending + nodes
    for own in (nodes, [float(round(x)) for x in nodes]):
        there = torch.tensor([True] * len(own) + [False] * 2)
        x = real(*own, 0.0, -1.0).requires_grad_()
        w = integrals(x.unsqueeze(0), there.unsqueeze(0))[0]
        (slope,) = torch.autograd.grad(w.square().sum(), x)
        w, x = w.detach(), x.detach()
        assert not bool(w[-2:].any())
        assert not bool(slope[-2:].any())
        if len({*own}) < len(own):
            continue
        for degree in range(len(own)):
            terms = w[:-2] * x[:-2] ** degree
            close(terms.sum(), real(1 / (degree + 1))[0], 1e-13, 1e-14 * float(terms.abs().sum()))
    known, with_end = tables(11)
    for n in range(1, 12):
        even = torch.arange(1, -n, -1, dtype=torch.float64).unsqueeze(0)
        all_there = torch.ones_like(even, dtype=torch.bool)
        close(integrals(even, all_there)[0], real(*with_end[n - 1])[: n + 1], 1e-13)
        close(integrals(even[:, 1:], all_there[:, 1:])[0], real(*known[n - 1])[:n], 1e-13)


# steps --------------------------------------------------------------------------------------------


@both
def test_uneven_steps_have_the_order_of_even_ones(method: Method) -> None:
    errors = []
    for steps in (48, 96):
        grid = sg.Grid(spread(steps))
        found = sg.solve(wavy, wave(0.0), 0.0, 2.0, method=method, controller=grid, **TIGHT)
        errors.append(float((found.raise_if_failed().y[-1] - wave(2.0)).abs().max()))
    assert math.log2(errors[0] / errors[1]) > method.order - 0.5


@both
def test_rows_have_their_own_times_and_begin_anew_where_f_jumps_for_them(method: Method) -> None:
    at, ends = real(0.5, 0.9), real(2.0, 1.5)
    grids = torch.stack((spread(40), spread(40, 1.5)))

    def f(t: Tensor, y: Tensor, at: Tensor) -> Tensor:
        return wavy(t, y) + torch.where(t > at, 0.2, 0.0).unsqueeze(-1)

    shared = {"method": method, "batched": True, "save_at": sg.EveryStep(), **TIGHT}

    def solved(rows: list[int], **more: object) -> sg.Solution[Tensor]:
        y0 = wave(0.0).expand(len(rows), 2)
        given = {"args": (at[rows],), "tstops": at[rows].unsqueeze(1), **shared, **more}
        return sg.solve(f, y0, 0.0, ends[rows], **given).raise_if_failed()

    batch = solved([0, 1], controller=sg.Grid(grids))
    for row in range(2):
        solo = solved([row], controller=sg.Grid(grids[[row]]))
        close(batch.y[row], solo.y[0], rtol=1e-13)
    exact = solved([0, 1], method="dop853", save_at=None)
    close(batch.y[:, -1], exact.y[:, -1], rtol=1e-4 if method is BOTH[0] else 1e-6)


def test_an_iteration_that_does_not_end_is_no_answer() -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        return -real(1.0, 1e3)[: len(y), None] * y

    given = {"batched": True, "method": "adams_moulton", "controller": sg.Fixed(0.05)}
    found = sg.solve(f, torch.ones(2, 1, dtype=torch.float64), 0.0, 1.0, **given)
    assert found.status.tolist() == [sg.Status.SUCCESS, sg.Status.NOT_CONVERGED]
    assert "smaller dt, or method='rodas5p'" in found.messages[1]
    close(found.y[0, -1], real(math.exp(-1)), rtol=1e-6)
    for most, ending in ((2, sg.Status.NOT_CONVERGED), (20, sg.Status.SUCCESS)):
        tight = {"controller": sg.Fixed(0.05), "method": Adams(max_iters=most), **TIGHT}
        assert sg.solve(wavy, wave(0.0), 0.0, 1.0, **tight).status == ending


@pytest.mark.usefixtures("eager")
def test_a_step_takes_one_evaluation_and_those_of_its_iteration() -> None:
    given = {"controller": sg.Fixed(0.02), "rtol": 1e-6, "atol": 1e-6}
    plain = sg.solve(wavy, wave(0.0), 0.0, 1.0, method="adams_bashforth", **given)
    assert int(plain.stats.nfe) == 50 + 2 * 3
    found = sg.solve(wavy, wave(0.0), 0.0, 1.0, method="adams_moulton", **given)
    assert 50 + 2 * 3 + 48 <= int(found.stats.nfe) <= 50 + 2 * 3 + 2 * 48


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_an_iteration_ends_at_the_rounding_of_a_state(dtype: torch.dtype) -> None:
    mix = torch.randn(20, 20, generator=torch.Generator().manual_seed(0)).to(dtype)
    given = {"method": "adams_moulton", "controller": sg.Fixed(0.02), "rtol": 1e-12, "atol": 0.0}
    y0 = torch.ones(20, dtype=dtype)
    found = sg.solve(lambda t, y: 0.3 * (mix @ y), y0, 0.0, 0.5, **given).raise_if_failed()
    exact = torch.linalg.matrix_exp(0.15 * mix.to(torch.complex128)).sum(-1)
    assert float((found.y[-1] - exact).abs().max()) < 1e-5


# gradients ----------------------------------------------------------------------------------------


def moving(t: Tensor, y: Tensor, k: Tensor) -> Tensor:
    return -k * y**2 + torch.sin(t * k.sum()) * y.flip(-1)


@both
@pytest.mark.parametrize("even", [True, False])
def test_gradients_are_those_of_the_steps(method: Method, even: bool) -> None:
    def end(y0: Tensor, k: Tensor) -> Tensor:
        controller = sg.Fixed(0.05) if even else sg.Grid(UNEVEN)
        kept = [0.1, 0.3]
        given = {"args": (k,), "method": method, "controller": controller, **TIGHT}
        return sg.solve(moving, y0, 0.0, 0.3, save_at=kept, **given).raise_if_failed().y

    leaves = real(1.0, 0.6).requires_grad_(), real(0.9, 1.1).requires_grad_()
    assert torch.autograd.gradcheck(end, leaves, fast_mode=True)
    assert even or torch.autograd.gradgradcheck(end, leaves, fast_mode=True)


@both
def test_the_end_moves_as_f_says_and_an_event_as_the_solution(method: Method) -> None:
    """Weights depend on how long a step is, and steps before an event were not of its making."""
    k, t1 = real(0.9, 1.1).requires_grad_(), torch.tensor(0.6, dtype=torch.float64).requires_grad_()
    given = {"args": (k,), "controller": sg.Fixed(0.04)}
    event = sg.Event(lambda t, y, k: y[0] - 0.8, jump=lambda t, y, k: y + 0.1)
    ends = [
        sg.solve(moving, real(1.0, 0.6), 0.0, t1, events=event, **{**given, **more}, **TIGHT)
        for more in ({"method": method}, {"method": "dop853", "controller": None})
    ]
    slopes = [torch.autograd.grad(s.y[-1] @ real(1.0, 2.0), (k, t1)) for s in ends]
    assert all(len(s.events[0].t) == 1 for s in ends)
    for found, exact in zip(*slopes, strict=True):
        close(found, exact, rtol=5e-3)


def test_what_cannot_be_is_refused_in_a_sentence() -> None:
    for wrong in ({"max_order": 3}, {"max_order": 13}, {"max_iters": 0}):
        with pytest.raises(sg.InputError, match=f"Adams: {next(iter(wrong))}"):
            Adams(**wrong)
    with pytest.raises(sg.InputError, match=r"adams_moulton has no embedded pair.*Fixed\(dt\)"):
        sg.solve(wavy, wave(0.0), 0.0, 1.0, method="adams_moulton")
