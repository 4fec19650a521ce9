"""What all commands are asked for: options, and the device, networks and detectors they mean."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
import torch

from edm2 import detectors, networks, stand_ins, statistics
from edm2.detectors import Detectors
from edm2.job import identity
from edm2.networks import Network
from edm2.statistics import Reference
from stiffguide.adapters.diffusion.shards import Ranks
from stiffguide.cli.options import seeds
from stiffguide.errors import InputError

Command = Callable[..., Any]
Loaded = TypeVar("Loaded")


def numbers(context: click.Context, option: click.Parameter, text: str | None) -> list[int] | None:
    """Whole numbers from text such as 0-49999 or 1,5,9-12."""
    return None if text is None else seeds(context, option, text)


OPTIONS = (
    click.option(
        "--inception", help="Inception v3: .pkl of NVIDIA, or TorchScript", metavar="FILE"
    ),
    click.option("--dinov2", help="TorchScript; 'hub' or a clone: torch.hub", metavar="FILE"),
    click.option("--ref", help="statistics of the data: .pkl or .npz", metavar="FILE"),
    click.option("--metrics", help="fid,fd_dinov2,is  [default: by the detectors given]"),
    click.option("--batch", type=click.IntRange(min=1), help="images at a time  [default: 64]"),
    click.option("--device", help="such as cpu  [default: one GPU per process]"),
    click.option("--threads", type=click.IntRange(min=1), default=1, help="of the CPU"),
    click.option("--download", is_flag=True, help="allow addresses and fetching of weights"),
    click.option("--dry-run", is_flag=True, help="small random stand-ins, on the CPU"),
    click.option("--out", type=click.Path(file_okay=False, path_type=Path), default="out/edm2"),
    click.option("--progress/--no-progress", default=None, help="show how far it is"),
)
SAMPLING = (
    click.option("--net", help="snapshot of the network (a pickle: it runs code)", metavar="FILE"),
    click.option("--gnet", help="the weak network that guides it", metavar="FILE"),
    click.option("--seeds", callback=numbers, help="[default: 0-49999]"),
)


def takes(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """A decorator that adds these options to a command, in this order."""

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


@dataclass(frozen=True)
class Setting:
    """The options of a command, with the stand-ins' files and sizes filled in for a dry run."""

    asked: Mapping[str, Any]
    ranks: Ranks
    device: torch.device

    @classmethod
    def of(cls, asked: Mapping[str, Any], ranks: Ranks) -> Setting:
        """Check the device; in a dry run, write the stand-ins and use them."""
        torch.set_num_threads(asked["threads"])  # the order of a sum depends on it
        torch.backends.cudnn.deterministic = True
        if not asked["dry_run"]:
            sizes = {"batch": asked["batch"] or 64, "seeds": asked.get("seeds") or range(50_000)}
            return cls({**asked, **sizes}, ranks, _device(asked["device"], ranks))
        folder = Path(asked["out"]) / "stand-ins"
        if ranks.rank == 0:
            stand_ins.write(folder)
        ranks.wait()
        sizes = {"batch": asked["batch"] or 16, "seeds": asked.get("seeds") or range(32)}
        files = stand_ins.paths(folder)._asdict()
        return cls({**asked, **sizes, **files}, ranks, torch.device("cpu"))

    @property
    def out(self) -> Path:
        """Where results go."""
        return Path(self.asked["out"])

    @property
    def dry(self) -> bool:
        """Whether everything is a stand-in."""
        return bool(self.asked["dry_run"])

    @property
    def chief(self) -> bool:
        """Whether this process reports."""
        return self.ranks.rank == 0

    def network(self, option: str, decoder: bool = True) -> Network:
        """The network of an option; the first process goes first, so that one fetches."""
        source = self.asked.get(option)
        if source is None:
            raise InputError(f"--{option.replace('_', '-')} FILE is needed, or --dry-run")
        return self.in_turn(
            lambda: networks.load(
                source, self.device, download=self.asked["download"], decoder=decoder
            )
        )

    def detectors(self) -> Detectors:
        """The detectors of the metrics that were asked for, or that files were given for."""
        sources = {name: self.asked[name] for name in ("inception", "dinov2")}
        wanted = self.asked["metrics"]
        names = (
            [name for name in detectors.METRICS if sources[detectors.SOURCES[name]] is not None]
            if wanted is None
            else wanted.split(",")
        )
        return self.in_turn(
            lambda: detectors.load(names, sources, self.device, self.asked["download"])
        )

    def reference(self, detect: Detectors, count: int) -> Reference:
        """The statistics of the data, which must have every metric, for so many images."""
        source = self.asked["ref"]
        if source is None:
            raise InputError("--ref FILE is needed: the statistics of the data set")
        found = self.in_turn(lambda: statistics.load(source, self.asked["download"]))
        statistics.check(found, detect.widths, count, source)
        return found

    def files(self) -> dict[str, Any]:
        """What features and metrics depend on, beside the images."""
        given = {name: self.asked[name] for name in ("inception", "dinov2", "ref")}
        return {name: source and identity(source) for name, source in given.items()}

    def in_turn(self, load: Callable[[], Loaded]) -> Loaded:
        """Load in the first process, then in the others."""
        if not self.chief:
            self.ranks.wait()
        try:
            return load()
        finally:
            if self.chief:
                self.ranks.wait()


def _device(name: str | None, ranks: Ranks) -> torch.device:
    if name not in (None, "cuda"):
        return torch.device(name)
    if not torch.cuda.is_available():
        raise InputError(
            "no CUDA device was found: run this where there is a GPU, or take --device cpu, which "
            "is hundreds of times slower"
        )
    place = int(os.environ.get("LOCAL_RANK", 0))
    if place >= torch.cuda.device_count():
        raise InputError(
            f"process {place} of this machine has no GPU: there are {torch.cuda.device_count()}; "
            "start as many processes as there are GPUs"
        )
    torch.cuda.set_device(place)
    return ranks.device
