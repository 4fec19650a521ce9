"""Kernels on odd machines: any umask, no home, nothing to execute from, odd variables."""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import stat
import tempfile
from pathlib import Path

import pytest
from cached import assert_right, compilations, kernels, library_of, solve

from stiffguide import UnsupportedError
from stiffguide.kernels import backend
from stiffguide.kernels.running import compiler, loading, store

COMPILER = shutil.which("g++") or shutil.which("clang++")
pytestmark = pytest.mark.skipif(COMPILER is None, reason="needs a C++ compiler")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A cache folder that is not there yet."""
    monkeypatch.setenv("STIFFGUIDE_CACHE", str(tmp_path / "new" / "cache"))
    yield tmp_path / "new" / "cache"
    backend.forget()


@pytest.fixture
def no_private_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache must do: nothing else is there."""

    def none() -> Path:
        raise FileNotFoundError("no folder for temporary files")

    monkeypatch.setattr(loading, "private", none)


def modes(folder: Path) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.rglob("*"))}


@pytest.mark.parametrize("mask", [0o000, 0o002, 0o022, 0o027, 0o077])
def test_the_umask_changes_nothing(mask: int, cache: Path, monkeypatch, no_private_folder) -> None:
    before = os.umask(mask)
    try:
        seen = compilations(monkeypatch)
        assert_right(solve())
        assert_right(solve())
    finally:
        os.umask(before)
    assert len(seen) == 1
    assert modes(cache.parent) == {0o700, 0o600}


def test_whoever_may_read_the_cache_may_read_its_kernels(cache: Path, no_private_folder) -> None:
    for folder in (cache.parent, cache):
        folder.mkdir()
        folder.chmod(0o755)
    assert_right(solve())
    assert modes(cache) == {0o755, 0o644}


def executes_nothing(monkeypatch: pytest.MonkeyPatch, *folders: Path) -> None:
    """The loader refuses what lies there, as it does where a file system is mounted so."""
    load = ctypes.CDLL

    def refusing(path: str) -> ctypes.CDLL:
        if any(folder in Path(path).parents for folder in folders):
            raise OSError(f"{path}: failed to map segment from shared object")
        return load(path)

    monkeypatch.setattr(ctypes, "CDLL", refusing)


def test_temporary_files_that_may_not_be_executed(cache, tmp_path, monkeypatch) -> None:
    executes_nothing(monkeypatch, Path(tempfile.gettempdir()), cache)
    seen = compilations(monkeypatch)
    assert_right(solve())
    assert_right(solve())
    assert len(seen) == 1


@pytest.mark.parametrize("memory", ["none", "refused"])
def test_a_system_without_files_in_memory(memory: str, cache, tmp_path, monkeypatch) -> None:
    executes_nothing(monkeypatch, loading.private())
    if memory == "none":
        monkeypatch.delattr(os, "memfd_create", raising=False)
    else:
        monkeypatch.setattr(os, "memfd_create", lambda name: os.open("/nowhere", 0), raising=False)
    assert_right(solve())
    assert sorted(path.name for path in kernels(cache)[0].iterdir()) == ["kernel.so", "sha256"]
    assert len(list(cache.iterdir())) == 1


