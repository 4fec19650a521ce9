"""`stiffguide curves`: a metric against the number of evaluations, for several samplers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from stiffguide.adapters.diffusion import metrics
from stiffguide.adapters.diffusion.curves import Entry, picture, table
from stiffguide.adapters.diffusion.curves import curves as measure
from stiffguide.adapters.diffusion.digits import digits_data
from stiffguide.adapters.diffusion.noise import noise_like
from stiffguide.adapters.diffusion.prediction import Denoiser
from stiffguide.adapters.diffusion.problems import reference_end
from stiffguide.adapters.diffusion.sample import SAMPLERS
from stiffguide.cli import figures, samplers
from stiffguide.cli.options import GUIDANCE, METRICS, MOST_EVALUATIONS, wholes
from stiffguide.cli.tables import console
from stiffguide.errors import InputError


def curves(
    model: str,
    names: str,
    nfe: str,
    metric: str,
    grid: str,
    center: float | None,
    seeds: list[int],
    w_stiff: float,
    w_con: float,
    plot: Path | None,
    save: Path | None,
    progress: bool | None,
) -> None:
    """Measure samplers from the same noise; table and picture."""
    figures.check(plot)
    chosen = samplers.model(model, 1.0, 1.0, torch.device("cpu"))
    denoiser = chosen.denoiser(None)
    noise = noise_like((len(seeds), *chosen.shape), seeds, dtype=chosen.dtype)
    entries = [entry(name.strip(), grid, w_stiff, w_con, center) for name in names.split(",")]
    budgets = wholes(nfe, "--nfe", MOST_EVALUATIONS, "8,16,32")
    for one in entries:  # what cannot be used is refused before anything is measured
        one.grid(1)
        one.guidance(1)
    label = METRICS[metric]
    measures = {label: _metric(metric, model, denoiser, noise)}
    show = sys.stderr.isatty() if progress is None else progress
    with tqdm(total=len(entries) * len(budgets), unit="run", disable=not show) as bar:
        points = measure(
            denoiser, noise, entries, budgets, measures, progress=lambda *_: bar.update(1)
        )
    text = table(points, label)
    console().print(text, markup=False)
    if save is not None:
        save.write_text(text + "\n", encoding="utf-8")
    if plot is not None:
        title = f"{model}, {grid} grid".replace("$", r"\$")  # no formula
        picture(points, label, plot, title)


def entry(
    name: str,
    grid: str,
    w_stiff: float = 0.75,
    w_con: float = 0.3,
    center: float | None = None,
) -> Entry:
    """A sampler by a name such as "heun+error-direction"."""
    method, _, rule = name.partition("+")
    if method not in SAMPLERS:
        raise InputError(f"no sampler is called {method!r}; there are {', '.join(SAMPLERS)}")
    if rule and rule not in GUIDANCE:
        raise InputError(f"no guidance is called {rule!r}; there are {', '.join(GUIDANCE)}")
    return Entry(
        name,
        method,
        lambda n: samplers.levels(grid, n, 0.002, 80.0, center),
        lambda n: samplers.guidance(rule or "none", w_stiff, w_con),
    )


def _metric(
    metric: str, model: str, denoiser: Denoiser, noise: Tensor
) -> Callable[[Tensor], float]:
    if metric == "flow":
        return metrics.distance_to_flow(reference_end(denoiser, noise, 80.0, 0.002))
    if model != "digits":
        raise InputError(f"--metric {metric} compares with data, which {model} has not: use flow")
    images, _ = digits_data()
    data = images.flatten(1)
    if metric == "frechet":
        return lambda x: metrics.frechet_distance(x.flatten(1), data)
    return lambda x: metrics.sliced_wasserstein(x.flatten(1), data)
