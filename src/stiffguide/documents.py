"""Files that users hand over: text, fields, numbers and arrays, read within bounds.

What a file may make a program do is bounded before it is done: its length before it is read, its
nesting and the digits of its numbers before it is parsed, a number before it is computed, an array
before room is made for it. Whatever is wrong is an InputError whose short sentence says what, where
in the file, and the way out.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import IO, Any
from zipfile import ZIP_STORED, ZipFile

import numpy as np

from stiffguide.errors import InputError, printable

MOST_BYTES = 2**18  # of a text: ten thousand numbers with all their digits
MOST_DIGITS = 128  # of a number, and characters in which it is written
MOST_LEVELS = 32  # of lists in lists, and parts of a dotted name in TOML
LARGEST = Fraction(10) ** 100  # of a number; its reciprocal is the smallest that is not zero
MOST_LETTERS, MOST_OF_PATH = 60, 160  # of what a sentence quotes
READERS = (".json", ".toml")

_DIGITS = re.compile(rf"[0-9A-Fa-f_]{{{MOST_DIGITS + 1}}}")
# an unfinished string ends with the text, lest each of its quotes start the search again
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_BUT_BRACKETS = re.compile(r"[^\[\]{}]++")
_PART = r"""(?:[A-Za-z0-9_-]++|"[^"\n]*+"|'[^'\n]*+')"""
# from the start of a word only: a long one would be read again from each of its letters
_DOTTED = re.compile(rf"(?<![A-Za-z0-9_-]){_PART}(?:[ \t]*+\.[ \t]*+{_PART}){{{MOST_LEVELS}}}")
_NUMBER = re.compile(r"[+-]?(?:\d+/\d+|(?:\d+\.?\d*|\.\d+)(?:[eE]([+-]?\d+))?)", re.ASCII)


class Literal(str):
    """A number as it stands in a file, its digits not yet converted."""


def shown(value: Any) -> str:
    """A value of a file, or its path, as a sentence may quote it: short, harmless to a terminal."""
    if isinstance(value, (list, Mapping)):
        return "a list" if isinstance(value, list) else "a table"
    quoted = str(value) if isinstance(value, (Literal, Path)) else repr(value)
    if isinstance(value, Path):  # its end tells more
        cut = f"...{quoted[-MOST_OF_PATH:]}" if len(quoted) > MOST_OF_PATH else quoted
    elif len(quoted) > MOST_LETTERS:
        cut = f"{quoted[: MOST_LETTERS // 2]}... ({len(quoted):,} characters)"
    else:
        cut = quoted
    return printable(cut).replace("\n", "\\n")


def text(path: Path) -> str:
    """The text of a file, UTF-8."""
    name, found = shown(path), content(path, MOST_BYTES + 1)
    if len(found) > MOST_BYTES:
        raise InputError(f"{name}: longer than {MOST_BYTES:,} bytes, which no such file needs")
    try:
        return found.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{name}: byte {error.start} is not UTF-8; save the file as UTF-8 text"
        ) from None


def content(path: Path, most: int = -1) -> bytes:
    """The bytes of a file, so many at the most, or all that a program has written there."""
    name = shown(path)
    try:
        missing = not path.exists()
        if path.is_file():  # a pipe or a device might never end
            with path.open("rb") as file:
                return file.read(most)
    except OSError as error:
        raise InputError(f"{name}: {error.strerror}") from None
    except ValueError:  # a zero in the path
        missing = True
    raise InputError(f"{name}: {'there is no such file' if missing else 'this is not a file'}")


def fields(path: Path) -> Mapping[str, Any]:
    """The fields of a JSON or TOML file, whose numbers are Literals (or whole numbers in TOML)."""
    if path.suffix not in READERS:
        raise InputError(f"{shown(path)}: give a file ending in {' or '.join(READERS)}")
    return parsed(text(path), path.suffix[1:], Path(path.name))


def parsed(content: str, language: str, name: Path | str) -> Mapping[str, Any]:
    """The fields of a text in "json" or "toml"; `name` is what sentences call it."""
    name = shown(Path(name))
    if len(content) > MOST_BYTES:
        raise InputError(f"{name}: longer than {MOST_BYTES:,} characters, which none needs")
    _check_bounds(content, language, name)
    try:
        if language == "toml":
            found: Any = tomllib.loads(content, parse_float=Literal)
        else:
            found = json.loads(
                content, parse_float=Literal, parse_int=Literal, parse_constant=Literal
            )
    except RecursionError:
        raise InputError(f"{name}: lists stand too deep in lists; make it flat") from None
    except ValueError as error:
        what = printable(str(error))[: 2 * MOST_LETTERS]
        raise InputError(f"{name}: not readable as {language}: {what}") from None
    if not isinstance(found, Mapping):
        raise InputError(f"{name}: give named fields, not {shown(found)}")
    return found


def plain(content: str, name: Path | str) -> dict[str, Any]:
    """The fields of a JSON text as Python's own numbers, texts, lists and tables."""
    parsed(content, "json", name)  # which refuses what is out of bounds
    found: dict[str, Any] = json.loads(content)
    return found


def _check_bounds(content: str, language: str, name: str) -> None:
    """Refuse what would cost a parser more than its length: digits, levels, dotted names."""
    frame = _BUT_BRACKETS.sub("", _QUOTED.sub("", content))
    for _ in range(MOST_LEVELS):
        frame = frame.replace("[]", "").replace("{}", "")
    if frame.count("[") + frame.count("{") > MOST_LEVELS:
        raise InputError(f"{name}: lists stand too deep in lists; make it flat")
    if many := _DIGITS.search(content):
        raise InputError(
            f"{name}: line {_line(content, many)}: a number has more than {MOST_DIGITS} digits; "
            "give fewer, float64 holds 17"
        )
    if language == "toml" and (dotted := _DOTTED.search(content)):
        raise InputError(
            f"{name}: line {_line(content, dotted)}: a name has more than {MOST_LEVELS} parts; "
            "give fields without dots"
        )


