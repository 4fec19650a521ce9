"""Files that are there whole or not at all, whatever ends the process that writes them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO


def write(path: Path, fill: Callable[[IO[bytes]], object]) -> None:
    """Write a file beside `path` by `fill`, and put it there when it is on the disk.

    Until then, and where it fails (OSError), what stood there before stays as it was.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with part.open("wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    _settle(path.parent)


def clear(path: Path) -> None:
    """Remove what processes left beside `path` that were killed as they wrote it."""
    name = re.compile(rf"\.{re.escape(path.name)}\.\d+")
    with suppress(OSError):
        for left in path.parent.iterdir():
            if name.fullmatch(left.name):
                left.unlink(missing_ok=True)


def _settle(folder: Path) -> None:
    """Have the new name on the disk, too, where folders can be asked for that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
