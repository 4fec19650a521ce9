"""Samplers on the MNIST network of the repository: distances to its flow and to held-out digits.

    python benchmarks/image_model.py --out docs/image_model.md      # some 7 minutes on one core

Every sampler of the package, and Heun with `ErrorDirection`, at equal evaluations on the Karras
grid and on `grid.mix` with its bump where the digits take shape. Each round has noise of its own
and moves the inner levels of its grids by up to 0.05 in log sigma, because levels alone change an
error. Frechet distances are of the features of the repository's classifier, over all rounds.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from page import number, save, table
from torch import Tensor

from stiffguide.adapters.diffusion import grid, noise_like, sample
from stiffguide.adapters.diffusion.curves import Entry
from stiffguide.adapters.diffusion.metrics import (
    Moments,
    end_point_error,
    frechet_distance,
    moments,
)
from stiffguide.adapters.diffusion.mnist import (
    CLASSES,
    load_mnist_classifier,
    load_mnist_denoiser,
    mnist_data,
)
from stiffguide.adapters.diffusion.problems import reference_end
from stiffguide.adapters.diffusion.sample import SAMPLERS
from stiffguide.guidance import ErrorDirection

NFE = (6, 8, 12, 16, 24, 32)
MOVE = 0.05  # in log sigma, at most
STEPS = 60  # of RK4 in log sigma, four evaluations each: the flow that is compared with
GUIDED = "heun + ErrorDirection"
SHOWN = ("heun", GUIDED, "dpmpp_2m", "deis3", "unipc2", "emg")
SHEETS = (("Karras", "heun"), ("Karras", GUIDED), ("Karras", "dpmpp_2m"), ("Karras", "emg"))
SHEETS = (*SHEETS, ("centered", "emg"))

Cell = tuple[str, str, int]  # grid, sampler, evaluations


@dataclass
class Study:
    """What every round left."""

    entries: Sequence[str]
    budgets: Sequence[int]
    distances: dict[Cell, list[float]] = field(default_factory=dict)  # relative, by round
    images: dict[Cell, list[Tensor]] = field(default_factory=dict)
    flow: list[Tensor] = field(default_factory=list)

    def mean(self, cell: Cell) -> float:
        """The geometric mean over the rounds."""
        return float(np.exp(np.log(self.distances[cell]).mean()))

    def spread(self, label: str) -> float:
        """The factor by which a round changes a distance: one deviation, mean over the cells.

        What all samplers share in a round, harder noise, is taken out: ranks do not feel it.
        """
        cells = [[np.log(self.distances[label, e, n]) for e in self.entries] for n in self.budgets]
        logs = np.array(cells)  # (NFE, sampler, round)
        own = logs - np.median(logs, 1, keepdims=True)
        rounds = logs.shape[-1]
        return float(np.exp(own.std(-1, ddof=1).mean())) if rounds > 1 else 1.0

    def nearest(self, label: str, nfe: int) -> tuple[list[str], list[str]]:
        """The nearest sampler and those that tie with it; all, by distance."""
        order = sorted(self.entries, key=lambda e: self.mean((label, e, nfe)))
        rounds = len(self.flow)
        # of the mean of as many rounds, and of the difference of two samplers
        margin = self.spread(label) ** (2 / rounds) ** 0.5
        best = self.mean((label, order[0], nfe))
        return [e for e in order if self.mean((label, e, nfe)) <= margin * best], order


def entries(center: float) -> dict[str, list[Callable[[int], Entry]]]:
    """By grid: every sampler, as a function of the seed by which its levels are moved."""

    def on(make: Callable[[int], Tensor], name: str) -> Callable[[int], Entry]:
        method = "heun" if name == GUIDED else name
        rule = (lambda steps: ErrorDirection()) if name == GUIDED else (lambda steps: None)
        return lambda seed: Entry(name, method, lambda n: grid.moved(make(n), MOVE, seed), rule)

    grids = {"Karras": grid.karras, "centered": lambda n: grid.mix(n, center=center)}
    names = (*SAMPLERS, GUIDED)
    return {label: [on(make, name) for name in names] for label, make in grids.items()}


@torch.no_grad()
def measure(samples: int, rounds: int, budgets: Sequence[int], say: Callable[[str], None]) -> Study:
    images, _ = mnist_data("training")
    center = 0.375 * grid.principal_deviation(images[:1000])
    denoiser = load_mnist_denoiser(torch.arange(samples) % CLASSES)
    study = Study((*SAMPLERS, GUIDED), budgets)
    for r in range(rounds):
        noise = noise_like((samples, 1, 28, 28), range(r * samples, (r + 1) * samples))
        noise = noise.to(torch.float32)
        flow = reference_end(denoiser, noise, steps=STEPS)
        size = float(flow.flatten(1).square().sum(1).mean().sqrt())
        study.flow.append(flow)
        say(f"round {r + 1}: the flow")
        for label, makers in entries(center).items():
            for make in makers:
                entry = make(r + 1)
                for nfe in budgets:
                    x = entry.run(denoiser, noise, nfe)
                    cell = (label, entry.name, nfe)
                    error = end_point_error(x, flow).median / size
                    study.distances.setdefault(cell, []).append(error)
                    study.images.setdefault(cell, []).append(x)
            say(f"round {r + 1}: {label}")
    return study


@dataclass(frozen=True)
class Features:
    """Moments of the classifier's features: of a cell, of the flow, of held-out digits."""

    of: Callable[[Tensor], Moments]
    held_out: Moments

    @classmethod
    def loaded(cls) -> Features:
        net = load_mnist_classifier()

        @torch.no_grad()
        def of(images: Tensor) -> Moments:
            return moments(net.features(images))

        return cls(of, of(mnist_data("held out")[0]))

    def floor(self, count: int, draws: int = 20) -> tuple[float, float]:
        """The distance of so many training digits, classes in turn, and its deviation by chance."""
        images, labels = mnist_data("training")
        random = torch.Generator().manual_seed(0)
        found = []
        for _ in range(draws):
            order = torch.randperm(len(images), generator=random)
            rows = [order[labels[order] == k % CLASSES][k // CLASSES] for k in range(count)]
            found.append(frechet_distance(self.of(images[torch.stack(rows)]), self.held_out))
        return float(np.mean(found)), float(np.std(found))


def distance_table(study: Study, label: str) -> str:
    lines = [
        [name, *(number(100 * study.mean((label, name, n))) for n in study.budgets)]
        for name in study.entries
    ]
    return table([f"{label} grid, percent", *map(str, study.budgets)], lines)


def frechet_table(study: Study, label: str, features: Features, flow: Moments) -> str:
    """To the held-out digits, and in brackets to the fine run."""
    lines = []
    for name in study.entries:
        seen = [features.of(torch.cat(study.images[label, name, n])) for n in study.budgets]
        pairs = [(frechet_distance(m, features.held_out), frechet_distance(m, flow)) for m in seen]
        lines.append([name, *(f"{number(a)} ({number(b)})" for a, b in pairs)])
    return table([f"{label} grid, to data (to the fine run)", *map(str, study.budgets)], lines)


def ties(study: Study) -> str:
    lines = []
    for label in ("Karras", "centered"):
        for nfe in study.budgets:
            found, order = study.nearest(label, nfe)
            later = next((e for e in order if e not in found), "")
            ratio = study.mean((label, later, nfe)) / study.mean((label, order[0], nfe))
            lines.append([label, str(nfe), ", ".join(found), f"{later}, {ratio:.2f} of the first"])
    return table(["grid", "NFE", "nearest, with what ties with it", "the next"], lines)


def draw_curves(study: Study, where: Path) -> None:
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(8.6, 3.6), sharey=True)
    for axes, label in zip(panels, ("Karras", "centered"), strict=True):
        for marker, name in zip("os^DvP", SHOWN, strict=True):
            values = [100 * study.mean((label, name, n)) for n in study.budgets]
            axes.plot(study.budgets, values, marker + "-", label=name, markersize=4)
        axes.set(xscale="log", yscale="log", xlabel="evaluations", title=f"{label} grid")
        axes.set_xticks(study.budgets, [str(n) for n in study.budgets])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("distance to the flow, %")
    panels[1].legend(fontsize="small")
    figure.tight_layout()
    save(figure, where)


def draw_samples(study: Study, nfe: int, where: Path) -> None:
    from matplotlib import pyplot

    rows: list[tuple[str, Tensor]] = [("the flow", study.flow[0])]
    rows += [(f"{name}, {label}", study.images[label, name, nfe][0]) for label, name in SHEETS]
    count = min(2 * CLASSES, len(study.flow[0]))
    figure, panels = pyplot.subplots(len(rows), 1, figsize=(8.6, 0.62 * len(rows)))
    for axes, (title, images) in zip(panels, rows, strict=True):
        strip = torch.cat(list(images[:count, 0]), 1).clamp(-1, 1).numpy()
        axes.imshow(strip, cmap="gray_r", vmin=-1, vmax=1)
        axes.set_yticks([])
        axes.set_xticks([])
        axes.set_ylabel(title, rotation=0, ha="right", va="center", fontsize=7)
    figure.subplots_adjust(left=0.21, right=0.99, top=0.99, bottom=0.01)
    save(figure, where)


def doubt(study: Study, samples: int) -> float:
    """How far the flow with half of the steps ends from it, relative to |x|; the first round."""
    denoiser = load_mnist_denoiser(torch.arange(samples) % CLASSES)
    noise = noise_like((samples, 1, 28, 28), range(samples)).to(torch.float32)
    half = reference_end(denoiser, noise, steps=STEPS // 2)
    size = float(study.flow[0].flatten(1).square().sum(1).mean().sqrt())
    return end_point_error(half, study.flow[0]).median / size


@torch.no_grad()
def quality(many: int) -> str:
    """A sentence on the network itself: so many samples by EMG, and so many real digits."""
    features, net = Features.loaded(), load_mnist_classifier()
    classes = torch.arange(many) % CLASSES
    center = 0.375 * grid.principal_deviation(mnist_data("training")[0][:1000])
    made = []
    for seeds in torch.arange(many).split(100):
        noise = noise_like((len(seeds), 1, 28, 28), seeds.tolist()).to(torch.float32)
        denoiser = load_mnist_denoiser(classes[seeds])
        made.append(sample(denoiser, noise, grid.mix(16, center=center), "emg").x)
    x = torch.cat(made)
    told = float((net(x).argmax(-1) == classes).float().mean())
    real, others = mnist_data("training")[0][:many], mnist_data("held out")[0]
    halves = frechet_distance(features.of(others[::2]), features.of(others[1::2]))
    ours, real_ones = (frechet_distance(features.of(v), features.held_out) for v in (x, real))
    return (
        f"{many:,} samples by EMG at 16 evaluations on the centered grid have a Frechet distance "
        f"of {number(ours)} to the 2,000 held-out digits, {many:,} digits that both networks were "
        f"trained on {number(real_ones)}, and two halves of the held-out ones, 1,000 each, "
        f"{number(halves)} between them; the classifier takes {100 * told:.1f} percent of the "
        "samples for the class that was asked for."
    )


def report(study: Study, samples: int, many: int, started: float) -> str:
    features, rounds = Features.loaded(), len(study.flow)
    flow = features.of(torch.cat(study.flow))
    floor, chance = features.floor(samples * rounds)
    spreads = ", ".join(f"{study.spread(label):.2f} ({label})" for label in ("Karras", "centered"))
    center = 0.375 * grid.principal_deviation(mnist_data("training")[0][:1000])
    told = quality(many)
    seconds = time.process_time() - started
    return "\n\n".join(
        [
            "# An image network, measured",
            "Written by `python benchmarks/image_model.py --out docs/image_model.md`: "
            f"{samples} digits, classes in turn, in each of {rounds} rounds (seeds from 0), from "
            f"sigma 80 to 0.002, one thread, float32, torch {torch.__version__} on "
            f"{platform.machine()}, {seconds / 60:.0f} CPU minutes. The network is "
            "`load_mnist_denoiser()`: 0.9 million weights, 28 x 28 ([](diffusion.md)). Each round "
            f"has noise of its own, and the inner levels of its grids are moved by up to {MOVE} in "
            "log sigma. *Karras* is `grid.karras(n)`, *centered* "
            f"`grid.mix(n, center={center:.2f})`, 0.375 principal deviations of the digits.",
            "![Distance to the flow](images/image_model.png)",
            "## Distance to the flow",
            "Percent of the root mean square norm of a digit; medians over digits, geometric means "
            f"over rounds. The flow is RK4 with {STEPS} steps in log sigma, half of which end "
            f"{100 * doubt(study, samples):.2g} percent off.",
            distance_table(study, "Karras"),
            distance_table(study, "centered"),
            "A round changes a distance, beside what it changes for all, by a factor of "
            f"{spreads}, one standard deviation. Samplers within that, over the root of half the "
            "number of rounds, tie:",
            ties(study),
            "## Distance to the data",
            "Frechet distances of 64 features of the repository's classifier, of "
            f"{samples * rounds} digits to 2,000 that were held out, and in brackets to those of "
            f"the fine run. So many real digits have {number(floor)}, by chance {number(chance)} "
            "more or less, and smaller differences say nothing; the flow itself has "
            f"{number(frechet_distance(flow, features.held_out))}. Nearer to the "
            "flow is not nearer to the data: the column in brackets ranks samplers by the flow, "
            "the other one does so only where a sampler is far off.",
            frechet_table(study, "Karras", features, flow),
            frechet_table(study, "centered", features, flow),
            "## Samples",
            told,
            "At 8 evaluations, from the same noise:",
            "![Samples at 8 evaluations](images/image_model_samples.png)",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=32, help="in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--many", type=int, default=2000, help="samples, for the network itself")
    parser.add_argument("--nfe", default=",".join(map(str, NFE)))
    parser.add_argument("--out", type=Path, default=Path("out/image_model.md"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    start = time.process_time()

    def say(text: str) -> None:
        print(f"[{time.process_time() - start:6.1f} s] {text}", file=sys.stderr, flush=True)

    budgets = [int(text) for text in args.nfe.split(",")]
    study = measure(args.samples, args.rounds, budgets, say)
    images = args.out.parent / "images"
    draw_curves(study, images / "image_model.png")
    draw_samples(study, 8 if 8 in budgets else budgets[0], images / "image_model_samples.png")
    text = report(study, args.samples, args.many, start)
    args.out.write_text(text + "\n", encoding="utf-8")
    say(f"{args.out}")


if __name__ == "__main__":
    main()
