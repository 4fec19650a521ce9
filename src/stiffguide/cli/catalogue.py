"""`stiffguide methods` and `stiffguide problems`: what there is to choose from."""

from __future__ import annotations

import difflib
from typing import Any

from stiffguide import methods as steppers
from stiffguide import problems as test_set
from stiffguide.cli.tables import Table, console
from stiffguide.errors import InputError
from stiffguide.guidance import soundness
from stiffguide.tableaux import stability
from stiffguide.tableaux.order import AnyTableau

BESIDE = {  # of families without tableaux: guidance, source
    "secant": ("its own", "no tableau: a rule of this package"),
    "stabilised explicit": (
        "no",
        "Sommeijer, Shampine and Verwer, J. Comput. Appl. Math. 88 (1998) 315-326",
    ),
    "BDF": ("no", "Shampine and Reichelt, SIAM J. Sci. Comput. 18 (1997) 1-22"),
    "Adams": ("no", "Hairer, Norsett and Wanner, Solving ODEs I, III.1"),
}


def methods(family: str | None) -> None:
    """List the methods, with what their coefficients prove."""
    method_table(family).show(console())


def method_table(family: str | None = None) -> Table:
    """Every method: orders, stages, stability, source."""
    columns = ("name", "family", "order", "embedded", "stages", "stability", "dense")
    left = ("name", "family", "stability", "guidance", "source")
    table = Table("Methods", (*columns, "guidance", "source"), left=left)
    families = {name: steppers.get(name).family for name in steppers.names()}
    if family is not None:
        families = _only(family, families)
    for name, own in families.items():
        table.add(name, own, *_facts(name))
    return table


def _only(family: str, families: dict[str, str]) -> dict[str, str]:
    there = sorted(set(families.values()))
    wanted = family.lower()
    # "dirk" would find three families: a name that is one of them means that one
    exact = [f for f in there if f.lower() == wanted]
    found = exact or [f for f in there if wanted and f.lower().startswith(wanted)]
    if not found:
        near = difflib.get_close_matches(wanted, [f.lower() for f in there], n=1)
        hint = f"did you mean {near[0]!r}? There" if near else "there"
        raise InputError(f"no family named {family!r}; {hint} are {', '.join(there)}")
    return {name: own for name, own in families.items() if own in found}


def _facts(name: str) -> tuple[Any, ...]:
    method = steppers.get(name)
    tableau, embedded = getattr(method, "tableau", None), method.error_order
    if tableau is None:
        order = "-" if embedded is None else embedded
        return method.order, order, "-", "-", method.dense_order, *BESIDE[method.family]
    if tableau.error_order is not None:
        embedded = tableau.error_order  # of a pair of pairs, the higher one
    facts = (tableau.order, "-" if embedded is None else embedded, tableau.stages)
    more = (stability.kind(tableau), method.dense_order, guidance_of(tableau), tableau.source)
    return (*facts, *more)


def guidance_of(tableau: AnyTableau) -> str:
    """What ErrorDirection costs with this pair: nothing, an evaluation a step, or it is unsound."""
    found = soundness(tableau)
    if not found.sound:
        return "no"
    return "free" if found.free else "+1 f"


def problems() -> None:
    """List the problems of the test set."""
    columns = ("name", "equations", "interval", "stiff", "digits", "source")
    table = Table("Problems", columns, left=("name", "interval", "stiff", "source"))
    for name in (*test_set.names(), *test_set.constrained_names()):
        p = test_set.get(name)
        digits = p.digits if p.reference is not None else "-"
        stiff = "yes" if p.stiff else "no"
        table.add(name, p.size, f"{p.t0:g} to {p.t1:g}", stiff, digits, p.source)
    table.show(console())
