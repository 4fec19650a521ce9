"""On what f depends, found by changing y and looking at what changes with it.

Nothing is asked of f but values, so that it may be any function. A change is made to many
components at once: first to all, then to halves of what an entry of f was seen to depend on, with
those together that no entry depends on both of. Several points are looked at, since what a
component changes may be 0 at one, or not be asked for: what is so at all of them is not found.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

Flat = Callable[[Tensor, Tensor], Tensor]
NEAR, FAR = 0.02, 0.3  # sizes of changes, against the component
LEAST = {NEAR: 1e-3, FAR: 0.1}  # sizes of components, against the largest of the row
SMALLER = (1.0, 0.1, 1e-3, 1e-6)  # what sizes are multiplied with where f has no value
SHUFFLED = (False,) * 4 + (True,) * 10  # points far from y: whether some have other signs
MOST = 20_000  # evaluations
LONGEST = 10.0  # seconds
FEWEST = 4  # points, if more take too long
LARGEST = 20_000_000  # pairs of an entry of f and a part of y
COLOURS = 256  # parts beyond these are changed alone


class ExhaustedError(Exception):
    """f would have to be evaluated more often than is worth it."""


@contextmanager
def quietly() -> Iterator[None]:
    """Without warnings: of places where f has no value."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Probe:
    """f, and points (base, changed) around y (B, F) at which it has values."""

    def __init__(self, f: Flat, t: Tensor, y: Tensor) -> None:
        self._f, self._t, self._y = f, t.detach(), y.detach()
        self._random = torch.Generator("cpu").manual_seed(0)
        self._until = time.monotonic() + LONGEST
        self._evaluations = 0
        self.points: list[tuple[Tensor, Tensor, Tensor]] = []  # and the value at the first

    @property
    def dtype(self) -> torch.dtype:
        """Of the state."""
        return self._y.dtype

    def find(self) -> None:
        """Points near and far, and with the components of y in any order."""
        for size in (NEAR, FAR):
            self._first(self._around(smaller * size, LEAST[size]) for smaller in SMALLER)
        for signs in SHUFFLED:
            self._first(self._shuffled(signs=signs) for _ in SMALLER[:2])

    def find_near(self) -> None:
        """One point, and changes so small that hardly a comparison has another result by them."""
        step = float(torch.finfo(self.dtype).eps) ** 0.45
        self._first(
            self._around(smaller * NEAR, LEAST[NEAR], step * smaller) for smaller in SMALLER
        )

    def with_fewer(self) -> None:
        """Go on with few of the points, and look as long again."""
        self.points = self.points[:FEWEST]
        self._until = time.monotonic() + LONGEST
        self._evaluations = 0

    def changed(self, parts: Any, *, rounding: float = 0.0) -> Any:
        """Which of the F entries change with the components where `parts` (F,) holds, in any row.

        Changes are those above `rounding` times the largest entry.
        """
        found = torch.zeros(self._y.shape[1], dtype=torch.bool, device="cpu")
        mask = torch.from_numpy(parts)
        for base, other, before in self.points:
            after = self._value(torch.where(mask, other, base))
            if after is None:
                continue
            differs = before != after  # nan, too
            if rounding:
                differs &= ~((before - after).abs() <= rounding * before.abs().amax())
            found |= differs.any(0)
        return found.numpy()

    def mixes(self) -> bool:
        """Whether f of one row depends on another row."""
        if self._y.shape[0] == 1:
            return False
        for base, other, before in self.points:
            first = base.clone()
            first[0] = other[0]
            after = self._value(first)
            if after is not None and bool((before[1:] != after[1:]).any()):
                return True
        return False

    def _first(self, pairs: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Keep the first pair of states at which f has values."""
        for base, other in pairs:
            before, after = self._value(base), self._value(other)
            if all(v is not None and bool(v.isfinite().all()) for v in (before, after)):
                assert before is not None
                self.points.append((base, other, before))
                return

    def _around(
        self, size: float, least: float, step: float | None = None
    ) -> tuple[Tensor, Tensor]:
        largest = self._y.abs().amax(1, keepdim=True)
        largest = torch.where((largest > 0) & (largest < torch.inf), largest, 1.0)
        unit = torch.maximum(self._y.abs(), least * largest)
        unit = torch.where(self._y < 0, -unit, unit)  # away from 0, where f may have no value
        base = self._y + size * unit * self._numbers()
        return base, base + (size if step is None else step) * unit * self._numbers()

    def _shuffled(self, *, signs: bool) -> tuple[Tensor, Tensor]:
        pair = []
        for _ in range(2):
            order = torch.randperm(self._y.shape[1], generator=self._random, device="cpu")
            made = self._around(FAR, LEAST[FAR])[0][:, order]
            pair.append(torch.where(self._numbers() < 1, -made, made) if signs else made)
        return pair[0], pair[1]

    def _numbers(self) -> Tensor:
        """Numbers of [0.5, 1.5), a set of their own for every row."""
        made = torch.rand(self._y.shape, generator=self._random, dtype=torch.float64, device="cpu")
        return (made + 0.5).to(self.dtype)

    def _value(self, y: Tensor) -> Tensor | None:
        """What f gives there; None where it raises an exception."""
        self._evaluations += 1
        if self._evaluations > MOST or time.monotonic() > self._until:
            raise ExhaustedError
        try:
            with torch.no_grad():
                value = self._f(self._t.clone(), y.clone()).detach()
        except Exception:  # of the user's f, which need not have a value there
            return None
        return value.clone() if value.shape == self._y.shape else None


def pattern(probe: Probe, n: int) -> Any:
    """The entries of f (F,) by the components that they depend on, as a boolean CSR matrix."""
    try:
        return _pattern(probe, n)
    except ExhaustedError:
        if len(probe.points) <= FEWEST:
            raise
        probe.with_fewer()
        return _pattern(probe, n)


def _pattern(probe: Probe, n: int) -> Any:
    from scipy import sparse

    wide = 1 << max(n - 1, 0).bit_length()  # of a part
    rows = np.flatnonzero(probe.changed(np.ones(n, dtype=bool)))
    parts = np.zeros(len(rows), dtype=np.int64)
    while wide > 1:
        wide //= 2
        rows, parts = np.repeat(rows, 2), np.repeat(2 * parts, 2)
        parts[1::2] += 1
        inside = parts * wide < n
        rows, parts = rows[inside], parts[inside]
        if len(rows) > LARGEST:
            raise ExhaustedError
        rows, parts = _seen(probe, n, wide, rows, parts)
    ones = np.ones(len(rows), dtype=bool)
    return sparse.csr_matrix((ones, (rows, parts)), shape=(n, n))


def _seen(probe: Probe, n: int, wide: int, rows: Any, parts: Any) -> tuple[Any, Any]:
    """Those of the pairs of an entry of f and a part of y that are seen to belong together."""
    count = -(-n // wide)
    colours = coloured(n, count, rows, parts)
    of_part = np.arange(n) // wide
    kept_rows, kept_parts = [], []
    for colour in range(colours.max() + 1 if count else 0):
        changes = probe.changed(colours[of_part] == colour)
        asked = colours[parts] == colour
        seen = asked & changes[rows]
        kept_rows.append(rows[seen])
        kept_parts.append(parts[seen])
    return np.concatenate(kept_rows), np.concatenate(kept_parts)


def coloured(n: int, count: int, rows: Any, parts: Any) -> Any:
    """A colour for each of `count` parts, so that no row has two parts of one."""
    crowd = int(np.bincount(rows, minlength=1).max())  # parts of one row
    for colours in range(max(crowd, 1), min(2 * crowd + 2, count)):
        found = np.arange(count) % colours  # as in a band
        used = np.zeros(n * colours, dtype=bool)
        used[rows * colours + found[parts]] = True
        if int(used.sum()) == len(rows):
            return found
    return _greedy(n, count, rows, parts)


def _greedy(n: int, count: int, rows: Any, parts: Any) -> Any:
    """The first colour that is free, part by part."""
    order = np.argsort(parts, kind="stable")
    rows, ends = rows[order], np.searchsorted(parts[order], np.arange(count + 1))
    words = COLOURS // 64
    taken = np.zeros((n, words), dtype=np.uint64)
    found = np.zeros(count, dtype=np.int64)
    beyond = COLOURS
    for k in range(count):
        own = rows[ends[k] : ends[k + 1]]
        free = [~int(w) & (2**64 - 1) for w in np.bitwise_or.reduce(taken[own], axis=0)]
        word = next((i for i, bits in enumerate(free) if bits), None)
        if word is None:
            found[k], beyond = beyond, beyond + 1
            continue
        bit = (free[word] & -free[word]).bit_length() - 1
        taken[own, word] |= np.uint64(1 << bit)
        found[k] = 64 * word + bit
    return np.unique(found, return_inverse=True)[1]
