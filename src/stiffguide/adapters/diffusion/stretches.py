"""A grid of levels as its stretches: parts along which sigma keeps one direction.

Most grids are one stretch that falls. Grids of callers may repeat a level, which is a step that
does nothing, and may rise again; what a multistep sampler remembers then means nothing any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import NamedTuple


class Stretch(NamedTuple):
    """Intervals of a grid, by number, without those of length zero, and the levels they join."""

    intervals: tuple[int, ...]
    levels: tuple[float, ...]  # one more
    rises: bool


def stretches(levels: Sequence[float], begin: int = 0) -> tuple[Stretch, ...]:
    """The stretches of levels (N + 1,) from the interval `begin` on."""
    steps = [(i, a, b) for i, (a, b) in enumerate(pairwise(levels)) if i >= begin and a != b]
    found = []
    for rises, group in groupby(steps, key=lambda step: step[2] > step[1]):
        part = list(group)
        nodes = (*(a for _, a, _ in part), part[-1][2])
        found.append(Stretch(tuple(i for i, _, _ in part), nodes, rises))
    return tuple(found)
