"""The system's C++ compiler: which one, with which flags, and what it makes of a text."""

from __future__ import annotations

import ctypes
import os
import platform
import shlex
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import NamedTuple

from stiffguide.errors import UnsupportedError
from stiffguide.graphs.graph import digest
from stiffguide.kernels.running import loading

FLAGS = (
    "-std=c++17",
    "-shared",
    "-fPIC",
    "-O2",
    "-march=native",
    "-fopenmp-simd",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=off",  # one lane and many lanes round alike,
    "-fno-tree-slp-vectorize",  # for which gcc contracts all the same, and takes twice as long
    "-fno-strict-aliasing",
    "-fno-exceptions",
    "-fno-rtti",
    "-w",
)
WIDE, LOOPS = "-DWIDE=1", "-O3"  # what makes vectors of functions of mathematics
WAY_OUT = "name a compiler, or unset it"
MARK = 16  # letters of a hash, that tell compilers apart
PATIENCE = 20  # seconds that a compiler has to say its version


class BuildError(UnsupportedError):
    """No library could be made; the sentence says why."""


class Built(NamedTuple):
    """A library that loads."""

    content: bytes
    library: ctypes.CDLL


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


def command() -> list[str]:
    """The command of the C++ compiler: $CXX, g++ or clang++."""
    named = _words("CXX", WAY_OUT)
    candidates = [named] if named else [["g++"], ["clang++"], ["c++"]]
    for candidate in candidates:
        if shutil.which(candidate[0]):
            return candidate
    tried = " or ".join(candidate[0] for candidate in candidates)
    raise BuildError(f"kernel: no C++ compiler found (tried {tried}): install g++ or set CXX")


def extra() -> tuple[str, ...]:
    """The words of $STIFFGUIDE_CXXFLAGS, which come last and so outweigh the flags before them."""
    return tuple(_words("STIFFGUIDE_CXXFLAGS", "close its quotes or unset it"))


def flags() -> tuple[str, ...]:
    """Every flag of a build but those of its kernel, also those that stand in $CXX."""
    return (*_words("CXX", WAY_OUT)[1:], *FLAGS, *extra())


def mark(words: list[str]) -> str:
    """A name for the compiler of a command: its path, and what it says of its version.

    It is asked once a process, and again only if the file has changed.
    """
    path = shutil.which(words[0]) or words[0]
    try:
        found = os.stat(path)
    except OSError:
        return digest(path)[:MARK]
    return digest(path, version(tuple(words), (found.st_size, found.st_mtime_ns)))[:MARK]


@cache
def version(words: tuple[str, ...], file: tuple[int, int] | None = None) -> str:
    """What a compiler says of itself; `file`, its size and time, makes it another one."""
    ask = [*words, "--version"]
    try:
        answer = subprocess.run(
            ask, capture_output=True, check=False, timeout=PATIENCE, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.decode(errors="replace")


def _words(variable: str, way_out: str) -> list[str]:
    """A variable of the environment as a shell would split it."""
    given = os.environ.get(variable, "")
    try:
        return shlex.split(given)
    except ValueError as error:
        raise BuildError(
            f"kernel: {variable}={given!r} cannot be split into words ({error}): {way_out}"
        ) from error


def compile(words: list[str], text: str, aside: Path, options: tuple[str, ...]) -> Built:
    """Compile a text by a command in the folder `aside`; raises BuildError or OSError."""
    source, made = aside / "kernel.cpp", aside / "made.so"
    source.write_text(text, encoding="utf-8")
    problem = ""
    vectors = WIDE in options or LOOPS in options
    for simd in (("-DSIMD_MATH=1",), ("-DSIMD_MATH=0",)) if vectors else ((),):
        given = (*FLAGS, *options, *simd, *extra())
        failed, complaint = finished([*words, *given, str(source), "-o", str(made), "-lm"], aside)
        problem = (complaint.strip().splitlines() or ["it gave no reason"])[0]
        if failed:
            continue
        try:
            content = made.read_bytes()
            return Built(content, loading.load(content, aside))
        except FileNotFoundError:
            problem = "it made no library"
        except OSError as error:  # an older mathematics library lacks some vector function
            problem = str(error)
    raise BuildError(f"kernel: {' '.join(words)} failed: {problem}")


def finished(arguments: list[str], aside: Path) -> tuple[int, str]:
    """The exit code of a compiler and what it complains of; it does not outlive an interrupt."""
    no, pipe, here = subprocess.DEVNULL, subprocess.PIPE, os.environ | {"TMPDIR": str(aside)}
    with subprocess.Popen(arguments, stdin=no, stdout=no, stderr=pipe, env=here) as work:
        try:
            _, complaint = work.communicate()
        except BaseException:
            work.kill()
            work.wait()
            raise
    return work.returncode, complaint.decode(errors="replace")
