"""Rows that a loop goes through in strides: every index is that before it plus a constant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.integer[Any]]
SHORTEST = 4  # rows that are worth a run
SAMPLE = 512  # rows, among which the usual stride is looked for
FAMILIES = 4  # of runs with other strides,
SHARE = 8  # each with one of so many rows at least


class Family(NamedTuple):
    """Runs with the same strides, one for each column of indices."""

    strides: tuple[int, ...]
    runs: NDArray[np.int32]  # (R, 1 + columns): the length, and where each column starts


def families(columns: Sequence[Column]) -> tuple[list[Family], NDArray[np.int64]]:
    """The runs of some columns (R,) of indices, and the rows that are in none."""
    rest = np.arange(len(columns[0]))
    found: list[Family] = []
    while len(found) < FAMILIES and len(rest) >= SHORTEST:
        seen = list(columns) if len(rest) == len(columns[0]) else [c[rest] for c in columns]
        strides = _usual(seen)
        same = np.ones(len(rest) - 1, dtype=bool)
        for column, stride in zip(seen, strides, strict=True):
            same &= np.diff(column) == stride
        starts = np.concatenate(([0], np.flatnonzero(~same) + 1))
        lengths = np.diff(np.concatenate((starts, [len(rest)])))
        long = lengths >= SHORTEST
        if int(lengths[long].sum()) * SHARE < len(columns[0]):
            break
        table = [lengths[long], *(column[starts[long]] for column in seen)]
        found.append(Family(strides, np.stack(table, 1).astype(np.int32)))
        rest = rest[np.repeat(~long, lengths)]
    return found, rest


def _usual(columns: Sequence[Column]) -> tuple[int, ...]:
    """The most frequent strides of all columns together."""
    count = len(columns[0]) - 1
    few = np.unique(np.linspace(0, count - 1, min(count, SAMPLE)).astype(np.int64))
    steps = np.stack([column[few + 1] - column[few] for column in columns], 1)
    kinds, times = np.unique(steps, axis=0, return_counts=True)
    return tuple(int(step) for step in kinds[int(times.argmax())])