def test_nothing_may_be_executed(cache, tmp_path, monkeypatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    executes_nothing(monkeypatch, Path(tempfile.gettempdir()), cache)
    with pytest.raises(UnsupportedError, match="failed to map segment"):
        solve()
    assert_right(solve("auto"))


def test_a_library_that_is_none_is_what_is_complained_of() -> None:
    with pytest.raises(OSError, match=r"ELF|too short|not a mach-o"):
        loading.load(b"not a library", Path("/no/such/folder"))


def test_libraries_that_follow_each_other_are_not_taken_for_one(tmp_path: Path) -> None:
    """The loader goes by paths, and the numbers of descriptors come again."""
    words = compiler.command()
    texts = [f'extern "C" int number() {{ return {n}; }}' for n in range(3)]
    built = [compiler.compile(words, text, tmp_path, ()).content for text in texts]
    assert [loading.load(b, tmp_path).number() for b in (*built, *built)] == [0, 1, 2, 0, 1, 2]


def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user that the system does not know, without a home."""

    def unknown(user: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {user}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "XDG_CACHE_HOME", "STIFFGUIDE_CACHE"):
        monkeypatch.delenv(name, raising=False)


def test_no_home(monkeypatch, caplog) -> None:
    nobody(monkeypatch)
    store._warn.cache_clear()
    assert_right(solve())
    assert_right(solve("auto"))
    assert "set STIFFGUIDE_CACHE" in caplog.text


def test_no_home_and_no_folder_for_temporary_files(monkeypatch, no_private_folder) -> None:
    nobody(monkeypatch)
    with pytest.raises(UnsupportedError, match="no folder for temporary files"):
        solve()
    assert_right(solve("auto"))


def test_a_system_that_opens_no_folders(monkeypatch) -> None:
    """Such as Windows: there is no kernel, and a sentence."""
    real = os.open

    def files_only(path: str, flags: int, *more: int, **settings: int) -> int:
        if os.path.isdir(path):
            raise PermissionError(13, "Permission denied", path)
        return real(path, flags, *more, **settings)

    loading._private.cache_clear()
    monkeypatch.setattr(os, "open", files_only)
    with pytest.raises(UnsupportedError, match=r"nothing could be written.*Permission denied"):
        solve()
    assert_right(solve("auto"))


@pytest.mark.parametrize("given", ["-o", "-rf", "a b", "$(touch x)", "-\n'\"", "~", "~/x"])
def test_a_strange_cache_folder(given: str, tmp_path: Path, monkeypatch, no_private_folder) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("STIFFGUIDE_CACHE", given)
    assert_right(solve())
    folder = tmp_path / ("home" + given[1:] if given.startswith("~") else given)
    assert library_of(*kernels(folder)).exists()


@pytest.mark.parametrize("given", ["", "~no-such-user/x", "file", "/proc/1/no/such"])
def test_a_cache_folder_that_cannot_be(given: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "users"))
    monkeypatch.setenv("STIFFGUIDE_CACHE", given)
    assert_right(solve())
    assert (tmp_path / "users" / "stiffguide" / "kernels").exists() == (given == "")


def test_a_cache_folder_beside_a_working_folder_that_is_gone(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    monkeypatch.setenv("STIFFGUIDE_CACHE", "cache")
    assert_right(solve())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("no-such-compiler -O2", r"tried no-such-compiler\)"),
        ("g++; touch injected", r"tried g\+\+;\)"),
        ("$(touch injected)", "no C.. compiler found"),
        ("'g++", "CXX=.* cannot be split"),
        ("true", "it made no library"),
        ("{tmp}/no-program", "Exec format error"),
        ("{tmp}", "no C.. compiler found"),
    ],
)
def test_a_strange_compiler_is_named(given: str, words: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "no-program").write_text("\x7f")
    (tmp_path / "no-program").chmod(0o755)
    monkeypatch.setenv("CXX", given.format(tmp=tmp_path))
    with pytest.raises(UnsupportedError, match=words) as raised:
        solve()
    assert "\n" not in str(raised.value)
    assert_right(solve("auto"))
    assert not (tmp_path / "injected").exists()


@pytest.mark.parametrize("given", ["{} -O0", "'{}' '-DNOTE=two words; $(x)'", "   ", ""])
def test_a_compiler_with_flags(given: str, monkeypatch, no_private_folder) -> None:
    monkeypatch.setenv("CXX", given.format(COMPILER))
    assert_right(solve())


def test_a_compiler_that_speaks_another_code(tmp_path: Path, monkeypatch) -> None:
    script = tmp_path / "bad-compiler"
    script.write_bytes(b"#!/bin/sh\nprintf 'erreur \\351trange' >&2\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setenv("CXX", str(script))
    with pytest.raises(UnsupportedError, match=r"erreur .trange"):
        solve()
