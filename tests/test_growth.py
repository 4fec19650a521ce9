"""Modes that grow from below the tolerance are not stepped over, whatever hides them."""

from __future__ import annotations

import math
from typing import Any

import growing
import pytest
import torch
from families import STIFF, adds_up, close, real
from torch import Tensor

import stiffguide as sg
from stiffguide import problems
from stiffguide.methods import rosenbrock
from stiffguide.methods.bdf import system as bdf
from stiffguide.methods.esdirk import method as esdirk
from stiffguide.methods.radau import attempt as radau
from stiffguide.problems.hydrogen_ignition import hydrogen_air

pytestmark = pytest.mark.usefixtures("plain_builds")
slow = pytest.mark.slow
RTOL = [1e-3, 1e-6]
TOLERANCES = [(r, a) for r in RTOL for a in (1e-3 * r, 1e-6 * r)]
# each implementation by a method of high and one of low order; the first law is of every method
KINDS = ["rodas5p", "rodas3", "rosenbrock23", "kvaerno5", "trbdf2", "sdirk2", "radau5", "bdf"]
every_kind = pytest.mark.parametrize("method", KINDS)
MAIN = ["rodas5p", "kvaerno5"]
GUARDED = [*MAIN, "bdf", "radau5"]
SILENT = 1e3  # tolerances: an error beyond is no success


def at_all_tolerances(f: Any, y0: Tensor, t1: float, **settings: Any) -> sg.Solution:
    """One row a pair of tolerances."""
    rtol, atol = real(*(r for r, _ in TOLERANCES)), real(*(a for _, a in TOLERANCES))
    return sg.solve(
        f,
        y0.expand(len(TOLERANCES), -1).clone(),
        0.0,
        t1,
        batched=True,
        rtol=rtol.unsqueeze(-1),
        atol=atol.unsqueeze(-1),
        **{"max_attempts": 400, **settings},
    )


def silent(s: sg.Solution, expected: Tensor) -> list[tuple[float, float]]:
    """The tolerances at which a solve succeeded with a wrong answer."""
    rtol, atol = (real(*column).unsqueeze(-1) for column in zip(*TOLERANCES, strict=True))
    error = ((s.y[:, -1] - expected).abs() / (atol + rtol * expected.abs())).amax(-1)
    wrong = (error > SILENT) & (s.counts[0] == int(sg.Status.SUCCESS))
    return [TOLERANCES[i] for i in torch.nonzero(wrong).flatten().tolist()]


@pytest.mark.parametrize(
    ("method", "k"), [*((method, 2) for method in STIFF), *((method, 1) for method in GUARDED)]
)
def test_copies_of_logistic_growth_reach_their_end(method: str, k: int) -> None:
    start = torch.full((k,), 1e-12, dtype=torch.float64)
    found = at_all_tolerances(growing.logistic(k), start, 1.0, method=method)
    assert silent(found, torch.ones(k, dtype=torch.float64)) == []


@every_kind
def test_growth_beside_what_is_seen(method: str) -> None:
    start = real(1.0, 1.0, 0.0, 1e-12, 1e-12)
    expected = real(math.exp(-10.0), math.cos(10.0), -10 * math.sin(10.0), 1.0, 1.0)
    found = at_all_tolerances(growing.masked, start, 1.0, method=method)
    assert silent(found, expected) == []


FUEL = {  # the end of the solve at rtol 1e-12 by LSODA: what is left of fuel and radicals
    "one": (growing.branching(4e5), (1.0, 0.0), 2),
    "two": (growing.two_branchings, (1.0, 0.0, 1.0, 0.0), 4),
    "cells": (growing.cells, (1.0,) * 8 + (0.0,) * 8, 16),
}


@pytest.fixture(scope="module")
def burnt() -> dict[str, Tensor]:
    """The ends, by an explicit method, which cannot damp what grows."""
    ends = {}
    for name, (f, start, _) in FUEL.items():
        ends[name] = (
            sg.solve(
                f,
                real(*start),
                0.0,
                1e-2,
                method="dop853",
                rtol=1e-10,
                atol=1e-18,
                backend="kernel",
            )
            .raise_if_failed()
            .y[-1]
        )
    return ends


@pytest.mark.parametrize("backend", ["eager", "kernel"])
@pytest.mark.parametrize("method", MAIN)
@pytest.mark.parametrize("name", list(FUEL))
def test_branching_burns(name: str, method: str, backend: str, burnt: dict[str, Tensor]) -> None:
    f, start, _ = FUEL[name]
    found = at_all_tolerances(f, real(*start), 1e-2, method=method, backend=backend)
    assert silent(found, burnt[name]) == []
    assert (found.counts[0] == 0).sum() >= 2  # right, not refused, wherever steps suffice


@slow
@every_kind
def test_two_branchings_burn_by_every_kind(method: str, burnt: dict[str, Tensor]) -> None:
    f, start, _ = FUEL["two"]
    assert silent(at_all_tolerances(f, real(*start), 1e-2, method=method), burnt["two"]) == []


