"""`stiffguide verify`: what a tableau claims, proved; what a method does, measured."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from stiffguide import methods
from stiffguide.catalogue import TABLEAUX
from stiffguide.cli.tables import Table, console
from stiffguide.errors import UnsupportedError
from stiffguide.stepping.contracts import Method
from stiffguide.tableaux import file as tableau_file
from stiffguide.tableaux import order, stability
from stiffguide.tableaux.order import AnyTableau
from stiffguide.verification import CHECKS, Check, Report
from stiffguide.verification import verify as examine

HEADER = ("method", "order", "embedded", "dense", "R(inf)", "stability", "observed", "estimate", "")
PROOFS = ("order conditions", "embedded conditions", "dense conditions")
MEASURED = ("observed order", "error estimate")


def verify(
    names: tuple[str, ...], files: tuple[Path, ...], laws: bool, progress: bool | None
) -> None:
    """Prove the orders and the stability of each method, and measure its order and estimate."""
    loaded = [tableau_file.load(path) for path in files]
    if not names and not loaded:
        names = tuple(dict.fromkeys((*TABLEAUX, *methods.names())))
    subjects: list[str | AnyTableau] = [*names, *loaded]
    for name in names:
        _method(name)  # an unknown name is refused before anything is measured
    show = sys.stderr.isatty() if progress is None else progress
    table = Table("Claims, proofs and measurements", HEADER, left=("method", "stability", ""))
    reports: list[Report] = []
    for subject in tqdm(subjects, disable=not show, leave=False, unit="method"):
        report = examine(subject, only=CHECKS if laws else (*PROOFS, *MEASURED))
        table.add(report.name, *_claims(subject), *_figures(report), _verdict(report))
        reports.append(report)
    out = console()
    table.show(out)
    wrong = [check.sentence for report in reports for check in report.violations]
    for report in reports if laws else ():
        out.print(f"{report}\n", markup=False)
    for sentence in () if laws else wrong:
        out.print(sentence, style="red", markup=False)
    if wrong:
        sys.exit(1)


def _method(subject: str | AnyTableau) -> Method | None:
    """What steps with it; None for a tableau that nothing steps with."""
    try:
        return methods.get(subject) if isinstance(subject, str) else methods.from_tableau(subject)
    except UnsupportedError:
        return None


def _claims(subject: str | AnyTableau) -> tuple[Any, ...]:
    """Order, embedded order, that of the dense output, R(inf), stability: proved if it can be."""
    tableau = TABLEAUX.get(subject) if isinstance(subject, str) else subject
    method = _method(subject)
    dense = "-" if method is None else method.dense_order
    if tableau is None:
        assert method is not None
        embedded = "-" if method.error_order is None else method.error_order
        return method.order, embedded, dense, "-", "-"
    low = order.proven_error_order(tableau)
    end = f"{stability.r_infinity(tableau):.3g}"
    proven = order.proven_order(tableau)
    return proven, "-" if low is None else low, dense, end, stability.kind(tableau)


def _figures(report: Report) -> tuple[str, ...]:
    figures = (report[name].figure for name in MEASURED)
    return tuple("-" if figure is None else f"{figure:.2f}" for figure in figures)


def _verdict(report: Report) -> str:
    """In a word or two."""
    if not report.ok:
        return "violated"
    measured: Check = report["observed order"]
    return "ok" if measured.verdict == "holds" else f"ok, {measured.sentence}"
