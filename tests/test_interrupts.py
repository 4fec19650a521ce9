"""Ctrl-C stops a script, brings what was reached, and leaves nothing half done."""

from __future__ import annotations

import math
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import call
from families import close, every_family, real
from torch import Tensor

import stiffguide as sg
from stiffguide import Status, problems
from stiffguide.kernels import backend
from stiffguide.kernels.running import store, threads
from stiffguide.problems import robertson_field

pytestmark = pytest.mark.usefixtures("eager")  # f is interrupted by itself, and not while traced


@pytest.fixture(autouse=True)
def heeded() -> Iterator[None]:
    """Python heeds Ctrl-C, here and in children, also where a shell in the background does not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press() -> None:
    signal.raise_signal(signal.SIGINT)


def ring(t: Tensor, y: Tensor) -> Tensor:
    return torch.stack((y[..., 1], -y[..., 0]), -1)


def stopped_ring(t: Tensor, y: Tensor) -> Tensor:
    if bool((t > 1.0).any()):
        press()
    return ring(t, y)


@every_family
@pytest.mark.parametrize("place", ["f", "monitor"])
def test_an_interrupt_brings_what_was_reached(name: str, place: str) -> None:
    def monitor(t: Tensor, y: Tensor) -> None:
        if bool((t > 1.0).any()):
            press()

    with pytest.raises(sg.Interrupted, match="row 1: the solve was interrupted at t =") as caught:
        sg.solve(
            stopped_ring if place == "f" else ring,
            real(1.0, 0.0).repeat(2, 1),
            0.0,
            real(0.1, 3.0),
            batched=True,
            method=name,
            rtol=1e-4,
            save_at=torch.stack((real(0.05, 0.1), real(0.5, 3.0))),
            dense=True,
            monitor=monitor if place == "monitor" else None,
        )
    assert isinstance(caught.value, KeyboardInterrupt)
    found = caught.value.solution
    assert found.status.tolist() == [Status.SUCCESS, Status.INTERRUPTED]
    assert found.success.tolist() == [True, False]
    close(found.y[0, :, 0], torch.cos(real(0.05, 0.1)), rtol=0.01)
    close(found.y[1, 0, 0], real(math.cos(0.5))[0], rtol=0.01)
    assert torch.isnan(found.y[1, 1]).all()
    assert torch.isfinite(found.at(0.09)[1]).all()
    assert pickle.loads(pickle.dumps(caught.value)).solution.message == found.message


def test_every_step_up_to_the_interrupt_is_kept() -> None:
    with pytest.raises(sg.Interrupted) as caught:
        sg.solve(stopped_ring, real(1.0, 0.0), 0.0, 3.0, save_at=sg.EveryStep(), max_step=0.1)
    found = caught.value.solution
    assert found.t[0] == 0
    assert 0.8 < float(found.t[-1]) <= 1.0
    close(found.y[:, 0], torch.cos(found.t), rtol=1e-4)


def test_who_stops_a_solve_waits_for_no_gradient() -> None:
    k = real(1.0)[0].requires_grad_()
    calls = [0]

    def f(t: Tensor, y: Tensor) -> Tensor:
        calls[0] += 1
        if float(t) > 1.0:
            calls[0] = 0
            raise KeyboardInterrupt
        return -k * y

    with pytest.raises(sg.Interrupted) as caught:
        sg.solve(f, real(1.0), 0.0, 3.0)
    found = caught.value.solution
    assert calls == [0]
    assert not found.y.requires_grad
    close(found.y[0], torch.exp(-found.t), rtol=1e-4)


def test_an_interrupt_after_the_last_step_is_not_lost() -> None:
    def monitor(t: Tensor, y: Tensor) -> None:
        if float(t) == 2.0:
            press()

    with pytest.raises(KeyboardInterrupt) as caught:
        sg.solve(ring, real(1.0, 0.0), 0.0, 2.0, monitor=monitor)
    assert not isinstance(caught.value, sg.Interrupted)


def test_a_script_ends(tmp_path: Path) -> None:
    script = """
import signal, torch, stiffguide as sg
def f(t, y):
    if t > 1.0:
        signal.raise_signal(signal.SIGINT)
    return -y
for epoch in range(3):
    print("epoch", epoch, flush=True)
    sg.solve(f, torch.ones(2), 0.0, 2.0)
print("after")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode != 0
    assert done.stdout.split("\n") == ["epoch 0", ""]
    assert "Interrupted: the solve was interrupted at t = " in done.stderr


# kernels -----------------------------------------------------------------------------------------


def rows_of_robertson(rows: int) -> dict[str, Any]:
    k = torch.tensor([0.04, 3e7, 1e4]).double() * torch.linspace(0.9, 1.1, rows).unsqueeze(1)
    y0 = real(1.0, 0.0, 0.0).expand(rows, 3)
    settings = {"batched": True, "backend": "kernel", "method": "rodas5p", "args": (k,)}
    return {"f": robertson_field, "y0": y0, "t0": 0.0, "t1": 1e4, **settings}


