"""Solves that are killed and resumed: how, and what has to be the same afterwards."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten

import stiffguide as sg
from stiffguide import safekeeping


class Killed(BaseException):
    """The end of a process, as a test of this process can bear it."""


class Fuse:
    """Kills at the n-th of some moments since a file is there; counts them where n is None."""

    def __init__(self, path: Path, at: int | None = None) -> None:
        self.path, self.at, self.count = path, at, 0

    def burn(self) -> None:
        """One moment."""
        self.count += self.count > 0 or self.path.exists()
        if self.count == self.at:
            raise Killed


class Case(NamedTuple):
    """A solve, and those of its arguments that no file keeps."""

    f: Any
    y0: Any
    t1: Any
    settings: dict[str, Any]
    again: tuple[str, ...] = ()

    def solve(self, f: Any = None, **more: Any) -> sg.Solution:
        """Without a checkpoint, or with one."""
        settings = {"backend": "eager", **self.settings, **more}
        return sg.solve(self.f if f is None else f, self.y0, 0.0, self.t1, **settings)

    def resume(self, path: Path, f: Any = None, **more: Any) -> sg.Solution:
        """With what has to be given again."""
        given = {name: {"y0": self.y0, **self.settings}[name] for name in self.again}
        args = self.settings.get("args", ())
        return sg.resume(path, self.f if f is None else f, args, **{**given, **more})

    def burning(self, fuse: Fuse) -> Any:
        """The field, each of whose evaluations is a moment."""
        return (
            tuple(_burning(g, fuse) for g in self.f)
            if isinstance(self.f, tuple)
            else _burning(self.f, fuse)
        )


def _burning(g: Callable[..., Any], fuse: Fuse) -> Callable[..., Any]:
    def burning(*given: Any) -> Any:
        fuse.burn()
        return g(*given)

    return burning


def same(found: sg.Solution, expected: sg.Solution) -> None:
    """Every number to the last bit, and every word."""
    for name in ("method", "messages", "warnings", "backend", "why", "linear_solver"):
        assert getattr(found, name) == getattr(expected, name), name
    for name in ("counts", "t", "y", "events", "trajectory"):
        one, other = (tree_flatten(getattr(x, name)) for x in (found, expected))
        assert one[1] == other[1], name
        for x, y in zip(one[0], other[0], strict=True):
            assert identical(x, y), name
    assert found.stats.methods == expected.stats.methods


def identical(x: Any, y: Any) -> bool:
    """Bit by bit, signs of zeros and nan included."""
    if not isinstance(x, Tensor):
        return bool(x == y)
    alike = x.dtype == y.dtype and x.shape == y.shape
    whole = (z.detach().resolve_conj().resolve_neg().contiguous() for z in (x, y))
    flat = (z.reshape(-1).view(torch.uint8) for z in whole)
    return alike and torch.equal(next(flat), next(flat))


def moments(seed: int, most: int, count: int) -> list[int]:
    """So many of the first moments, at random."""
    return sorted(random.Random(seed).sample(range(1, most + 1), min(count, most)))


def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for the disk: it is this process that is killed, not the machine."""
    monkeypatch.setattr(safekeeping.os, "fsync", lambda _: None)
