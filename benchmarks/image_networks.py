"""Samplers on image networks, yours: distance to the network's own flow at equal evaluations.

    python benchmarks/image_networks.py                      # the networks of benchmarks/networks
    python benchmarks/image_networks.py FOLDER --samples 32 --moved 4 --out page.md

FOLDER holds one .py file for each network, with a function `network(samples)` that returns a dict:

    denoiser   D(x (B, ...), sigma (B,)) -> x0 for that many rows; `as_denoiser` makes it
    shape      of one sample
    images     (M, ...) some 200 of the data, or of the network's own samples, for the center of
               the mix grid; or center, that number itself
    range      (lowest, highest) sigma in training; without it that of EDM, (0.002, 80)
    init       (B, ...) optional: runs start from these images at the highest sigma

Every cell is measured on `--moved` grids whose inner levels are moved at random by up to 0.09 in
log sigma, because on a network that is rough in sigma levels alone move an error by a third.
"""

from __future__ import annotations

import argparse
import math
import runpy
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from guidance_entries import Array, paper_settings
from torch import Tensor

from stiffguide.adapters.diffusion import Emg, Heun, grid, noise_like, sample
from stiffguide.adapters.diffusion.curves import markdown
from stiffguide.adapters.diffusion.metrics import end_point_error
from stiffguide.adapters.diffusion.prediction import Denoiser
from stiffguide.errors import InputError
from stiffguide.guidance import ErrorDirection
from stiffguide.stepping.contracts import Guidance

OWN = Path(__file__).with_name("networks")
NFE = (6, 8, 12, 16, 24, 32)
UNGUIDED = ("dpmpp_2m", "dpmpp_3m", "deis3", "unipc2", "unipc3", "ipndm4")
NAMES = {
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_3m": "DPM++ 3M",
    "deis3": "DEIS-tab3",
    "unipc2": "UniPC2",
    "unipc3": "UniPC3",
    "ipndm4": "iPNDM4",
    "emg": "EMG",
    "emg_2": "EMG, two points",
    "heun": "Heun",
    "edg": "Heun + EDG",
    "edg3": "Heun + EDG3",
    "erk": "Heun + ERK-Guid, paper",
}
Errors = dict[tuple[str, str], Array]  # (grid, sampler) -> (NFE, which, moved)


@dataclass(frozen=True)
class Network:
    """A network as its file tells of it."""

    name: str
    denoiser: Denoiser
    shape: tuple[int, ...]
    ends: tuple[float, float]
    center: float
    init: Tensor | None

    @classmethod
    def of(cls, path: Path, samples: int) -> Network:
        """Read a file; InputError where it does not say what is needed."""
        make = runpy.run_path(str(path)).get("network")
        if not callable(make):
            raise InputError(f"{path.name}: write a function network(samples) that returns a dict")
        told: Mapping[str, Any] = make(samples)
        missing = [key for key in ("denoiser", "shape") if key not in told]
        if missing or not ("images" in told or "center" in told):
            raise InputError(
                f"{path.name}: network() returns {', '.join(told) or 'nothing'}; it needs "
                "denoiser, shape, and images or center"
            )
        center = told.get("center") or 0.375 * grid.principal_deviation(told["images"])
        ends = told.get("range", (grid.SIGMA_MIN, grid.SIGMA_MAX))
        shape = tuple(told["shape"])
        return cls(path.stem, told["denoiser"], shape, ends, float(center), told.get("init"))

    def grids(self) -> dict[str, Callable[[int], Tensor]]:
        """What the samplers run on."""
        low, high = self.ends
        return {
            "Karras": lambda n: grid.karras(n, low, high),
            "centered": lambda n: grid.mix(n, low, high, center=self.center),
            "mix at 0.25": lambda n: grid.mix(n, low, high, center=0.25),
        }

    def run(self, noise: Tensor, levels: Tensor, name: str) -> Tensor:
        """The samples (B, ...) of a sampler by its name here."""
        steps = len(levels) - 1
        method: Any = {"emg_2": Emg(2)}.get(name, name)
        rule: Guidance | None = None
        if name in ("edg", "edg3", "erk"):
            method, rule = Heun(), ErrorDirection(order=3 if name == "edg3" else 2)
            rule = paper_settings(steps) if name == "erk" else rule
        return sample(self.denoiser, noise, levels, method, rule, init=self.init).x


