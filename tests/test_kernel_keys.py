"""The name of a kernel holds all that it depends on: the compiler, its flags, and every number."""

from __future__ import annotations

import ast
import importlib
import shutil
from pathlib import Path

import pytest
import torch
from cached import assert_right, compilations, decay, kernels, solve
from floors import ROOT, sources

import stiffguide
from stiffguide import UnsupportedError
from stiffguide.fields.layout import Layout
from stiffguide.kernels import backend
from stiffguide.kernels.emitting import cpp, march
from stiffguide.kernels.running import compiler

COMPILER = shutil.which("g++") or shutil.which("clang++")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="needs a C++ compiler")


@pytest.fixture(autouse=True)
def _no_wishes(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No variables that ask for a compiler."""
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.delenv("STIFFGUIDE_CXXFLAGS", raising=False)


def key() -> str:
    """That of a kernel, and of native steps."""
    t0, y0 = torch.zeros(1, dtype=torch.float64), torch.ones(1, 2, dtype=torch.float64)
    layout, method = Layout(y0[0], batched=False), stiffguide.methods.get("kvaerno5")
    kernel = backend.prepare(decay, (), layout, method, t0, y0).key(wide=False)
    return kernel + march.source(single=False)  # whose text is its key


# numbers of other modules ------------------------------------------------------------------------


def borrowed(files: dict[str, str]) -> set[tuple[str, str]]:
    """(module, name) of every constant that some files take from outside what is read as text."""
    found = set()
    for text in files.values():
        tree = ast.parse(text)
        modules = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("stiffguide"):
                for alias in node.names:
                    path = f"{node.module}.{alias.name}"
                    if (ROOT.parent / (path.replace(".", "/") + ".py")).exists():
                        modules[alias.name] = path
                    elif alias.name.isupper():
                        found.add((str(node.module), alias.name))
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                module = modules.get(node.value.id)
                if module and node.attr.isupper():
                    found.add((module, node.attr))
    return {(module, name) for module, name in found if wing(module) not in cpp.SOURCES}


def wing(module: str) -> str:
    return "/".join(module.split(".")[1:-1])


PRINTING = {p: t for p, t in sources().items() if p.startswith(("kernels/emitting/", "graphs/"))}
BORROWED = sorted(borrowed(PRINTING))


@pytest.mark.parametrize(("module", "name"), BORROWED)
def test_a_changed_number_makes_another_kernel(module: str, name: str, monkeypatch) -> None:
    before, home = key(), importlib.import_module(module)
    assert key() == before
    value = getattr(home, name)
    changed = (*(x + 1 for x in value), 1) if isinstance(value, tuple) else value + 1
    monkeypatch.setattr(home, name, changed)
    assert key() != before


def test_borrowed_numbers_are_seen() -> None:
    assert len(BORROWED) > 8
    planted = (
        "from stiffguide.stepping import guards\nfrom stiffguide.tensors import TINY\nguards.X"
    )
    assert borrowed({"a.py": planted}) == {
        ("stiffguide.stepping.guards", "X"),
        ("stiffguide.tensors", "TINY"),
    }


# compilers ---------------------------------------------------------------------------------------


def imitation(folder: Path, version: str = "one") -> Path:
    """A compiler of another name, with a version to choose, that counts how often it is asked."""
    script = folder / "imitation"
    answer = f"echo {version}; echo x >> {folder}/asked; exit"
    script.write_text(
        f'#!/bin/sh\nif [ "$1" = --version ]; then {answer}; fi\nexec {COMPILER} "$@"\n'
    )
    script.chmod(0o755)
    return script


@needs_compiler
def test_another_compiler_makes_another_kernel(cache: Path, tmp_path: Path, monkeypatch) -> None:
    seen = compilations(monkeypatch)
    assert_right(solve())
    monkeypatch.setenv("CXX", str(imitation(tmp_path)))
    assert_right(solve())
    assert len(seen) == len(kernels(cache)) == 2
    imitation(tmp_path, "another one")
    assert_right(solve())
    assert len(seen) == len(kernels(cache)) == 3
    monkeypatch.delenv("CXX")
    assert_right(solve())
    assert len(seen) == 3


@needs_compiler
@pytest.mark.parametrize("gone", [False, True])
def test_flags_of_the_compiler_make_another_kernel(gone: bool, cache: Path, monkeypatch) -> None:
    seen = compilations(monkeypatch)
    monkeypatch.setenv("CXX", f"{COMPILER} -ffast-math")
    assert_right(solve())
    assert float(torch.tensor(5e-324, dtype=torch.float64)) > 0  # which such a library takes for 0
    monkeypatch.delenv("CXX")
    if gone:
        monkeypatch.setenv("PATH", "/nowhere")
        with pytest.raises(UnsupportedError, match=r"no C\+\+ compiler"):
            solve()
    else:
        assert_right(solve())
    assert len(seen) == len(kernels(cache)) == 2 - gone


@needs_compiler
def test_a_compiler_is_asked_once_for_its_version(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("CXX", str(imitation(tmp_path)))
    for _ in range(3):
        assert_right(solve())
    assert (tmp_path / "asked").read_text().count("x") == 1


@pytest.mark.environments
@pytest.mark.usefixtures("auto")
def test_no_compiler(monkeypatch, caplog) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(UnsupportedError, match=r"no C\+\+ compiler found"):
        solve()
    with caplog.at_level("INFO", logger="stiffguide"):
        assert_right(solve("auto"))
    assert "eager, because" in caplog.text


def test_a_compiler_that_says_nothing_has_a_mark(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(compiler, "PATIENCE", 0.2)
    waits = tmp_path / "waits"
    waits.write_text("#!/bin/sh\nexec sleep 60\n")
    waits.chmod(0o755)
    marks = {compiler.mark([str(waits)]), compiler.mark(["no-such"]), compiler.mark(["cat"])}
    assert len(marks) == 3
