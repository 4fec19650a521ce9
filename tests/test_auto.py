"""Nobody asks for a backend, and nobody waits: what is there is used, what is worth it built."""

from __future__ import annotations

import inspect
import logging
import shutil
from typing import Any

import pytest
import torch
from torch import Tensor

import stiffguide
from stiffguide import InputError, SteadyState, UnsupportedError, kernels
from stiffguide.guidance import ErrorDirection
from stiffguide.kernels import backend, patience
from stiffguide.kernels.running import build
from stiffguide.tracing import reading, tracer

F64 = torch.float64
Y0 = torch.tensor([2.0, 0.5], dtype=F64)
COMPILER = shutil.which("g++") or shutil.which("clang++")
pytestmark = [
    pytest.mark.skipif(COMPILER is None, reason="needs a C++ compiler"),
    pytest.mark.usefixtures("auto", "cache"),
]


def spiral(t: Tensor, y: Tensor) -> Tensor:
    return torch.stack((y[1] - 0.3 * y[0], -y[0] * torch.cos(t)))


def solve(f: Any = spiral, **settings: Any) -> Any:
    return stiffguide.solve(f, settings.pop("y0", Y0), 0.0, settings.pop("t1", 3.0), **settings)


def calls_of(monkeypatch: pytest.MonkeyPatch, home: Any, name: str) -> list[int]:
    """A list that grows with each call of a function, which goes on doing what it did."""
    made: list[int] = []
    inner = getattr(home, name)

    def counted(*args: Any, **more: Any) -> Any:
        made.append(1)
        return inner(*args, **more)

    monkeypatch.setattr(home, name, counted)
    return made


def impatient(monkeypatch: pytest.MonkeyPatch, attempts: float = 3.5, f: Any = spiral) -> None:
    """Builds cost as much as so many attempts."""
    layout = kernels.backend.Layout(Y0, batched=False)
    method = stiffguide.methods.get("rodas5p")
    kernel = backend.prepare(f, (), layout, method, torch.zeros(1, dtype=F64), Y0[None])
    cost = attempts * patience.operations(kernel, 1)
    monkeypatch.setattr(patience, "build", lambda kernel: cost)
    backend.forget()


def test_auto_is_the_default():
    for f in (stiffguide.solve, stiffguide.prepare):
        assert inspect.signature(f).parameters["backend"].default == "auto"


def test_a_short_solve_is_eager_and_says_so():
    found = solve()
    assert found.stats.backend == "eager"
    assert "shorter than its build" in found.stats.why
    assert "backend='eager'" in repr(found)


def test_a_kernel_that_is_there_is_used():
    stiffguide.compile(spiral, like=Y0)
    found = solve()
    assert (found.stats.backend, found.stats.why) == ("kernel", "the kernel was there")
    assert torch.equal(found.y, solve(backend="kernel").y)


def test_a_kernel_in_the_cache_is_used():
    stiffguide.compile(spiral, like=Y0)
    backend.forget()
    assert solve().stats.backend == "kernel"


def test_a_long_solve_is_overtaken(monkeypatch):
    expected = solve(backend="kernel")
    shutil.rmtree(build.store.folders()[0])
    impatient(monkeypatch)
    found = solve()
    assert found.stats.backend == "kernel"
    assert "here 4 attempts" in found.stats.why
    assert torch.equal(found.y, expected.y)
    assert found.stats.nfe == expected.stats.nfe
    assert solve().stats.why == "the kernel was there"


def test_short_solves_add_up(monkeypatch):
    attempts = int(solve().counts[2])
    backend.forget()
    impatient(monkeypatch, 2.5 * attempts)
    used = [solve().stats.backend for _ in range(4)]
    assert used == ["eager", "eager", "kernel", "kernel"]


def test_no_clock_is_asked(monkeypatch):
    """Else a script would give other digits on a slower machine."""
    impatient(monkeypatch)
    stories = []
    for pace in (1.0, 1e6):
        clock = iter(range(10**6))
        for name in ("time", "monotonic", "perf_counter", "process_time"):
            monkeypatch.setattr(f"time.{name}", lambda clock=clock, pace=pace: next(clock) * pace)
        monkeypatch.setattr("stiffguide.progress.monotonic", lambda: 0.0)
        stories.append(solve().stats.why)
        backend.forget()
        shutil.rmtree(build.store.folders()[0])
    assert stories[0] == stories[1]
    assert "4 attempts" in stories[0]


def test_a_build_that_fails_costs_nothing_but_itself(monkeypatch):
    expected = solve(backend="eager", checks=False)
    impatient(monkeypatch)
    monkeypatch.setenv("STIFFGUIDE_CXXFLAGS", "--no-such-flag")
    builds = calls_of(monkeypatch, build, "make")
    found = solve(checks=False)
    assert found.stats.backend == "eager"
    assert torch.equal(found.y, expected.y)
    assert torch.equal(found.counts, expected.counts)
    again = solve()
    assert "no-such-flag" in again.stats.why  # which is known before anything is counted
    assert len(builds) == 2  # of both methods


