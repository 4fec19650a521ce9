"""Every paper that the source names has its entry in the manual's bibliography."""

from __future__ import annotations

from pathlib import Path

import pytest
import references

from stiffguide import methods

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "bibliography.md").read_text(encoding="utf-8")
ENTRIES = references.items(PAGE) + references.items(references.methods())
FILES = sorted((ROOT / "src" / "stiffguide").rglob("*.py"))


def missing(text):
    """Papers that a text names, and no entry does."""
    return [
        paper
        for paper in references.named(text)
        if not any(all(word in entry for word in paper) for entry in ENTRIES)
    ]


def test_what_the_source_names_is_listed():
    lost = {path.name: found for path in FILES if (found := missing(path.read_text("utf-8")))}
    assert not lost


def test_every_method_has_its_line():
    shown = "\n".join(ENTRIES)
    assert not [name for name in methods.names() if f"`{name}`" not in shown]


def test_preprints_of_the_page_are_named_in_the_source():
    source = "\n".join(path.read_text("utf-8") for path in FILES)
    preprints = {paper for paper in references.named(PAGE) if len(paper) == 1}
    assert preprints <= references.named(source)


@pytest.mark.parametrize(
    "text",
    [
        "arXiv 9901.00001",
        "Someone, J. Comput. Phys. 777 (1988) 1-2",
        "(Somebody et al., 1999)",
        "Nobody and Noone 1998",
        "Kutta 1902",
    ],
)
def test_a_paper_that_is_not_listed_is_missed(text):
    assert missing(text)
