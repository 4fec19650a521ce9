"""`stiffguide build` and `stiffguide cache`: kernels made ahead, listed, measured and cleared."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from cached import decay
from commands import good, refused

import stiffguide
from stiffguide.cli.options import ACTIONS
from stiffguide.kernels import backend
from stiffguide.kernels.running import store, upkeep

COMPILER = shutil.which("g++") or shutil.which("clang++")
pytestmark = pytest.mark.skipif(COMPILER is None, reason="needs a C++ compiler")
MODEL = """
import torch
from cached import Y0, decay as f

y0 = Y0.repeat(3, 1)
batched = True
method = "bosh3"
"""


@pytest.fixture(autouse=True)
def _there(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def solved(batch: bool = True) -> None:
    from cached import Y0

    y0 = Y0.repeat(3, 1) if batch else Y0
    settings = {"batched": batch, "method": "bosh3", "backend": "kernel"}
    assert stiffguide.solve(decay, y0, 0.0, 1.0, **settings).success.all()


@pytest.mark.environments
def test_a_file_is_built_for_others_to_find(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "site").mkdir()
    (tmp_path / "site").chmod(0o755)
    before = os.umask(0o077)
    try:
        text = good("build", "model.py", "--out", "site/kernels")
    finally:
        os.umask(before)
    assert "bosh3, 2 components: built in" in text
    assert os.environ["STIFFGUIDE_CACHE"] == str(tmp_path / "cache")  # as it was
    site = tmp_path / "site" / "kernels"
    assert len(upkeep.kept(site)) == 2  # for one row, and for many
    for path in (site.parent, site, *site.rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644)
    monkeypatch.setenv("STIFFGUIDE_CACHE", f"{tmp_path / 'own'}{os.pathsep}{site}")
    backend.forget()
    solved()
    assert not (tmp_path / "own").exists()


def test_a_problem_is_built_into_the_cache(cache: Path) -> None:
    assert "built in" in good("build", "robertson", "--method", "rosenbrock23")
    assert len(upkeep.kept(cache)) == 1
    backend.forget()
    assert "was there already" in good("build", "robertson", "-m", "rosenbrock23")
    backend.forget()
    good("solve", "robertson", "-m", "rosenbrock23", "--backend", "kernel", "--t1", 1)
    assert len(upkeep.kept(cache)) == 1
    backend.forget()
    good("build", "robertson", "-m", "rosenbrock23", "--batch", 5)
    assert len(upkeep.kept(cache)) == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("y0 = 1.0", "has no f: define"),
        ("", "has no f and no y0"),
        ("1 / 0", "does not run: ZeroDivisionError"),
        ("f = ", "does not run: SyntaxError"),
        (MODEL + "y0 = 'x'", "y0|like"),
        (None, "there is no file"),
    ],
)
def test_a_file_that_is_no_model_is_refused(text: str | None, words: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "model.py").write_text(text)
    said = refused("build", "model.py", code=2)
    assert any(word in said for word in words.split("|"))


def test_what_cannot_be_built_is_refused(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "file").touch()
    assert "batched = True" in refused("build", "model.py", "--batch", 3, code=2)
    assert "no problem" in refused("build", "no_such_problem", code=2)
    assert "does not exist" in refused("build", "model.py", "--out", "file/below", code=2)
    assert "has no" in refused("build", "model.py", "--out", f"a{os.pathsep}b", code=2)
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    assert "others may write" in refused("build", "model.py", "--out", "open/kernels", code=2)
    monkeypatch.setenv("STIFFGUIDE_CACHE", str(tmp_path / "file"))
    assert "not kept" in refused("build", "model.py", code=2)

    def read_only(folder: Path) -> Path:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(store, "aside", read_only)
    said = refused("build", "model.py", "--out", "site", code=2)
    assert "site cannot be used: [Errno 30] Read-only file system" in said


@pytest.mark.environments
def test_the_cache_is_listed_measured_and_cleared(cache: Path) -> None:
    assert "0 kernels" in good("cache", "size")
    assert "nothing there" in good("cache", "clear")
    solved(batch=False)
    (cache / "mine").mkdir()
    (kernel,) = upkeep.kept(cache)
    text = good("cache")
    assert text == good("cache", "list")
    assert kernel.home.name[:16] in text
    assert f"1 kernel, {kernel.size / upkeep.MIB:.1f} MiB of at most 512 MiB" in text
    assert "1 kernel removed" in good("cache", "clear")
    assert [path.name for path in cache.iterdir()] == ["mine"]


def test_every_folder_of_the_cache_is_listed(cache: Path, tmp_path: Path, monkeypatch) -> None:
    solved(batch=False)
    monkeypatch.setenv("STIFFGUIDE_CACHE", f"{tmp_path / 'other'}{os.pathsep}{cache}")
    first, second = good("cache", "size").splitlines()
    assert first.startswith(f"{tmp_path / 'other'}: 0 kernels")
    assert second.startswith(f"{cache}: 1 kernel,")


def test_a_cache_that_is_not_ours_is_not_cleared(cache: Path, monkeypatch) -> None:
    solved(batch=False)
    cache.chmod(0o777)
    assert "others may write" in refused("cache", "clear", code=2)
    cache.chmod(0o700)
    monkeypatch.setattr(upkeep, "drop", lambda home: None)  # as where it is only read
    assert "1 kernel left" in refused("cache", "clear", code=2)
    assert len(upkeep.kept(cache)) == 1


@pytest.mark.parametrize("action", ACTIONS)
def test_where_there_is_no_cache_the_command_says_so(action: str, monkeypatch) -> None:
    monkeypatch.setattr(store, "folders", list)
    assert "set STIFFGUIDE_CACHE" in refused("cache", action, code=2)


def test_a_size_that_is_none_is_named(monkeypatch) -> None:
    monkeypatch.setenv("STIFFGUIDE_CACHE_SIZE", "much")
    assert "no number of MiB" in refused("cache", code=2)
