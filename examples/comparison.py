"""Samplers side by side on one model: error against the model's own flow, and against data.

The same noise for all of them, the same number of evaluations, and the flow itself resolved with a
thousand: what a sampler is off by is its own error, not the model's. Held-out data tell how good
the samples are; the exact flow has such a distance, too, which no sampler is meant to beat.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import geometric_mean

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from stiffguide.adapters.diffusion import grid
from stiffguide.adapters.diffusion.curves import Entry, Point, curves, table
from stiffguide.adapters.diffusion.metrics import end_point_error, sliced_wasserstein
from stiffguide.adapters.diffusion.prediction import Denoiser
from stiffguide.adapters.diffusion.problems import reference_end
from stiffguide.guidance import ErrorDirection

ERROR, DISTANCE = "relative error to the flow", "sliced Wasserstein distance to data"
ENTRIES = (
    Entry("heun"),
    Entry("heun + error-direction", guidance=lambda steps: ErrorDirection()),
    Entry("dpmpp_2m", "dpmpp_2m"),
    Entry("emg", "emg"),
    Entry("dpmpp_2m, mix grid", "dpmpp_2m", grid.mix),
    Entry("emg, mix grid", "emg", grid.mix),
)
BUDGETS, FAST = (6, 8, 12, 16, 24), (8, 12, 16)  # evaluations; FAST is for tests
STEPS = 250  # of RK4 along the flow, four evaluations each

Draw = Callable[[Axes, Tensor], None]
Metric = Callable[[Tensor], float]


@dataclass(frozen=True)
class Comparison:
    """What was measured: a record per sampler and budget, and the flow that they approximate."""

    points: list[Point]
    budgets: Sequence[int]
    ends: Mapping[str, Tensor]  # samples (B, ...) by sampler at the first budget, and "flow"
    floor: float  # the distance of the flow's end points to the data
    further: Mapping[str, float] = field(default_factory=dict)  # what else the flow has

    def value(self, sampler: str, budget: int, metric: str = ERROR) -> float:
        """One number of the table."""
        found = {(p.sampler, p.budget): p.values[metric] for p in self.points}
        return found[sampler, budget]

    def ratio(self, sampler: str, other: str) -> float:
        """Geometric mean over the budgets of one sampler's error divided by another's."""
        errors = [[self.value(name, b) for b in self.budgets] for name in (sampler, other)]
        return geometric_mean(errors[0]) / geometric_mean(errors[1])

    def markdown(self, title: str) -> str:
        """Both tables and the ratios, as a page."""
        pairs = [("emg", "dpmpp_2m"), ("emg, mix grid", "dpmpp_2m, mix grid")]
        pairs += [("heun + error-direction", "heun"), ("emg", "heun + error-direction")]
        lines = [f"- {a} over {b}: {self.ratio(a, b):.2f}" for a, b in pairs]
        parts = (
            f"# {title}",
            table(self.points, ERROR),
            "Errors divided, geometric means over these budgets:",
            "\n".join(lines),
            table(self.points, DISTANCE),
            f"The flow itself: {self.floor:.3g}.",
            *(
                f"{table(self.points, name)}\n\nThe flow itself: {value:.3g}."
                for name, value in self.further.items()
            ),
        )
        return "\n\n".join(parts) + "\n"


@torch.no_grad()
def compare(
    denoiser: Denoiser,
    noise: Tensor,
    data: Tensor,
    entries: Sequence[Entry] = ENTRIES,
    budgets: Sequence[int] = BUDGETS,
    further: Mapping[str, Metric] | None = None,
) -> Comparison:
    """Run every entry from unit noise (B, ...) at every budget; data (M, ...) were held out.

    further: what else is measured of samples (B, ...), by name.
    """
    more = dict(further or {})
    flow = reference_end(denoiser, noise, steps=STEPS if budgets == BUDGETS else STEPS // 2)
    size = flow.flatten(1).square().sum(1).mean().sqrt()

    def distance(x: Tensor) -> float:
        return sliced_wasserstein(x, data, generator=torch.Generator().manual_seed(0))

    metrics = {ERROR: lambda x: end_point_error(x, flow).median / float(size), DISTANCE: distance}
    metrics |= more
    points = curves(denoiser, noise, entries, budgets, metrics)
    shown = {entry.name: entry.run(denoiser, noise, budgets[0]) for entry in entries}
    others = {name: metric(flow) for name, metric in more.items()}
    return Comparison(points, budgets, {**shown, "flow": flow}, distance(flow), others)


def write(
    found: Comparison, folder: Path, name: str, title: str, draw: Draw, *, across: bool = False
) -> list[Path]:
    """The tables as `name`.md and .csv, and the picture as `name`.png.

    `draw(axes, samples)` shows a few samples (B, ...); it is called for the flow, for 2M and EMG,
    whose panels stand above each other, or side by side if `across`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    page, data, image = (folder / f"{name}{end}" for end in (".md", ".csv", ".png"))
    page.write_text(found.markdown(title), encoding="utf-8")
    with data.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["sampler", "budget", "nfe", ERROR, DISTANCE, *found.further])
        rows.writerows([p.sampler, p.budget, p.nfe, *p.values.values()] for p in found.points)
    figure = Figure(figsize=(9.6, 3.6), layout="constrained")
    figure.suptitle(title)
    left, right = figure.subfigures(1, 2, width_ratios=(1.3 if across else 1.0, 1.0))
    shown = ("flow", "dpmpp_2m", "emg")
    panels = left.subplots(*((1, len(shown)) if across else (len(shown), 1)))
    for axes, sampler in zip(panels, shown, strict=True):
        draw(axes, found.ends[sampler])
        label = "the flow" if sampler == "flow" else f"{sampler}, NFE {found.budgets[0]}"
        axes.set_title(label, fontsize="small")
    _curves(right.subplots(), found)
    figure.savefig(image, dpi=85)
    return [page, data, image]


def _curves(axes: Axes, found: Comparison) -> None:
    names = dict.fromkeys(point.sampler for point in found.points)
    for marker, name in zip("osDv^P*", names, strict=False):
        mine = [p for p in found.points if p.sampler == name]
        line = "--" if "mix" in name else "-"
        values = [p.values[ERROR] for p in mine]
        axes.plot([p.nfe for p in mine], values, marker + line, label=name, markersize=4)
    axes.set(xscale="log", yscale="log", xlabel="evaluations (NFE)")
    axes.set_title("relative error to the flow (median)", fontsize="small")
    axes.set_xticks(found.budgets, [str(b) for b in found.budgets])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, top * (top / bottom) ** 0.35)  # room for the legend
    axes.legend(fontsize="x-small", loc="upper right", ncols=2)
