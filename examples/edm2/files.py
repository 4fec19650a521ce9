"""Files of networks, detectors and statistics: opened, unpickled, and refused in one sentence.

A pickle runs code when it is loaded. Networks and detectors are loaded only from where the user
says they are; nothing is fetched without `download`; reference statistics may hold arrays only.
"""

from __future__ import annotations

import importlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from stiffguide.errors import InputError

# where the classes of the published pickles live
NVIDIA = ("dnnlib", "torch_utils", "training", "metrics")

# what unpickling bytes of another kind ends in
BROKEN = (pickle.UnpicklingError, EOFError, AttributeError, LookupError, TypeError, ValueError)

# all that pickled arrays need, under the old and the new name of numpy's core
ARRAYS = {
    (module, name)
    for module in ("numpy.core.multiarray", "numpy._core.multiarray", "numpy._core.numeric")
    for name in ("_reconstruct", "scalar", "_frombuffer")
} | {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}


def open_file(source: str, download: bool = False) -> IO[bytes]:
    """A local file, or an address if downloads are allowed (dnnlib keeps what it fetched)."""
    if "://" not in source:
        if not Path(source).is_file():
            raise InputError(f"there is no file {source}")
        return open(source, "rb")
    if not download:
        raise InputError(f"{source} is an address: fetch the file, or allow that with --download")
    opened: IO[bytes] = _module("dnnlib").util.open_url(source, verbose=False)
    return opened


def unpickle(source: str, download: bool = False) -> Any:
    """What a pickle holds. Loading runs the code in it: only for files that are trusted."""
    with open_file(source, download) as file:
        return _loaded(lambda: pickle.load(file), source)


def arrays(source: str, download: bool = False) -> Any:
    """What a pickle of dictionaries and arrays holds; it cannot run code."""
    with open_file(source, download) as file:
        return _loaded(lambda: _ArraysOnly(file).load(), source)


def stay_offline() -> None:
    """Keep libraries that would fetch weights by themselves from doing it."""
    os.environ["HF_HUB_OFFLINE"] = "1"


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("dnnlib.util", "EasyDict"):
            return dict
        if (module, name) not in ARRAYS:
            raise pickle.UnpicklingError(f"{module}.{name} is not an array")
        return super().find_class(module, name)


def _loaded(load: Callable[[], Any], source: str) -> Any:
    try:
        return load()
    except ModuleNotFoundError as error:
        raise InputError(_missing(str(error.name), source)) from error
    except BROKEN as error:
        raise InputError(f"{source} cannot be loaded as a pickle: {error}") from error


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise InputError(_missing(str(error.name), "an address")) from error


def _missing(module: str, source: str) -> str:
    if module.partition(".")[0] in NVIDIA:
        return (
            f"{source} needs the module {module}: clone github.com/NVlabs/edm2 (or NVlabs/edm) "
            "and put that folder on PYTHONPATH"
        )
    return f"{source} needs the module {module}, which is not installed"
