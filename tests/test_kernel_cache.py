"""The cache of kernels under hostile conditions: what is found there is never trusted blindly."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from cached import STRANGER, assert_right, compilations, gives_away, kernels, library_of, solve
from torch import Tensor

from stiffguide import UnsupportedError
from stiffguide.kernels.running import build, compiler, store

COMPILER = shutil.which("g++") or shutil.which("clang++")
pytestmark = [
    pytest.mark.skipif(COMPILER is None, reason="needs a C++ compiler"),
    pytest.mark.usefixtures("cache"),
]


@pytest.mark.environments
def test_a_kernel_is_built_once(cache: Path, monkeypatch) -> None:
    seen = compilations(monkeypatch)
    assert_right(solve())
    assert_right(solve())
    assert len(seen) == 1
    (home,) = kernels(cache)
    assert sorted(p.suffix for p in home.iterdir()) == ["", ".so"]
    assert not home.stat().st_mode & 0o077


@pytest.mark.parametrize("damage", ["empty", "flipped", "cut", "text", "no record"])
def test_a_damaged_kernel_is_built_again(damage: str, cache: Path, monkeypatch, caplog) -> None:
    assert_right(solve())
    (home,) = kernels(cache)
    library = library_of(home)
    content = library.read_bytes()
    bad = {
        "empty": b"",
        "flipped": content[:2000] + bytes([content[2000] ^ 1]) + content[2001:],
        "cut": content[: len(content) // 2],
        "text": b"not a library",
    }
    if damage == "no record":
        (home / store.RECORD).unlink()
    else:
        library.write_bytes(bad[damage])
    seen = compilations(monkeypatch)
    assert_right(solve())
    assert len(seen) == 1
    assert damage == "no record" or "damaged" in caplog.text
    assert_right(solve())
    assert len(seen) == 1


def test_a_library_that_is_none_is_built_again(cache: Path, monkeypatch) -> None:
    assert_right(solve())
    (home,) = kernels(cache)
    library_of(home).write_bytes(b"not a library")
    library = library_of(home)
    (home / store.RECORD).write_text(store.checksum(library.read_bytes()))
    seen = compilations(monkeypatch)
    assert_right(solve())
    assert len(seen) == 1


@pytest.mark.parametrize("what", ["cache", "home", "library"])
def test_what_others_may_write_is_refused(what: str, cache: Path, monkeypatch, caplog) -> None:
    assert_right(solve())
    (home,) = kernels(cache)
    {"cache": cache, "home": home, "library": library_of(home)}[what].chmod(0o777)
    seen = compilations(monkeypatch)
    with caplog.at_level("WARNING", logger="stiffguide"):
        assert_right(solve())
    assert len(seen) == 1
    assert "refused" in caplog.text


@pytest.mark.skipif(not gives_away(), reason="only root gives files away")
def test_what_others_own_is_refused(cache: Path, monkeypatch) -> None:
    assert_right(solve())
    (home,) = kernels(cache)
    os.chown(library_of(home), STRANGER, STRANGER)
    seen = compilations(monkeypatch)
    assert_right(solve())
    assert len(seen) == 1


def test_a_link_is_refused(cache: Path, tmp_path: Path, monkeypatch) -> None:
    assert_right(solve())
    (home,) = kernels(cache)
    elsewhere = tmp_path / "elsewhere.so"
    library = library_of(home)
    shutil.move(library, elsewhere)
    library.symlink_to(elsewhere)
    seen = compilations(monkeypatch)
    assert_right(solve())
    assert len(seen) == 1


def test_a_cache_that_cannot_be_written(cache: Path, monkeypatch, caplog) -> None:
    cache.write_text("a file where the folder should be")
    with caplog.at_level("INFO", logger="stiffguide"):
        assert_right(solve())
    assert "cannot be used" in caplog.text


def test_a_full_disk(cache: Path, monkeypatch) -> None:
    real = compiler.compile

    def full(words, text, aside, options):
        if cache in aside.parents:
            raise OSError(28, "No space left on device")
        return real(words, text, aside, options)

    monkeypatch.setattr(compiler, "compile", full)
    assert_right(solve())
    assert not kernels(cache)


def test_a_compiler_that_fails(monkeypatch, tmp_path: Path) -> None:
    script = tmp_path / "bad-compiler"
    script.write_text("#!/bin/sh\necho 'cannot compile today' >&2\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setenv("CXX", str(script))
    with pytest.raises(UnsupportedError, match="cannot compile today"):
        solve()


def test_further_flags_come_last_and_make_another_kernel(cache: Path, monkeypatch) -> None:
    seen = compilations(monkeypatch)
    solve()
    for flags in ("-O1 -DNOTE='two words'", "-O1", ""):
        monkeypatch.setenv("STIFFGUIDE_CXXFLAGS", flags)
        assert_right(solve())
    assert len(seen) == len(kernels(cache)) == 3  # without any it is the first one
    (command,) = seen[1]
    assert command.index("-O2") < command.index("-O1") < command.index("-DNOTE=two words")


@pytest.mark.parametrize(
    ("flags", "words"), [("-fno-such", "no-such"), ("'-O1", "close its quote")]
)
@pytest.mark.usefixtures("auto")
def test_flags_that_cannot_be_used_are_named(flags: str, words: str, monkeypatch) -> None:
    monkeypatch.setenv("STIFFGUIDE_CXXFLAGS", flags)
    with pytest.raises(UnsupportedError, match=words):
        solve()
    assert_right(solve("auto"))


def test_no_compiler_is_needed_for_what_is_cached(monkeypatch) -> None:
    solve()
    monkeypatch.setenv("PATH", "/nowhere")
    assert_right(solve())


def test_two_threads_build_the_same(cache: Path) -> None:
    answers: list[Tensor] = []
    key, text = "0" * 64, 'extern "C" int seven() { return 7; }'

    def work() -> None:
        library = build.make(key, lambda: text, ())
        answers.append(torch.tensor(library.seven()))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert torch.stack(answers).tolist() == [7] * 4
    (home,) = cache.iterdir()
    assert home.name.startswith(key)


SCRIPT = """
import sys, time, torch, stiffguide
def f(t, y):
    return -y * torch.tensor([1.0, 3.0], dtype=torch.float64)
y0 = torch.tensor([1.0, 0.5], dtype=torch.float64)
began = time.perf_counter()
made = stiffguide.compile(f, like=y0, method="bosh3")
print(made.cached, time.perf_counter() - began)
print(stiffguide.solve(f, y0, 0.0, 1.0, backend="kernel", method="bosh3").y[0].tolist())
"""


def test_two_processes_build_the_same_and_a_third_finds_it(cache: Path) -> None:
    def start() -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, text=True)

    both = [start(), start()]
    outputs = [process.communicate(timeout=120)[0].splitlines() for process in both]
    assert outputs[0][1] == outputs[1][1]
    assert len(list(cache.iterdir())) == 1
    third = start().communicate(timeout=120)[0].splitlines()
    assert third[0].startswith("True")
    assert third[1] == outputs[0][1]