@pytest.mark.parametrize("keep", [{}, {"save_at": sg.EveryStep()}, {"dense": True}])
def test_an_interrupt_ends_a_kernel_with_what_was_reached(
    keep: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sg.solve(**rows_of_robertson(100))
    call, work, timer = rows_of_robertson(300_000), threads.work, threading.Timer(0.1, press)

    def pressed(*args: Any) -> None:
        timer.start()
        work(*args)

    monkeypatch.setattr(threads, "work", pressed)
    with pytest.raises(sg.Interrupted, match="interrupted") as caught:
        sg.solve(**call, **keep)
    timer.join()
    found = caught.value.solution
    assert set(found.status.unique().tolist()) == {int(Status.SUCCESS), int(Status.INTERRUPTED)}
    untouched = found.stats.accepted == 0
    assert bool((found.t[untouched, -1] == 0).all())
    assert torch.equal(found.y[untouched, -1], call["y0"][untouched])
    reached = ~untouched & (found.status == int(Status.INTERRUPTED))
    assert bool((found.t[reached, -1] > 0).all())
    assert found.trajectory is None


@pytest.mark.parametrize("turn", [0, 1])
def test_an_interrupt_ends_kernels_that_take_turns(
    turn: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sg.solve(**rows_of_robertson(100) | {"method": "auto"})
    call, work, turns = rows_of_robertson(100_000) | {"method": "auto"}, threads.work, []

    def pressed(*args: Any) -> None:
        turns.append(1)
        if len(turns) == turn + 1:
            threading.Timer(0.02, press).start()
        work(*args)

    monkeypatch.setattr(threads, "work", pressed)
    with pytest.raises(sg.Interrupted, match="interrupted") as caught:
        sg.solve(**call)
    found = caught.value.solution
    left = found.status == int(Status.INTERRUPTED)
    assert bool(left.any())
    assert set(found.status.unique().tolist()) <= {int(Status.SUCCESS), int(Status.INTERRUPTED)}
    untouched = found.stats.accepted == 0
    assert torch.equal(found.y[untouched, -1], call["y0"][untouched])
    assert bool((found.t[left & ~untouched, -1] > 0).all())
    assert bool((found.t[left, -1] < 1e4).all())
    assert len(turns) == turn + 1


def test_an_interrupt_between_two_turns_loses_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    work = threads.work

    def late(function: Any, workers: int, flags: Any) -> None:
        work(function, workers, flags)
        flags[1] = 1  # all rows wait for the other method

    monkeypatch.setattr(threads, "work", late)
    with pytest.raises(sg.Interrupted) as caught:
        sg.solve(**rows_of_robertson(20) | {"method": "auto"})
    found = caught.value.solution
    assert (found.status == int(Status.INTERRUPTED)).all()
    assert (found.t > 0).all()


@pytest.mark.parametrize("workers", [1, 3])
def test_two_interrupts_wait_for_the_threads_all_the_same(workers: int) -> None:
    flags, never = threads.Flags(), threading.Event()
    begun, ended = [], []

    def work() -> int:
        begun.append(True)
        for _ in range(2):
            press()
            never.wait(2 * threads.PATIENCE)
        ended.append(True)
        return 0

    threads.work(work, workers, flags)
    assert flags[1] == 1
    assert 1 <= len(begun) == len(ended)


def test_an_interrupt_when_all_rows_are_done_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    work = threads.work

    def late(function: Any, workers: int, flags: Any) -> None:
        work(function, workers, flags)
        flags[1] = 1

    monkeypatch.setattr(threads, "work", late)
    with pytest.raises(KeyboardInterrupt):
        sg.solve(**rows_of_robertson(20))


def test_an_interrupted_build_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compiler here presses Ctrl-C in the middle of its work, and would go on.

    Not at once: an interrupt that meets the start of a process knows nothing of that process.
    """
    slow, cache = tmp_path / "slow++", tmp_path / "cache"
    slow.write_text(
        '#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\necho half > "$2"\n'
        f"echo $$ > {tmp_path}/pid\nsleep 0.3\nkill -INT $PPID\nexec sleep 60\n"
    )
    slow.chmod(0o700)
    monkeypatch.setenv("STIFFGUIDE_CACHE", str(cache))
    backend.forget()
    settings = {"backend": "kernel", "method": "bosh3"}
    with monkeypatch.context() as patched:
        patched.setenv("CXX", str(slow))
        with pytest.raises(KeyboardInterrupt):
            sg.solve(ring, real(1.0, 0.0), 0.0, 1.0, **settings)
    assert list(cache.iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    found = sg.solve(ring, real(1.0, 0.0), 0.0, 1.0, **settings)
    close(found.y[0, 0], real(math.cos(1.0))[0], rtol=1e-5)
    assert [(home / store.LIBRARY).exists() for home in cache.iterdir()] == [True]


# the command line --------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [(), ("--batch", "2")])
def test_the_command_shows_and_saves_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: tuple[str, ...]
) -> None:
    whole = problems.get("lotka_volterra")

    def f(t: Tensor, y: Tensor) -> Tensor:
        if bool((t > 0.4 * whole.t1).any()):
            press()
        return whole.f(t, y)

    monkeypatch.setattr(problems, "get", lambda name: replace(whole, f=f))
    files = {"--save": tmp_path / "part.npz", "--plot": tmp_path / "part.png"}
    options = [x for pair in files.items() for x in pair]
    done = call("solve", "lotka_volterra", *options, *batch)
    assert done.exit_code == 130, done.output
    assert "the solve was interrupted at t = " in done.output
    assert all(path.exists() for path in files.values())
    with np.load(files["--save"]) as saved:
        y, status = saved["y"].reshape(-1, 400, 2), saved["status"].reshape(-1)
    assert np.isfinite(y[0, 10]).all()
    assert np.isnan(y[0, -1]).all()
    assert status[0] == Status.INTERRUPTED
