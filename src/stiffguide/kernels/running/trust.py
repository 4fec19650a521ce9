"""Whose files are loaded: those that nobody but their user and root can change, and no others.

What `enter` has walked through stays as it is: each folder on the way, from the root on, belongs to
us or to root, and others can neither write in it nor rename what lies there.
"""

from __future__ import annotations

import os
import stat
from functools import cache
from pathlib import Path

# O_PATH, because /home may be closed to readers; a system that lacks the others opens no folders
WAY = getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_PATH", os.O_RDONLY)
HERE = getattr(os, "O_NOFOLLOW", 0)
FILE = os.O_RDONLY | HERE | getattr(os, "O_NONBLOCK", 0)  # a pipe in its place would make us wait


class Refused(PermissionError):
    """Somebody else could have changed it; the sentence says what, and the way out."""


def enter(path: Path) -> int:
    """A descriptor of a folder that only we and root can change or exchange; raises OSError."""
    names = Path(os.path.realpath(path)).parts  # the way that links lead is the one that counts
    at = os.open(names[0], WAY)
    try:
        for depth, name in enumerate(names[1:], 2):
            _check(at, Path(*names[: depth - 1]), on_the_way=True)
            below = os.open(name, WAY | HERE, dir_fd=at)
            os.close(at)
            at = below
        _check(at, Path(*names), on_the_way=False)
    except BaseException:
        os.close(at)
        raise
    return at


def read(folder: int, path: Path) -> bytes:
    """The content of a file in a folder that was entered, whose path is for a sentence."""
    with open(os.open(path.name, FILE, dir_fd=folder), "rb") as file:
        _check(file.fileno(), path, on_the_way=False)
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise Refused(f"{path} is no file")
        return file.read()


def descend(folder: int, path: Path) -> int:
    """A descriptor of a folder in a folder that was entered; the path is for a sentence."""
    at = os.open(path.name, WAY | HERE, dir_fd=folder)
    try:
        _check(at, path, on_the_way=False)
    except BaseException:
        os.close(at)
        raise
    return at


def _check(at: int, path: Path, *, on_the_way: bool) -> None:
    """Refuse what belongs to, or can be written by, somebody else."""
    found = os.fstat(at)
    trusted = {0, os.geteuid()}
    if found.st_uid not in trusted and not (on_the_way and found.st_uid == _unmapped_root()):
        raise Refused(f"{path} belongs to user {found.st_uid}, neither to you nor to root")
    others = found.st_mode & stat.S_IWOTH or (
        found.st_mode & stat.S_IWGRP and not _alone(at, found)
    )
    # in a sticky folder nobody renames what belongs to us or to root, as all below here does
    if others and not (on_the_way and found.st_mode & stat.S_ISVTX):
        raise Refused(f"others may write {path}: chmod go-w {path}")


def _alone(at: int, found: os.stat_result) -> bool:
    """Whether the group is the user's own, as under the custom of umask 002: nobody else is in it.

    By the convention of such systems: it has the user's name and number, and no other members.
    """
    if found.st_uid != os.geteuid():
        return False
    if hasattr(os, "listxattr"):
        try:  # with an access list the bits of the group speak of everybody in that list
            if "system.posix_acl_access" in os.listxattr(f"/proc/self/fd/{at}"):
                return False
        except OSError:
            return False
    return _own_group(found.st_uid, found.st_gid)


@cache
def _own_group(user: int, group: int) -> bool:
    import grp
    import pwd

    try:
        person, circle = pwd.getpwuid(user), grp.getgrgid(group)
    except KeyError:
        return False
    alone = group and set(circle.gr_mem) <= {person.pw_name}  # 0: of unknown users in containers
    return bool(alone) and circle.gr_name == person.pw_name and person.pw_gid == group


def _unmapped_root() -> int | None:
    """The number of root's folders in a container that has no number for that root."""
    try:
        lines = Path("/proc/self/uid_map").read_text().splitlines()
        nobody = int(Path("/proc/sys/kernel/overflowuid").read_text())
    except (OSError, ValueError):
        return None
    # second is the number outside: a container's own root is somebody else there
    return None if any(line.split()[1] == "0" for line in lines) else nobody
