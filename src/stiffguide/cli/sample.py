"""`stiffguide sample`: samples from a model, in one process or in many."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from stiffguide.adapters.diffusion.digits import CLASSES
from stiffguide.adapters.diffusion.noise import noise_like
from stiffguide.adapters.diffusion.sample import sample as run
from stiffguide.adapters.diffusion.shards import Ranks, Shards
from stiffguide.cli import figures, pictures, samplers
from stiffguide.cli.options import wholes
from stiffguide.cli.samplers import Model
from stiffguide.cli.tables import console, wrote
from stiffguide.errors import InputError, Status
from stiffguide.stepping.contracts import Guidance


def sample(out: Path, png: Path | None, progress: bool | None, threads: int, **asked: Any) -> None:
    """Sample a model; finished chunks are kept beside `out`, so that a killed run goes on."""
    # the order of a sum depends on the number of threads, and with it the last bit
    torch.set_num_threads(threads)
    figures.check(png)
    page = console()
    with Ranks() as ranks:
        job = Job(asked, ranks.device)
        shards = _shards(out, asked)
        shards.open()
        ranks.wait()
        show = sys.stderr.isatty() if progress is None else progress
        todo = list(shards.mine(ranks.rank, ranks.world))
        try:
            for index in tqdm(todo, unit="chunk", disable=not (show and ranks.rank == 0)):
                job.run(shards, index)
        except InputError:  # what was asked for does not go together
            shards.abandon()
            raise
        ranks.wait()
        if ranks.rank:
            return
        found = shards.gather()
    _finish(found, out, png, asked)
    bad = int((found["status"] != int(Status.SUCCESS)).sum())
    page.print(
        f"{len(found['x'])} samples by {asked['method']} with {int(found['nfe'])} evaluations each",
        markup=False,
    )
    for path in filter(None, (out, png)):
        wrote(page, path)
    if bad:
        page.print(
            f"{bad} of {len(found['x'])} samples are not finite; see `status` in the file",
            style="red",
            markup=False,
        )
        sys.exit(1)


def _shards(out: Path, asked: dict[str, Any]) -> Shards:
    folder = out.with_name(f"{out.name}.chunks")
    settings = {name: value for name, value in asked.items() if name not in ("seeds", "chunk")}
    return Shards(folder, asked["seeds"], asked["chunk"], settings)


class Job:
    """What is asked for, made before any folder is: what cannot be used is refused here."""

    def __init__(self, asked: dict[str, Any], device: torch.device) -> None:
        self.asked: dict[str, Any] = asked
        self.device: torch.device = device
        self.model: Model = samplers.model(asked["model"], asked["cfg"], asked["auto"], device)
        steps = samplers.intervals(asked["method"], asked["nfe"])
        ends = (asked["sigma_min"], asked["sigma_max"])
        self.levels: Tensor = samplers.levels(asked["grid"], steps, *ends, asked["center"])
        self.guidance: Guidance | None = samplers.guidance(
            asked["guidance"], asked["w_stiff"], asked["w_con"]
        )
        self.labels: list[int] | None = self._labels(asked["classes"])

    def run(self, shards: Shards, index: int) -> None:
        """Sample one chunk and keep it."""
        places = shards.chunk(index)
        seeds = [shards.seeds[place] for place in places]
        shape, dtype = (len(seeds), *self.model.shape), self.model.dtype
        result = run(
            self.model.denoiser(self._classes(places)),
            noise_like(shape, seeds, dtype=dtype, device=self.device),
            self.levels,
            method=self.asked["method"],
            guidance=self.guidance,
            seeds=seeds,
            eta=self.asked["eta"],
        )
        shards.keep(index, result.x, result.status, result.nfe)

    def _labels(self, text: str | None) -> list[int] | None:
        if text is None:
            return None
        if not self.model.image:
            raise InputError(f"{self.model.name} has no classes: leave --classes out")
        return wholes(text, "--classes", CLASSES - 1, "3 or 0,1,2")

    def _classes(self, places: list[int]) -> torch.Tensor | None:
        if self.labels is None:
            return None
        return torch.tensor([self.labels[place % len(self.labels)] for place in places])


def _finish(
    found: dict[str, np.ndarray[Any, Any]], out: Path, png: Path | None, asked: dict[str, Any]
) -> None:
    with out.open("wb") as file:  # savez would add an ending to the name
        np.savez(file, x=found["x"], status=found["status"], nfe=found["nfe"], seeds=found["seeds"])
    if png is not None:
        title = f"{asked['method']}, {asked['guidance']} guidance, NFE {int(found['nfe'])}"
        figures.save(pictures.samples(found["x"], title), png)
