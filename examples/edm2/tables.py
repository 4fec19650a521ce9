"""Cells measured one after the other, each kept as soon as it is known, and written as a table."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from edm2 import statistics
from edm2.detectors import Detectors
from edm2.job import Generator, Job
from edm2.networks import Network
from edm2.paper import Cell
from edm2.statistics import Reference
from stiffguide.adapters.diffusion.shards import Ranks, Shards
from stiffguide.cli.tables import Table, write
from stiffguide.errors import InputError

TITLES = {"fid": "FID", "fd_dinov2": "FD-DINOv2", "is": "IS"}


@dataclass(frozen=True)
class Bench:
    """What all cells share: networks by guidance of the model, detectors, statistics, seeds."""

    networks: Mapping[str, tuple[Network, Network | None]]
    scales: Mapping[str, float]
    detect: Detectors
    reference: Reference
    seeds: Sequence[int]
    batch: int
    folder: Path
    files: Mapping[str, Any]  # what detectors and statistics came from, by name
    keep: bool = False

    def measure(
        self, cell: Cell, ranks: Ranks, title: str, progress: bool | None
    ) -> dict[str, float] | None:
        """The metrics of a cell in the first process; from its file if it was measured before."""
        strong, weak = self.networks[cell.guidance]
        recipe = replace(cell.recipe, scale=self.scales[cell.guidance])
        make = Generator(strong, weak, recipe, self.seeds)
        record = self.folder / "results" / f"{cell.name}.json"
        chunks = self.folder / "chunks" / cell.name
        settings = {**make.settings(), "metrics": self.detect.metrics, **self.files}
        shards = Shards(chunks, self.seeds, self.batch, settings)
        asked = {**settings, "batch": self.batch, "seeds": _digest(self.seeds)}
        known = _known(record, asked)
        ranks.wait()  # nobody writes the record before everybody has looked for it
        if known is not None:
            return known if ranks.rank == 0 else None
        features = Job(make, self.detect, shards, title).run(ranks, progress)
        if features is None:
            return None
        values = statistics.measure(features, self.reference)
        record.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"settings": asked, "values": values}, indent=1, sort_keys=True)
        record.write_text(text + "\n", encoding="utf-8")
        if not self.keep:
            shutil.rmtree(chunks)
        return values

    @torch.no_grad()
    def fill(
        self, cells: Sequence[Cell], ranks: Ranks, progress: bool | None = None
    ) -> list[dict[str, float]]:
        """The metrics of all cells, in the first process; an empty list elsewhere."""
        found = []
        for number, cell in enumerate(cells, 1):
            values = self.measure(cell, ranks, f"{number}/{len(cells)} {cell.name}", progress)
            found += [] if values is None else [values]
            ranks.wait()
        return found


def table(
    cells: Sequence[Cell], values: Sequence[Mapping[str, float]], title: str, metrics: Sequence[str]
) -> Table:
    """A line per cell."""
    head = ["table", "model guidance", "sampler", "solver guidance", "grid", "steps", "NFE"]
    made = Table(
        title, [*head, *(TITLES[m] for m in metrics), "published FID / FD-DINOv2"], left=head[:5]
    )
    for cell, found in zip(cells, values, strict=True):
        recipe = cell.recipe
        what = (cell.table, cell.guidance, recipe.method, recipe.label, recipe.grid)
        numbers = [f"{found[metric]:.4g}" for metric in metrics]
        made.add(*what, recipe.steps, recipe.nfe, *numbers, cell.published)
    return made


def written(made: Table, folder: Path) -> list[Path]:
    """The table as tables.md, .csv and .txt."""
    folder.mkdir(parents=True, exist_ok=True)
    return write([made], folder, "tables")


def _known(record: Path, asked: Mapping[str, Any]) -> dict[str, float] | None:
    if not record.exists():
        return None
    data = json.loads(record.read_text(encoding="utf-8"))
    if data["settings"] != json.loads(json.dumps(asked)):
        raise InputError(
            f"{record} was measured with other settings: choose another --out, or remove it"
        )
    values: dict[str, float] = data["values"]
    return values


def _digest(seeds: Sequence[int]) -> list[int]:
    """Enough of the seeds to tell two lists apart in a record that is read by people."""
    return [len(seeds), min(seeds), max(seeds), sum(seeds)]
