"""The cache over time: rests go, the size is bounded, forks and several folders do no harm."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from cached import assert_right, compilations, kernels, solve

from stiffguide import UnsupportedError
from stiffguide.kernels.running import loading, store, upkeep

COMPILER = shutil.which("g++") or shutil.which("clang++")
pytestmark = [
    pytest.mark.skipif(COMPILER is None, reason="needs a C++ compiler"),
    pytest.mark.usefixtures("cache"),
]


def aged(path: Path, seconds: float) -> Path:
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))
    return path


def imitations(cache: Path, count: int) -> list[Path]:
    """Kernels of a MiB each, the first used last."""
    cache.mkdir(mode=0o700, exist_ok=True)
    homes = [cache / f"{n:064x}-{n:016x}" for n in range(count)]
    for n, home in enumerate(homes):
        home.mkdir()
        (home / store.LIBRARY).write_bytes(bytes(upkeep.MIB))
        (home / store.RECORD).write_text("none")
        aged(home / store.RECORD, 100.0 * (n + 1))
    return homes


def test_rests_of_killed_builds_go_when_they_are_old(cache: Path) -> None:
    cache.mkdir(mode=0o700)
    old, new, other = cache / ".build-old", cache / ".build-new", cache / "mine"
    for folder in (old, new, other):
        folder.mkdir()
        (folder / "kernel.cpp").touch()
    file = cache / ".build-x.so"
    file.touch()
    for path in (old, other, file):
        aged(path, upkeep.OLD + 60)
    assert_right(solve())
    assert not old.exists()
    assert not file.exists()
    assert new.exists()
    assert other.exists()


def test_the_least_recently_used_kernels_go_first(cache: Path, monkeypatch) -> None:
    homes = imitations(cache, 4)
    mine = cache / "mine"
    mine.mkdir()
    (mine / store.LIBRARY).write_bytes(bytes(3 * upkeep.MIB))
    monkeypatch.setenv("STIFFGUIDE_CACHE_SIZE", "3")
    assert_right(solve())
    assert [home.exists() for home in homes] == [True, True, False, False]
    assert len(kernels(cache)) == 4  # with the new one, and what is not ours
    assert not list(cache.glob(".build-*"))


def test_loading_a_kernel_is_using_it(cache: Path, monkeypatch) -> None:
    assert_right(solve())
    (first,) = kernels(cache)
    aged(first / store.RECORD, 1e6)
    imitations(cache, 2)
    assert_right(solve())
    assert upkeep.kept(cache)[0].home == first
    monkeypatch.setenv("STIFFGUIDE_CACHE_SIZE", "1")
    assert_right(solve(method="tsit5"))
    assert first in kernels(cache)
    assert len(kernels(cache)) == 2


def test_a_kernel_larger_than_the_cache_may_stay_alone(cache: Path, monkeypatch) -> None:
    monkeypatch.setenv("STIFFGUIDE_CACHE_SIZE", "0")
    seen = compilations(monkeypatch)
    for method in ("bosh3", "tsit5", "tsit5"):
        assert_right(solve(method=method))
        assert len(kernels(cache)) == 1
    assert len(seen) == 2


@pytest.mark.parametrize("given", ["much", "-1", "1.5", "5 GB"])
def test_a_size_that_is_none_is_named(given: str, monkeypatch) -> None:
    monkeypatch.setenv("STIFFGUIDE_CACHE_SIZE", given)
    with pytest.raises(UnsupportedError, match=r"STIFFGUIDE_CACHE_SIZE=.* is no number of MiB"):
        solve()
    assert_right(solve("auto"))


# forks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["by exit", "by multiprocessing"])
def test_a_fork_leaves_its_parents_folder_alone(end: str, monkeypatch, tmp_path: Path) -> None:
    """And takes its own away, where python has a say in its end."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    loading._private.cache_clear()
    ours = loading.private()
    report = tmp_path / "report"

    def work() -> None:
        report.write_text(str(loading.private()))

    if end == "by multiprocessing":
        process = multiprocessing.get_context("fork").Process(target=work)
        process.start()
        process.join()
        assert process.exitcode == 0
    else:
        process = os.fork()
        if not process:
            work()
            loading.util._run_finalizers()
            os._exit(0)
        assert os.waitpid(process, 0)[1] == 0
    assert Path(report.read_text()).parent == tmp_path
    assert report.read_text() != str(ours)
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == [ours]
    loading._private.cache_clear()


# several folders ---------------------------------------------------------------------------------


def search(monkeypatch: pytest.MonkeyPatch, *folders: Path | str) -> None:
    monkeypatch.setenv("STIFFGUIDE_CACHE", os.pathsep.join(map(str, folders)))


def test_all_folders_are_read_and_the_first_is_written(cache, tmp_path, monkeypatch) -> None:
    seen = compilations(monkeypatch)
    assert_right(solve())
    first = tmp_path / "first"
    search(monkeypatch, first, "", tmp_path / "missing", cache)
    assert_right(solve())
    assert len(seen) == 1
    assert not first.exists()
    assert_right(solve(method="tsit5"))
    assert len(kernels(first)) == len(kernels(cache)) == 1
    assert not (tmp_path / "missing").exists()


def test_a_folder_that_cannot_be_written_is_read(cache, tmp_path, monkeypatch) -> None:
    """Which root does not notice by itself."""
    assert_right(solve())
    make = store.aside

    def read_only(folder: Path) -> Path:
        if folder == cache:
            raise OSError(30, "Read-only file system")
        return make(folder)

    monkeypatch.setattr(store, "aside", read_only)
    monkeypatch.setattr(os, "utime", lambda *at, **how: read_only(cache))
    second = tmp_path / "second"
    search(monkeypatch, cache, second)
    seen = compilations(monkeypatch)
    assert_right(solve())
    assert not seen
    for _ in range(2):
        assert_right(solve(method="tsit5"))
    assert len(seen) == len(kernels(second)) == 1


def test_a_folder_that_others_may_write_is_passed_over(cache, tmp_path, monkeypatch) -> None:
    assert_right(solve())
    cache.chmod(0o777)
    second = tmp_path / "second"
    search(monkeypatch, cache, second)
    assert_right(solve())
    assert len(kernels(second)) == 1
