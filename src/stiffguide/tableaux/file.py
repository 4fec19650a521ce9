"""Tableaux in files: a numericist's JSON or TOML becomes a tableau whose claims are proved.

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

A file with `gamma` is a Rosenbrock method, in either form of its coefficients (Hairer and Wanner
II, IV.7). In that of the textbook (eq. 7.4) there are `alpha`, `gamma` (rows, with the diagonal)
and `b`; in that of programs (eq. 7.25) the fields of `RosenbrockTableau`: `gamma` (a number), `a`,
`big_c`, `b`, `c` and `g`.

Everything in a file is bounded before it is computed: see `documents`, and the limits below.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from stiffguide import documents
from stiffguide.documents import shown
from stiffguide.errors import InputError, TableauError
from stiffguide.tableaux import entries
from stiffguide.tableaux.order import AnyTableau, prove
from stiffguide.tableaux.rosenbrock import RosenbrockTableau
from stiffguide.tableaux.tableau import Tableau

COMMON = ("source", "digits", *entries.PAIR)
BUTCHER = ("name", "a", "b", "c", "order")
TEXTBOOK = ("name", "alpha", "gamma", "b", "order")
PROGRAM = ("name", "gamma", "a", "big_c", "b", "c", "g", "order")
MOST_COUPLED = 16  # where `a` is full, whose determinant costs the fourth power of the stages
MOST_LINEAR = 16  # of a Rosenbrock method, whose Gamma is inverted exactly: twice what any has


def load(path: str | Path) -> AnyTableau:
    """The tableau in a file ending in .json or .toml: a RosenbrockTableau if it has `gamma`.

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


def _proved(fields: Mapping[str, Any], path: Path) -> AnyTableau:
    tableau = _tableau(fields, path)
    prove(tableau)
    return tableau


def _rounded_to(fields: Mapping[str, Any], path: Path) -> int | None:
    """The digits to which the decimals of a tableau fulfil its claims, if that is so."""
    try:  # if its sums are further off than by rounding, no digits help
        _tableau({**fields, "digits": entries.FEWEST_DIGITS}, path)
    except TableauError:
        return None
    for digits in range(20, entries.FEWEST_DIGITS - 1, -1):
        try:
            _proved({**fields, "digits": digits}, path)
        except TableauError:
            continue
        return digits
    return None


def _tableau(fields: Mapping[str, Any], path: Path) -> AnyTableau:
    if "alpha" in fields:
        return _textbook(fields, path)
    if "gamma" in fields or "big_c" in fields:
        return _program(fields, path)
    return _butcher(fields, path)


def _butcher(fields: Mapping[str, Any], path: Path) -> Tableau:
    entries.check(fields, shown(Path(path.name)), BUTCHER, (*COMMON, *entries.DENSE))
    name = entries.name(fields, path)
    tableau = Tableau(
        name=name,
        a=entries.matrix(fields["a"], f"{name}: a"),
        b=entries.row(fields["b"], f"{name}: b"),
        c=entries.row(fields["c"], f"{name}: c"),
        order=entries.main_order(fields, name),
        source=entries.source(fields, name, path),
        dense=entries.dense(fields, name),
        dense_order=entries.order(fields, "dense_order", name),
        digits=entries.digits(fields, name),
    )
    coupled = not tableau.explicit and not tableau.diagonally_implicit
    if coupled and tableau.stages > MOST_COUPLED:
        raise InputError(
            f"{name}: {tableau.stages} stages that all depend on each other, of which at most "
            f"{MOST_COUPLED} are examined; give a lower triangular a"
        )
    pair = entries.error_weights(fields, name, tableau.b)
    if pair is None:
        return tableau
    return replace(tableau, b_error=pair, error_order=entries.order(fields, "error_order", name))


def _textbook(fields: Mapping[str, Any], path: Path) -> RosenbrockTableau:
    entries.check(fields, shown(Path(path.name)), TEXTBOOK, (*COMMON, "c"))
    name = entries.name(fields, path)
    if not isinstance(fields["gamma"], list):
        raise InputError(
            f"{name}: beside alpha, gamma is the rows of Gamma with its diagonal, such as "
            f"[[0.5], [-1, 0.5]], not {shown(fields['gamma'])}"
        )
    weights = entries.row(fields["b"], f"{name}: b")
    _check_stages(name, len(weights))
    tableau = RosenbrockTableau.from_textbook(
        name=name,
        alpha=entries.matrix(fields["alpha"], f"{name}: alpha"),
        big_gamma=entries.matrix(fields["gamma"], f"{name}: gamma"),
        weights=weights,
        order=entries.main_order(fields, name),
        source=entries.source(fields, name, path),
        error_weights=entries.error_weights(fields, name, weights),
        error_order=entries.order(fields, "error_order", name),
        digits=entries.digits(fields, name),
    )
    given = entries.row(fields["c"], f"{name}: c") if "c" in fields else tableau.c
    if len(given) != len(weights):
        raise TableauError(f"{name}: c has {len(given)} entries, b has {len(weights)}")
    for i, (node, due) in enumerate(zip(given, tableau.c, strict=True)):
        if abs(node - due) > tableau.tolerance:
            raise TableauError(
                f"{name}: row {i} of alpha sums to {float(due):.17g}, "
                f"c[{i}] says {float(node):.17g}"
            )
    return tableau


def _program(fields: Mapping[str, Any], path: Path) -> RosenbrockTableau:
    if "big_c" not in fields:
        raise InputError(
            f"{shown(Path(path.name))}: with gamma it is a Rosenbrock method, which has alpha, or "
            "a and big_c; leave gamma out of a Runge-Kutta method, whose a has it on its diagonal"
        )
    entries.check(fields, shown(Path(path.name)), PROGRAM, (*COMMON, *entries.DENSE))
    name = entries.name(fields, path)
    b = entries.row(fields["b"], f"{name}: b")
    _check_stages(name, len(b))
    c, g = (entries.row(fields[field], f"{name}: {field}") for field in ("c", "g"))
    return RosenbrockTableau(
        name=name,
        gamma=documents.number(fields["gamma"], f"{name}: gamma", entries.LARGEST),
        a=entries.matrix(fields["a"], f"{name}: a"),
        big_c=entries.matrix(fields["big_c"], f"{name}: big_c"),
        b=b,
        c=c,
        g=g,
        order=entries.main_order(fields, name),
        source=entries.source(fields, name, path),
        b_error=entries.error_weights(fields, name, b),
        error_order=entries.order(fields, "error_order", name),
        dense=entries.dense(fields, name),
        dense_order=entries.order(fields, "dense_order", name),
        digits=entries.digits(fields, name),
    )


def _check_stages(name: str, stages: int) -> None:
    if stages > MOST_LINEAR:
        raise InputError(
            f"{name}: {stages} stages of a Rosenbrock method, of which at most {MOST_LINEAR} are "
            "examined"
        )