def reference(network: Network, noise: Tensor, levels: int) -> tuple[Tensor, float]:
    """The flow's end points (B, ...), and by how much half of the levels misses them (median)."""
    low, high = network.ends
    fine, half = (
        network.run(noise, grid.exponential(n, low, high), "dpmpp_2m")
        for n in (levels, levels // 2)
    )
    return fine, end_point_error(half, fine).median


def measure(
    network: Network,
    noise: Tensor,
    end: Tensor,
    budgets: Sequence[int],
    moved: int,
    say: Callable[[str], None],
) -> Errors:
    """Median and root mean square of the distances to the flow, of every sampler and grid."""
    found: Errors = {}
    for label, levels in network.grids().items():
        for name in NAMES:
            cost = 2 if name in ("heun", "edg", "edg3", "erk") else 1
            cells = []
            for nfe in budgets:
                grids = [levels(nfe // cost)]
                grids += [grid.moved(grids[0], seed=seed) for seed in range(1, moved)]
                errors = [end_point_error(network.run(noise, g, name), end) for g in grids]
                cells.append([[e.median for e in errors], [e.rms for e in errors]])
            found[label, name] = np.array(cells)
        say(f"{network.name}, {label}")
    return found


def averaged(errors: Array) -> Array:
    """Geometric means over the moved grids (NFE, which)."""
    mean: Array = np.exp(np.log(errors).mean(-1))
    return mean


def over_best(errors: Errors, label: str, name: str, base: str, which: int) -> Array:
    """One sampler over the best unguided one of the cell on the grid `base` (NFE,)."""
    best = np.min([averaged(errors[base, other])[:, which] for other in UNGUIDED], 0)
    found: Array = averaged(errors[label, name])[:, which] / best
    return found


def spread(errors: Errors, label: str) -> float:
    """By which factor moved grids change an error: the geometric mean over samplers and NFE."""
    logs = np.log([errors[label, name][:, 0] for name in (*UNGUIDED, "emg")])
    return math.exp(float(logs.std(-1, ddof=1).mean())) if logs.shape[-1] > 1 else 1.0


def number(value: float) -> str:
    """Two digits after the point, three below 0.1."""
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def mean_line(name: str, ratios: Array) -> list[str]:
    """Means over networks of ratios (networks, NFE), their mean, and the worst cell."""
    means = np.exp(np.log(ratios).mean(0))
    whole = math.exp(float(np.log(ratios).mean()))
    return [name, *map(number, means), number(whole), number(float(ratios.max()))]


def tables(studies: Sequence[Errors], budgets: Sequence[int]) -> list[str]:
    """What the page says, in Markdown."""
    head = ["evaluations", *map(str, budgets), "all", "worst cell"]
    parts = []
    shown = [n for n in NAMES if n not in ("edg3",)]
    for title, which in (("median", 0), ("root mean square", 1)):
        lines = []
        for label in ("Karras", "centered", "mix at 0.25"):
            for name in shown if label == "Karras" else ("emg", "emg_2", "dpmpp_2m", "unipc2"):
                ratios = np.array([over_best(e, label, name, "Karras", which) for e in studies])
                lines.append(mean_line(f"{label}: {NAMES[name]}", ratios))
        ratios = np.array([over_best(e, "centered", "emg", "centered", which) for e in studies])
        lines.append(mean_line("EMG over the best on the centered grid", ratios))
        parts.append(
            f"Over the best of {', '.join(NAMES[n] for n in UNGUIDED)} on the Karras grid, chosen "
            f"anew for every cell: {title} of the distance to the flow.\n\n{markdown(head, lines)}"
        )
    lines = []
    for label in ("Karras", "centered"):
        for name in ("edg", "edg3", "erk"):
            pairs = [averaged(e[label, n])[:, 0] for e in studies for n in (name, "heun")]
            ratios = np.array(pairs[0::2]) / np.array(pairs[1::2])
            lines.append(mean_line(f"{label}: {NAMES[name]}", ratios))
    parts.append(
        "Guided Heun over Heun without guidance at the same evaluations; ERK-Guid with the "
        "settings of its paper for the number of steps (arXiv 2603.03692): median of the distance "
        f"to the flow.\n\n{markdown(head, lines)}"
    )
    return parts


def report(paths: Sequence[Path], args: argparse.Namespace, say: Callable[[str], None]) -> str:
    """Measure every network, and write the page."""
    studies, facts = [], []
    for path in paths:
        network = Network.of(path, args.samples)
        noise = noise_like(
            (args.samples, *network.shape), range(args.seed, args.seed + args.samples)
        )
        end, doubt = reference(network, noise, args.levels)
        say(f"{network.name}, reference")
        errors = measure(network, noise, end, args.nfe, args.moved, say)
        studies.append(errors)
        size = end_point_error(end, torch.zeros_like(end)).median
        low, high = network.ends
        least = min(float(averaged(v)[:, 0].min()) for v in errors.values())
        facts.append(
            [network.name, "x".join(map(str, network.shape)), f"{low:g} to {high:g}"]
            + [f"{v:.3g}" for v in (network.center, size, doubt, least)]
            + [number(spread(errors, "Karras"))]
        )
    head = ["network", "shape", "sigma", "center", "norm", "half the levels", "least distance"]
    command = "python benchmarks/image_networks.py --out docs/image_networks_benchmark.md"
    return "\n\n".join(
        [
            "# Samplers on image networks, measured",
            f"Written by `{command}`: {args.samples} samples of each network, seeds from "
            f"{args.seed}, the mean over {args.moved} grids, all but the first with their inner "
            "levels moved at random by up to 0.09 in log sigma; one thread, float32. The reference "
            f"is DPM++ 2M over {args.levels} levels uniform in log sigma; how far half of them end "
            "from it (median) is its doubt. *Center* is where the bump of `grid.mix` lies on the "
            "centered grid, 0.375 principal deviations of the data; *moving* is the factor by "
            "which an error changes (one standard deviation) where levels alone are moved.",
            markdown([*head, "moving"], facts),
            *tables(studies, args.nfe),
            "Ratios that differ by less than *moving* over the square root of the number of moved "
            "grids are ties. Nearer to the flow is not nearer to the data: see "
            "[](diffusion.md).",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=OWN)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--moved", type=int, default=3, help="grids for every cell")
    parser.add_argument("--levels", type=int, default=400, help="of the reference")
    parser.add_argument("--nfe", default=",".join(map(str, NFE)))
    parser.add_argument("--out", type=Path, help="write the page there")
    args = parser.parse_args()
    args.nfe = [int(text) for text in args.nfe.split(",")]
    torch.set_num_threads(1)
    paths = sorted(args.folder.glob("*.py"))
    start = time.perf_counter()

    def say(text: str) -> None:
        print(f"[{time.perf_counter() - start:6.1f} s] {text}", file=sys.stderr, flush=True)

    try:
        if not paths:
            raise InputError(f"{args.folder}: no .py file there; each describes one network")
        text = report(paths, args, say)
    except InputError as error:
        sys.exit(str(error))
    print(text)
    if args.out:
        args.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
