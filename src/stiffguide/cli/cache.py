"""`stiffguide cache`: the kernels that are kept, their size, and an end to them."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from stiffguide.cli.tables import Table, console
from stiffguide.errors import UnsupportedError
from stiffguide.kernels.running import store, trust, upkeep


def cache(*, action: str) -> None:
    """Do one of the actions on every folder of the cache."""
    folders = store.folders()
    if not folders:
        raise UnsupportedError("there is no kernel cache: set STIFFGUIDE_CACHE to a folder")
    act: Callable[[Path], None] = {"list": _list, "size": _size, "clear": _clear}[action]
    for folder in folders:
        act(folder)


def _list(folder: Path) -> None:
    """A table of the kernels, the last used first."""
    table = Table(str(folder), ("kernel", "KiB", "last used"), left=("kernel", "last used"))
    for kernel in upkeep.kept(folder):
        used = datetime.fromtimestamp(kernel.used).isoformat(" ", "minutes")
        table.add(kernel.home.name[:16], f"{kernel.size / 1024:,.0f}", used)
    out = console()
    if table.rows:
        table.show(out)
    _size(folder)


def _size(folder: Path) -> None:
    """How many kernels there are, of what size, and of how much."""
    kernels = upkeep.kept(folder)
    size = sum(kernel.size for kernel in kernels) / upkeep.MIB
    most = upkeep.limit() // upkeep.MIB
    _say(f"{folder}: {_count(len(kernels))}, {size:,.1f} MiB of at most {most:,} MiB")


def _clear(folder: Path) -> None:
    """Remove the kernels of a folder, if it is ours to clear."""
    if not folder.exists():
        _say(f"{folder}: nothing there")
        return
    try:
        os.close(trust.enter(folder))
    except OSError as error:
        raise UnsupportedError(f"{folder} is not cleared: {error}") from error
    cleared = upkeep.clear(folder)
    rest = len(upkeep.kept(folder))
    if rest:
        raise UnsupportedError(f"{folder} cannot be written: {_count(rest)} left")
    _say(f"{folder}: {_count(cleared)} removed")


def _count(kernels: int) -> str:
    return "1 kernel" if kernels == 1 else f"{kernels:,} kernels"


def _say(sentence: str) -> None:
    console().print(sentence, markup=False, soft_wrap=True)
