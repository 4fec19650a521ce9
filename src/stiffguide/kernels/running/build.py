"""From source to a loaded library: found in the cache, or compiled and left there."""

from __future__ import annotations

import ctypes
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

from stiffguide.kernels.running import compiler, store

LOG = logging.getLogger("stiffguide")


def find(key: str) -> ctypes.CDLL | None:
    """The library of that key from the cache, or None."""
    folder = store.folder()
    return None if folder is None else store.fetch(folder, key)


def make(key: str, source: Callable[[], str], options: tuple[str, ...]) -> ctypes.CDLL:
    """Build the library of that key and leave it in the cache; raises BuildError."""
    command = compiler.command()
    text = source()
    problem: Exception | None = None
    try:
        for folder in store.writable():
            try:
                return _made(command, text, options, folder, key)
            except (OSError, compiler.BuildError) as error:
                # a full disk shows here, or as a complaint of the compiler
                problem = error
    except OSError as error:  # not even a private folder
        problem = problem or error
    if isinstance(problem, compiler.BuildError):
        raise problem
    raise compiler.BuildError(f"kernel: nothing could be written: {problem}") from problem


def _made(
    command: list[str], text: str, options: tuple[str, ...], folder: Path, key: str
) -> ctypes.CDLL:
    """Compile in a folder of the cache, and leave the library there if that is possible."""
    aside = store.aside(folder)
    try:
        content, library = compiler.compile(command, text, aside, options)
        try:
            store.publish(content, aside, key)
        except OSError as error:
            LOG.info("kernel %s lasts as long as the process: %s", key, error)
        return library
    finally:
        shutil.rmtree(aside, ignore_errors=True)
