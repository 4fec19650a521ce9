"""Curves: budgets are kept, records are ordered, tables and pictures hold what was measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from stiffguide.adapters.diffusion import grid, problems
from stiffguide.adapters.diffusion.curves import Entry, Point, curves, markdown, picture, table
from stiffguide.adapters.diffusion.exponential import DPMPP_2M
from stiffguide.adapters.diffusion.metrics import distance_to_flow
from stiffguide.adapters.diffusion.sample import SAMPLERS
from stiffguide.errors import InputError
from stiffguide.guidance import ErkGuid, ErrorDirection

BUDGETS = (8, 16)


@pytest.fixture(scope="module")
def points() -> list[Point]:
    problem = problems.aniso2d()
    noise = problem.noise(1, count=48)
    end = problems.reference_end(problem.mixture, noise)
    entries = [
        *(Entry(name, name) for name in SAMPLERS),
        Entry("guided", guidance=lambda steps: ErrorDirection()),
        Entry("paper", "dpm2", grid.mix, lambda steps: ErkGuid(0.5 if steps < 8 else 0.75, 0.3)),
        Entry("an object", replace(DPMPP_2M, ramp_down=True)),
    ]
    metrics = {"median": distance_to_flow(end), "rms": distance_to_flow(end, "rms")}
    return curves(problem.mixture, noise, entries, BUDGETS, metrics)


def test_every_entry_keeps_its_budget(points: list[Point]) -> None:
    assert len(points) == (len(SAMPLERS) + 3) * len(BUDGETS)
    assert all(point.nfe == point.budget for point in points)


def test_guidance_and_budget_make_a_difference(points: list[Point]) -> None:
    found = {(p.sampler, p.budget): p.values["median"] for p in points}
    assert found["guided", 16] < found["heun", 16] < found["heun", 8]
    assert found["emg", 16] < found["dpmpp_2m", 16]
    assert all(p.values["rms"] > 0 for p in points)


def test_the_table_has_a_line_per_sampler(points: list[Point]) -> None:
    lines = table(points, "median").splitlines()
    assert lines[0] == "| median at NFE | 8 | 16 |"
    assert [line.split(" | ")[0] for line in lines[2:5]] == ["| heun", "| dpm2", "| dpmpp_2s"]
    assert len(lines) == 2 + len(SAMPLERS) + 3
    assert markdown(["a"], [["b"]]) == "| a |\n| --- |\n| b |"


def test_the_picture_is_written(points: list[Point], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = picture(points, "median", tmp_path / "new" / "curve.png", "aniso2d")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_progress_is_told_before_each_run() -> None:
    told: list[tuple[str, int]] = []
    entry = Entry("euler", "euler")
    noise = torch.randn(2, 2, dtype=torch.float64)
    mixture = problems.aniso2d().mixture
    curves(mixture, noise, [entry], [1, 2], {}, lambda name, budget: told.append((name, budget)))
    assert told == [("euler", 1), ("euler", 2)]


def test_bad_requests_are_refused(points: list[Point]) -> None:
    mixture, noise = problems.aniso2d().mixture, torch.zeros(2, 2)
    with pytest.raises(InputError, match="name of its own"):
        curves(mixture, noise, [Entry("a"), Entry("a", "euler")], [4], {})
    with pytest.raises(InputError, match="from 1 on"):
        curves(mixture, noise, [Entry("a")], [0], {})
    with pytest.raises(InputError, match="'mean' was not measured"):
        table(points, "mean")
