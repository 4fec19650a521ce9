"""Data with their deviations, and the model through them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from stiffguide.errors import InputError
from stiffguide.fitting.experiments import Measured
from stiffguide.solution import Solution

POINTS = 300  # of a curve
DECADES = 100.0  # last time over first, from which the axis of t is logarithmic
COLUMNS = 3
PANEL = (3.4, 2.6)  # inches


def picture(solutions: Sequence[Solution[Any]], m: Measured) -> Any:
    """A panel for every observed component, a colour for every experiment."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise InputError("a picture needs matplotlib: pip install 'stiffguide[plot]'") from error
    count = len(m.observed)
    columns = min(count, COLUMNS)
    rows = math.ceil(count / columns)
    made = Figure(figsize=(PANEL[0] * columns, PANEL[1] * rows), layout="constrained")
    axes = made.subplots(rows, columns, squeeze=False).flat
    for place in axes[count:]:
        place.set_visible(False)
    for o, component in enumerate(m.observed.tolist()):
        axes[o].set_title(m.layout.component(component), fontsize="medium")
        axes[o].set_xlabel("t")
        for k, solution in enumerate(solutions):
            _draw(axes[o], solution, m, k, o)
    return made


def _draw(axis: Any, solution: Solution[Any], m: Measured, k: int, o: int) -> None:
    """One experiment and one component."""
    times, data = m.times[k, : m.counts[k]], m.data[k, : m.counts[k], o]
    colour = f"C{k}"
    fine, scale = _fine(m.t0[k], times)
    flat = torch.cat([m.layout.flatten(solution.at(t), "y") for t in fine])
    axis.set_xscale(scale)
    axis.plot(fine.numpy(), flat[:, m.observed[o]].numpy(), color=colour, linewidth=1.2)
    error = None if m.sigma is None else m.sigma[k, : m.counts[k], o].numpy()
    look = {"fmt": "o", "markersize": 3, "capsize": 1.5, "linewidth": 0.8}
    axis.errorbar(times.numpy(), data.numpy(), yerr=error, color=colour, **look)


def _fine(t0: Tensor, times: Tensor) -> tuple[Tensor, str]:
    """Times of a curve, and the scale that shows them all."""
    first, last = float(times[0]), float(times[-1])
    if float(t0) == first:
        first = float(times[1]) if len(times) > 1 else last
    if first > 0 and first * DECADES < last:
        return torch.logspace(math.log10(first), math.log10(last), POINTS, dtype=times.dtype), "log"
    return torch.linspace(float(t0), last, POINTS, dtype=times.dtype), "linear"