def ignition(cells: int, diffusion: float) -> tuple[Any, Tensor]:
    """As many ignitions in one state, each a little hotter; temperatures diffuse."""
    problem = problems.hydrogen_ignition()
    n = problem.size

    def f(t: Tensor, y: Tensor) -> Tensor:
        parts = y.reshape(*y.shape[:-1], cells, n)
        slope = problem.f(t, parts)
        flux = torch.nn.functional.pad(parts.diff(dim=-2), (0, 0, 1, 1))
        return (slope + diffusion * flux.diff(dim=-2)).reshape(y.shape)

    hot = 1050.0 + 50.0 * torch.arange(cells, dtype=torch.float64)
    return f, hydrogen_air(hot, torch.ones(cells, dtype=torch.float64)).reshape(-1)


@slow
@pytest.mark.parametrize("method", GUARDED)
@pytest.mark.parametrize(("cells", "diffusion"), [(2, 0.0), (3, 1e3)])
def test_stacked_ignitions_burn(cells: int, diffusion: float, method: str) -> None:
    f, y0 = ignition(cells, diffusion)
    for rtol in (1e-4, 1e-5):
        found = sg.solve(f, y0, 0.0, 2e-3, method=method, rtol=rtol, atol=1e-3 * rtol)
        burnt = found.y[-1].reshape(cells, -1)[:, 0] > 2500.0
        assert not found.success or bool(burnt.all())
        assert found.success


@pytest.mark.parametrize("method", MAIN)
def test_two_hundred_ignitions_all_burn(method: str) -> None:
    random = torch.Generator().manual_seed(1)
    hot = 1000 + 400 * torch.rand(200, generator=random, dtype=torch.float64)
    phi = 0.5 * 4 ** torch.rand(200, generator=random, dtype=torch.float64)
    problem = problems.hydrogen_ignition()
    y0 = hydrogen_air(hot, phi)
    ends = [
        sg.solve(
            *(problem.f, y0, problem.t0, problem.t1),
            **{"batched": True, "method": method, "backend": "kernel"},
            rtol=rtol,
            atol=1e-3 * rtol,
        ).raise_if_failed()
        for rtol in (1e-3, 1e-4, 1e-5, 1e-6, 1e-8)
    ]
    for found in ends[:-1]:
        assert int(((found.y[:, -1, 0] - ends[-1].y[:, -1, 0]).abs() > 50.0).sum()) == 0


def without_guard(patch: pytest.MonkeyPatch) -> None:
    for module in (rosenbrock, esdirk, bdf, radau):
        patch.setattr(module, "turned", lambda *_: None)


@pytest.mark.parametrize("method", GUARDED)
@pytest.mark.parametrize(
    ("f", "start", "t1"),
    [
        pytest.param(growing.saddle, (0.0, 1.0), 50.0, id="saddle"),
        pytest.param(growing.logistic(1), (0.0,), 1e6, id="equilibrium"),
        pytest.param(growing.logistic(2), (0.0, 0.0), 1e6, id="two equilibria"),
    ],
)
def test_nothing_grows_from_nothing(
    f: Any, start: tuple[float, ...], t1: float, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a saddle, with the growing part exactly 0, the guard costs no attempt."""
    guarded = sg.solve(f, real(*start), 0.0, t1, method=method)
    without_guard(monkeypatch)
    free = sg.solve(f, real(*start), 0.0, t1, method=method)
    assert guarded.success
    assert int(guarded.counts[2]) <= int(free.counts[2])


@pytest.mark.parametrize("method", GUARDED)
@pytest.mark.parametrize("n", [2, 3])
def test_back_in_time_nothing_is_refused(n: int, method: str) -> None:
    """What decays forwards grows backwards: there the step must follow, and does without ado."""
    rates = torch.arange(1.0, n + 1, dtype=torch.float64)
    coupled = -torch.diag(rates) + 0.3 * torch.ones(n, n, dtype=torch.float64)

    def f(t: Tensor, y: Tensor) -> Tensor:
        return y @ coupled.T

    there = sg.solve(f, rates, 0.0, 2.0, method=method)
    back = sg.solve(f, there.y[-1], 2.0, 0.0, method=method)
    close(back.y[-1], rates, rtol=1e-4 * adds_up(method))
    assert int(back.counts[2]) - int(back.counts[1]) <= 4  # by the error estimate alone


@pytest.mark.parametrize("method", GUARDED)
@pytest.mark.parametrize("name", ["robertson", "hires", "pollu", "van_der_pol", "e5_reduced"])
def test_the_guard_is_quiet_on_ordinary_problems(
    name: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fired = []
    for module in (rosenbrock, esdirk, bdf, radau):
        real_guard = module.turned

        def watched(*args: Any, guard: Any = real_guard) -> Tensor | None:
            found = guard(*args)
            fired.append(found is not None)
            return found

        monkeypatch.setattr(module, "turned", watched)
    p = problems.get(name)
    found = sg.solve(p.f, p.y0, p.t0, p.t1, method=method, rtol=1e-4, atol=p.atol_for(1e-4))
    assert found.success
    assert sum(fired) <= 0.03 * len(fired)
