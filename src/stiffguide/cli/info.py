"""`stiffguide info`: versions, devices, threads, compiler, cache."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil

import torch

from stiffguide import __version__
from stiffguide.cli.tables import Table, console
from stiffguide.kernels.running import compiler as builder
from stiffguide.kernels.running import store

PACKAGES = ("torch", "numpy", "scipy", "click", "rich", "tqdm", "matplotlib", "diffusers")


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
    table.add("kernel cache", os.pathsep.join(map(str, store.folders())) or "none")
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
    """The C++ compiler that kernels are built with, and its version."""
    try:
        command = builder.command()
    except builder.BuildError as error:
        return str(error)
    said = builder.version(tuple(command)).splitlines() or ["no version"]
    return f"{shutil.which(command[0])} ({said[0]})"
