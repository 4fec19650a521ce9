"""`stiffguide sample`: samples from a model, in one process or in many."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from stiffguide.adapters.diffusion.noise import noise_like
from stiffguide.adapters.diffusion.sample import sample as run
from stiffguide.adapters.diffusion.shards import Ranks, Shards
from stiffguide.cli import figures, pictures, samplers
from stiffguide.cli.tables import console
from stiffguide.errors import InputError, Status


def sample(out: Path, png: Path | None, progress: bool | None, threads: int, **asked: Any) -> None:
    """Sample a model; finished chunks are kept beside `out`, so that a killed run goes on."""
    # the order of a sum depends on the number of threads, and with it the last bit
    torch.set_num_threads(threads)
    page = console()
    with Ranks() as ranks:
        shards = _shards(out, asked)
        shards.open()
        ranks.wait()
        show = sys.stderr.isatty() if progress is None else progress
        todo = list(shards.mine(ranks.rank, ranks.world))
        for index in tqdm(todo, unit="chunk", disable=not (show and ranks.rank == 0)):
            _chunk(shards, index, asked, ranks.device)
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
        page.print(f"wrote {path}", markup=False)
    if bad:
        raise InputError(
            f"{bad} of {len(found['x'])} samples are not finite; see `status` in {out}"
        )


def _shards(out: Path, asked: dict[str, Any]) -> Shards:
    folder = out.with_name(f"{out.name}.chunks")
    settings = {name: value for name, value in asked.items() if name not in ("seeds", "chunk")}
    return Shards(folder, asked["seeds"], asked["chunk"], settings)


def _chunk(shards: Shards, index: int, asked: dict[str, Any], device: torch.device) -> None:
    model = samplers.model(asked["model"], asked["cfg"], asked["auto"], device)
    places = shards.chunk(index)
    seeds = [shards.seeds[place] for place in places]
    steps = samplers.intervals(asked["method"], asked["nfe"])
    result = run(
        model.denoiser(_classes(asked["classes"], places)),
        noise_like((len(seeds), *model.shape), seeds, dtype=model.dtype, device=device),
        samplers.levels(asked["grid"], steps, asked["sigma_min"], asked["sigma_max"]),
        method=asked["method"],
        guidance=samplers.guidance(asked["guidance"], asked["w_stiff"], asked["w_con"]),
        seeds=seeds,
    )
    shards.keep(index, result.x, result.status, result.nfe)


def _classes(text: str | None, places: list[int]) -> torch.Tensor | None:
    if text is None:
        return None
    try:
        labels = [int(word) for word in text.split(",")]
    except ValueError as error:
        raise InputError(f"--classes {text}: write digits such as 3 or 0,1,2") from error
    return torch.tensor([labels[place % len(labels)] for place in places])


def _finish(
    found: dict[str, np.ndarray[Any, Any]], out: Path, png: Path | None, asked: dict[str, Any]
) -> None:
    with out.open("wb") as file:  # savez would add an ending to the name
        np.savez(file, x=found["x"], status=found["status"], nfe=found["nfe"], seeds=found["seeds"])
    if png is not None:
        title = f"{asked['method']}, {asked['guidance']} guidance, NFE {int(found['nfe'])}"
        figures.save(pictures.samples(found["x"], title), png)
