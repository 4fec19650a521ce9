"""`stiffguide verify`: what a tableau claims, proved; what a method does, measured."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from stiffguide import methods
from stiffguide.catalogue import TABLEAUX
from stiffguide.cli.catalogue import stability_of
from stiffguide.cli.tables import Table, console
from stiffguide.errors import InputError, TableauError, UnsupportedError
from stiffguide.methods.bdf.method import BDF
from stiffguide.stepping.contracts import Method
from stiffguide.tableaux import file as tableau_file
from stiffguide.tableaux import order, stability
from stiffguide.tableaux.order import AnyTableau
from stiffguide.verification import (
    EXPONENT_ALLOWANCE,
    observed_error_exponent,
    observed_order,
    order_allowance,
)

HEADER = ("method", "order", "embedded", "dense", "R(inf)", "stability", "observed", "estimate", "")


@dataclass
class Report:
    """One method's row, and the sentences of what it violates."""

    cells: list[Any]
    violations: list[str] = field(default_factory=list)
    measured: bool = True
    unmeasured: str = "tableau only"

    @property
    def verdict(self) -> str:
        """In a word or two."""
        if self.violations:
            return "violated"
        return "ok" if self.measured else f"ok, {self.unmeasured}"


def verify(names: tuple[str, ...], files: tuple[Path, ...], progress: bool | None) -> None:
    """Prove the orders and the stability of each method, and measure its order and estimate."""
    loaded = [tableau_file.load(path) for path in files]
    if not names and not loaded:
        names = tuple(dict.fromkeys((*TABLEAUX, *methods.names())))
    subjects: list[str | AnyTableau] = [*names, *loaded]
    for name in names:
        _method(name)  # an unknown name is refused before anything is measured
    show = sys.stderr.isatty() if progress is None else progress
    table = Table("Claims, proofs and measurements", HEADER, left=("method", "stability", ""))
    wrong: list[str] = []
    for subject in tqdm(subjects, disable=not show, leave=False, unit="method"):
        report = examine(subject)
        table.add(*report.cells, report.verdict)
        wrong += report.violations
    out = console()
    table.show(out)
    for sentence in wrong:
        out.print(sentence, style="red", markup=False)
    if wrong:
        sys.exit(1)


def examine(subject: str | AnyTableau) -> Report:
    """Prove and measure one method or tableau."""
    tableau = TABLEAUX.get(subject) if isinstance(subject, str) else subject
    method = _method(subject)
    report = Report([getattr(method or tableau, "name", subject)], measured=method is not None)
    if tableau is None:
        assert method is not None
        embedded = "-" if method.error_order is None else method.error_order
        report.cells += [method.order, embedded, method.dense_order, "-", "-"]
    else:
        report.cells += _proofs(tableau, method, report)
    report.cells += ("-", "-") if method is None else _measurements(method, report)
    return report


def _method(subject: str | AnyTableau) -> Method | None:
    """What steps with it; None for a tableau that nothing steps with."""
    try:
        return methods.get(subject) if isinstance(subject, str) else methods.from_tableau(subject)
    except UnsupportedError:
        return None


def _proofs(tableau: AnyTableau, method: Method | None, report: Report) -> list[Any]:
    try:
        order.prove(tableau)
    except TableauError as error:
        report.violations.append(str(error))
    embedded = order.proven_error_order(tableau)
    return [
        order.proven_order(tableau),
        "-" if embedded is None else embedded,
        "-" if method is None else method.dense_order,
        f"{stability.r_infinity(tableau):.3g}",
        stability_of(tableau),
    ]


def _measurements(method: Method, report: Report) -> tuple[str, str]:
    if isinstance(method, BDF) and method.fixed_order is None:
        report.measured, report.unmeasured = False, "order by order: bdf1 to bdf5"
        return "-", "-"
    try:
        return _observations(method, report)
    except InputError as error:  # too few of the solves ended in numbers
        report.violations.append(str(error))
        return "-", "-"


def _observations(method: Method, report: Report) -> tuple[str, str]:
    seen = observed_order(method)
    if not abs(seen - method.order) <= order_allowance(method.order):
        report.violations.append(
            f"{method.name}: the observed order is {seen:.2f}, claimed is {method.order}"
        )
    if method.error_order is None:
        return f"{seen:.2f}", "-"
    exponent, due = observed_error_exponent(method), method.error_order + 1
    if not abs(exponent - due) <= EXPONENT_ALLOWANCE:
        report.violations.append(
            f"{method.name}: the error estimate shrinks as dt^{exponent:.2f}, "
            f"dt^{due} belongs to its orders"
        )
    return f"{seen:.2f}", f"{exponent:.2f}"
