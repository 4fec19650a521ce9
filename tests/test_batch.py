"""A row of a batch is a problem of its own: what happens to one is no business of the others."""

from __future__ import annotations

import pytest
import torch
from families import close, every_family, real, rtol_for
from torch import Tensor

import stiffguide as sg
from stiffguide import Status
from stiffguide.problems import van_der_pol_field

MU = real(1.0, 10.0, 100.0, 1000.0)
ENDS = real(2.0, 3.0, 5.0, 0.2)
FACTORS = real(1.0, 0.1, 1.0, 10.0)  # of the rtol of each row
# kvaerno5 has a node at 1.23, and so looks beyond t1
inside = pytest.mark.parametrize("name", ["tsit5", "rodas5p", "kencarp4", "sdirk2"])
STARTS = torch.stack((real(2.0, 1.5, 2.0, 1.9), real(0.0, 0.3, -0.6, 0.0)), -1)


def asked(name: str) -> float:
    return 10 * rtol_for(name, 1e-6)


def oscillators(name: str, rows: list[int], **settings) -> sg.Solution:
    """Some rows of the batch of oscillators, each with its own mu, end, start and rtol."""
    rtol = asked(name) * FACTORS
    return sg.solve(
        van_der_pol_field,
        STARTS[rows],
        0.0,
        ENDS[rows],
        args=(MU[rows],),
        batched=True,
        method=name,
        rtol=rtol[rows].unsqueeze(1),
        atol=0.1 * rtol[rows].unsqueeze(1),
        **settings,
    ).raise_if_failed()


def same(batch: sg.Solution, row: int, solo: sg.Solution, other: int = 0) -> None:
    """Row `row` of one solve is row `other` of another, to rounding and step by step."""
    assert int(batch.stats.accepted[row]) == int(solo.stats.accepted[other])
    assert int(batch.stats.rejected[row]) == int(solo.stats.rejected[other])
    close(batch.y[row], solo.y[other], rtol=1e-9, atol=1e-10)


@every_family
def test_a_batch_equals_its_rows_solved_alone(name: str) -> None:
    batch = oscillators(name, [0, 1, 2, 3])
    assert len(set(batch.stats.accepted.tolist())) == 4
    for row in range(4):
        same(batch, row, oscillators(name, [row]))


@every_family
def test_a_batch_equals_unbatched_solves(name: str) -> None:
    batch = oscillators(name, [0, 3])
    for row, which in enumerate((0, 3)):
        solo = sg.solve(
            van_der_pol_field,
            STARTS[which],
            0.0,
            float(ENDS[which]),
            args=(float(MU[which]),),
            method=name,
            rtol=asked(name) * float(FACTORS[which]),
            atol=0.1 * asked(name) * float(FACTORS[which]),
        )
        assert int(batch.stats.accepted[row]) == int(solo.stats.accepted)
        close(batch.y[row], solo.y, rtol=1e-9, atol=1e-10)


@every_family
def test_permuted_rows_give_permuted_results(name: str) -> None:
    straight, turned = oscillators(name, [0, 1, 3]), oscillators(name, [3, 0, 1])
    for row, other in ((0, 1), (1, 2), (2, 0)):
        same(straight, row, turned, other)


@every_family
def test_every_row_has_its_own_interval_and_direction(name: str) -> None:
    t0, t1 = real(0.0, 1.0, -2.0, 3.0, 0.5), real(2.0, -1.0, -1.0, 3.0, 0.25)
    y0 = torch.exp(torch.sin(t0)).unsqueeze(1)
    solution = sg.solve(
        lambda t, y: torch.cos(t).unsqueeze(-1) * y,
        y0,
        t0,
        t1,
        batched=True,
        method=name,
        rtol=rtol_for(name, 1e-6),
        atol=1e-9,
    )
    assert solution.success.all()
    assert torch.equal(solution.t[:, 0], t1)
    close(solution.y[:, 0, 0], torch.exp(torch.sin(t1)), rtol=100 * rtol_for(name, 1e-6))
    assert solution.stats.accepted[3] == 0
    assert torch.equal(solution.y[3, 0], y0[3])


def decaying(t: Tensor, y: Tensor) -> Tensor:
    """y' = -y, coupled by a rotation: harmless."""
    return -y + 0.5 * torch.stack((y[:, 1], -y[:, 0]), -1)


FAILURES = 5  # nan, nan from the start, a pole, overflow, inf


def spoilt(t: Tensor, y: Tensor) -> Tensor:
    """The harmless field with something else wrong in each row but the first and the last."""
    value, late = decaying(t, y), (t > 0.3).unsqueeze(1)
    bad = (
        torch.where(late, float("nan"), value),
        torch.full_like(y, float("nan")),
        3 * y * y,
        1e200 * y * y * y,
        torch.where(late, float("inf"), value),
    )
    rows = torch.arange(y.shape[0]).unsqueeze(1)
    for row, wrong in enumerate(bad, 1):
        value = torch.where(rows == row, wrong, value)
    return value


@every_family
@pytest.mark.usefixtures("eager")
def test_failing_rows_do_not_disturb_the_others(name: str) -> None:
    failing, last = range(1, 1 + FAILURES), 1 + FAILURES
    sizes = real(1.0, *FAILURES * [1.2], 0.7).unsqueeze(1)
    y0, t1 = real(1.0, 0.5) * sizes, real(*(1 + FAILURES) * [2.0], 3.0)
    settings = {"batched": True, "method": name, "rtol": 1e-3, "atol": 1e-4}
    mixed = sg.solve(spoilt, y0, 0.0, t1, **settings)
    good = sg.solve(decaying, y0[[0, last]], 0.0, t1[[0, last]], **settings)
    assert mixed.success.tolist() == [True, *FAILURES * [False], True]
    assert {*mixed.status[1:last].tolist()} == {Status.DT_TOO_SMALL, Status.NON_FINITE}
    same(mixed, 0, good, 0)
    same(mixed, last, good, 1)
    assert list(mixed.messages) == [*failing]
    assert all(f"row {row}" in mixed.messages[row] for row in failing)
    assert "row 1" in mixed.message
    assert torch.isfinite(mixed.y).all()
    assert (mixed.t[1:last] >= 0).all()
    assert (mixed.t[1:last] < 2).all()


