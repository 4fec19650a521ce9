"""What a compiler made of a text, for all tests of a session that have it compiled."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

Compiler = Callable[[list[str], Path], tuple[int, str]]  # arguments, the folder of a build
SYSTEMS = {shutil.which(name) for name in ("g++", "clang++", "c++")} - {None}


def remembered(run: Compiler, kept: Path) -> Compiler:
    """The same, which looks among what it made before; imitations of compilers are always run."""

    def finished(arguments: list[str], aside: Path) -> tuple[int, str]:
        if shutil.which(arguments[0]) not in SYSTEMS:
            return run(arguments, aside)
        words = "\n".join(word.replace(str(aside), "") for word in arguments)
        text = (aside / "kernel.cpp").read_text(encoding="utf-8")
        library = kept / hashlib.sha256(f"{words}\n{text}".encode()).hexdigest()
        made = aside / "made.so"
        if library.exists():
            shutil.copyfile(library, made)
            return 0, ""
        code, complaint = run(arguments, aside)
        if not code:
            new = library.with_suffix(f".{os.getpid()}")
            shutil.copyfile(made, new)
            new.rename(library)
        return code, complaint

    return finished
