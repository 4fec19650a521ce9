"""Files that users hand over: whatever is in them, a short sentence, within bounded work.

Work is counted, in lines of Python and in bytes, not timed; what the interpreter computes in one
line is watched where numbers are made.
"""

from __future__ import annotations

import os
import re
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from floors import sources
from hostile_files import CONTENTS, ESCAPE, FIELDS, NUMBERS, overlapping, packed, saved

from stiffguide import documents
from stiffguide.adapters.diffusion import CalibratedGrid
from stiffguide.adapters.diffusion.shards import MANIFEST, Shards
from stiffguide.errors import InputError, TableauError, printable
from stiffguide.solution import Solution
from stiffguide.tableaux import file as tableau_file

MOST_LINES = 400_000
MOST_ROOM = 64 * 2**20  # bytes
MOST_CHARACTERS = 400  # of a sentence


# readers ------------------------------------------------------------------------------------------


def shards(folder: Path) -> Shards:
    return Shards(folder, [3, 4], 2, {})


def gathered(path: Path) -> object:
    """Read the file as a chunk of samples."""
    path.replace(path.with_name("chunk-000000.npz"))
    return shards(path.parent).gather()


def opened(path: Path) -> None:
    """Read the file as the settings of chunks that are there."""
    path.with_name("chunk-000000.npz").touch()
    path.replace(path.with_name(MANIFEST))
    shards(path.parent).open()


class Reader:
    """Who reads, what a sound file of it says with a hole for a number, and other sound lines."""

    def __init__(self, read: Callable[[Path], Any], ending: str, sound: str = "%s") -> None:
        self.read, self.ending, self.sound = read, ending, sound


HEUN = {"b": '["1/2", "0.5"]', "c": "[0, 1]", "order": "2", "name": '"heun"'}
GRID = '{"format": "stiffguide calibrated grid 1", "densities": [1, 2], "levels": [80, %s, 0.5]}'
READERS = {
    "tableau.json": Reader(
        tableau_file.load,
        ".json",
        '{"a": [[], [%s]], ' + ", ".join(f'"{k}": {v}' for k, v in HEUN.items()) + "}",
    ),
    "tableau.toml": Reader(
        tableau_file.load,
        ".toml",
        "\n".join(f"{k} = {v}" for k, v in HEUN.items()) + "\na = [[], [%s]]",
    ),
    "grid": Reader(CalibratedGrid.load, ".json", GRID),
    "settings": Reader(opened, ".json"),
    "chunk": Reader(gathered, ".npz"),
    "solution": Reader(Solution.load, ".npz"),
}
WITH_NUMBERS = ("tableau.json", "tableau.toml", "grid")


@contextmanager
def bounded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Count the lines and the bytes that are used inside, and look at each number on its way."""
    lines = 0

    def count(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal lines
        lines += event == "line"
        assert lines < MOST_LINES, "too much work"
        return count

    def watched(*given: Any) -> Fraction:
        for x in given:
            exponent = re.search(r"[eE]([+-]?\d{1,20})", str(x)[:1000])
            assert len(str(x)) < 1000, "too many digits"
            assert abs(int(exponent[1] if exponent else 0)) < 1000, "too large an exponent"
        return Fraction(*given)

    monkeypatch.setattr(documents, "Fraction", watched)
    tracemalloc.start()
    before = sys.gettrace()
    sys.settrace(count)
    try:
        yield
    finally:
        sys.settrace(before)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < MOST_ROOM


def refused(reader: Reader, path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The sentence with which a reader refuses a file."""
    with bounded(monkeypatch), pytest.raises((InputError, TableauError)) as error:
        reader.read(path)
    sentence = str(error.value)
    assert 20 < len(sentence) <= MOST_CHARACTERS
    assert sentence.isprintable()
    return sentence