def untraceable(t: Tensor, y: Tensor) -> Tensor:
    return torch.special.bessel_j0(y)


def test_what_was_refused_is_not_tried_again(monkeypatch):
    tried = calls_of(monkeypatch, tracer, "trace")
    assert "bessel" in solve(untraceable).stats.why
    for _ in range(3):  # also where it is defined anew
        found = solve(lambda t, y: untraceable(t, y))
        assert "bessel" in found.stats.why
    assert len(tried) == 2
    with pytest.raises(UnsupportedError, match="bessel"):  # but whoever insists is heard
        solve(untraceable, backend="kernel")


def test_a_refusal_is_of_the_code_behind_a_wrapper():
    def wrapped(f: Any) -> Any:
        return lambda t, y: f(t, y)

    stiffguide.compile(wrapped(spiral), like=Y0)
    assert solve(wrapped(untraceable)).stats.backend == "eager"
    assert solve(wrapped(spiral)).stats.backend == "kernel"


GRADIENT = Y0.clone().requires_grad_()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"guidance": ErrorDirection(), "method": "heun", "rtol": 1e-3}, "guidance"),
        ({"save_at": SteadyState(), "t1": 1e6, "f": lambda t, y: -y}, "ends, given times"),
        ({"y0": Y0.to(torch.complex128), "f": lambda t, y: -y}, "complex"),
        ({"y0": GRADIENT, "dense": True}, "gradient"),
        ({"f": lambda t, y, k: -k * y, "args": (GRADIENT,), "tstops": 0.1}, "gradient"),
        ({"controller": stiffguide.Fixed(0.1)}, "PID"),
        ({"method": "secant_heun", "rtol": 1e-3}, "secant_heun"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_what_a_kernel_cannot_do_is_eager_before_anything_is_traced(monkeypatch, settings, reason):
    tried = calls_of(monkeypatch, reading, "trace")
    found = solve(**settings)
    assert found.stats.backend == "eager"
    assert reason in found.stats.why
    assert not tried


def test_a_captured_parameter_that_wants_a_gradient_gets_one():
    k = torch.tensor(2.0, dtype=F64, requires_grad=True)
    found = solve(lambda t, y: -k * y)
    assert found.stats.backend == "eager"
    assert found.y.requires_grad


def test_a_field_that_fails_beside_the_start_is_eager():
    def narrow(t: Tensor, y: Tensor) -> Tensor:
        if not bool(y[0] <= 2.0):
            raise ValueError("y[0] is above 2")
        return -y

    found = solve(narrow)
    assert found.success
    assert found.stats.backend == "eager"
    assert found.stats.why


def test_a_jacobian_is_compared_once_and_then_not_needed(monkeypatch, caplog):
    asked: list[int] = []

    def jac(t: Tensor, y: Tensor) -> Tensor:
        asked.append(1)
        return torch.stack(
            (torch.tensor([-0.3, 1.0], dtype=F64), torch.stack((-torch.cos(t), 0 * t)))
        )

    stiffguide.compile(spiral, like=Y0)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert solve(jac=jac).stats.backend == "kernel"
        assert (len(asked), caplog.messages) == (1, [])
        solve(jac=lambda t, y: jac(t, y).T)
        assert "not the derivative" in caplog.text


@pytest.mark.parametrize(("way", "used"), [("eager", "eager"), ("kernel", "kernel")])
def test_the_environment_decides_for_who_did_not(monkeypatch, way, used):
    monkeypatch.setenv("STIFFGUIDE_BACKEND", way)
    found = solve()
    assert found.stats.backend == used
    assert "STIFFGUIDE_BACKEND" in found.stats.why
    for asked in ("eager", "kernel"):
        assert solve(backend=asked).stats.backend == asked
    assert solve(untraceable).stats.backend == "eager"


def test_an_environment_that_makes_no_sense_is_refused(monkeypatch):
    monkeypatch.setenv("STIFFGUIDE_BACKEND", "fast")
    with pytest.raises(InputError, match="STIFFGUIDE_BACKEND: 'fast' is unknown"):
        solve()


def test_a_solve_that_is_overtaken_keeps_what_was_asked_for(monkeypatch):
    impatient(monkeypatch, 1.0)
    times = torch.linspace(0, 3, 7, dtype=F64)
    found = solve(save_at=times, rtol=1e-8)
    expected = solve(save_at=times, rtol=1e-8, backend="eager")
    assert found.stats.backend == "kernel"
    torch.testing.assert_close(found.y, expected.y, rtol=1e-6, atol=1e-8)
    every = solve(save_at=stiffguide.EveryStep(), dense=True)
    assert every.at(1.5).shape == (2,)
