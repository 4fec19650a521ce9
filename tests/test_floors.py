"""The floors of the house: imports go only down, and neighbours do not know each other."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import stiffguide

ROOT = Path(stiffguide.__file__).parent
PUBLIC = "__init__"  # the public names: all floors below, none above

# ground floor first; the names on one line are neighbours
FLOORS = (
    ("errors", "exact", "tensors", "trees"),
    ("tableau",),
    ("rosenbrock_tableau",),
    ("catalogue", "order"),
    ("continuous", "stability", "tableau_file"),
    ("estimators", "interpolate", "linear", "newton"),
    ("contracts", "layout", "problems"),
    (
        "arguments",
        "controllers",
        "events",
        "field",
        "flat_field",
        "guidance",
        "initial_dt",
        "methods",
        "output",
    ),
    ("loop", "solution"),
    ("diagnosis", "progress"),
    ("gradient", "kernels"),
    ("solve",),
    ("verification",),
    (PUBLIC,),
    ("adapters", "fronts"),
    ("cli",),
    ("__main__",),
)
HEIGHT = {name: floor for floor, names in enumerate(FLOORS) for name in names}


def sources() -> dict[str, str]:
    """Every file of the package by its path inside."""
    return {str(p.relative_to(ROOT)): p.read_text() for p in sorted(ROOT.rglob("*.py"))}


def noun(path: str) -> str:
    """The name on a floor that a file belongs to."""
    return path.split("/")[0].removesuffix(".py")


def imports(text: str) -> list[tuple[str, str]]:
    """(module inside the package, imported name or "") for every import, nested ones too."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            if node.module == "stiffguide":
                found += [
                    (f"stiffguide.{a.name}" if a.name in HEIGHT else "stiffguide.__init__", a.name)
                    for a in node.names
                ]
            else:
                found += [(node.module, alias.name) for alias in node.names]
    return [
        (module.removeprefix("stiffguide").removeprefix(".") or PUBLIC, name)
        for module, name in found
        if module.split(".")[0] == "stiffguide"
    ]


def violations(files: dict[str, str]) -> list[str]:
    """One sentence for every import that climbs, or knocks at a neighbour's door."""
    found = []
    for path, text in files.items():
        here = noun(path)
        for module, name in imports(text):
            there = module.split(".")[0]
            if there == here:
                continue
            if HEIGHT.get(there, len(FLOORS)) > HEIGHT[here]:
                found.append(f"{path} imports {module}, which is above it")
            elif HEIGHT.get(there) == HEIGHT[here]:
                found.append(f"{path} imports its neighbour {module}")
            if name.startswith("_") and not name.startswith("__"):
                found.append(f"{path} imports the private {module}.{name}")
            if name == "*":
                found.append(f"{path} imports everything from {module}")
    return found


def test_every_file_has_a_floor() -> None:
    assert {noun(path) for path in sources()} - set(HEIGHT) == set()
    assert len(HEIGHT) == sum(map(len, FLOORS))


def test_imports_go_only_down() -> None:
    assert violations(sources()) == []


@pytest.mark.parametrize(
    ("path", "text", "complaint"),
    [
        ("methods/bad.py", "from stiffguide.controllers import PID", "neighbour controllers"),
        ("methods/bad.py", "from stiffguide import output", "neighbour output"),
        ("methods/bad.py", "def f():\n    import stiffguide.guidance", "neighbour guidance"),
        ("guidance/bad.py", "from stiffguide.methods.esdirk import Esdirk", "neighbour methods"),
        ("newton.py", "from stiffguide.contracts import Step", "contracts, which is above"),
        ("loop.py", "from stiffguide import solve", "solve, which is above"),
        ("loop.py", "from stiffguide import Solution", "__init__, which is above"),
        ("solve.py", "from stiffguide.loop import _clip", "private loop._clip"),
        ("solve.py", "from stiffguide.loop import *", "everything from loop"),
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
    assert not time & words(sources()["newton.py"])
    assert time & words(sources()["methods/esdirk.py"])


def files_of(name: str) -> dict[str, str]:
    return {path: text for path, text in sources().items() if noun(path) == name}


@pytest.mark.parametrize("name", ["methods", "guidance"])
def test_no_method_and_no_rule_judges_an_error(name: str) -> None:
    for path, text in files_of(name).items():
        assert not {"ratio", "judge", "Verdict", "accept"} & words(text), path


def test_files_of_methods_do_not_know_each_other() -> None:
    for path, text in files_of("methods").items():
        if not path.endswith("__init__.py"):
            assert not [module for module, _ in imports(text) if module.startswith("methods")]


def test_a_rule_never_names_a_method() -> None:
    names = set(stiffguide.methods.names())
    for path, text in files_of("guidance").items():
        strings = {n.value for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Constant)}
        assert not strings & names, path
        assert not [module for module, _ in imports(text) if module.startswith("catalogue")], path
