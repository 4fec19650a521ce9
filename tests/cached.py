"""A small solve by a kernel, and what the cache has of it."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
import torch
from torch import Tensor

import stiffguide
from stiffguide.kernels import backend
from stiffguide.kernels.running import compiler

COMPILER = shutil.which("g++") or shutil.which("clang++")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="needs a C++ compiler")
STRANGER = 12345  # another user, and a group
D = torch.float64
Y0 = torch.tensor([1.0, 0.5], dtype=D)


def decay(t: Tensor, y: Tensor) -> Tensor:
    return -y * torch.tensor([1.0, 3.0], dtype=D)


def solve(how: str = "kernel", method: str = "bosh3") -> Tensor:
    """One solve, as a process would do it that has nothing loaded."""
    backend.forget()
    return stiffguide.solve(decay, Y0, 0.0, 1.0, backend=how, method=method).y[0]


EXACT = Y0 * torch.exp(-torch.tensor([1.0, 3.0], dtype=D))


def kernels(cache: Path) -> list[Path]:
    return sorted(p for p in cache.iterdir() if not p.name.startswith("."))


def library_of(home: Path) -> Path:
    (library,) = home.glob("*.so")
    return library


def assert_right(y: Tensor) -> None:
    torch.testing.assert_close(y, EXACT, rtol=1e-4, atol=1e-6)


def compilations(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """A list that grows by one at every compilation."""
    seen: list[object] = []
    run = compiler.finished

    def counted(arguments: list[str], aside: Path) -> tuple[int, str]:
        seen.append((arguments,))
        return run(arguments, aside)

    monkeypatch.setattr(compiler, "finished", counted)
    return seen


def gives_away() -> bool:
    """Whether files can be given to another user: by root, if its container has others."""
    with tempfile.NamedTemporaryFile() as file:
        try:
            os.chown(file.name, STRANGER, STRANGER)
        except OSError:
            return False
    return True
