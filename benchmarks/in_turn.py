"""Runs that take turns, and their medians."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import page

LEAST = 0.02  # CPU seconds of a sample: a shorter run is repeated in it
Run = Callable[[], Any]


def medians(runs: Mapping[str, Run], rounds: int) -> dict[str, float]:
    """CPU seconds of each, in turn, so that a change of the machine's speed meets all of them."""
    repeats = {}
    for name, run in runs.items():
        run()
        repeats[name] = max(1, int(LEAST / max(_seconds(run, 1), 1e-6)))
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            found[name].append(_seconds(run, repeats[name]))
    return {name: statistics.median(values) for name, values in found.items()}


def ratio(found: Mapping[str, float]) -> str:
    """The first time over the second, and in brackets the first in milliseconds."""
    mine, other = found.values()
    return f"{mine / other:.2f} ({page.number(mine * 1e3)})"


def _seconds(run: Run, repeats: int) -> float:
    before = time.process_time()
    for _ in range(repeats):
        run()
    return (time.process_time() - before) / repeats
