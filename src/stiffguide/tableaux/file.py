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
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from stiffguide.errors import TableauError
from stiffguide.tableaux.exact import EXACT_DIGITS, Matrix, Row
from stiffguide.tableaux.order import prove
from stiffguide.tableaux.tableau import Tableau

REQUIRED = ("name", "a", "b", "c", "order")
OPTIONAL = ("b_error", "b_hat", "error_order", "source", "dense", "dense_order", "digits")
FEWEST_DIGITS = 8  # a tableau that is rounded more than this proves nothing


def load(path: str | Path) -> Tableau:
    """The tableau in a file ending in .json or .toml.

    Raises TableauError with one sentence: the entry that cannot be read, or the order condition
    that does not hold.
    """
    path = Path(path)
    fields = _read(path)
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


def _read(path: Path) -> Mapping[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".toml":
            fields: Any = tomllib.loads(text, parse_float=_Decimal)
        elif path.suffix == ".json":
            fields = json.loads(text, parse_float=_Decimal, parse_constant=_refuse)
        else:
            raise TableauError(f"{path.name}: a tableau is a file ending in .json or .toml")
    except OSError as error:
        raise TableauError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        if isinstance(error, TableauError):
            raise
        raise TableauError(f"{path.name}: not readable as {path.suffix[1:]}: {error}") from None
    if not isinstance(fields, Mapping):
        raise TableauError(f"{path.name}: give the fields {', '.join(REQUIRED)}, not a list")
    return fields


class _Decimal(str):
    """A number as it stands in the file."""


def _refuse(text: str) -> Any:
    raise TableauError(f"{text} is not a coefficient")


def _tableau(fields: Mapping[str, Any], path: Path) -> Tableau:
    name = str(fields.get("name", path.stem))
    _check_fields(fields, name)
    tableau = Tableau(
        name=name,
        a=_matrix(fields["a"], f"{name}: a"),
        b=_row(fields["b"], f"{name}: b"),
        c=_row(fields["c"], f"{name}: c"),
        order=_integer(fields["order"], f"{name}: order"),
        source=str(fields.get("source", path.name)),
        dense=_matrix(fields["dense"], f"{name}: dense") if "dense" in fields else None,
        dense_order=_integer(fields["dense_order"], name) if "dense_order" in fields else None,
        digits=_integer(fields.get("digits", EXACT_DIGITS), f"{name}: digits"),
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
    order = _integer(fields["error_order"], f"{name}: error_order")
    return replace(tableau, b_error=weights, error_order=order)


def _check_fields(fields: Mapping[str, Any], name: str) -> None:
    for field in fields:
        if field not in REQUIRED + OPTIONAL:
            near = difflib.get_close_matches(field, REQUIRED + OPTIONAL, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(REQUIRED)}, ..."
            raise TableauError(f"{name}: the field {field!r} is unknown; {hint}")
    missing = [field for field in REQUIRED if field not in fields]
    if missing:
        raise TableauError(f"{name}: the field {missing[0]!r} is missing")
    if "b_hat" in fields and "b_error" in fields:
        raise TableauError(f"{name}: give b_error or b_hat, not both; b_error is b - b_hat")
    if ("b_hat" in fields or "b_error" in fields) != ("error_order" in fields):
        raise TableauError(f"{name}: b_hat (or b_error) and error_order come together")


def _matrix(value: Any, what: str) -> Matrix:
    if not isinstance(value, list):
        raise TableauError(f"{what} must be a list of rows")
    return tuple(_row(row, f"{what}[{i}]") for i, row in enumerate(value))


def _row(value: Any, what: str) -> Row:
    if not isinstance(value, list):
        raise TableauError(f"{what} must be a list of numbers")
    return tuple(_number(entry, f"{what}[{i}]") for i, entry in enumerate(value))


def _number(value: Any, what: str) -> Fraction:
    if isinstance(value, (int, str)) and not isinstance(value, bool):
        try:
            return Fraction(value)
        except (ValueError, ZeroDivisionError):
            pass
    raise TableauError(f'{what} is {value!r}: give a number, or a text such as "1/3" or "0.25"')


def _integer(value: Any, what: str) -> int:
    number = _number(value, what)
    if number.denominator != 1:
        raise TableauError(f"{what} must be a whole number, not {value}")
    return int(number)
