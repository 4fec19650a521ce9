"""What may be written behind a command: names to choose from, numbers, files, lists of seeds."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stiffguide.errors import InputError

# the keys of adapters.diffusion.sample.SAMPLERS, which takes torch to look at
SAMPLERS = (
    *("heun", "dpm2", "dpmpp_2s", "dpmpp_sde", "euler", "dpmpp_2m", "dpmpp_3m"),
    *("exponential_adams2", "exponential_adams3", "deis3", "unipc2", "unipc3", "ipndm4"),
    *("emg", "emg_lagged"),
)
GUIDANCE = ("none", "erk-guid", "error-direction", "error-direction-3")
FLOW = "median distance to the flow"
METRICS = {"flow": FLOW, "frechet": "Frechet distance", "wasserstein": "sliced Wasserstein"}

ACTIONS = ("list", "size", "clear")  # on the cache of kernels
MOST_SEEDS, LAST_SEED = 1_000_000, 2**63 - 1
MOST_EVALUATIONS, MOST_LISTED = 100_000, 100


class Real(click.FloatRange):
    """A number of float64 that is finite: a range alone lets nan and infinity through."""

    name = "float"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number; a usage error if it is none."""
        found: float = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return found


class Output(click.Path):
    """A file or folder to write, in a folder that is there: none is made on the way."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path; a usage error where it cannot be written."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if not path.parent.is_dir():
            self.fail(f"the folder {str(path.parent)!r} does not exist: make it first.", param, ctx)
        if not path.exists() and not os.access(path.parent, os.W_OK | os.X_OK):
            self.fail(f"the folder {str(path.parent)!r} cannot be written to.", param, ctx)
        if path.name == "":
            self.fail(f"{str(value)!r} is a directory.", param, ctx)
        return path


if TYPE_CHECKING:
    Pairs = click.ParamType[tuple[int, int], Any]
else:  # older versions take no types
    Pairs = click.ParamType


class Share(Pairs):
    """One of how many, as in 3/16."""

    name = "share"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """The pair; a usage error if it is none."""
        which, _, many = str(value).partition("/")
        short = len(which) < 10 and len(many) < 10
        if short and which.isdecimal() and many.isdecimal() and int(which) < int(many):
            return int(which), int(many)
        self.fail(f"{value!r} is not I/N with 0 <= I < N, as in 3/16.", param, ctx)


READ = click.Path(exists=True, dir_okay=False, path_type=Path)
WRITTEN = Output(dir_okay=False, writable=True, path_type=Path)
FOLDER = Output(file_okay=False, writable=True, path_type=Path)
COUNT = click.IntRange(1, 1_000_000_000)
ROWS = click.IntRange(1, 10_000_000)
EVALUATIONS = click.IntRange(1, MOST_EVALUATIONS)
THREADS = click.IntRange(1, 1024)
SEED = click.IntRange(-(2**63), LAST_SEED)  # what torch takes
SHARE = Share()
REAL = Real()
POSITIVE = Real(min=0, min_open=True)
WEIGHT = Real(-1000, 1000)
LEVEL = Real(1e-9, 1e9)  # of noise
BELOW_ONE = Real(0, 1, min_open=True, max_open=True)


def seeds(context: click.Context, option: click.Parameter, text: str) -> list[int]:
    """Whole numbers from text such as 0-63, 7 or 1,5,9-12."""
    found: list[int] = []
    for part in text.split(","):
        try:
            first, _, last = (word.strip() for word in part.partition("-"))
            low, high = int(first), int(last or first)
        except ValueError:
            raise click.BadParameter(
                f"{text!r} is not a list of seeds; write 0-63 or 1,5,9-12", context, option
            ) from None
        if not 0 <= low <= high <= LAST_SEED:
            raise click.BadParameter(
                f"{part!r} is no range of seeds: write a smaller number, -, and a larger one",
                context,
                option,
            )
        if len(found) + high - low >= MOST_SEEDS:
            raise click.BadParameter(f"there are more than {MOST_SEEDS:,} seeds", context, option)
        found += range(low, high + 1)
    return found


def wholes(text: str, option: str, most: int, such_as: str) -> list[int]:
    """Whole numbers from 0 to `most`, separated by commas; raises InputError."""
    try:
        found = [int(word) for word in text.split(",")]
    except ValueError:
        found = [-1]
    if not all(0 <= number <= most for number in found) or len(found) > MOST_LISTED:
        raise InputError(f"{option} {text}: write numbers up to {most}, such as {such_as}")
    return found
