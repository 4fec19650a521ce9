"""Files that users hand over: whatever is in them, a short sentence, within bounded work.

Work is counted, in lines of Python and in bytes, not timed; what the interpreter computes in one
line is watched where numbers are made.
"""

from __future__ import annotations

import io
import os
import re
import struct
import sys
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from floors import sources

from stiffguide import documents
from stiffguide.adapters.diffusion import CalibratedGrid
from stiffguide.adapters.diffusion.shards import MANIFEST, Shards
from stiffguide.errors import InputError, TableauError, printable
from stiffguide.tableaux import file as tableau_file

MOST_LINES = 400_000
MOST_ROOM = 64 * 2**20  # bytes
MOST_CHARACTERS = 400  # of a sentence

ESCAPE = "\x1b]0;title\x07"
DEEP = "[" * 100_000 + "]" * 100_000
MILLION = "3" * 1_000_000


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


# hostile files ------------------------------------------------------------------------------------

NUMBERS = {
    "exponent of a billion": "1e999999999",
    "exponent of minus a billion": "-1e-999999999",
    "beyond a float": "1e400",
    "below a float": "1e-400",
    "integer of 400 digits": "7" * 400,
    "integer of a hundred thousand digits": MILLION[:100_000],
    "integer of a million digits": MILLION,
    "decimal of a million digits": "0." + MILLION,
    "exponent of a million digits": "1e" + MILLION,
    "quoted exponent": '"1e999999999"',
    "quoted exponent of many digits": f'"1e{MILLION[:100]}"',
    "denominator of a million digits": f'"1/{MILLION}"',
    "division by zero": '"1/0"',
    "text": '"x"',
    "empty text": '""',
    "escapes": '"\\u001b]0;title\\u0007"',
    "other digits": '"\u0661\u0662"',
    "long text": '"' + "x" * 20_000 + '"',
    "null": "null",
    "true": "true",
    "list": "[[]]",
    "table": "{}",
    "NaN": "NaN",
    "Infinity": "Infinity",
    "minus Infinity": "-Infinity",
    "nan of TOML": "nan",
    "inf of TOML": "-inf",
    "hexadecimal": "0x" + "F" * 100_000,
    "deep": DEEP,
    "deep tables": '{"a":' * 100_000,
    "unfinished text": '"' + '\\"' * 20_000,
    "date": "2020-01-01",
}


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


def packed(shape: str, data: bytes = b"", *, method: int = zipfile.ZIP_STORED) -> bytes:
    """A chunk whose x claims a shape, whatever data it has."""
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}"
    lead = b"\x93NUMPY\x02\x00" + struct.pack("<I", len(header) + 1) + header.encode() + b"\n"
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        archive.writestr("x.npy", lead + data)
        for name, value in (("status", np.zeros(2, np.int64)), ("nfe", np.array(3))):
            whole = io.BytesIO()
            np.save(whole, value)
            archive.writestr(f"{name}.npy", whole.getvalue())
    return made.getvalue()


def saved(**changes: Any) -> bytes:
    """A chunk of two samples with something in it replaced."""
    sound = {"x": np.zeros((2, 4)), "status": np.zeros(2, np.int64), "nfe": np.array(3)}
    made = io.BytesIO()
    np.savez(made, **(sound | changes))
    return made.getvalue()


def lying(size: int) -> bytes:
    """A chunk whose directory claims another size of x."""
    made = packed("(2, 4)", bytes(64))
    at = made.index(b"PK\x01\x02")
    return made[: at + 20] + struct.pack("<II", size, size) + made[at + 28 :]


def locked() -> bytes:
    """A chunk whose x says that it needs a password."""
    made = packed("(2, 4)", bytes(64))
    at = made.index(b"PK\x01\x02")
    return made[: at + 8] + struct.pack("<H", 1) + made[at + 10 :]


CONTENTS = {
    "empty": b"",
    "cut off": b'{"name": "heun", "a": [[], [1',
    "a list": b"[1, 2]",
    "a number": b"3",
    "spaces": b" " * 3_000_000,
    "quotes": b'"' * 200_000,
    "latin letters": '{"name": "Kværnø"}'.encode("latin-1"),
    "two bytes a letter": '{"name": "heun"}'.encode("utf-16"),
    "zeros": bytes(1000),
    "a long word": b"x" * 100_000,
    "a dotted name": b"a" + b".a" * 100_000 + b" = 1",
    "a dotted head": b"[a" + b' . "b"' * 40_000 + b"]",
    "deep": DEEP.encode(),
    "deep in tables": b'{"a": ' * 100_000,
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 100,
    "a pickle": b"\x80\x04\x95\x10" + bytes(range(256)),
    "an array": b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }",
    "an empty archive": b"PK\x05\x06" + bytes(18),
    "a vast array": packed("(2, 1000000000000)"),
    "a vast product": packed("(2, 4611686018427387904, 4)"),
    "negative lengths": packed("(-2, -4)", bytes(64)),
    "a long header": packed("(" + "1," * 100_000 + ")"),
    "a deep header": packed("(" * 5_000 + ")" * 5_000),
    "packed zeros": packed("(2, 6000000)", bytes(96_000_000), method=zipfile.ZIP_DEFLATED),
    "a vast part": lying(4_000_000_000),
    "a short part": lying(40),
    "a password": locked(),
    "cut off archive": saved()[:-30],
    "objects": saved(x=np.array([{}, {}], dtype=object)),
    "texts": saved(x=np.array(["a", "b"])),
    "other rows": saved(x=np.zeros((3, 4))),
    "no axis": saved(x=np.array(1.0)),
    "whole numbers": saved(x=np.zeros((2, 4), np.int64)),
    "several counts": saved(nfe=np.zeros(2, np.int64)),
}


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


@pytest.mark.parametrize("make", [a_folder, endless, waiting])
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


FIELDS = {
    "name with escapes": '"name": "\\u001b]0;title\\u0007"',
    "name turned round": '"name": "a\\u202eb"',
    "long name": '"name": "' + "n" * 100_000 + '"',
    "name that is a number": '"name": 3',
    "source with escapes": '"source": "\\u001b[31m"',
    "unknown field with escapes": '"\\u001b[31m": 1',
    "unknown long field": '"' + "n" * 100_000 + '": 1',
    "vast order": '"order": 1000000000',
    "half an order": '"order": "5/2"',
    "negative order": '"order": -2',
    "no order": '"order": null',
    "vast digits": '"digits": 1000000000',
    "negative digits": '"digits": -1000000000',
    "vast error_order": '"b_hat": [1, 0], "error_order": 1e9',
    "many stages": '"b": [' + "1," * 100_000 + "1]",
    "many rows": '"a": [' + "[]," * 60_000 + "[]]",
    "many powers": '"dense_order": 1, "dense": [[' + "0," * 100_000 + "0], []]",
    "large coefficients": '"a": [[], [1e60]], "c": [0, 1e60], "b": [1, 0]',
}


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


# the law of the readers ---------------------------------------------------------------------------

# what comes with the package, or is written by it where nobody else may write
OWN = ("kernels/", "adapters/diffusion/digits.py", "documents.py")
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