# the laws ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("hostile", NUMBERS)
@pytest.mark.parametrize("kind", WITH_NUMBERS)
def test_no_number_is_beyond_bounds(
    kind: str, hostile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = READERS[kind]
    path = tmp_path / f"x{reader.ending}"
    path.write_text(reader.sound % NUMBERS[hostile], encoding="utf-8")
    refused(reader, path, monkeypatch)


@pytest.mark.parametrize("kind", WITH_NUMBERS)
def test_a_sound_number_is_read(kind: str, tmp_path: Path) -> None:
    reader = READERS[kind]
    path = tmp_path / f"x{reader.ending}"
    for written in ("1", "1.0", "100e-2", '"3/3"'):
        path.write_text("\ufeff" + reader.sound % written, encoding="utf-8")  # as Notepad saves it
        assert reader.read(path)


@pytest.mark.parametrize("hostile", CONTENTS)
@pytest.mark.parametrize("kind", READERS)
def test_no_content_is_beyond_bounds(
    kind: str, hostile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"x{READERS[kind].ending}"
    path.write_bytes(CONTENTS[hostile])
    refused(READERS[kind], path, monkeypatch)


def a_folder(path: Path) -> None:
    path.mkdir()


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def waiting(path: Path) -> None:
    os.mkfifo(path)


def vast(path: Path) -> None:
    path.touch()
    os.truncate(path, 2**30)


@pytest.mark.parametrize("make", [a_folder, endless, waiting, vast])
@pytest.mark.parametrize("kind", READERS)
def test_what_is_no_file_is_not_read(
    kind: str, make: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"x{READERS[kind].ending}"
    make(path)
    refused(READERS[kind], path, monkeypatch)


@pytest.mark.parametrize("name", [ESCAPE, "n" * 200, "not\udcffdecoded", "a\nb"])
@pytest.mark.parametrize("kind", WITH_NUMBERS)
def test_no_name_of_a_file_drives_a_terminal(
    kind: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"{name}{READERS[kind].ending}"
    assert "there is no such file" in refused(READERS[kind], path, monkeypatch)
    path.write_text("{")
    refused(READERS[kind], path, monkeypatch)
    path.write_text(READERS[kind].sound % '"x"')
    refused(READERS[kind], path, monkeypatch)


@pytest.mark.parametrize("hostile", FIELDS)
def test_no_field_of_a_tableau_is_beyond_bounds(
    hostile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = READERS["tableau.json"].sound % "1"
    path = tmp_path / "x.json"
    path.write_text(f"{sound[:-1]}, {FIELDS[hostile]}}}", encoding="utf-8")
    refused(READERS["tableau.json"], path, monkeypatch)


def test_the_largest_coefficients_are_proved_without_overflow(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    a, b = '[[], [0, "1e9"], ["1e9", "1e9"]]', '["1e9", "-1e9", 1]'
    path.write_text(f'{{"name": "x", "a": {a}, "b": {b}, "c": [0, 1e9, 2e9], "order": 14}}')
    with pytest.raises(InputError, match=r"c\[2\] is 2e9: give 0, or a number of a size between"):
        tableau_file.load(path)
    path.write_text(path.read_text().replace("2e9", "1e9").replace('"1e9", "1e9"]]', '"1e9"]]'))
    with pytest.raises(TableauError, match="x: b is not of order 14"):
        tableau_file.load(path)


def test_bounds_are_met_before_a_parser_or_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"x is 1{30}.*: a number has at most 128 digits"):
        documents.number("1" * 100 + "/" + "3" * 100, "x")
    monkeypatch.setattr(documents, "json", None)
    monkeypatch.setattr(documents, "tomllib", None)
    for language in ("json", "toml"):
        with pytest.raises(InputError, match="x: lists stand too deep"):
            documents.parsed("[" * 100, language, "x")
        with pytest.raises(InputError, match=r"x: line 2: a number has more than 128 digits"):
            documents.parsed("\n" + "7" * 129, language, "x")
        with pytest.raises(InputError, match="x: longer than 262,144 characters"):
            documents.parsed(" " * 300_000, language, "x")


@pytest.mark.parametrize("content", [saved(x=np.array(["a", "b"])), packed("(-1, 4)", bytes(64))])
def test_arrays_are_numbers(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(saved(x=np.ones((2, 3), np.float32, order="F")))
    found = documents.arrays(path, ("x", "nfe"))
    assert found["x"].shape == (2, 3)
    assert found["x"].dtype == np.float32
    assert found["nfe"] == 3
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"x\.npz: x\.npy does not hold numbers"):
        documents.arrays(path, ("x",))


def test_arrays_take_no_more_room_than_their_file(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(overlapping(10_000))
    for names in (("a", "b"), ("b", "a"), ("b",) * 1000):
        with pytest.raises(InputError, match=r"x\.npz: (its arrays are packed, or lie over|not a)"):
            documents.arrays(path, names)
    assert len(documents.arrays(path, ("b",))["b"]) == 10_000
    path.write_bytes(saved())
    assert len(documents.arrays(path, ("x", "status", "nfe"))) == 3


def test_a_file_is_not_cut_to_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b" " * documents.MOST_BYTES)
    assert len(documents.text(path)) == documents.MOST_BYTES
    path.write_bytes(b" " * (documents.MOST_BYTES + 1))
    with pytest.raises(InputError, match="longer than 262,144 bytes"):
        documents.text(path)


# where files are read -----------------------------------------------------------------------------

# what comes with the repository, or is written by it where nobody else may write; and trees of
# numbers, which have bounds of their own (`test_checkpoint_files`)
OWN = ("kernels/", "documents.py", "packing.py", "adapters/diffusion/mnist.py")
OWN += ("adapters/diffusion/weights.py",)
READING = re.compile(r"read_text|read_bytes|json\.loads?\(|tomllib|np\.load|torch\.load|\(\"rb\"\)")


def reading(files: dict[str, str]) -> list[str]:
    """Files that read by themselves."""
    return [p for p, text in files.items() if not p.startswith(OWN) and READING.search(text)]


def test_files_are_read_in_one_place() -> None:
    assert reading(sources()) == []
    planted = {"cli/x.py": "np.load(path)", "fronts/y.py": "Path(p).read_text()", "z.py": "open()"}
    assert reading(planted) == ["cli/x.py", "fronts/y.py"]


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ("plain: Kværnø, θ\n", "plain: Kværnø, θ\n"),
        (ESCAPE, "\\x1b]0;title\\x07"),
        ("a\u202eb\u200bc\rd\u009b", "a\\u202eb\\u200bc\\rd\\x9b"),
        ("one\u00a0space", "one\u00a0space"),
    ],
)
def test_sentences_are_harmless_to_a_terminal(text: str, harmless: str) -> None:
    assert printable(text) == harmless
    for kind in (InputError, TableauError):
        assert str(kind(text)) == harmless
