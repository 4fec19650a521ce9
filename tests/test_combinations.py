"""Every option with every other, in every family: the same solution, or a refusal that is meant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from combinations import (
    FAMILIES,
    OPTIONS,
    PARTED,
    Option,
    build,
    close,
    pairs,
    refusal,
    suit,
    table,
)

import stiffguide as sg
from stiffguide import methods
from stiffguide.sharing import pair

KERNEL = OPTIONS[-1]
PAIRS = pairs()


# families of one kind of step: those of a kind take the pairs of options in turn
KINDS = (
    ("explicit RK", "stabilised explicit", "secant", "Adams"),
    ("Rosenbrock",),
    ("ESDIRK", "SDIRK", "Radau"),
    ("IMEX",),
    ("BDF",),
    ("auto",),
)


def label(options: tuple[Option, ...] | str) -> str:
    if isinstance(options, str):
        return options
    return " with ".join(o.name.replace("`", "") for o in options) or "nothing"


def agrees_or_is_refused(family: str, options: tuple[Option, ...]) -> None:
    call, chosen = build(options)
    suit(call, family)
    words = refusal(family, options)
    if words:
        with pytest.raises(sg.UnsupportedError, match=words) as error:
            call.solve(FAMILIES[family])
        assert "; use " in str(error.value)
        return
    solution = call.solve(FAMILIES[family])
    solution.raise_if_failed()
    t = solution.t
    close(call.real(solution.y).detach(), call.flow(t).detach(), 1e-2)
    for option in chosen:
        option.check(call, solution)


@pytest.fixture(autouse=True)
def rows_change_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stiff method is tried at once, and again and again."""
    monkeypatch.setattr(pair, "PROBE", 0.1)


def test_rows_change_over() -> None:
    call, _ = build(())
    assert len(call.solve("auto").stats.methods) > 1


def cells() -> Iterator[tuple[tuple[Option, ...], str]]:
    """Every option and every refusal in every family; two that go together, in one of each kind."""
    for turn, options in enumerate([(), *(p for p in PAIRS if KERNEL not in p)]):
        for kind in KINDS:
            here = kind[turn % len(kind)]
            alone = len(options) < 2
            yield from ((options, f) for f in kind if alone or f == here or refusal(f, options))


@pytest.mark.parametrize(("options", "family"), list(cells()), ids=label)
def test_options_go_together(family: str, options: tuple[Option, ...]) -> None:
    agrees_or_is_refused(family, options)


@pytest.mark.slow
@pytest.mark.usefixtures("plain_builds")
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("options", [p for p in PAIRS if KERNEL in p], ids=label)
def test_options_go_with_kernels_or_are_refused(family: str, options: tuple[Option, ...]) -> None:
    agrees_or_is_refused(family, options)


def test_every_option_is_tried_with_many_others_in_every_family() -> None:
    met = Counter((o.name, family) for options, family in cells() for o in options)
    assert {*(f for kind in KINDS for f in kind)} == {*FAMILIES}
    assert set(met) == {(o.name, f) for o in OPTIONS if o is not KERNEL for f in FAMILIES}
    assert min(met.values()) > 3


def test_the_families_are_all_there_are() -> None:
    named = {family: method for family, method in FAMILIES.items() if family != "auto"}
    chosen = {f: (methods.ADDITIVE[m] if f in PARTED else methods.get(m)) for f, m in named.items()}
    assert {f: method.family for f, method in chosen.items()} == {f: f for f in named}
    every = [*map(methods.get, methods.names()), *methods.ADDITIVE.values()]
    assert {m.family for m in every if m.error_order is not None} == set(named) - {"Adams"}


def test_every_refusal_names_what_there_is() -> None:
    names = {o.name for o in OPTIONS}
    assert len(names) == len(OPTIONS)
    for option in OPTIONS:
        assert {*option.refuses, *option.needs} <= names | set(FAMILIES)


def test_the_manual_shows_the_table() -> None:
    page = Path(__file__).parents[1] / "docs" / "methods.md"
    assert "{include} _generated/combinations.md" in page.read_text(encoding="utf-8")
    rows = table().splitlines()[2:]
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == [o.name for o in OPTIONS]
    assert sum(row.split(" | ")[1] != "" for row in rows) == 9  # of kernels, BDF, ...
