"""What may be written behind a command: names to choose from, numbers, files, lists of seeds."""

from __future__ import annotations

from pathlib import Path

import click

# the keys of adapters.diffusion.sample.SAMPLERS, which takes torch to look at
SAMPLERS = (
    *("heun", "dpm2", "euler", "dpmpp_2m", "dpmpp_3m", "exponential_adams2", "exponential_adams3"),
    *("deis3", "unipc2", "unipc3", "ipndm4", "emg"),
)
GUIDANCE = ("none", "erk-guid", "error-direction", "error-direction-3")
FLOW = "median distance to the flow"
METRICS = {"flow": FLOW, "frechet": "Frechet distance", "wasserstein": "sliced Wasserstein"}

FILE = click.Path(dir_okay=False, path_type=Path)
ACTIONS = ("list", "size", "clear")  # on the cache of kernels
FOLDER = click.Path(file_okay=False, path_type=Path)
COUNT = click.IntRange(min=1)
POSITIVE = click.FloatRange(min=0, min_open=True)
BELOW_ONE = click.FloatRange(0, 1, min_open=True, max_open=True)


def seeds(context: click.Context, option: click.Parameter, text: str) -> list[int]:
    """Whole numbers from text such as 0-63, 7 or 1,5,9-12."""
    found: list[int] = []
    try:
        for part in text.split(","):
            first, _, last = part.strip().partition("-")
            found += range(int(first), int(last or first) + 1)
    except ValueError as error:
        raise click.BadParameter(
            f"{text!r} is not a list of seeds; write 0-63 or 1,5,9-12", context, option
        ) from error
    return found
