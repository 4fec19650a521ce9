"""A grid made for one model: nodes where the error of a step, carried to the end, is equal.

One run over a fine grid tells how much a third node changes each step, and how much of that is
still there at the end; the grid then spends its nodes where both are large.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stiffguide import documents
from stiffguide.adapters.diffusion import grid
from stiffguide.adapters.diffusion.condition import Condition, with_condition
from stiffguide.adapters.diffusion.evaluator import Evaluator
from stiffguide.adapters.diffusion.exponential import DPMPP_2M, data_weights
from stiffguide.adapters.diffusion.prediction import Denoiser
from stiffguide.adapters.diffusion.sampler import Denoise, Interval
from stiffguide.adapters.diffusion.start import Start
from stiffguide.errors import InputError

Array = NDArray[np.float64]

FLOOR = 1e-12  # added to every error
EVEN = 0.05  # of the mean density, added everywhere
FORMAT = "stiffguide calibrated grid 1"


@dataclass(frozen=True)
class CalibratedGrid:
    """A density of nodes in log sigma; call it with a number of intervals.

    levels (M + 1,) fall, densities (M,) belong to the intervals between them.

    Raises InputError for levels and densities that do not go together.
    """

    levels: tuple[float, ...]
    densities: tuple[float, ...]

    def __post_init__(self) -> None:
        grid.falling(self.levels)
        whole = len(self.densities) == len(self.levels) - 1 and self.levels[-1] > 0
        if not whole or not all(0 < d < math.inf for d in self.densities):
            raise InputError(
                "CalibratedGrid: needs levels (M + 1,) above 0 and as many positive densities as "
                "there are intervals"
            )

    def __call__(self, n: int, *, zero: bool = False) -> Tensor:
        """n intervals of equal weight; with `zero` the last one goes to 0."""
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise InputError(f"n is the number of intervals, a whole number from 1 on, not {n!r}")
        logs = np.log(np.array(self.levels))
        weight = np.concatenate(([0.0], np.cumsum(np.array(self.densities) * -np.diff(logs))))
        share = np.linspace(0.0, 1.0, n if zero else n + 1)
        nodes = np.exp(np.interp(share * weight[-1], weight, logs))
        nodes[0] = self.levels[0]
        if len(nodes) > 1:
            nodes[-1] = self.levels[-1]
        return torch.from_numpy(np.append(nodes, 0.0) if zero else nodes)

    def __repr__(self) -> str:
        first, last = self.levels[0], self.levels[-1]
        return f"CalibratedGrid(sigma {first:g} to {last:g}, from {len(self.densities)} steps)"

    def to_json(self) -> str:
        """As text; floats keep all their digits."""
        fields = {"format": FORMAT, "levels": self.levels, "densities": self.densities}
        return json.dumps(fields, indent=1)

    @classmethod
    def from_json(cls, text: str) -> CalibratedGrid:
        """From text; raises InputError if it is none."""
        return cls._from_fields(documents.parsed(text, "json", "not a calibrated grid"))

    def save(self, path: str | Path) -> None:
        """Write the JSON text to a file."""
        Path(path).write_text(self.to_json() + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> CalibratedGrid:
        """Read what `save` wrote; raises InputError if it is none."""
        path = Path(path)
        fields = documents.parsed(documents.text(path), "json", path)
        try:
            return cls._from_fields(fields)
        except InputError as error:
            raise InputError(f"{documents.shown(path)}: {error}") from None

    @classmethod
    def _from_fields(cls, fields: Mapping[str, Any]) -> CalibratedGrid:
        if fields.get("format") != FORMAT:
            given = documents.shown(fields.get("format"))
            raise InputError(f"not a calibrated grid: this is format {given}, not {FORMAT!r}")
        return cls(*(_row(fields.get(key), key) for key in ("levels", "densities")))


def _row(value: Any, what: str) -> tuple[float, ...]:
    """A field of a file: floats as `json` writes them, between the bounds of `documents`."""
    if not isinstance(value, list):
        raise InputError(f"{what} must be a list of numbers, not {documents.shown(value)}")
    return tuple(float(documents.number(x, f"{what}[{i}]")) for i, x in enumerate(value))


def calibrate_grid(
    denoiser: Denoiser,
    noise: Tensor,
    sigma_min: float = grid.SIGMA_MIN,
    sigma_max: float = grid.SIGMA_MAX,
    *,
    steps: int = 32,
    init: Tensor | None = None,
    condition: Condition | None = None,
    model_dtype: torch.dtype | None = None,
) -> CalibratedGrid:
    """The grid of this denoiser from unit-variance noise (B, ...), 32 samples say.

    It takes about steps^2 evaluations per sample, once; the result serves every number of steps.
    init: images (B, ...) to which the noise is added, for runs that start from images at sigma_max.
    condition: as in `sample`. Raises InputError for what is not finite or does not fit.
    """
    if steps < 3:
        raise InputError(f"calibrate_grid: steps must be at least 3, not {steps}")
    levels = tuple(grid.karras(steps, sigma_min, sigma_max).tolist())
    with torch.no_grad():
        start = Start.of(noise, init, None, None)
        calls = Evaluator(with_condition(denoiser, condition), start.shape, model_dtype)
        first = torch.add(start.image, start.noise, alpha=sigma_max)
        errors = _errors(calls, first.flatten(1), levels)
    if not np.isfinite(errors).all():
        raise InputError("calibrate_grid: the denoiser returned values that are not finite")
    return CalibratedGrid(levels, tuple(_densities(errors, levels).tolist()))


def _errors(denoise: Denoise, x: Tensor, levels: tuple[float, ...]) -> Array:
    """What a third node changes of steps 2 to M, carried to the end: medians over the samples."""
    values = [denoise(x, levels[0])]
    errors = []
    predicted = _move(x, levels[0], levels[1], (levels[0],), values)
    for i in range(1, len(levels)):
        a, p = levels[i], levels[i - 1]
        values = [denoise(predicted, a), *values[:2]]
        if i == 1:
            x = predicted
        else:
            x = _move(x, p, a, (a, p, levels[i - 2]), values)
            carried = _carry(denoise, x, levels[i:]) - _carry(denoise, predicted, levels[i:])
            errors.append(torch.linalg.vector_norm(carried, dim=-1).median())
        if i + 1 < len(levels):
            predicted = _move(x, a, levels[i + 1], (a, p), values)
    return torch.stack(errors).cpu().to(torch.float64).numpy() + FLOOR


def _move(x: Tensor, a: float, b: float, nodes: tuple[float, ...], values: list[Tensor]) -> Tensor:
    """From a to b by the polynomial in log sigma through these nodes."""
    total = x * (b / a)
    for w, value in zip(data_weights(nodes, a, b), values, strict=False):
        total = torch.add(total, value, alpha=w)
    return total


def _carry(denoise: Denoise, x: Tensor, levels: tuple[float, ...]) -> Tensor:
    """DPM-Solver++ 2M over the rest of the grid."""
    state = DPMPP_2M.init(x, levels)
    for i in range(len(levels) - 1):
        past = levels[i - 1 : i] if i else ()
        interval = Interval(levels[i], levels[i + 1], past, len(levels) - 1 - i)
        x, _, _, state = DPMPP_2M.step(denoise, interval, x, state)
    return x


def _densities(errors: Array, levels: tuple[float, ...]) -> Array:
    """Nodes per unit of log sigma (M,): fourth roots of the errors per h^3, smoothed."""
    h = -np.diff(np.log(np.array(levels)))
    density = (errors / h[1:] ** 3) ** 0.25
    density = np.concatenate((density[:1], density))  # the first step has no third node
    logs = np.pad(np.log(density), 1, mode="edge")
    smooth = np.exp(logs[:-2] / 4 + logs[1:-1] / 2 + logs[2:] / 4)
    filled: Array = smooth + EVEN * float(smooth @ h / h.sum())
    return filled
