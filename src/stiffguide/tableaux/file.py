"""Tableaux in files: a numericist's JSON or TOML becomes a `Tableau` whose claims are proved.

    name = "heun"
    a = [[], [1]]
    b = ["1/2", "1/2"]
    c = [0, 1]
    order = 2
    b_hat = [1, 0]
    error_order = 1
    source = "Heun (1900)"

Numbers are read exactly: `0.1`, `"0.1"` and `"1/10"` are the same Fraction. Where the decimals of a
source are rounded, `digits = 16` says how many of them can be trusted.

Everything in a file is bounded before it is computed: see `documents`, and the limits below.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from stiffguide import documents
from stiffguide.documents import shown
from stiffguide.errors import InputError, TableauError
from stiffguide.tableaux.exact import EXACT_DIGITS, Matrix, Row
from stiffguide.tableaux.order import prove
from stiffguide.tableaux.tableau import Tableau

REQUIRED = ("name", "a", "b", "c", "order")
OPTIONAL = ("b_error", "b_hat", "error_order", "source", "dense", "dense_order", "digits")
FEWEST_DIGITS = 8  # a tableau that is rounded more than this proves nothing
MOST_STAGES = 36  # one more than any that was published (Feagin's, of order 14)
MOST_COUPLED = 16  # where `a` is full, whose determinant costs the fourth power of the stages
MOST_ORDER = 14
MOST_NAME, MOST_SOURCE = 60, 500  # characters
LARGEST = Fraction(10**9)  # a coefficient: its powers are still numbers


def load(path: str | Path) -> Tableau:
    """The tableau in a file ending in .json or .toml.

    Raises InputError where the file cannot be read as a tableau, and TableauError where the tableau
    contradicts itself or an order condition; one sentence each, with the place.
    """
    path = Path(path)
    fields = documents.fields(path)
    try:
        return _proved(fields, path)
    except TableauError as error:
        digits = None if "digits" in fields else _rounded_to(fields, path)
        if digits is None:
            raise
        raise TableauError(
            f"{error}. The decimals are rounded: with digits = {digits} every claim is proved"
        ) from None


def _proved(fields: Mapping[str, Any], path: Path) -> Tableau:
    tableau = _tableau(fields, path)
    prove(tableau)
    return tableau


def _rounded_to(fields: Mapping[str, Any], path: Path) -> int | None:
    """The digits to which the decimals of a tableau fulfil its claims, if that is so."""
    for digits in range(20, FEWEST_DIGITS - 1, -1):
        try:
            _proved({**fields, "digits": digits}, path)
        except TableauError:
            continue
        return digits
    return None


def _tableau(fields: Mapping[str, Any], path: Path) -> Tableau:
    _check_fields(fields, shown(Path(path.name)))
    name = documents.words(fields["name"], f"{shown(Path(path.name))}: name", MOST_NAME)
    orders = {
        field: documents.whole(fields[field], f"{name}: {field}", 1, MOST_ORDER)
        for field in ("order", "dense_order", "error_order")
        if field in fields
    }
    tableau = Tableau(
        name=name,
        a=_matrix(fields["a"], f"{name}: a"),
        b=_row(fields["b"], f"{name}: b"),
        c=_row(fields["c"], f"{name}: c"),
        order=orders["order"],
        source=_source(fields, name, path),
        dense=_matrix(fields["dense"], f"{name}: dense") if "dense" in fields else None,
        dense_order=orders.get("dense_order"),
        digits=_digits(fields, name),
    )
    coupled = not tableau.explicit and not tableau.diagonally_implicit
    if coupled and tableau.stages > MOST_COUPLED:
        raise InputError(
            f"{name}: {tableau.stages} stages that all depend on each other, of which at most "
            f"{MOST_COUPLED} are examined; give a lower triangular a"
        )
    if "b_hat" not in fields and "b_error" not in fields:
        return tableau
    label = "b_error" if "b_error" in fields else "b_hat"
    weights = _row(fields[label], f"{name}: {label}")
    if len(weights) != tableau.stages:
        raise TableauError(
            f"{name}: {label} has {len(weights)} entries, b has {tableau.stages} entries"
        )
    if label == "b_hat":
        weights = tuple(b - hat for b, hat in zip(tableau.b, weights, strict=True))
    return replace(tableau, b_error=weights, error_order=orders["error_order"])


def _check_fields(fields: Mapping[str, Any], name: str) -> None:
    for field in fields:
        if field not in REQUIRED + OPTIONAL:
            near = difflib.get_close_matches(field[:MOST_NAME], REQUIRED + OPTIONAL, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(REQUIRED)}, ..."
            raise InputError(f"{name}: the field {shown(field)} is unknown; {hint}")
    missing = [field for field in REQUIRED if field not in fields]
    if missing:
        raise InputError(f"{name}: the field {missing[0]!r} is missing")
    if "b_hat" in fields and "b_error" in fields:
        raise InputError(f"{name}: give b_error or b_hat, not both; b_error is b - b_hat")
    if ("b_hat" in fields or "b_error" in fields) != ("error_order" in fields):
        raise InputError(f"{name}: b_hat (or b_error) and error_order come together")


def _source(fields: Mapping[str, Any], name: str, path: Path) -> str:
    if "source" not in fields:
        return shown(Path(path.name))
    return documents.words(fields["source"], f"{name}: source", MOST_SOURCE)


def _digits(fields: Mapping[str, Any], name: str) -> int:
    given = fields.get("digits", EXACT_DIGITS)
    return documents.whole(given, f"{name}: digits", FEWEST_DIGITS, documents.MOST_DIGITS)


def _matrix(value: Any, what: str) -> Matrix:
    return tuple(_row(row, f"{what}[{i}]") for i, row in enumerate(_list(value, what, "rows")))


def _row(value: Any, what: str) -> Row:
    entries = enumerate(_list(value, what, "numbers"))
    return tuple(documents.number(entry, f"{what}[{i}]", LARGEST) for i, entry in entries)


def _list(value: Any, what: str, kind: str) -> list[Any]:
    if not isinstance(value, list):
        raise InputError(f"{what} must be a list of {kind}, not {shown(value)}")
    if len(value) > MOST_STAGES:
        raise InputError(f"{what} has {len(value):,} {kind}: no method has over {MOST_STAGES}")
    return value
