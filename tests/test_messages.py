"""Every sentence of the package has an entry in the manual's messages, and no entry is idle."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from pathlib import Path

import messages
import pytest
import sentences

DOCS = Path(__file__).parents[1] / "docs"
PAGES = (DOCS / "messages.md", DOCS / "messages_more.md")
MARKED = re.compile(r"^% ([\w-]+)\n(\S.*)\n: ((?:.+\n)+)", re.MULTILINE)


@cache
def collected():
    return tuple(sentences.sentences())


@cache
def entries():
    """The entries of the pages: words, and what is said of them, by name."""
    return [found for page in PAGES for found in MARKED.findall(page.read_text(encoding="utf-8"))]


def test_every_sentence_has_an_entry():
    missing = {s.text: s.place for s in collected() if not messages.entry_of(s.text)}
    assert not missing, "add words of these to an entry of tests/messages.py"


def test_every_entry_is_on_a_page_once():
    shown = Counter(name for name, _, _ in entries())
    assert shown == Counter(dict.fromkeys(messages.ENTRIES, 1))


def test_every_mark_has_an_entry_behind_it():
    marks = [m for p in PAGES for m in re.findall(r"^% (.*)$", p.read_text(), re.MULTILINE)]
    assert marks == [name for name, _, _ in entries()]


@pytest.mark.parametrize("name", messages.ENTRIES)
def test_all_words_of_an_entry_are_said_somewhere(name):
    said = {s.text for s in collected()}
    idle = [w for w in messages.ENTRIES[name] if not any(messages.fits(w, text) for text in said)]
    assert not idle


@pytest.mark.parametrize("name", messages.ENTRIES)
def test_every_entry_has_a_sentence_of_its_own(name):
    assert any(messages.entry_of(s.text) == name for s in collected())


def test_words_are_of_one_entry():
    words = Counter(w for words in messages.ENTRIES.values() for w in words)
    assert not [w for w, times in words.items() if times > 1]


def test_words_say_something():
    for words in messages.ENTRIES.values():
        for w in words:
            assert w.startswith("=") or len(sentences.words(w)) >= 3, w


def test_quoted_words_are_those_of_sentences():
    """What stands in quotation marks on the pages is read in the source, around what changes."""
    said = "\n".join(re.sub(r"\s+", " ", s.text) for s in collected())
    unsaid = [
        (name, part)
        for name, term, _ in entries()
        for quote in re.findall(r'"(.+?)"(?=[,;*]|$)', term)
        for part in re.split(r"\.\.\.|[{}]", quote)
        if part.strip(" :,()") not in said
    ]
    assert not unsaid


@pytest.mark.parametrize(
    ("source", "texts"),
    [
        ('raise InputError("a: give " + x)', ["a: give {}"]),
        ('def g(n):\n    text = f"no {n}"\n    raise TableauError(text)', ["no {}"]),
        ('A = "{name}: no"\nraise UnsupportedError(A.format(name=1))', ["{name}: no"]),
        ('raise InputError("one" if x else f"two {x}")', ["one", "two {}"]),
        ('def why():\n    return "so"\nraise errors.InputError(why())', ["so"]),
        ('warnings.warn("look", StiffguideWarning)', ["look"]),
        ('raise ValueError("not ours")', []),
    ],
)
def test_sentences_are_found(source, texts, tmp_path):
    path = tmp_path / "planted.py"
    path.write_text(source)
    assert [s.text for s in sentences.of_module(sentences.read(path))] == texts


def test_a_new_sentence_is_missed(tmp_path):
    path = tmp_path / "planted.py"
    path.write_text('raise InputError(f"the moon {x} stands too low for a solve")')
    (found,) = sentences.of_module(sentences.read(path))
    assert messages.entry_of(found.text) == ""
