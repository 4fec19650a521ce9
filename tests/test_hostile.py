"""Fields that mean harm: never a hang, never an exception, never a success that is wrong."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from families import adds_up, every_family, every_paired, real
from hostile import Batch
from torch import Tensor

import stiffguide as sg
from stiffguide import Status, problems

FAILURES = {Status.DT_TOO_SMALL, Status.MAX_ATTEMPTS, Status.NON_FINITE}
# a jump in the first 29 % of a step is behind all stages of sdirk2, which do not include f0
BLIND = {"sdirk2": ("jump in t", "jump in u")}


def judge(batch: Batch, found: sg.Solution, rtol: float, atol: Tensor) -> None:
    """No success is further off than a thousand tolerances, and no failure is a riddle."""
    exact, ends, u, t = batch.exact(), batch.ends(), found.y[:, 0, 0].double(), found.t[:, 0]
    rows = batch.rows
    wrong = ~((u - exact).abs() <= 1e3 * (atol + rtol * exact.abs()))  # nan is wrong, too
    liars = torch.nonzero(found.success & wrong).flatten().tolist()
    assert [(row, batch.kind(row), float(u[row]), float(exact[row])) for row in liars] == []
    assert {Status(s) for s in found.status.tolist()} <= {Status.SUCCESS, *FAILURES}
    assert torch.isfinite(u).all()
    # a step is not taken to where the next one cannot start (an ESDIRK has f1 from Newton)
    if found.method not in ("kvaerno5", "kencarp4"):
        stranded = ~torch.isfinite(batch.field(t.to(found.y.dtype), found.y[:, 0])).all(1)
        assert [batch.kind(row) for row in torch.nonzero(stranded).flatten().tolist()] == []
    assert ((t - rows.t0) * (rows.t1 - rows.t0) >= 0).all()
    assert ((rows.t1 - t) * (rows.t1 - rows.t0) >= 0).all()
    # who had attempts enough stops where the solution does
    stuck = ~found.success & (found.status != int(Status.MAX_ATTEMPTS)) & ~torch.isnan(ends)
    off = stuck & ((t - ends).abs() > 1e-2 * ends)
    assert [(row, batch.kind(row)) for row in torch.nonzero(off).flatten().tolist()] == []
    assert stuck.any() or found.y.dtype == torch.float32
    for row, text in found.messages.items():
        assert text.startswith(f"row {row}: ")
        assert "\n" not in text


@pytest.mark.parametrize(
    ("name", "attempts"),
    [("tsit5", 400), ("rodas5p", 400), ("kvaerno5", 120), ("sdirk2", 120), ("secant_heun", 100)],
)
def test_a_thousand_hostile_rows(name: str, attempts: int) -> None:
    batch = Batch(40, seed=len(name), skip=BLIND.get(name, ()))
    rows, rtol = batch.rows, 1e-5
    atol = 1e-6 * rows.size
    found = sg.solve(
        batch.field,
        rows.u0.unsqueeze(1),
        rows.t0,
        rows.t1,
        batched=True,
        method=name,
        rtol=rtol,
        atol=atol.unsqueeze(1),
        max_attempts=attempts,
    )
    assert found.status.shape[0] >= 920
    judge(batch, found, rtol, atol)
    assert found.success.sum() > 0.15 * len(atol)


@pytest.mark.parametrize("name", ["dopri8", "rodas4", "kencarp4"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["double", "single"])
def test_hostile_pairs(name: str, dtype: torch.dtype) -> None:
    narrow = dtype == torch.float32
    # float32 has no room for these, and does not resolve a pole in t
    batch = Batch(5, seed=9, skip=("sizes", "lengths", "overflow", "pole in t") if narrow else ())
    rows, rtol = batch.rows, 1e-3 if narrow else 1e-5
    atol = 1e-2 * rtol * rows.size
    found = sg.solve(
        batch.field,
        torch.stack((rows.u0, 2 * rows.u0), 1).to(dtype),
        rows.t0,
        rows.t1,
        batched=True,
        method=name,
        rtol=rtol,
        atol=atol.unsqueeze(1),
        max_attempts=80,
    )
    judge(batch, found, rtol, atol)


# alone, and in words -----------------------------------------------------------------------------


@every_family
def test_a_pole_is_met_to_many_digits(name: str) -> None:
    settings = {"method": name, "rtol": 1e-3, "atol": 1e-3}
    found = sg.solve(lambda t, y: y * y, real(1.0), 0.0, 2.0, **settings)
    assert int(found.status) == Status.DT_TOO_SMALL
    assert abs(float(found.t) - 1) < 1e-2 * adds_up(name)
    text = found.message
    assert text.startswith("the step size fell below the resolution of time at t = ")
    assert "singularity" in text


@every_family
def test_a_wall_is_met_to_the_resolution_of_time(name: str) -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        return torch.where(t > 0.7, float("nan"), 1.0) * torch.ones_like(y)

    found = sg.solve(f, real(0.0, 1.0), 0.0, 2.0, method=name)
    assert int(found.status) == Status.NON_FINITE
    # to 1e-8 where df/dt is a difference, which looks that far ahead
    assert abs(float(found.t) - 0.7) < (1e-8 if name == "rodas5p" else 1e-12)
    assert "not finite" in found.message
    assert "leaves its domain or overflows" in found.message


@every_paired
def test_no_step_goes_to_where_the_next_cannot_start(name: str) -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        return torch.where(y > 2, float("nan"), y)

    # a first step that a method may like, whose end is beyond its stages, and beyond the wall
    settings = {"method": name, "first_step": 0.9, "rtol": 1.0, "atol": 1.0}
    found = sg.solve(f, real(1.0), 0.0, 1.0, **settings)
    assert int(found.status) in FAILURES
    assert 1.9 < float(found.y) <= 2
    assert 0.5 < float(found.t) < 0.9


def test_a_failure_names_row_time_component_and_the_way_out() -> None:
    def f(t: Tensor, y: dict[str, Tensor]) -> dict[str, Tensor]:
        return {
            "slow": -y["slow"],
            "fast": torch.stack((y["fast"][:, 0] * 0, y["fast"][:, 1] ** 2), 1),
        }

    y0 = {"slow": torch.ones(3, 1).double(), "fast": torch.ones(3, 2).double()}
    y0["fast"][2] = 0.1
    found = sg.solve(f, y0, 0.0, real(0.5, 2.0, 3.0), batched=True, method="rodas4")
    assert found.success.tolist() == [True, False, True]
    text = found.message
    assert text.startswith("row 1: the step size fell below the resolution of time at t = 1 ")
    assert "attempts with rodas4" in text
    assert "the largest scaled error is in y['fast'][1]" in text
    with pytest.raises(sg.SolveFailed, match="row 1: the step size"):
        found.raise_if_failed()


@pytest.mark.parametrize("name", ["tsit5", "dopri5", "bosh3", "dopri8"])
def test_an_explicit_method_limited_by_stability_names_a_stiff_one(name: str) -> None:
    problem = problems.robertson(1e4)
    found = sg.solve(problem.f, problem.y0, 0.0, 1e4, method=name, max_attempts=400)
    assert int(found.status) == Status.MAX_ATTEMPTS
    text = found.message
    assert "max_attempts was used up at t = " in text
    assert "local stiffness |df|/|dy| |dt| = " in text
    assert "limited by stability, not by accuracy" in text
    assert "the problem is stiff, use method='rodas5p' or 'kvaerno5'" in text
    assert sg.solve(problem.f, problem.y0, 0.0, 1e4, method="rodas5p").success


def test_an_explicit_method_limited_by_accuracy_blames_nobody() -> None:
    found = sg.solve(
        lambda t, y: torch.cos(300 * t) + 0 * y,
        real(0.0),
        0.0,
        100.0,
        method="tsit5",
        max_attempts=300,
    )
    assert int(found.status) == Status.MAX_ATTEMPTS
    assert "stiff, use" not in found.message
    assert "Raise max_attempts" in found.message


def test_newton_that_fails_with_fixed_steps_says_so() -> None:
    found = sg.solve(
        lambda t, y: -torch.sign(y) * 10,
        real(1.0),
        0.0,
        1.0,
        method="trbdf2",
        controller=sg.Fixed(0.3),
    )
    assert int(found.status) == Status.NOT_CONVERGED
    assert "the nonlinear solver did not converge at t = " in found.message
    assert "'rodas5p', which does not iterate" in found.message


@every_family
@pytest.mark.parametrize(
    "f",
    [
        lambda t, y: torch.full_like(y, 1e308),
        lambda t, y: -1e300 * y,
        lambda t, y: 1e300 * y * y,
        lambda t, y: y / 0.0,
        lambda t, y: torch.log(-y),
        lambda t, y: torch.where(t > 0, float("inf"), 0.0) + 0 * y,
        lambda t, y: torch.exp(1000 * y),
    ],
)
def test_absurd_fields_end_with_a_sentence(
    name: str, f: Callable[[Tensor, Tensor], Tensor]
) -> None:
    found = sg.solve(f, real(1.0, 2.0), 0.0, 1.0, method=name, max_attempts=300)
    if not found.success:
        assert int(found.status) in FAILURES
        assert len(found.message) < 500
        assert torch.isfinite(found.y).all()
