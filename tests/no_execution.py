"""A plugin of pytest that imitates a folder for temporary files from which nothing is executed.

What a file system that is mounted noexec does to a library, the loader here does to those of that
folder; the rest is as it was.
"""

from __future__ import annotations

import ctypes
import os
import tempfile
from pathlib import Path
from typing import Any


class Refusing(ctypes.CDLL):
    """The loader, without libraries of the folder for temporary files."""

    def __init__(self, name: Any, *more: Any, **settings: Any) -> None:
        given = Path(name) if isinstance(name, str | os.PathLike) else Path()
        if Path(tempfile.gettempdir()) in given.parents:
            raise OSError(f"{name}: failed to map segment from shared object")
        super().__init__(name, *more, **settings)


def pytest_configure() -> None:
    ctypes.CDLL = Refusing  # type: ignore[misc]
