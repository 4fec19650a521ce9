"""`stiffguide curves`: a metric against the number of evaluations, for several samplers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import click
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
from stiffguide.cli import samplers
from stiffguide.cli.tables import console
from stiffguide.errors import InputError

FLOW = "median distance to the flow"
METRICS = {"flow": FLOW, "frechet": "Frechet distance", "wasserstein": "sliced Wasserstein"}


@click.command()
@click.option("--model", default="digits", show_default=True, help="digits, or an analytic problem")
@click.option(
    "--samplers",
    "names",
    default="heun,heun+erk-guid,heun+error-direction,dpmpp_2m,unipc2,emg",
    show_default=True,
    help="methods, with +guidance where wanted",
)
@click.option("--nfe", default="6,8,12,16,24,32", show_default=True, help="budgets")
@click.option("--metric", type=click.Choice(tuple(METRICS)), default="flow", show_default=True)
@click.option("--grid", default="karras", show_default=True, help="a name, or a calibrated .json")
@click.option("--seeds", callback=samplers.seeds, default="0-255", show_default=True)
@click.option("--w-stiff", type=float, default=0.75, show_default=True, help="of erk-guid")
@click.option("--w-con", type=float, default=0.3, show_default=True, help="of erk-guid")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="picture to write")
@click.option("--save", type=click.Path(dir_okay=False, path_type=Path), help="Markdown to write")
@click.option("--progress/--no-progress", default=None, help="show how far it is")
def curves(
    model: str,
    names: str,
    nfe: str,
    metric: str,
    grid: str,
    seeds: list[int],
    w_stiff: float,
    w_con: float,
    plot: Path | None,
    save: Path | None,
    progress: bool | None,
) -> None:
    """Measure samplers from the same noise; table and picture."""
    chosen = samplers.model(model, 1.0, 1.0, torch.device("cpu"))
    denoiser = chosen.denoiser(None)
    noise = noise_like((len(seeds), *chosen.shape), seeds, dtype=chosen.dtype)
    entries = [entry(name.strip(), grid, w_stiff, w_con) for name in names.split(",")]
    budgets = _budgets(nfe)
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
        picture(points, label, plot, f"{model}, {grid} grid")


def entry(name: str, grid: str, w_stiff: float = 0.75, w_con: float = 0.3) -> Entry:
    """A sampler by a name such as "heun+error-direction"."""
    method, _, rule = name.partition("+")
    if method not in SAMPLERS:
        raise InputError(f"no sampler is called {method!r}; there are {', '.join(SAMPLERS)}")
    if rule and rule not in samplers.GUIDANCE:
        raise InputError(
            f"no guidance is called {rule!r}; there are {', '.join(samplers.GUIDANCE)}"
        )
    return Entry(
        name,
        method,
        lambda n: samplers.levels(grid, n, 0.002, 80.0),
        lambda n: samplers.guidance(rule or "none", w_stiff, w_con),
    )


def _budgets(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError as error:
        raise InputError(f"--nfe {text}: write numbers such as 8,16,32") from error


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
