"""Where the files of trained networks are: in a clone of the repository, or where they are told.

They stand in the folder `weights` at the top of the repository and in no wheel. A clone finds them
by itself, also installed as editable; elsewhere STIFFGUIDE_WEIGHTS names a folder that holds them,
or the loader is given a path.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from stiffguide.errors import InputError

VARIABLE = "STIFFGUIDE_WEIGHTS"
SOURCES = Path(__file__).parents[3]  # the folder `src` of a clone, site-packages elsewhere


class Trained(NamedTuple):
    """What a file holds: the arguments that make the network, and its tensors by name."""

    net: dict[str, Any]
    tensors: dict[str, Tensor]


def find(name: str, script: str, path: str | Path | None = None) -> Path:
    """The file `name`: `path` itself, in the folder of STIFFGUIDE_WEIGHTS, or in the clone.

    InputError if it is not there; `script` is the example that makes it anew.
    """
    if path is not None:
        found, told = Path(path), f"{name} is not at the path that was given, {path}"
    elif os.environ.get(VARIABLE):
        folder = Path(os.environ[VARIABLE])
        found, told = folder / name, f"{name} is not in {folder}, the folder of {VARIABLE}"
    else:
        found, told = SOURCES.parent / "weights" / name, f"{name} comes with no installed package"
        if SOURCES.name == "src":
            told = f"{name} is missing in the folder `weights` of this clone"
    if not found.is_file():
        raise InputError(
            f"{told}: take it from the folder `weights` of a clone of the repository and give its "
            f"path, or set {VARIABLE} to the folder; examples/{script} makes it anew"
        )
    return found


def read(path: Path) -> Trained:
    """The network in a safetensors file that an example has written."""
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise InputError(
            "the weights are a safetensors file: pip install 'stiffguide[digits]'"
        ) from error
    try:
        with safe_open(path, framework="pt") as archive:
            net = json.loads((archive.metadata() or {})["net"])
            tensors = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, ValueError) as error:
        raise InputError(f"{path} holds no network of the examples: {error}") from error
    return Trained(net, tensors)
