"""`stiffguide info`: versions, devices, threads, compiler, cache."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from pathlib import Path

import click
import torch

from stiffguide import __version__
from stiffguide.cli.tables import Table, console

PACKAGES = ("torch", "numpy", "scipy", "click", "rich", "tqdm", "matplotlib", "diffusers")
COMPILERS = ("g++", "clang++", "c++")


@click.command()
def info() -> None:
    """Show what this installation runs on."""
    table = Table("stiffguide", ("", "value"), left=("", "value"))
    table.add("stiffguide", __version__)
    table.add("python", f"{platform.python_version()} on {platform.platform()}")
    for package in PACKAGES:
        table.add(package, _version(package))
    table.add("cores", os.cpu_count() or "unknown")
    table.add("torch threads", torch.get_num_threads())
    for name, what in devices().items():
        table.add(name, what)
    table.add("C++ compiler", compiler())
    table.add("nvcc", shutil.which("nvcc") or "not found")
    table.add("cache", cache_directory())
    table.show(console())


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def devices() -> dict[str, str]:
    """The accelerators that torch sees."""
    found = {f"cuda:{i}": torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())}
    if torch.backends.mps.is_available():
        found["mps"] = "Apple GPU (no float64)"
    return found or {"accelerator": "none"}


def compiler() -> str:
    """The first C++ compiler of CXX and the usual names, with its version."""
    for name in (os.environ.get("CXX", ""), *COMPILERS):
        path = shutil.which(name) if name else None
        if path is None:
            continue
        answer = subprocess.run(
            [path, "--version"], capture_output=True, text=True, check=False, timeout=20
        )
        return f"{path} ({answer.stdout.splitlines()[0] if answer.stdout else 'no version'})"
    return "not found"


def cache_directory() -> Path:
    """Where generated files are kept: STIFFGUIDE_CACHE, or the user's cache."""
    given = os.environ.get("STIFFGUIDE_CACHE")
    home = os.environ.get("XDG_CACHE_HOME")
    return Path(given) if given else (Path(home) if home else Path.home() / ".cache") / "stiffguide"
