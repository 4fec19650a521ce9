"""The folders where kernels are kept: read by what `trust` allows, written by explicit modes.

A kernel is a folder of the cache with the library and the hash of the library. It is made aside and
renamed into place, so that a reader finds all of it or nothing; one whose hash is wrong, or that
does not load, is built again.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from stiffguide.kernels.running import loading, trust

LOG = logging.getLogger("stiffguide")
LIBRARY, RECORD = "kernel.so", "sha256"
ASIDE = ".build-"  # begins the names of what is not finished


def folders() -> list[Path]:
    """Where kernels are looked for; new ones are left in the first that can be written.

    The folders of $STIFFGUIDE_CACHE, else one below the user's cache folder.
    """
    given = [part for part in os.environ.get("STIFFGUIDE_CACHE", "").split(os.pathsep) if part]
    if given:
        return [path for path in map(_absolute, given) if path is not None]
    root = os.environ.get("XDG_CACHE_HOME", "")
    above = _absolute(root if os.path.isabs(root) else "~/.cache")
    return [] if above is None else [above / "stiffguide" / "kernels"]


def _absolute(given: str) -> Path | None:
    try:
        return Path(given).expanduser().absolute()
    except (RuntimeError, OSError) as error:  # no HOME, and a user that the system does not know
        _warn(f"there is no kernel cache {given} ({error}): set STIFFGUIDE_CACHE to a folder")
        return None


@cache
def _warn(sentence: str) -> None:
    """Say it once."""
    LOG.warning(sentence)


def writable() -> Iterator[Path]:
    """The folders that may take a new kernel, the best one first."""
    for folder in folders():
        try:
            _make(folder)
            os.close(_enter(folder))
        except trust.Refused as error:
            _warn(str(error))
        except OSError as error:
            LOG.info("kernel cache %s cannot be used: %s", folder, error)
        else:
            yield folder
    yield loading.private()


def _make(path: Path) -> None:
    """A folder and its parents, which nobody else may write whatever the umask is."""
    if path.is_dir():
        return
    if not path.parent.is_dir():
        _make(path.parent)
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:  # another process was first, or it is no folder
        if not path.is_dir():
            raise


def share(path: Path) -> None:
    """Make a folder, if it is not there, that others may read; raises OSError if it is no use."""
    if not path.is_dir():
        path.mkdir()
        path.chmod(0o755)  # whatever the umask is
    os.close(_enter(path))
    aside(path).rmdir()  # it can be written


def _enter(folder: Path) -> int:
    try:
        return trust.enter(folder)
    except trust.Refused as error:
        raise trust.Refused(f"kernel cache {folder} is refused: {error}") from error


def aside(folder: Path) -> Path:
    """A new folder for a build, in the one that it is for."""
    return Path(tempfile.mkdtemp(prefix=ASIDE, dir=folder))


def checksum(content: bytes) -> str:
    """The hash of a library."""
    return hashlib.sha256(content).hexdigest()


def beginning(folder: Path, start: str) -> list[str]:
    """What in a folder has a name that begins so."""
    try:
        return sorted(path.name for path in folder.iterdir() if path.name.startswith(start))
    except OSError:
        return []


def fetch(folder: Path, name: str) -> ctypes.CDLL | None:
    """The library of that name in a folder, if all is as it was left."""
    try:
        root = _enter(folder)
        try:
            content = _content(root, folder / name)
        finally:
            os.close(root)
        return loading.load(content, folder)
    except FileNotFoundError:
        return None
    except trust.Refused as error:
        _warn(str(error))
    except OSError as error:
        LOG.warning("kernel %s does not load (%s): it will be built again", name, error)
    return None


def _content(root: int, home: Path) -> bytes:
    """A library of a folder that was entered, as it was left there; raises OSError."""
    try:
        inside = trust.descend(root, home)
        try:
            content = trust.read(inside, home / LIBRARY)
            record = trust.read(inside, home / RECORD)
            _note_use(inside)
        finally:
            os.close(inside)
    except trust.Refused as error:
        raise trust.Refused(f"kernel {home.name} is refused: {error}") from error
    if record.strip() != checksum(content).encode():
        raise OSError("it is damaged")
    return content


def _note_use(home: int) -> None:
    """Date a kernel's record, so that those used least recently go first."""
    with contextlib.suppress(OSError):  # in a folder that is only read
        os.utime(RECORD, dir_fd=home, follow_symlinks=False)


def publish(content: bytes, made: Path, name: str) -> None:
    """Leave a library in the folder beside `made`, where it was made; raises OSError.

    Where another process was first, theirs stays if it is sound. Whoever may read the folder may
    read the kernel, and nobody may write it, whatever the umask is.
    """
    home = made.parent / name
    readers = stat.S_IMODE(made.parent.stat().st_mode) & 0o055
    for rest in list(made.iterdir()):
        rest.unlink()
    for file, text in ((LIBRARY, content), (RECORD, checksum(content).encode())):
        (made / file).write_bytes(text)
        (made / file).chmod(0o600 | readers & 0o044)
    made.chmod(0o700 | readers)
    try:
        os.rename(made, home)
    except OSError:
        if fetch(made.parent, name) is None:
            shutil.rmtree(home, ignore_errors=True)
            os.rename(made, home)
