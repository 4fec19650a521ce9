"""Pictures: solutions over time, work against precision, and what a batch of rows did."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from stiffguide.cli import runs
from stiffguide.errors import InputError
from stiffguide.problems import Problem

MOST_CURVES = 6  # in one panel; more cannot be told apart
FAR_APART = 50.0  # sizes that differ by more than this are brought to 1 in the legend
MOST_BINS = 30  # of a histogram
PANEL = (4.6, 3.3)  # inches
INK: Any = {
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


@dataclass(frozen=True)
class Look:
    """How a problem is shown: which components, under which names, on which axes."""

    components: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    time: str = "t"
    value: str = "y"
    log_time: bool = False
    floor: float | None = None  # values on a logarithmic axis, from here on
    plane: bool = False  # the second component against the first


CONCENTRATION = "concentration"
PPM = f"{CONCENTRATION} (ppm)"
SPECIES = ("y1", "y2", "y4")
BURNT, FIRE = (0, 1, 4, 2, 5, 6), ("T", "H2", "O2", "H", "OH", "H2O")
LOOKS = {
    "robertson": Look(time="t (s)", value=CONCENTRATION),
    "van_der_pol": Look(components=(0,), value="y1"),
    "van_der_pol_scaled": Look(components=(0,), time="t / mu", value="y1"),
    "hires": Look(components=(0, 1, 3, 4, 5, 6), value=CONCENTRATION),
    "orego": Look(names=("x", "y", "z"), value=CONCENTRATION, floor=1e-2),
    "e5": Look((0, 1, 3), SPECIES, time="t (s)", value=CONCENTRATION, floor=1e-26),
    "e5_reduced": Look(names=SPECIES, time="t (s)", value=CONCENTRATION, floor=1e-26),
    "pollu": Look(components=(0, 1, 3, 6, 13, 18), time="t (min)", value=PPM),
    "hydrogen_ignition": Look(BURNT, FIRE, time="t (s)", value="T, mass fractions"),
    "brusselator": Look(names=("u", "v"), value=CONCENTRATION),
    "brusselator_1d": Look((0, 50, 99), ("u(0.01)", "u(0.26)", "v(0.50)"), value=CONCENTRATION),
    "brusselator_2d": Look(value=CONCENTRATION),
    "lotka_volterra": Look(names=("prey", "predator"), value="population"),
    "arenstorf": Look(time="x", value="y", plane=True),
}


def look(problem: Problem) -> Look:
    """How this problem is shown: at most a few components, and the time axis that fits."""
    known = LOOKS.get(problem.name, Look())
    components = known.components or _spread(problem.size)
    names = known.names or tuple(f"y{i + 1}" for i in components)
    return replace(known, components=components, names=names, log_time=runs.logarithmic(problem))


class Panel(NamedTuple):
    """One picture of times (T,) and values (T, F), nan where a solve did not arrive."""

    title: str
    t: Tensor
    y: Tensor
    look: Look


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


def check(path: Path | None) -> None:
    """Refuse a picture that could not be written, before anything is computed for it."""
    if path is None:
        return
    made, _ = figure(1, 1)
    known = set(made.canvas.get_supported_filetypes()) - {"pgf"}  # which runs LaTeX
    if path.suffix[1:].lower() not in known:
        raise InputError(f"{path}: give a picture one of the endings {', '.join(sorted(known))}")


def save(made: Any, path: str | Path) -> Path:
    """Write the picture; the format follows from the ending."""
    path = Path(path)
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
    own = panel.look
    axes.set_title(panel.title, fontsize="medium")
    axes.set_xlabel(own.time)
    axes.set_ylabel(own.value)
    t, y = panel.t.numpy(), panel.y.detach().cpu()
    if own.plane:
        axes.plot(y[:, 0], y[:, 1], lw=1.4)
        axes.set_aspect("equal", adjustable="datalim")
        return
    scales = _scales(y[:, list(own.components)], own)
    for component, name, scale in zip(own.components, own.names, scales, strict=True):
        axes.plot(t, y[:, component] / scale, lw=1.4, label=_label(name, scale))
    _finish(axes, own, scaled=any(scale != 1.0 for scale in scales))


def _scales(y: Tensor, own: Look) -> list[float]:
    """What each component (..., C) is divided by: its size, where the sizes are far apart."""
    sizes = y.abs().nan_to_num().flatten(0, -2).amax(0)
    if own.floor is not None or float(sizes.max()) <= FAR_APART * float(sizes.min()):
        return [1.0] * len(sizes)
    return [1.0 if 0.5 < size < 2 or size == 0 else size for size in sizes.tolist()]


def _label(name: str, scale: float) -> str:
    return name if scale == 1.0 else f"{name} / {scale:.1e}"


def _finish(axes: Any, own: Look, *, scaled: bool) -> None:
    """Axes and legend; the legend stands below, where no curve is."""
    axes.set_ylabel(f"{own.value}, scaled" if scaled else own.value)
    if own.log_time:
        axes.set_xscale("log")
    if own.floor is not None:
        axes.set_yscale("log")
        axes.set_ylim(bottom=own.floor)
    if len(own.components) > 1:
        axes.legend(
            fontsize="x-small",
            ncol=3,
            frameon=False,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.2),
        )


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
        _plain_ticks(place.xaxis)
    axes[0][0].legend(fontsize="small")
    made.suptitle(title, fontsize="medium")
    return made


def _plain_ticks(axis: Any) -> None:
    """Ticks of a logarithmic axis at 1, 2, 5, 10, ..., written out: less than a decade has some."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_formatter(NullFormatter())


def batch(problem: Problem, t: Tensor, y: Tensor, steps: Tensor) -> Any:
    """Rows of a batch: how many steps each of them took, and the band that they fill."""
    made, axes = figure(1, 2, (5.2, 3.9))
    left, right = axes[0]
    low, high = int(steps.min()), int(steps.max())
    width = math.ceil((high - low + 1) / MOST_BINS)
    left.hist(steps.tolist(), bins=range(low, high + width + 1, width), align="left")
    left.set_xlabel("attempted steps of a row")
    left.set_ylabel(f"rows (of {steps.shape[0]:,})")
    left.set_title(f"{problem.title}: every row has its own steps", fontsize="medium")
    own = look(problem)
    values = y[:, :, list(own.components)].detach().cpu()
    scales = _scales(values, own)
    levels = torch.tensor([0.05, 0.5, 0.95], dtype=values.dtype)
    for i, (name, scale) in enumerate(zip(own.names, scales, strict=True)):
        bottom, middle, top = torch.nanquantile(values[:, :, i] / scale, levels, 0)
        (line,) = right.plot(t, middle, lw=1.4, label=_label(name, scale))
        right.fill_between(t, bottom, top, color=line.get_color(), alpha=0.25, lw=0)
    right.set_xlabel(own.time)
    right.set_title("median of the rows, and where 90 % of them are", fontsize="medium")
    _finish(right, own, scaled=any(scale != 1.0 for scale in scales))
    return made
