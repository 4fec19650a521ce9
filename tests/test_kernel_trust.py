"""Nothing is loaded that another user could have put in place, or that was not checked."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cached import STRANGER, assert_right, compilations, gives_away, kernels, library_of, solve

from stiffguide import UnsupportedError
from stiffguide.kernels import backend
from stiffguide.kernels.running import loading, store, trust

COMPILER = shutil.which("g++") or shutil.which("clang++")
pytestmark = pytest.mark.skipif(COMPILER is None, reason="needs a C++ compiler")
as_root = pytest.mark.skipif(not gives_away(), reason="only root gives files away")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A cache with folders above it that are all the test's own."""
    monkeypatch.setenv("STIFFGUIDE_CACHE", str(tmp_path / "above" / "between" / "cache"))
    yield tmp_path / "above" / "between" / "cache"
    backend.forget()


def open_to_all(folder: Path) -> None:
    folder.chmod(0o777)


def open_to_a_group(folder: Path) -> None:
    folder.chmod(0o775)


def given_away(folder: Path) -> None:
    os.chown(folder, STRANGER, STRANGER)


@pytest.mark.parametrize("depth", range(3))
@pytest.mark.parametrize(
    "fault", [open_to_all, open_to_a_group, pytest.param(given_away, marks=as_root)]
)
def test_a_folder_that_others_can_exchange_is_refused(
    fault: Callable[[Path], None], depth: int, cache: Path, monkeypatch, caplog
) -> None:
    assert_right(solve())
    folder = [cache, *cache.parents][depth]
    fault(folder)
    monkeypatch.setattr(trust, "_own_group", lambda user, group: False)
    seen = compilations(monkeypatch)
    assert_right(solve())
    assert len(seen) == 1
    assert "is refused" in caplog.text
    assert f"{folder} belongs to" in caplog.text or f"chmod go-w {folder}" in caplog.text


def test_what_lies_in_a_sticky_folder_can_only_be_exchanged_by_its_owner(
    cache, monkeypatch
) -> None:
    assert_right(solve())
    cache.parent.chmod(0o1777)
    seen = compilations(monkeypatch)
    assert_right(solve())
    assert not seen
    cache.chmod(0o1777)  # but here anybody can leave a kernel
    assert_right(solve())
    assert len(seen) == 1


def test_a_group_of_its_user_alone_may_write(cache: Path, monkeypatch) -> None:
    assert_right(solve())
    cache.chmod(0o775)
    cache.parent.chmod(0o775)
    if gives_away():
        os.chown(cache, -1, STRANGER)
        os.chown(cache.parent, -1, STRANGER)
    monkeypatch.setattr(trust, "_own_group", lambda user, group: True)
    seen = compilations(monkeypatch)
    assert_right(solve())
    assert not seen
    monkeypatch.setattr(os, "listxattr", lambda path: ["system.posix_acl_access"], raising=False)
    assert_right(solve())
    assert len(seen) == 1


def group(monkeypatch: pytest.MonkeyPatch, name: str, number: int, *members: str) -> bool:
    """Whether a group is that of the user "ada" alone: 7, and its group 7 or 0."""
    import grp
    import pwd

    ada = pwd.struct_passwd(("ada", "x", 7, number and 7, "", "/", ""))
    monkeypatch.setattr(pwd, "getpwuid", lambda user: ada)
    monkeypatch.setattr(
        grp, "getgrgid", lambda number: grp.struct_group((name, "x", number, list(members)))
    )
    trust._own_group.cache_clear()
    try:
        return trust._own_group(7, number)
    finally:
        trust._own_group.cache_clear()


def test_whose_a_group_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert group(monkeypatch, "ada", 7)
    assert group(monkeypatch, "ada", 7, "ada")
    assert not group(monkeypatch, "ada", 7, "ada", "eve")
    assert not group(monkeypatch, "staff", 7)
    assert not group(monkeypatch, "ada", 8)
    assert not group(monkeypatch, "ada", 0)


@as_root
def test_root_of_a_container_that_does_not_know_root(cache: Path, monkeypatch) -> None:
    """There its folders show as those of nobody; nobody's kernels are refused all the same."""
    assert_right(solve())
    os.chown(cache.parent, STRANGER, STRANGER)
    monkeypatch.setattr(trust, "_unmapped_root", lambda: STRANGER)
    seen = compilations(monkeypatch)
    assert_right(solve())
    assert not seen
    os.chown(cache, STRANGER, STRANGER)
    assert_right(solve())
    assert len(seen) == 1


def test_the_number_of_an_unknown_root(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {"/proc/sys/kernel/overflowuid": "65534\n"}
    monkeypatch.setattr(Path, "read_text", lambda self: texts[str(self)])
    for table, number in (
        ("         0          0 4294967295\n", None),
        ("         0          0          1\n", None),
        ("      1000       1000          1\n", 65534),
        ("         0       1000          1\n         1     100000      65536\n", 65534),
    ):
        texts["/proc/self/uid_map"] = table
        assert trust._unmapped_root() == number


def test_a_cache_behind_a_link_is_judged_where_it_is(cache: Path, tmp_path, monkeypatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    cache.parent.mkdir(parents=True)
    cache.symlink_to(elsewhere)
    seen = compilations(monkeypatch)
    assert_right(solve())
    assert_right(solve())
    assert len(seen) == 1
    elsewhere.chmod(0o777)
    assert_right(solve())
    assert len(seen) == 2


def test_a_cache_exchanged_while_it_is_read(cache: Path, tmp_path: Path, monkeypatch) -> None:
    """Whoever comes between two looks finds that the second one is at what the first one saw."""
    assert_right(solve())
    descend = trust.descend

    def late(folder: int, path: Path) -> int:
        inside = descend(folder, path)
        cache.rename(tmp_path / "moved")
        evil = cache / path.name
        evil.mkdir(parents=True)
        (evil / store.LIBRARY).write_bytes(b"evil")
        (evil / store.RECORD).write_text(store.checksum(b"evil"))
        return inside

    monkeypatch.setattr(trust, "descend", late)
    seen = compilations(monkeypatch)
    assert_right(solve())
    assert not seen


@pytest.mark.parametrize("memory", [True, False])
def test_what_is_loaded_is_what_was_checked(memory: bool, cache: Path, monkeypatch) -> None:
    assert_right(solve())
    checksum = store.checksum

    def late(content: bytes) -> str:
        library_of(*kernels(cache)).write_bytes(b"evil")
        return checksum(content)

    monkeypatch.setattr(store, "checksum", late)
    if not memory:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    seen = compilations(monkeypatch)
    assert_right(solve())
    assert not seen


def test_a_pipe_instead_of_a_file_does_not_wait(cache: Path, monkeypatch) -> None:
    assert_right(solve())
    record = kernels(cache)[0] / store.RECORD
    record.unlink()
    os.mkfifo(record, 0o600)
    seen = compilations(monkeypatch)
    assert_right(solve())
    assert len(seen) == 1


def test_a_folder_for_temporary_files_that_others_can_exchange(tmp_path, monkeypatch) -> None:
    """Without the sticky bit it is not even fit for the private folder."""
    monkeypatch.setenv("STIFFGUIDE_CACHE", "/proc/no/such")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    loading._private.cache_clear()
    tmp_path.chmod(0o777)
    with pytest.raises(UnsupportedError, match="others may write"):
        solve()
    tmp_path.chmod(0o1777)
    assert_right(solve())
    loading._private.cache_clear()