@every_family
def test_times_to_save_at_may_differ_from_row_to_row(name: str) -> None:
    t0, t1 = real(0.0, 1.0, 0.0), real(2.0, 0.0, 5.0)
    times = torch.stack((real(0.0, 0.5, 2.0), real(0.9, 0.4, 0.0), real(1.0, 1.0, 4.0)))
    solution = sg.solve(
        lambda t, y: -torch.sin(t).unsqueeze(1) * y,
        torch.exp(torch.cos(t0)).unsqueeze(1).repeat(1, 2),
        t0,
        t1,
        batched=True,
        method=name,
        rtol=rtol_for(name, 1e-6),
        atol=1e-9,
        save_at=times,
    )
    assert torch.equal(solution.t, times)
    assert solution.y.shape == (3, 3, 2)
    close(solution.y[..., 0], torch.exp(torch.cos(times)), rtol=100 * rtol_for(name, 1e-6))
    close(solution.y[..., 1], solution.y[..., 0], rtol=1e-14)


@inside
@pytest.mark.parametrize("ends", [(1.0, 20.0, 1e-3), (-1.0, -20.0, -1e-3)], ids=["up", "down"])
@pytest.mark.usefixtures("eager")
def test_finished_rows_stay_inside_their_interval(name: str, ends: tuple[float, ...]) -> None:
    seen: list[Tensor] = []

    def f(t: Tensor, y: Tensor) -> Tensor:
        seen.append(t.detach().clone())
        # the first row grows its steps so much that its last one is cut far below its dt
        return torch.stack((-y[:, 0] * 1e-3, torch.cos(3 * t)), -1)

    solution = sg.solve(
        f,
        real(1.0, 0.0).repeat(3, 1),
        0.0,
        real(*ends),
        batched=True,
        method=name,
        rtol=1e-3,
        atol=1e-3,
    )
    assert solution.success.all()
    times = torch.stack(seen) / real(*ends)
    assert float(times.min()) >= 0
    assert float(times.max()) <= 1 + 1e-15
    assert (times > 0.999).any(0).all()


@inside
@pytest.mark.usefixtures("eager")
def test_a_failed_row_is_not_examined_outside_of_the_interval(name: str) -> None:
    seen: list[Tensor] = []

    def f(t: Tensor, y: Tensor) -> Tensor:
        seen.append(t.detach().clone())
        return torch.cos(t).unsqueeze(1) + torch.stack((y[:, 0] * 0, 20 * y[:, 1] ** 2), -1)

    solution = sg.solve(
        f,
        torch.stack((real(0.0, 0.0), real(0.0, 0.0), real(0.0, 1.0))),
        0.0,
        real(1e-3, 1.0, 1.0),
        batched=True,
        method=name,
        max_attempts=40,
    )
    assert solution.success.tolist()[0]
    assert not solution.success.tolist()[2]
    times = torch.stack(seen)
    assert float(times.min()) >= 0
    assert float(times[:, 0].max()) <= 1e-3
    assert float(times.max()) <= 1


@every_family
def test_a_row_without_an_interval_costs_the_others_nothing(name: str) -> None:
    settings = {"batched": True, "method": name, "rtol": 1e-4, "atol": 1e-5}
    y0 = real(1.0, 0.5).repeat(2, 1)
    both = sg.solve(decaying, y0, real(0.0, 4.0), real(2.0, 4.0), **settings)
    alone = sg.solve(decaying, y0[:1], 0.0, 2.0, **settings)
    same(both, 0, alone)
    assert both.success.all()
    assert torch.equal(both.y[1, 0], y0[1])


@every_family
def test_the_work_of_a_row_ends_with_it(name: str) -> None:
    y0 = real(1.0, 0.5).repeat(2, 1)
    settings = {"batched": True, "method": name, "rtol": 1e-4, "atol": 1e-5}
    short = sg.solve(decaying, y0[:1], 0.0, 0.1, **settings)
    both = sg.solve(decaying, y0, 0.0, real(0.1, 10.0), **settings)
    for count in ("accepted", "rejected", "nfe", "njac"):
        row, solo = getattr(both.stats, count), getattr(short.stats, count)
        assert int(row[0]) == int(solo[0])
    # whether a dt is the one before, to its last bit, and the factors with it, rounding decides
    most = int(short.stats.accepted[0] + short.stats.rejected[0])
    assert int(both.stats.nlu[0]) <= most * (2 if name == "radau5" else 1)  # matrices
    assert int(both.stats.nfe[1]) > int(both.stats.nfe[0])


def test_no_rows_and_one_row() -> None:
    for name in ("tsit5", "rodas5p", "kvaerno5"):
        empty = sg.solve(decaying, torch.zeros(0, 2).double(), 0.0, 1.0, batched=True, method=name)
        assert empty.y.shape == (0, 1, 2)
        assert empty.t.shape == (0, 1)
        assert empty.success.all()
        assert "reached" in empty.message
        repr(empty)
        one = sg.solve(decaying, real(1.0, 0.5).unsqueeze(0), 0.0, 1.0, batched=True, method=name)
        assert one.y.shape == (1, 1, 2)
        assert one.success.all()
