"""The part of the demo that samples: digits from one set of seeds, by five samplers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from stiffguide.adapters.diffusion import metrics
from stiffguide.adapters.diffusion.curves import Point, curves, picture
from stiffguide.adapters.diffusion.digits import load_digits_denoiser
from stiffguide.adapters.diffusion.noise import noise_like
from stiffguide.adapters.diffusion.prediction import Denoiser
from stiffguide.adapters.diffusion.problems import reference_end
from stiffguide.cli import figures, pictures
from stiffguide.cli.curves import entry
from stiffguide.cli.options import FLOW
from stiffguide.cli.tables import Table

SAMPLERS = {
    "heun": "Heun",
    "heun+erk-guid": "Heun + ERK-Guid (0.75, 0.3)",
    "heun+error-direction": "Heun + ErrorDirection",
    "dpmpp_2m": "DPM-Solver++ 2M",
    "emg": "EMG",
}
IMAGES = 64
NFE = 16
BUDGETS = (8, 12, 16, 24, 32)


def digits() -> Denoiser:
    """The network that is sampled; InputError where an installed package has no weights."""
    return load_digits_denoiser(torch.arange(IMAGES) % 10)


def sample_digits(
    denoiser: Denoiser, out: Path, budgets: tuple[int, ...] = BUDGETS
) -> tuple[Table, list[Path]]:
    """Sample, compare with the fine trajectory, and leave the sheets and the curve in `out`."""
    noise = noise_like((IMAGES, 8, 8), range(IMAGES), dtype=torch.float32)
    flow = reference_end(denoiser, noise)
    entries = {title: entry(name, "karras") for name, title in SAMPLERS.items()}
    sheets: dict[str, np.ndarray[Any, Any]] = {
        title: made.run(denoiser, noise, NFE).numpy() for title, made in entries.items()
    }
    sheets["the flow itself (1000 evaluations)"] = flow.numpy()
    figures.save(pictures.compare(sheets), out / "digits.png")
    named = [entry(name, "karras") for name in SAMPLERS]
    points = curves(denoiser, noise, named, budgets, {FLOW: metrics.distance_to_flow(flow)})
    titled = [point._replace(sampler=SAMPLERS[point.sampler]) for point in points]
    curve = picture(titled, FLOW, out / "digits_curve.png", "8x8 digits, Karras grid")
    return _table(titled, budgets), [out / "digits.png", curve]


def _table(points: list[Point], budgets: tuple[int, ...]) -> Table:
    title = f"{IMAGES} digits from the same seeds: {FLOW} at so many evaluations"
    table = Table(title, ("sampler", *map(str, budgets)), left=("sampler",))
    for name in SAMPLERS.values():
        mine = {p.budget: p.values[FLOW] for p in points if p.sampler == name}
        table.add(name, *(f"{mine[budget]:.3g}" for budget in budgets))
    return table
