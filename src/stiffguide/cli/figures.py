"""Pictures: solutions over time, work against precision, and what a batch of rows did."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from stiffguide.cli import runs
from stiffguide.errors import InputError
from stiffguide.problems import Problem

MOST_CURVES = 6  # in one panel; more cannot be told apart
FAR_APART = 50.0  # sizes that differ by more than this are brought to 1 in the legend
PANEL = (4.6, 3.1)  # inches
INK: Any = {
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


@dataclass(frozen=True)
class Look:
    """How a problem is shown: which components, in which units, on which axis."""

    components: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    time: str = "t"
    value: str = "y"
    log_y: bool = False
    plane: bool = False  # the second component against the first


CONCENTRATION = "concentration"
LOOKS = {
    "robertson": Look(time="t (s)", value=CONCENTRATION),
    "van_der_pol": Look(components=(0,)),
    "van_der_pol_scaled": Look(components=(0,), time="t / mu"),
    "hires": Look(components=(0, 1, 3, 4, 5, 6), value=CONCENTRATION),
    "orego": Look(names=("x", "y", "z"), value=CONCENTRATION, log_y=True),
    "e5": Look(components=(0, 1, 3), time="t (s)", value=CONCENTRATION, log_y=True),
    "e5_reduced": Look(names=("y1", "y2", "y4"), time="t (s)", value=CONCENTRATION, log_y=True),
    "pollu": Look(components=(0, 1, 3, 6, 13, 18), time="t (min)", value=CONCENTRATION + " (ppm)"),
    "brusselator": Look(names=("u", "v"), value=CONCENTRATION),
    "brusselator_1d": Look(
        components=(0, 50, 99), names=("u(0.01)", "u(0.26)", "v(0.50)"), value=CONCENTRATION
    ),
    "brusselator_2d": Look(value=CONCENTRATION),
    "lotka_volterra": Look(names=("prey", "predator"), value="population"),
    "arenstorf": Look(time="x", value="y", plane=True),
}


class Panel(NamedTuple):
    """One problem's solution: times (T,) and states (T, F), nan where it was not reached."""

    problem: Problem
    title: str
    t: Tensor
    y: Tensor


class Point(NamedTuple):
    """One solve of a work-precision diagram."""

    method: str
    rtol: float
    error: float
    seconds: float
    nfe: int


def figure(rows: int, columns: int, size: tuple[float, float] = PANEL) -> tuple[Any, Any]:
    """An empty figure and its axes (rows, columns); needs matplotlib, but no window."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise InputError("a picture needs matplotlib: pip install 'stiffguide[plot]'") from error
    with matplotlib.rc_context(INK):
        made = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
        return made, made.subplots(rows, columns, squeeze=False)


def save(made: Any, path: str | Path) -> Path:
    """Write the picture; the format follows from the ending."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        made.savefig(path, dpi=150)
    except ValueError as error:  # an ending that matplotlib does not know
        raise InputError(f"{path}: {error}") from error
    return path


def solutions(panels: Sequence[Panel], columns: int = 3) -> Any:
    """A panel for every problem."""
    columns = min(columns, len(panels))
    made, axes = figure(math.ceil(len(panels) / columns), columns)
    for place, panel in zip(axes.flat, panels, strict=False):
        _solution(place, panel)
    for place in axes.flat[len(panels) :]:
        place.set_visible(False)
    return made


def _solution(axes: Any, panel: Panel) -> None:
    look = LOOKS.get(panel.problem.name, Look())
    axes.set_title(panel.title, fontsize="medium")
    axes.set_xlabel(look.time)
    axes.set_ylabel(look.value)
    t, y = panel.t.numpy(), panel.y.detach().cpu()
    if look.plane:
        axes.plot(y[:, 0], y[:, 1], lw=1.4)
        axes.set_aspect("equal", adjustable="datalim")
        return
    chosen = look.components or _spread(panel.problem.size)
    sizes = y[:, list(chosen)].abs().nan_to_num().amax(0)
    apart = not look.log_y and float(sizes.max()) > FAR_APART * float(sizes.min())
    for i, (component, size) in enumerate(zip(chosen, sizes.tolist(), strict=True)):
        name = look.names[i] if i < len(look.names) else f"y{component + 1}"
        scale = size if apart and size > 0 else 1.0
        label = name if scale == 1.0 else f"{name} / {scale:.1e}"
        axes.plot(t, y[:, component] / scale, lw=1.4, label=label)
    if apart:
        axes.set_ylabel(f"{look.value}, scaled")
    if runs.logarithmic(panel.problem):
        axes.set_xscale("log")
    if look.log_y:
        axes.set_yscale("log")
    if len(chosen) > 1:
        axes.legend(fontsize="x-small", framealpha=0.6)


def _spread(size: int) -> tuple[int, ...]:
    """Up to MOST_CURVES components, evenly chosen."""
    if size <= MOST_CURVES:
        return tuple(range(size))
    return tuple(i * (size - 1) // (MOST_CURVES - 1) for i in range(MOST_CURVES))


def work_precision(points: Sequence[Point], title: str) -> Any:
    """The error against the time that it cost, and against evaluations of f."""
    made, axes = figure(1, 2, (5.2, 4.2))
    for place, what in zip(axes[0], ("time per solve (s)", "evaluations of f"), strict=True):
        for method in dict.fromkeys(point.method for point in points):
            own = [point for point in points if point.method == method]
            cost = [p.seconds if "time" in what else p.nfe for p in own]
            place.loglog(cost, [p.error for p in own], "o-", ms=4, lw=1.4, label=method)
        place.set_xlabel(what)
        place.set_ylabel("relative error at t1, worst component")
        place.grid(True, which="major", alpha=0.25)
    axes[0][0].legend(fontsize="small")
    made.suptitle(title, fontsize="medium")
    return made


def batch(problem: Problem, t: Tensor, y: Tensor, steps: Tensor) -> Any:
    """Rows of a batch: how many steps each of them took, and the band that they fill."""
    made, axes = figure(1, 2, (5.2, 3.8))
    left, right = axes[0]
    counts = steps.tolist()
    left.hist(counts, bins=range(min(counts), max(counts) + 2), color="C0", align="left")
    left.set_xlabel("attempted steps of a row")
    left.set_ylabel(f"rows (of {len(counts)})")
    left.set_title(f"{problem.title}: every row has its own steps", fontsize="medium")
    look = LOOKS.get(problem.name, Look())
    for component in look.components or range(min(problem.size, 3)):
        value = y[:, :, component].detach().cpu()
        size = float(value.abs().nan_to_num().max())
        low, middle, high = torch.nanquantile(
            value / size, torch.tensor([0.05, 0.5, 0.95], dtype=value.dtype), 0
        )
        label = f"y{component + 1} / {size:.1e}"
        (line,) = right.plot(t, middle, lw=1.4, label=label)
        right.fill_between(t, low, high, color=line.get_color(), alpha=0.25, lw=0)
    if runs.logarithmic(problem):
        right.set_xscale("log")
    right.set_xlabel(look.time)
    right.set_ylabel(f"{look.value}, scaled")
    right.set_title("median of the rows, and where 90 % of them are", fontsize="medium")
    right.legend(fontsize="small")
    return made
