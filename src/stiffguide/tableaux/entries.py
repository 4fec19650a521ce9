"""What stands in the file of a tableau: names, orders, rows and matrices, each within bounds."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from stiffguide import documents
from stiffguide.documents import shown
from stiffguide.errors import InputError, TableauError
from stiffguide.tableaux.exact import EXACT_DIGITS, Matrix, Row

Fields = Mapping[str, Any]

FEWEST_DIGITS = 8  # a tableau that is rounded more than this proves nothing
MOST_STAGES = 36  # one more than any that was published (Feagin's, of order 14)
MOST_ORDER = 14
MOST_NAME, MOST_SOURCE = 60, 500  # characters
LARGEST = Fraction(10**9)  # a coefficient: its powers are still numbers
PAIR = ("b_hat", "b_error", "error_order")
DENSE = ("dense", "dense_order")


def check(fields: Fields, file: str, required: Sequence[str], optional: Sequence[str]) -> None:
    """Refuse fields that are unknown, missing or not alone; `file` is what sentences call it."""
    known = (*required, *optional)
    for field in fields:
        if field not in known:
            near = difflib.get_close_matches(field[:MOST_NAME], known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(required)}, ..."
            raise InputError(f"{file}: the field {shown(field)} is unknown; {hint}")
    missing = [field for field in required if field not in fields]
    if missing:
        raise InputError(f"{file}: the field {missing[0]!r} is missing")
    if "b_hat" in fields and "b_error" in fields:
        raise InputError(f"{file}: give b_error or b_hat, not both; b_error is b - b_hat")
    if ("b_hat" in fields or "b_error" in fields) != ("error_order" in fields):
        raise InputError(f"{file}: b_hat (or b_error) and error_order come together")


def name(fields: Fields, path: Path) -> str:
    """Of the tableau."""
    return documents.words(fields["name"], f"{shown(Path(path.name))}: name", MOST_NAME)


def source(fields: Fields, of: str, path: Path) -> str:
    """Where the numbers are from; the file, where it does not say."""
    if "source" not in fields:
        return shown(Path(path.name))
    return documents.words(fields["source"], f"{of}: source", MOST_SOURCE)


def order(fields: Fields, field: str, of: str) -> int | None:
    """An order; None where it is not given."""
    if field not in fields:
        return None
    return documents.whole(fields[field], f"{of}: {field}", 1, MOST_ORDER)


def main_order(fields: Fields, of: str) -> int:
    """The order of y1."""
    return documents.whole(fields["order"], f"{of}: order", 1, MOST_ORDER)


def digits(fields: Fields, of: str) -> int:
    """How many digits of the decimals can be trusted."""
    given = fields.get("digits", EXACT_DIGITS)
    return documents.whole(given, f"{of}: digits", FEWEST_DIGITS, documents.MOST_DIGITS)


def matrix(value: Any, what: str) -> Matrix:
    """Rows of numbers, which may be of different lengths."""
    return tuple(row(each, f"{what}[{i}]") for i, each in enumerate(_list(value, what, "rows")))


def row(value: Any, what: str) -> Row:
    """Numbers exactly as they are written."""
    entries = enumerate(_list(value, what, "numbers"))
    return tuple(documents.number(entry, f"{what}[{i}]", LARGEST) for i, entry in entries)


def dense(fields: Fields, of: str) -> Matrix | None:
    """The weights of the dense output, one row per stage."""
    return matrix(fields["dense"], f"{of}: dense") if "dense" in fields else None


def error_weights(fields: Fields, of: str, b: Row) -> Row | None:
    """b - b_hat, whichever of the two is given; None where there is no pair."""
    if "b_hat" not in fields and "b_error" not in fields:
        return None
    label = "b_error" if "b_error" in fields else "b_hat"
    weights = row(fields[label], f"{of}: {label}")
    if len(weights) != len(b):
        raise TableauError(f"{of}: {label} has {len(weights)} entries, b has {len(b)} entries")
    if label == "b_error":
        return weights
    return tuple(x - hat for x, hat in zip(b, weights, strict=True))


def _list(value: Any, what: str, kind: str) -> list[Any]:
    if not isinstance(value, list):
        raise InputError(f"{what} must be a list of {kind}, not {shown(value)}")
    if len(value) > MOST_STAGES:
        raise InputError(f"{what} has {len(value):,} {kind}: no method has over {MOST_STAGES}")
    return value
