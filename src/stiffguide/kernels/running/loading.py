"""Bytes as a library of this process, whether or not the folder for temporary files may execute."""

from __future__ import annotations

import ctypes
import errno
import itertools
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from multiprocessing import util
from pathlib import Path

import torch

from stiffguide.kernels.running import trust

_COUNT = itertools.count()


def private() -> Path:
    """A folder of this process, for when the cache cannot be used; raises OSError."""
    return _private(os.getpid())


@cache
def _private(process: int) -> Path:
    """A forked process has another one, and leaves that of its parent alone, as Finalize does."""
    path = Path(tempfile.mkdtemp(prefix="stiffguide-"))
    util.Finalize(None, shutil.rmtree, (path,), {"ignore_errors": True}, exitpriority=0)
    os.close(trust.enter(path))
    return path


def load(content: bytes, folder: Path) -> ctypes.CDLL:
    """Load exactly these bytes, which no file can change under our feet; raises OSError.

    From memory where the system can, else from a copy in the private folder, or in `folder`. One
    linked with -ffast-math would leave this thread taking subnormal numbers for 0.
    """
    subnormal = _subnormal()
    try:
        return _loaded(content, folder)
    finally:
        if subnormal and not _subnormal():
            torch.set_flush_denormal(False)


def _subnormal() -> bool:
    """Whether this thread tells a subnormal number from 0."""
    return math.nextafter(0.0, 1.0) + sys.float_info.min > sys.float_info.min


def _loaded(content: bytes, folder: Path) -> ctypes.CDLL:
    problems: list[OSError] = []
    for way in (_from_memory, _from(private), _from(lambda: folder)):
        try:
            return way(content)
        except OSError as error:
            problems.append(error)
    # only the loader's complaints, which have no number, are about the library
    raise next((error for error in problems if error.errno is None), problems[-1])


def _from_memory(content: bytes) -> ctypes.CDLL:
    """From a file in memory, which has no name and needs no folder."""
    if not hasattr(os, "memfd_create"):
        raise OSError(errno.ENOSYS, "this system has no files in memory")
    with open(os.memfd_create("stiffguide"), "wb") as file:
        file.write(content)
        file.flush()
        return ctypes.CDLL(_path(file.fileno()))


def _path(descriptor: int) -> str:
    """A path of an open file that no library had before, because the loader goes by paths.

    The number of a descriptor comes again; the dots and slashes before it are a count.
    """
    digits = f"{next(_COUNT):b}".replace("0", "/").replace("1", "/.")
    return f"/proc/self/fd{digits}/{descriptor}"


def _from(folder: Callable[[], Path]) -> Callable[[bytes], ctypes.CDLL]:
    """From a copy in a folder."""

    def way(content: bytes) -> ctypes.CDLL:
        handle, path = tempfile.mkstemp(prefix=".build-", suffix=".so", dir=folder())
        try:
            with open(handle, "wb") as file:
                file.write(content)
            return ctypes.CDLL(path)
        finally:
            os.unlink(path)

    return way
