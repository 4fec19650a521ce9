"""From source to a loaded library: the system's compiler, and a cache that trusts only its owner.

A kernel is a folder of the cache, named by the hash of what went into it, with the library and the
hash of the library. It is made aside and renamed into place, so that a reader finds all of it or
nothing; a library whose hash is wrong, or that does not load, is built again. Nothing is loaded
that somebody else owns or may write.
"""

from __future__ import annotations

import atexit
import ctypes
import hashlib
import logging
import os
import platform
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from stiffguide.errors import UnsupportedError

LOG = logging.getLogger("stiffguide")
FLAGS = (
    "-std=c++17",
    "-shared",
    "-fPIC",
    "-O2",
    "-march=native",
    "-fopenmp-simd",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=off",  # one lane and many lanes round alike
    "-fno-strict-aliasing",
    "-fno-exceptions",
    "-fno-rtti",
    "-w",
)
LIBRARY, RECORD = "kernel.so", "sha256"


class BuildError(UnsupportedError):
    """No library could be made; the sentence says why."""


@cache
def cpu() -> str:
    """What the compiler's -march=native sees: model and instruction sets."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    wanted = ("model name", "flags", "Features", "CPU part")
    lines = [line for line in text.split("\n\n")[0].splitlines() if line.startswith(wanted)]
    return platform.machine() + "\n".join(lines)


def compiler() -> list[str]:
    """The command of the C++ compiler: $CXX, g++ or clang++."""
    named = os.environ.get("CXX")
    candidates = [shlex.split(named)] if named else [["g++"], ["clang++"], ["c++"]]
    for command in candidates:
        if command and shutil.which(command[0]):
            return command
    tried = " or ".join(c[0] for c in candidates if c)
    raise BuildError(f"kernel: no C++ compiler found (tried {tried}): install g++ or set CXX")


def extra() -> tuple[str, ...]:
    """The words of $STIFFGUIDE_CXXFLAGS, which come last and so outweigh the flags before them."""
    given = os.environ.get("STIFFGUIDE_CXXFLAGS", "")
    try:
        return tuple(shlex.split(given))
    except ValueError as error:
        raise BuildError(
            f"kernel: STIFFGUIDE_CXXFLAGS={given!r} cannot be split into words ({error}): "
            "close its quotes or unset it"
        ) from error


def folder() -> Path:
    """Where kernels are kept: $STIFFGUIDE_CACHE, else below the user's cache folder."""
    if given := os.environ.get("STIFFGUIDE_CACHE"):
        return Path(given)
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "stiffguide" / "kernels"


@cache
def _private() -> Path:
    """A folder of this process, for when the cache cannot be used."""
    path = Path(tempfile.mkdtemp(prefix="stiffguide-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def _trusted(path: Path) -> bool:
    """Whether a file or folder is the user's own and nobody else may write it."""
    if not hasattr(os, "getuid"):
        return True
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        return False
    return found.st_uid == os.getuid() and not found.st_mode & 0o022


def _usable(path: Path) -> bool:
    """Whether the cache folder is there, or can be made, and is the user's own."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _trusted(path):
            return True
    except OSError as error:
        LOG.info("kernel cache %s cannot be used: %s", path, error)
        return False
    LOG.warning("kernel cache %s is refused: others own it or may write it", path)
    return False


def checksum(content: bytes) -> str:
    """The hash of a library."""
    return hashlib.sha256(content).hexdigest()


def _open(content: bytes) -> ctypes.CDLL:
    """Load exactly these bytes: from a copy, so that nobody can change them under our feet."""
    handle, path = tempfile.mkstemp(suffix=".so", dir=_private())
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        return ctypes.CDLL(path)
    finally:
        os.unlink(path)


def _load(home: Path) -> ctypes.CDLL | None:
    """The library in a folder of the cache, if all is as it was left."""
    library, record = home / LIBRARY, home / RECORD
    try:
        if not all(map(_trusted, (home, library, record))):
            LOG.warning("kernel %s is refused: others own it or may write it", home.name)
            return None
        content = library.read_bytes()
        if record.read_text() != checksum(content):
            LOG.warning("kernel %s is damaged: it will be built again", home.name)
            return None
        return _open(content)
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        LOG.warning("kernel %s does not load (%s): it will be built again", home.name, error)
        return None


def find(key: str) -> ctypes.CDLL | None:
    """The library of that key from the cache, or None."""
    root = folder()
    try:
        if not root.is_dir() or not _trusted(root):
            return None
    except OSError:
        return None
    return _load(root / key)


def make(key: str, source: Callable[[], str], options: tuple[str, ...]) -> ctypes.CDLL:
    """Build the library of that key and leave it in the cache; raises BuildError."""
    command = compiler()
    text = source()
    problem = ""
    for root in (folder(), _private()):
        if root != _private() and not _usable(root):
            continue
        try:
            aside = Path(tempfile.mkdtemp(prefix=".build-", dir=root))
        except OSError as error:
            LOG.info("kernel cache %s cannot be written (%s): using a private folder", root, error)
            continue
        try:
            problem = compile_library(command, text, aside, options)
            library = None if problem else _publish(aside, root / key)
        except OSError as error:  # a full disk shows here, or as a complaint of the compiler
            problem, library = str(error), None
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        if library is not None:
            return library
    raise BuildError(f"kernel: {' '.join(command)} failed: {problem or 'nothing was written'}")


def compile_library(command: list[str], text: str, aside: Path, options: tuple[str, ...]) -> str:
    """Compile in the folder `aside`; what went wrong, or ""."""
    source, library = aside / "kernel.cpp", aside / LIBRARY
    source.write_text(text)
    problem = ""
    for simd in (("-DSIMD_MATH=1",), ("-DSIMD_MATH=0",)) if "-DWIDE=1" in options else ((),):
        flags = (*FLAGS, *options, *simd, *extra())
        arguments = [*command, *flags, str(source), "-o", str(library), "-lm"]
        failed, complaint = _finished(arguments)
        problem = (complaint.strip().splitlines() or ["it gave no reason"])[0]
        if failed:
            continue
        try:
            _open(library.read_bytes())
        except OSError as error:  # an older mathematics library lacks some vector function
            problem = str(error)
            continue
        source.unlink()
        library.chmod(0o700)
        (aside / RECORD).write_text(checksum(library.read_bytes()))
        return ""
    return problem


def _finished(arguments: list[str]) -> tuple[int, str]:
    """The exit code of a compiler and what it complains of; it does not outlive an interrupt."""
    pipe = subprocess.PIPE
    with subprocess.Popen(arguments, stdout=pipe, stderr=pipe, text=True) as work:
        try:
            _, complaint = work.communicate()
        except BaseException:
            work.kill()
            work.wait()
            raise
    return work.returncode, complaint


def _publish(aside: Path, home: Path) -> ctypes.CDLL | None:
    """Rename a finished build into place; where another process was first, take theirs."""
    for _ in range(2):
        try:
            os.rename(aside, home)
        except OSError:
            theirs = _load(home)
            if theirs is not None:
                return theirs
            shutil.rmtree(home, ignore_errors=True)
        else:
            return _load(home)
    return None
