"""From source to a loaded library: found in the cache, or compiled and left there."""

from __future__ import annotations

import ctypes
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

from stiffguide.kernels.running import compiler, store, upkeep

LOG = logging.getLogger("stiffguide")


def find(key: str) -> ctypes.CDLL | None:
    """The library of that key from the cache, or None.

    Where there is no compiler, that of any other one which was given the same flags.
    """
    for folder in store.folders():
        try:
            names = [_name(key, compiler.command())]
        except compiler.BuildError:
            names = store.beginning(folder, f"{key}-")
        for name in names:
            library = store.fetch(folder, name)
            if library is not None:
                return library
    return None


def _name(key: str, command: list[str]) -> str:
    """The folder of a kernel."""
    return f"{key}-{compiler.mark(command)}"


def make(key: str, source: Callable[[], str], options: tuple[str, ...]) -> ctypes.CDLL:
    """Build the library of that key and leave it in the cache; raises BuildError."""
    command, _ = compiler.command(), upkeep.limit()  # both may have to be refused
    text = source()
    problem: Exception | None = None
    try:
        for folder in store.writable():
            try:
                return _made(command, text, options, folder / _name(key, command))
            except (OSError, compiler.BuildError) as error:
                # a full disk shows here, or as a complaint of the compiler
                problem = error
    except OSError as error:  # not even a private folder
        problem = problem or error
    if isinstance(problem, compiler.BuildError):
        raise problem
    raise compiler.BuildError(f"kernel: nothing could be written: {problem}") from problem


def _made(command: list[str], text: str, options: tuple[str, ...], home: Path) -> ctypes.CDLL:
    """Compile beside a folder, and leave the library there if that is possible."""
    aside = store.aside(home.parent)
    try:
        content, library = compiler.compile(command, text, aside, options)
        try:
            store.publish(content, aside, home.name)
            upkeep.tidy(home.parent, home)
        except OSError as error:
            LOG.info("kernel %s lasts as long as the process: %s", home.name, error)
        return library
    finally:
        shutil.rmtree(aside, ignore_errors=True)
