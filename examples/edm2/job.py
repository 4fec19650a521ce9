"""Samples by the thousand: chunks of seeds, shared out over processes, kept as features.

A chunk is one batch for the networks, whoever computes it, so that the numbers do not depend on the
number of processes. What is kept of an image is its features, and a file if that is wanted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from edm2 import networks, pictures
from edm2.detectors import Detectors
from edm2.networks import Network
from edm2.recipe import SIGMA_MAX, SIGMA_MIN, Recipe
from stiffguide.adapters.diffusion import sample
from stiffguide.adapters.diffusion.shards import Ranks, Shards
from stiffguide.errors import InputError, Status


class Made(NamedTuple):
    """A batch of images in bytes (B, 3, H, W), and how their samples came about."""

    images: Tensor
    status: Tensor
    nfe: int


Maker = Callable[[list[int]], Made]  # from positions in the list of seeds


@dataclass(frozen=True)
class Generator:
    """Images of seeds: the networks, the recipe, and the classes if they are not drawn."""

    strong: Network
    weak: Network | None
    recipe: Recipe
    seeds: Sequence[int]
    classes: Sequence[int] | None = None
    folder: Path | None = None  # of the pictures

    @torch.no_grad()
    def __call__(self, places: list[int]) -> Made:
        """The images at positions of `seeds`; EDM's arithmetic: the state in float64."""
        seeds = [self.seeds[place] for place in places]
        classes = self.classes and [self.classes[p % len(self.classes)] for p in places]
        noise, labels = networks.draw(self.strong, seeds, classes)
        recipe = self.recipe
        found = sample(
            networks.guided(self.strong, self.weak, labels, recipe.scale),
            noise.to(torch.float64),
            self.strong.rounded(recipe.levels(*self.strong.span(SIGMA_MIN, SIGMA_MAX))),
            method=recipe.method,
            guidance=recipe.guidance(),
        )
        images = self.strong.decode(found.x)
        if self.folder is not None:
            pictures.write(images, seeds, self.folder)
        return Made(images, found.status, found.nfe)

    def settings(self) -> dict[str, Any]:
        """What the images depend on, beside the seeds."""
        return {
            **self.recipe.settings(),
            "net": identity(self.strong.source),
            "gnet": None if self.weak is None else identity(self.weak.source),
            "classes": list(self.classes) if self.classes else None,
            "device": self.strong.device.type,
            "pictures": None if self.folder is None else str(self.folder),
        }


@dataclass(frozen=True)
class Job:
    """Features of many images: `make` the images of a chunk, `detect`, keep."""

    make: Maker
    detect: Detectors
    shards: Shards
    title: str = ""

    def run(self, ranks: Ranks, progress: bool | None = None) -> dict[str, Tensor] | None:
        """Do what is not done yet; the features by metric in the first process, None elsewhere."""
        if ranks.rank == 0:
            self.shards.open()
        ranks.wait()
        show = sys.stderr.isatty() if progress is None else progress
        todo = list(self.shards.mine(ranks.rank, ranks.world))
        for index in tqdm(todo, self.title, unit="batch", disable=ranks.rank > 0 or not show):
            made = self.make(self.shards.chunk(index))
            self.shards.keep(index, self.detect(made.images), made.status, made.nfe)
        ranks.wait()
        return self._gathered() if ranks.rank == 0 else None

    def _gathered(self) -> dict[str, Tensor]:
        found = self.shards.gather()
        bad = np.flatnonzero(found["status"] != int(Status.SUCCESS))
        if len(bad):
            raise InputError(
                f"{len(bad)} of {len(found['x'])} images are not finite, the first one of seed "
                f"{found['seeds'][bad[0]]}: more steps, or another sampler or rule"
            )
        return self.detect.split(torch.from_numpy(found["x"]))


def identity(source: str) -> list[Any]:
    """A file by name and size: hashing gigabytes in every process would take longer."""
    path = Path(source)
    return [path.name, path.stat().st_size if path.is_file() else None]
