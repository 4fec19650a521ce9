"""What a folder of the cache holds, and what has to go: rests of killed builds, and the oldest."""

from __future__ import annotations

import logging
import os
import re
import shutil
import time
from pathlib import Path
from typing import NamedTuple

from stiffguide.kernels.running.compiler import BuildError
from stiffguide.kernels.running.store import ASIDE, LIBRARY, RECORD

LOG = logging.getLogger("stiffguide")
NAME = re.compile(r"[0-9a-f]{64}(-[0-9a-f]+)?")  # of a kernel; what else lies there is not ours
OLD = 24 * 3600.0  # seconds after which nobody goes on with a build
LARGEST = 512  # MiB that a folder may hold, unless $STIFFGUIDE_CACHE_SIZE says otherwise
MIB = 2**20


class Kept(NamedTuple):
    """A kernel in a folder."""

    home: Path
    size: int  # bytes
    used: float  # when it was last loaded, in seconds since 1970


def limit() -> int:
    """How many bytes a folder may hold; raises BuildError."""
    given = os.environ.get("STIFFGUIDE_CACHE_SIZE", "").strip() or str(LARGEST)
    if not given.isdecimal():
        raise BuildError(
            f"kernel: STIFFGUIDE_CACHE_SIZE={given!r} is no number of MiB: give one such as 512"
        )
    return int(given) * MIB


def kept(folder: Path) -> list[Kept]:
    """The kernels of a folder, the last used first; none where there is no folder."""
    found = []
    for home in _entries(folder):
        if NAME.fullmatch(home.name):
            try:
                files = [(home / name).lstat() for name in (LIBRARY, RECORD)]
            except OSError:  # gone meanwhile, or the rest of something
                found.append(Kept(home, 0, 0.0))
            else:
                found.append(Kept(home, sum(f.st_size for f in files), files[1].st_mtime))
    return sorted(found, key=lambda kernel: kernel.used, reverse=True)


def tidy(folder: Path, new: Path) -> None:
    """Remove what killed builds left behind, and the kernels used least recently, but not `new`."""
    _sweep(folder)
    room = limit()
    for kernel in sorted(kept(folder), key=lambda kernel: kernel.home != new):
        room -= kernel.size
        if room < 0 and kernel.home != new:
            LOG.info("kernel %s goes: the cache is full", kernel.home.name)
            drop(kernel.home)


def clear(folder: Path) -> int:
    """Remove all kernels, and what killed builds left behind; how many kernels there were."""
    kernels = kept(folder)
    for kernel in kernels:
        drop(kernel.home)
    _sweep(folder)
    return len(kernels)


def _sweep(folder: Path) -> None:
    """Remove what killed builds left behind."""
    for rest in _entries(folder):
        if rest.name.startswith(ASIDE) and _age(rest) > OLD:
            _remove(rest)


def drop(home: Path) -> None:
    """Remove a kernel; whoever looks for it meanwhile finds all of it or nothing."""
    gone = home.with_name(f"{ASIDE}{os.getpid()}-{home.name}")
    try:
        os.rename(home, gone)
    except OSError:
        return
    _remove(gone)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _age(path: Path) -> float:
    try:
        return time.time() - path.lstat().st_mtime
    except OSError:
        return 0.0


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
