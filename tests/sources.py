"""Every scheduler of the installed diffusers, and what becomes of its configuration here."""

from __future__ import annotations

import re
import warnings
from typing import Any

import diffusers
from schedulers import ALL

from stiffguide.errors import InputError

NEEDED: dict[str, dict[str, Any]] = {  # arguments without defaults
    "AmusedScheduler": {"mask_token_id": 1},
    "VQDiffusionScheduler": {"num_vec_classes": 8},
    "RFD4ProteinaScheduler": {
        "schedule_mode": "power",
        "noise_mode": "1/t",
        "tsr_k": 2.0,
        "tsr_sigma": 0.5,
    },
}
NAMES = sorted(
    name
    for name in dir(diffusers)
    if name.endswith("Scheduler") and isinstance(getattr(diffusers, name), type)
    # "_backends": a stand-in for a scheduler whose own requirements are not installed
    if not name.startswith("Flax") and not hasattr(getattr(diffusers, name), "_backends")
)


def configuration(name: str) -> dict[str, Any]:
    """What a pipeline that was loaded with this scheduler has for a configuration."""
    with warnings.catch_warnings():  # of what diffusers does with tensors in numpy
        warnings.simplefilter("ignore", DeprecationWarning)
        made = getattr(diffusers, name)(**NEEDED.get(name, {}))
    return {**made.config, "_class_name": name}


def verdicts(name: str) -> dict[str, str]:
    """What every scheduler of this package says to it: nothing, or the refusal."""
    found = {}
    for ours in ALL:
        try:
            ours.from_config(configuration(name))
            found[ours.__name__] = ""
        except InputError as error:
            found[ours.__name__] = str(error)
    return found


def table() -> str:
    """Which scheduler takes which configuration, and why none does, in Markdown."""
    lines = [
        f"| scheduler of diffusers {diffusers.__version__} | its model is sampled by |",
        "| :--- | :--- |",
    ]
    for name in NAMES:
        said = verdicts(name)
        takers = ", ".join(f"`{ours}`" for ours, why in said.items() if not why)
        why = re.split(r", which Stiffguide|[;:] (?:keep|call) ", said[ALL[1].__name__])[0]
        lines.append(f"| `{name}` | {takers or f'none: {why}'} |")
    return "\n".join(lines) + "\n"
