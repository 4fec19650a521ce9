"""The page of the architecture shows what is: the imports, in its picture, and files that exist."""

from __future__ import annotations

import re

import pytest
from architecture import DRAWING, TEXT, picture, signature
from floors import HEIGHT, ROOT, sources

HOME = ROOT.parents[1]
PLACES = (HOME, ROOT, HOME / "tests")
PAGE = (HOME / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_the_picture_is_that_of_the_imports() -> None:
    assert TEXT.read_text(encoding="utf-8") == picture(sources()), "run `make architecture`"


def test_the_drawing_was_made_from_the_text() -> None:
    drawn = DRAWING.read_text(encoding="utf-8")
    assert drawn.rstrip().endswith(signature(TEXT.read_text(encoding="utf-8")))


BY_KERNELS = {
    "solve.py": "from stiffguide import kernels",
    "kernels/backend.py": "from stiffguide.tracing import tracer",
}
BELOW_METHODS = "stepping: guards, initial_dt, places, trajectory"
FIRST_STEP = "from stiffguide.stepping.initial_dt import initial_dt"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (BY_KERNELS, {'"solve" -> "kernels";', '"kernels" -> "tracing";'}),
        ({"guidance/a.py": "from stiffguide.errors import InputError"}, set()),  # the ground
        ({"solve.py": f"def f():\n    {FIRST_STEP}"}, {'"solve" -> "stepping";'}),
        (
            {"methods/a.py": FIRST_STEP},
            {'"methods" -> "stepping: guards, initial_dt, places, trajectory";'},
        ),
    ],
)
def test_an_import_is_an_arrow(files: dict[str, str], expected: set[str]) -> None:
    assert arrows(files) == expected


def test_an_arrow_that_others_imply_is_left_out() -> None:
    longer = BY_KERNELS["solve.py"] + "\nfrom stiffguide import tracing"
    assert arrows({**BY_KERNELS, "solve.py": longer}) == arrows(BY_KERNELS)


def arrows(files: dict[str, str]) -> set[str]:
    """The lines of the arrows that are seen."""
    return {line.strip() for line in picture(files).splitlines() if line.endswith('";')}


def test_files_that_are_named_exist() -> None:
    assert len(named(PAGE)) > 25
    assert [name for name in named(PAGE) if not any((at / name).exists() for at in PLACES)] == []


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/adding_a_method.md"])
def test_files_of_recipes_exist(page: str) -> None:
    """A recipe names a folder, and then files in it without their path."""
    found = named((HOME / page).read_text(encoding="utf-8"))
    lost = [name for name in found if not any((at / name).exists() for at in PLACES)]
    assert found
    folders = (ROOT, HOME / "examples")
    assert [name for name in lost if not any(any(at.rglob(name)) for at in folders)] == []


def named(text: str) -> list[str]:
    """What looks like a file or a folder of the repository."""
    return re.findall(r"`((?:[\w.]+/)+[\w.]*|\w+\.(?:py|md|dot|svg))`", text)


def test_every_wing_has_its_line() -> None:
    told = re.findall(r"^- `(\w+)`: ", PAGE, re.MULTILINE)
    wings = {name.split("/")[0] for name in HEIGHT} - {"__init__", "__main__"}
    assert sorted(told) == sorted(wings)
