"""Metrics against the number of evaluations: one record per sampler and budget, table, picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from stiffguide.adapters.diffusion.grid import karras
from stiffguide.adapters.diffusion.prediction import Denoiser
from stiffguide.adapters.diffusion.sample import sample
from stiffguide.errors import InputError
from stiffguide.stepping.contracts import Guidance

Metric = Callable[[Tensor], float]

# evaluations of a step, where it is not one
COSTS = {"heun": 2, "dpm2": 2, "dpmpp_2s": 2, "dpmpp_sde": 2}


def unguided(steps: int) -> None:
    """The guidance of a sampler that has none."""


@dataclass(frozen=True)
class Entry:
    """A sampler to be measured: a method on a family of grids, with guidance that may know N.

    `grid(N)` gives the levels of N intervals, `guidance(N)` the rule for them or None.
    """

    name: str
    method: Any = "heun"  # a name, or the object that `sample` takes
    grid: Callable[[int], Tensor] = karras
    guidance: Callable[[int], Guidance | None] = unguided

    def steps(self, nfe: int) -> int:
        """The number of steps that `nfe` evaluations pay for, at least one."""
        return max(1, nfe // COSTS.get(getattr(self.method, "name", self.method), 1))

    def run(self, denoiser: Denoiser, noise: Tensor, nfe: int) -> Tensor:
        """The samples (B, ...) from unit noise, for about `nfe` evaluations."""
        steps = self.steps(nfe)
        rule = self.guidance(steps)
        return sample(denoiser, noise, self.grid(steps), method=self.method, guidance=rule).x


class Point(NamedTuple):
    """One sampler at one budget; `nfe` counts the calls of the denoiser that were made."""

    sampler: str
    budget: int
    nfe: int
    values: dict[str, float]  # by the name of the metric


class Counter:
    """A denoiser that counts its calls."""

    calls: int

    def __init__(self, denoiser: Denoiser) -> None:
        self.calls = 0
        self._denoiser = denoiser

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """As the denoiser inside."""
        self.calls += 1
        return self._denoiser(x, sigma)


@torch.no_grad()
def curves(
    denoiser: Denoiser,
    noise: Tensor,
    entries: Sequence[Entry],
    budgets: Sequence[int],
    metrics: Mapping[str, Metric],
    progress: Callable[[str, int], None] | None = None,
) -> list[Point]:
    """Measure every entry at every budget from the same noise (B, ...); records in that order.

    A metric maps samples to a number; `progress(name, budget)` is called before each run.

    Raises InputError for names that occur twice and budgets below 1.
    """
    if len({entry.name for entry in entries}) < len(entries):
        raise InputError("curves: every entry needs a name of its own")
    if any(budget < 1 for budget in budgets):
        raise InputError("curves: budgets are numbers of evaluations, from 1 on")
    points = []
    for entry in entries:
        for budget in budgets:
            if progress is not None:
                progress(entry.name, budget)
            counter = Counter(denoiser)
            x = entry.run(counter, noise, budget)
            values = {name: float(metric(x)) for name, metric in metrics.items()}
            points.append(Point(entry.name, budget, counter.calls, values))
    return points


def table(points: Sequence[Point], metric: str) -> str:
    """A Markdown table of one metric: a line per sampler, a column per budget."""
    budgets = list(dict.fromkeys(point.budget for point in points))
    cells = {(p.sampler, p.budget): f"{_value(p, metric):.3g}" for p in points}
    lines = [
        [name, *(cells.get((name, budget), "") for budget in budgets)]
        for name in dict.fromkeys(point.sampler for point in points)
    ]
    return markdown([f"{metric} at NFE", *map(str, budgets)], lines)


def markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table of cells as they are."""
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def picture(points: Sequence[Point], metric: str, path: str | Path, title: str = "") -> Path:
    """Draw one metric against the evaluations that were made, and write it to `path`.

    Raises InputError without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError("a picture needs matplotlib: pip install 'stiffguide[plot]'") from error
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.add_subplot()
    for marker, name in enumerate(dict.fromkeys(point.sampler for point in points)):
        mine = [point for point in points if point.sampler == name]
        values = [_value(point, metric) for point in mine]
        axes.plot([p.nfe for p in mine], values, "os^Dv<>pP*X"[marker % 11] + "-", label=name)
    ticks = sorted({point.nfe for point in points})
    axes.set(xscale="log", yscale="log", xlabel="evaluations (NFE)", ylabel=metric, title=title)
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    found = Path(path)
    found.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(found, dpi=150)
    return found


def _value(point: Point, metric: str) -> float:
    if metric not in point.values:
        known = ", ".join(point.values)
        raise InputError(f"{metric!r} was not measured for {point.sampler}; there are {known}")
    return point.values[metric]