def _line(content: str, match: re.Match[str]) -> int:
    return content.count("\n", 0, match.start()) + 1


def number(value: Any, what: str, largest: Fraction = LARGEST) -> Fraction:
    """A number exactly as it is written, decimal or fraction; `what` says where it stands."""
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        written = str(value).strip()
        if len(written) > MOST_DIGITS:
            raise InputError(
                f"{what} is {shown(Literal(written))}: a number has at most {MOST_DIGITS} digits"
            )
        form = _NUMBER.fullmatch(written)
        if form and abs(int(form[1] or 0)) <= 2 * MOST_DIGITS:
            return _bounded(written, what, largest)
        if form:
            raise _unbounded(written, what, largest)
    raise InputError(f'{what} is {shown(value)}: give a number, or a text such as "1/3" or "0.25"')


def _bounded(written: str, what: str, largest: Fraction) -> Fraction:
    try:
        found = Fraction(written)
    except ZeroDivisionError:
        raise InputError(f"{what} is {shown(Literal(written))}: it divides by zero") from None
    if found and not 1 / LARGEST <= abs(found) <= largest:
        raise _unbounded(written, what, largest)
    return found


def _unbounded(written: str, what: str, largest: Fraction) -> InputError:
    return InputError(
        f"{what} is {shown(Literal(written))}: give 0, or a number of a size between "
        f"{float(1 / LARGEST):g} and {float(largest):g}"
    )


def whole(value: Any, what: str, lowest: int, highest: int) -> int:
    """A whole number within bounds."""
    found = number(value, what)
    if found.denominator != 1 or not lowest <= found <= highest:
        raise InputError(
            f"{what} must be a whole number from {lowest} to {highest}, not {shown(value)}"
        )
    return int(found)


def words(value: Any, what: str, most: int) -> str:
    """A text that can be printed, of so many characters at most, brought to one line."""
    if not isinstance(value, str) or isinstance(value, Literal):
        raise InputError(f"{what} must be a text, not {shown(value)}")
    line = re.sub(r"\s*\n\s*", " ", value.strip())
    if len(line) > most or line != printable(line):
        raise InputError(
            f"{what} is {shown(value)}: give at most {most} characters, all of which can be printed"
        )
    return line


def arrays(path: Path, names: Iterable[str]) -> dict[str, np.ndarray[Any, Any]]:
    """Arrays of numbers in an npz file as `numpy.savez` writes it: packed ones are refused.

    So all of them take no more room in memory than the file has.
    """
    name, names = shown(path), list(names)
    try:
        if not path.is_file():
            raise InputError("there is no such file")
        with ZipFile(path) as archive:
            size = path.stat().st_size
            if sum(archive.getinfo(f"{entry}.npy").file_size for entry in names) > size:
                raise InputError("its arrays are packed, or lie over one another")
            found = {entry: _array(archive, f"{entry}.npy", size) for entry in names}
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    except Exception as error:  # zipfile and numpy raise a dozen types for what is no such file
        raise InputError(
            f"{name}: not a whole file of numpy.savez ({type(error).__name__})"
        ) from None
    return found


def array(path: Path) -> np.ndarray[Any, Any]:
    """An npy file of numbers, mapped into memory."""
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # numpy raises half a dozen types for what is no such file
        raise InputError(
            f"{shown(path)}: not a whole file of numpy.save ({type(error).__name__})"
        ) from None
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "biufc":
        raise InputError(f"{shown(path)}: does not hold an array of numbers")
    return found


def columns(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The columns of a csv file by their names, which stand in its first line."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            names = [name.strip() for name in file.readline(MOST_BYTES).split(",")]
            table = np.loadtxt(file, delimiter=",", ndmin=2)
    except (ValueError, OSError) as error:
        raise InputError(
            f"{shown(path)}: give a line of names, then lines of numbers, with commas between "
            f"({shown(str(error))})"
        ) from None
    if len(set(names)) != table.shape[1] or len(names) != table.shape[1]:
        raise InputError(f"{shown(path)}: {len(set(names))} names over {table.shape[1]} columns")
    return dict(zip(names, table.T, strict=True))


def entries(path: Path) -> list[str]:
    """The names of the arrays in an npz file."""
    try:
        with ZipFile(path) as archive:
            names = archive.namelist()
    except Exception as error:
        raise InputError(
            f"{shown(path)}: not a whole file of numpy.savez ({type(error).__name__})"
        ) from None
    return [name.removesuffix(".npy") for name in names]


def _array(archive: ZipFile, entry: str, size: int) -> np.ndarray[Any, Any]:
    info = archive.getinfo(entry)
    if info.compress_type != ZIP_STORED or not info.file_size == info.compress_size <= size:
        raise InputError(f"{entry} is packed: write it with numpy.savez, which does not pack")
    with archive.open(info) as file:
        shape, columns_first, dtype = _header(file)
        if dtype.kind not in "biufc" or min(shape, default=0) < 0:
            raise InputError(f"{entry} does not hold numbers")
        flat = np.frombuffer(file.read(info.file_size - file.tell()), dtype)
    return flat.reshape(shape, order="F" if columns_first else "C")


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    if np.lib.format.read_magic(file) == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    return np.lib.format.read_array_header_2_0(file)
