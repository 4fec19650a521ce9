"""Published EDM and EDM2 networks on the samplers of stiffguide: images, FID, FD-DINOv2, IS.

    python examples/edm2_imagenet.py tables --dry-run
    torchrun --nproc-per-node=8 examples/edm2_imagenet.py tables --net S.pkl --gnet XS.pkl \
        --inception inception.pkl --dinov2 dinov2.pt --ref img512.pkl --out out/edm2

The networks are pickles that need NVIDIA's code (`dnnlib`, `torch_utils`) on PYTHONPATH, and that
run code when they are loaded: take them only from where you trust them. Nothing is downloaded
without --download. The guide is docs/edm2.md.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from edm2 import paper, pictures, statistics, tables
from edm2.detectors import Detectors
from edm2.job import Generator, Job, Made
from edm2.recipe import GRIDS, Recipe
from edm2.setting import OPTIONS, SAMPLING, Setting, numbers, takes

from stiffguide.adapters.diffusion.sample import SAMPLERS
from stiffguide.adapters.diffusion.shards import Ranks, Shards
from stiffguide.cli.app import Sentences
from stiffguide.cli.options import GUIDANCE
from stiffguide.cli.tables import console
from stiffguide.errors import InputError, Status


@click.group(cls=Sentences, context_settings={"help_option_names": ["-h", "--help"]})
def app() -> None:
    """EDM and EDM2 networks on the samplers of stiffguide."""


@app.command()
@takes(*SAMPLING)
@click.option("--method", type=click.Choice(tuple(SAMPLERS)), default="emg", show_default=True)
@click.option("--steps", type=click.IntRange(min=1), default=32, show_default=True)
@click.option("--rule", type=click.Choice(GUIDANCE), default="none", show_default=True)
@click.option("--w-stiff", type=float, default=0.75, show_default=True, help="of erk-guid")
@click.option("--w-con", type=float, default=0.3, show_default=True, help="of erk-guid")
@click.option("--grid", type=click.Choice(tuple(GRIDS)), default="karras", show_default=True)
@click.option("--zero/--no-zero", default=True, show_default=True, help="end in 0, or at 0.002")
@click.option("--guidance", type=float, default=1.0, show_default=True, help="weight of --net")
@click.option("--classes", callback=numbers, help="207 or 1,5,9-12, in turn  [default: drawn]")
@click.option("--png/--no-png", default=True, show_default=True, help="write the images")
@takes(*OPTIONS)
def generate(**asked: Any) -> None:
    """Sample images of seeds: png files, features, and metrics if there are statistics."""
    with Ranks() as ranks:
        setting = Setting.of(asked, ranks)
        network = setting.network("net")
        weak = setting.network("gnet", decoder=False) if setting.asked["gnet"] else None
        if asked["guidance"] != 1.0 and weak is None:
            raise InputError("--guidance needs the network to guide with: --gnet FILE")
        names = ("method", "steps", "rule", "w_stiff", "w_con", "grid", "zero")
        recipe = Recipe(**{name: asked[name] for name in names}, scale=asked["guidance"])
        seeds = list(setting.asked["seeds"])
        folder = setting.out / "images" if asked["png"] else None
        make = Generator(network, weak, recipe, seeds, asked["classes"], folder)
        detect = setting.detectors()
        settings = {**make.settings(), **setting.files(), "metrics": detect.metrics}
        shards = Shards(setting.out / "chunks", seeds, setting.asked["batch"], settings)
        _report(setting, detect, Job(make, detect, shards, asked["method"]))
        if setting.chief:
            console().print(f"{len(seeds)} images, {recipe.nfe} evaluations each", markup=False)


@app.command()
@click.option("--images", type=click.Path(exists=True, file_okay=False, path_type=Path))
@takes(*OPTIONS)
def metrics(images: Path, **asked: Any) -> None:
    """Metrics of the images below a folder; without --ref, their statistics as a new reference."""
    if images is None:
        raise InputError("--images FOLDER is needed")
    with Ranks() as ranks:
        setting = Setting.of(asked, ranks)
        paths = pictures.listed(images)
        detect = setting.detectors()

        def make(places: list[int]) -> Made:
            found = pictures.read([paths[place] for place in places]).to(setting.device)
            return Made(found, torch.full((len(found),), int(Status.SUCCESS)), 0)

        settings = {**setting.files(), "metrics": detect.metrics, "images": str(images)}
        places, batch = range(len(paths)), setting.asked["batch"]
        shards = Shards(setting.out / "chunks", places, batch, settings)
        _report(setting, detect, Job(make, detect, shards, "images"))


@app.command(name="tables")
@takes(*SAMPLING)
@click.option("--cfg-net", help="a network without classes, for the CFG lines", metavar="FILE")
@click.option("--guidance", type=float, default=paper.SCALES["auto"], show_default=True)
@click.option("--cfg-guidance", type=float, default=paper.SCALES["cfg"], show_default=True)
@click.option("--which", default=",".join(paper.TABLES), show_default=True, help="tables")
@click.option("--only", help="samplers such as heun,emg  [default: all]")
@click.option("--keep", is_flag=True, help="keep the features of every image")
@takes(*OPTIONS)
def fill_tables(**asked: Any) -> None:
    """Measure the cells of ERK-Guid's tables and write them as tables.md, .csv and .txt."""
    with Ranks() as ranks:
        setting = Setting.of(asked, ranks)
        bench = _bench(setting)
        cells = paper.cells(asked["which"], set(bench.networks))
        if asked["only"]:
            cells = [c for c in cells if c.recipe.method in asked["only"].split(",")]
        if not cells:
            raise InputError(
                f"no line of --which {asked['which']} is left by --only {asked['only']}"
            )
        values = bench.fill(cells, ranks, asked["progress"])
        if not setting.chief:
            return
    made = tables.table(cells, values, _title(setting), bench.detect.metrics)
    page = console()
    made.show(page)
    _warn(bench.detect, len(bench.seeds))
    absent = {"auto": "--gnet", "cfg": "--cfg-net"}
    for name in sorted(set(absent) - set(bench.networks)):
        page.print(f"left out: {name}, for want of {absent[name]}", markup=False)
    for path in tables.written(made, setting.out):
        page.print(f"wrote {path}", markup=False)


