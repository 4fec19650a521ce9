"""The floors of the house: imports go only down, and neighbours do not know each other."""

from __future__ import annotations

import ast

import pytest
from floors import FLOORS, HEIGHT, imports, place, sources

import stiffguide

# Lower floors that these know nothing of, all the same: fields are handed to the loop, first steps
# are the loop's to take, and what is inside a field is for kernels to see.
FOREIGN = frozenset({"fields", "graphs", "problems", "tracing"})
UNSEEN = FOREIGN | {"stepping/initial_dt"}
STRANGERS = {
    "guidance": UNSEEN,
    "methods": UNSEEN,
    "stepping/controllers": UNSEEN,
    "stepping/output": UNSEEN,
    "stepping": FOREIGN | {"guidance", "methods", "stepping/controllers", "stepping/output"},
    "gradients": {"kernels/emitting", "kernels/running"},
}


def violations(files: dict[str, str]) -> list[str]:
    """One sentence for every import that climbs, or knocks at a neighbour's door."""
    found = []
    for path, text in files.items():
        here = place(path)
        for module, name in imports(text):
            there = place(module)
            if there == here:
                continue
            if HEIGHT.get(there, len(FLOORS)) > HEIGHT[here]:
                found.append(f"{path} imports {module}, which is above it")
            elif HEIGHT.get(there) == HEIGHT[here]:
                found.append(f"{path} imports its neighbour {module}")
            elif there in STRANGERS.get(here, ()):
                found.append(f"{path} imports {module}, a stranger to it")
            if name.startswith("_") and not name.startswith("__"):
                found.append(f"{path} imports the private {module}.{name}")
            if name == "*":
                found.append(f"{path} imports everything from {module}")
    return found


def test_every_file_has_a_floor() -> None:
    assert {place(path) for path in sources()} - set(HEIGHT) == set()
    assert len(HEIGHT) == sum(map(len, FLOORS))


def test_imports_go_only_down() -> None:
    assert violations(sources()) == []


@pytest.mark.parametrize(
    ("path", "text", "complaint"),
    [
        ("methods/bad.py", "from stiffguide.stepping.controllers import PID", "neighbour stepping"),
        ("methods/bad.py", "from stiffguide.stepping import output", "neighbour stepping/output"),
        ("methods/bad.py", "def f():\n    import stiffguide.guidance", "neighbour guidance"),
        ("methods/bad.py", "from stiffguide.stepping import loop", "loop, which is above"),
        ("methods/bad.py", "from stiffguide.fields.layout import Layout", "stranger"),
        ("guidance/bad.py", "from stiffguide.methods.esdirk import Esdirk", "neighbour methods"),
        ("guidance/bad.py", "from stiffguide.stepping.initial_dt import initial_dt", "stranger"),
        ("stepping/controllers.py", "from stiffguide import methods", "neighbour methods"),
        ("stepping/loop.py", "from stiffguide.methods import get", "stranger"),
        ("stepping/loop.py", "from stiffguide.stepping.output import End", "stranger"),
        ("stepping/loop.py", "from stiffguide import solve", "solve, which is above"),
        ("stepping/loop.py", "from stiffguide import Solution", "__init__, which is above"),
        ("stepping/initial_dt.py", "from stiffguide.stepping.live import Live", "which is above"),
        ("algebra/newton.py", "from stiffguide.stepping.contracts import Step", "which is above"),
        ("tableaux/tableau.py", "from stiffguide.tableaux.order import check", "which is above"),
        ("catalogue/bad.py", "from stiffguide.stepping import contracts", "which is above"),
        ("fields/bad.py", "from stiffguide.tracing import op_schema", "which is above"),
        ("graphs/bad.py", "from stiffguide.tracing.op_schema import tensors", "which is above"),
        ("tracing/bad.py", "from stiffguide.kernels.running import run", "which is above"),
        ("kernels/emitting/bad.py", "import stiffguide.kernels.running.run", "which is above"),
        ("kernels/running/bad.py", "from stiffguide.kernels.backend import solve", "is above"),
        ("kernels/backend.py", "from stiffguide.gradients import direct", "neighbour gradients"),
        ("gradients/direct.py", "from stiffguide.kernels.running import task", "stranger"),
        ("fronts/bad.py", "from stiffguide.adapters import diffusion", "neighbour adapters"),
        ("solve.py", "from stiffguide.stepping.attempt import _spent", "private stepping/attempt"),
        ("solve.py", "from stiffguide.stepping.loop import *", "everything from stepping/loop"),
    ],
)
def test_a_planted_import_is_seen(path: str, text: str, complaint: str) -> None:
    (sentence,) = violations({path: text})
    assert complaint in sentence


def words(text: str) -> set[str]:
    """Every identifier of a file: names, arguments, attributes."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        for field in ("id", "arg", "attr", "name"):
            if isinstance(value := getattr(node, field, None), str):
                found.add(value)
    return found


def test_newton_never_sees_time() -> None:
    time = {"t", "t0", "t1", "dt", "h", "times", "tableau"}
    assert not time & words(sources()["algebra/newton.py"])
    assert time & words(sources()["methods/esdirk/systems.py"])


def files_of(name: str) -> dict[str, str]:
    return {path: text for path, text in sources().items() if place(path) == name}


@pytest.mark.parametrize("name", ["methods", "guidance"])
def test_no_method_and_no_rule_judges_an_error(name: str) -> None:
    for path, text in files_of(name).items():
        assert not {"ratio", "judge", "Verdict", "accept"} & words(text), path


def test_files_of_methods_do_not_know_each_other() -> None:
    for path, text in files_of("methods").items():
        if path != "methods/__init__.py":
            family = path.rsplit("/", 1)[0] + "/"  # a folder, where it has more than one file
            others = [m for m, _ in imports(text) if m.startswith("methods")]
            assert not [m for m in others if family == "methods/" or not m.startswith(family)], path


def test_a_rule_never_names_a_method() -> None:
    names = set(stiffguide.methods.names())
    for path, text in files_of("guidance").items():
        strings = {n.value for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Constant)}
        assert not strings & names, path
        assert not [module for module, _ in imports(text) if module.startswith("catalogue")], path
