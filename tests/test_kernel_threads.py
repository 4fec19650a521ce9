"""One kernel in several threads and processes at once."""

from __future__ import annotations

import multiprocessing
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from cached import needs_compiler
from torch import Tensor

import stiffguide
from stiffguide.kernels import backend

D = torch.float64


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is built when a test begins."""
    monkeypatch.setenv("STIFFGUIDE_CACHE", str(tmp_path))
    backend.forget()


def decay(t: Tensor, y: Tensor, k: Tensor) -> Tensor:
    return torch.stack((-k[..., 0] * y[..., 0] ** 2, k[..., 1] * y[..., 0] - y[..., 1]), -1)


def ends(seed: int, rows: int = 40) -> Tensor:
    """The ends of some solves of their own."""
    draw = torch.Generator().manual_seed(seed)
    k = torch.rand(rows, 2, dtype=D, generator=draw) * 50
    y0 = torch.ones(rows, 2, dtype=D)
    settings = {"args": (k,), "batched": True, "method": "rodas4", "backend": "kernel"}
    return stiffguide.solve(decay, y0, 0.0, 3.0, **settings).raise_if_failed().y


@needs_compiler
def test_threads_build_and_run_one_kernel_at_once() -> None:
    gate = threading.Barrier(4)

    def work(seed: int) -> list[Tensor]:
        gate.wait()
        return [ends(seed) for _ in range(20)]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(work, range(4)))
    for seed, several in enumerate(found):
        expected = ends(seed)
        assert all(torch.equal(one, expected) for one in several)


@needs_compiler
def test_other_threads_go_on_while_a_kernel_runs() -> None:
    ends(0, rows=60)
    steps = 0
    at_work = threading.Thread(target=ends, args=(1, 50_000))
    at_work.start()
    while at_work.is_alive():
        steps += 1
    assert steps > 10_000  # the interpreter was not held


@needs_compiler
@pytest.mark.parametrize("built", [True, False])
def test_a_forked_process_has_the_kernel(built: bool) -> None:
    expected = ends(0) if built else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking, with threads about
        with multiprocessing.get_context("fork").Pool(2) as pool:
            found = pool.map(ends, [0, 0])
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], ends(0) if expected is None else expected)
