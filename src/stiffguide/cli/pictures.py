"""Pictures of samples: images in a grid, points in a plane."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from stiffguide.cli.figures import figure

Array = np.ndarray[Any, Any]
MOST_IMAGES = 256


def samples(x: Array, title: str) -> Any:
    """Samples (B, H, W) in [-1, 1] as one sheet, or the first two coordinates of (B, F)."""
    made, axes = figure(1, 1, (5.0, 5.2))
    _show(axes[0, 0], x, title)
    return made


def compare(found: Mapping[str, Array], columns: int = 3) -> Any:
    """Several sets of samples from the same seeds, side by side."""
    rows = -(-len(found) // columns)
    made, axes = figure(rows, columns, (3.4, 3.6))
    for ax in axes.flat[len(found) :]:
        ax.set_axis_off()
    for ax, (title, x) in zip(axes.flat, found.items(), strict=False):
        _show(ax, x, title)
    return made


def _show(axes: Any, x: Array, title: str) -> None:
    axes.set_title(title, fontsize=10)
    if x.ndim == 3:
        axes.grid(False)
        axes.set_axis_off()
        axes.imshow(sheet(x), cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
        return
    axes.scatter(x[:, 0], x[:, 1], s=4, linewidths=0)
    axes.set(xlabel="x1", ylabel="x2", aspect="equal")


def sheet(x: Array) -> Array:
    """Images (B, H, W) on one sheet, a pixel apart, as square as can be."""
    x = np.nan_to_num(x[:MOST_IMAGES], nan=-1.0)
    count, height, width = x.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    made = np.ones((rows * (height + 1) - 1, columns * (width + 1) - 1), dtype=x.dtype)
    for i, image in enumerate(x):
        top, left = (i // columns) * (height + 1), (i % columns) * (width + 1)
        made[top : top + height, left : left + width] = image
    return made