def _bench(setting: Setting) -> tables.Bench:
    """Networks, detectors and statistics of the tables; a guidance without its network is left."""
    asked = setting.asked
    detect = setting.detectors()
    if not detect.metrics:
        raise InputError("tables are of metrics: give --inception FILE or --dinov2 FILE")
    strong = setting.network("net")
    nets = {"none": (strong, None)}
    for name, option in (("auto", "gnet"), ("cfg", "cfg_net")):
        if asked[option]:
            nets[name] = (strong, setting.network(option, decoder=False))
    return tables.Bench(
        networks=nets,
        scales={"none": 1.0, "auto": asked["guidance"], "cfg": asked["cfg_guidance"]},
        detect=detect,
        reference=setting.reference(detect, len(asked["seeds"])),
        seeds=list(asked["seeds"]),
        batch=asked["batch"],
        folder=setting.out,
        files=setting.files(),
        keep=asked["keep"],
    )


def _report(setting: Setting, detect: Detectors, job: Job) -> None:
    """Run a job; the first process writes features, and metrics or the statistics of a new set."""
    count = len(job.shards.seeds)
    reference = setting.reference(detect, count) if setting.asked["ref"] else None
    found = job.run(setting.ranks, setting.asked["progress"])
    if found is None or not detect.metrics:
        return
    page, out = console(), setting.out
    np.savez(out / "features.npz", **{name: part.numpy() for name, part in found.items()})
    _warn(detect, count)
    if reference is None:
        statistics.save(found, out / "statistics.pkl")
        page.print(f"wrote {out / 'statistics.pkl'}", markup=False)
        return
    values = statistics.measure(found, reference)
    (out / "metrics.json").write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    for name, value in values.items():
        page.print(f"{tables.TITLES[name]} {value:.4g}", markup=False)


def _title(setting: Setting) -> str:
    text = f"{len(setting.asked['seeds'])} images"
    return f"{text} of random stand-ins: numbers without meaning" if setting.dry else text


def _warn(detect: Detectors, count: int) -> None:
    text = statistics.warning(count, detect.widths)
    if text:
        console().print(f"note: {text}", markup=False)


if __name__ == "__main__":
    app()
