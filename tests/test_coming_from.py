"""Each row of the tables of equivalents does on both sides what it says."""

from __future__ import annotations

import re
from pathlib import Path

import equivalents
import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "coming_from.md").read_text(encoding="utf-8")
RIGHT = {(row.ours, row.expect): row for x in equivalents.LIBRARIES for row in x.rows}.values()
LEFT = [(x, row) for x in equivalents.HERE for row in x.rows]


def named(x):
    """A test's name out of a cell."""
    return re.sub(r"\W+", "_", x.theirs) if isinstance(x, equivalents.Row) else None


@pytest.fixture(scope="module")
def ours():
    """The names that the page gives to its right cells."""
    names = {}
    for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(code, names)
    return names


@pytest.fixture(scope="module")
def theirs():
    """The names of left cells, by module."""
    return {x.module: equivalents.names_of(x) for x in equivalents.HERE}


@pytest.mark.parametrize("row", RIGHT, ids=named)
def test_our_side(row, ours):
    equivalents.check(row, equivalents.value(row.ours, ours))


@pytest.mark.parametrize(("library", "row"), LEFT, ids=named)
def test_their_side(library, row, theirs):
    equivalents.check(row, equivalents.value(row.theirs, theirs[library.module]))


def test_the_libraries_of_the_development_install_are_tried():
    assert {"scipy", "torchdiffeq"} <= {x.module for x in equivalents.HERE}


def test_cells_are_narrow():
    for row in (row for x in equivalents.LIBRARIES for row in x.rows):
        assert max(len(row.theirs), len(row.ours)) <= equivalents.WIDEST, row
        assert "|" not in row.theirs + row.ours


def test_the_page_shows_all_tables():
    shown = re.findall(r"\{include\} _generated/(\w+)\.md", PAGE)
    assert shown == list(equivalents.tables())


COARSE = "call(method='euler', controller=sg.Fixed(0.5))"


@pytest.mark.parametrize(
    "cell", [COARSE, "sg.solve(slow, y0, t0, t1)", "sg.solve(f, many, t0, t1)"]
)
def test_what_is_not_equivalent_is_seen(cell, ours):
    with pytest.raises(AssertionError):
        equivalents.check(equivalents.Row("", cell), equivalents.value(cell, ours))
