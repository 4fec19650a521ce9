"""The planned elimination as C++: written out where it is small, loops where it is nearly full.

Else tables that a loop walks.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from stiffguide.kernels.emitting.elimination import Elimination, Place

UNROLLED_PRODUCTS = 150  # an elimination up to this size is written out
NEARLY_FULL = 0.5  # of the products that a full matrix of this size takes
GROWTH = 1e3  # a row may grow this much before its lane is factorised with pivoting,
# or until its rounding moves an unknown by so many times its own rounding, and by this part of its
# tolerance, in a mode that is not faster than so many steps: then it stays, and adds up.
BLUR, FAINT, SLOW = 1e4, 0.1, 100.0


@cache
def native(name: str) -> str:
    """A file of `native/`."""
    return (files("stiffguide.kernels") / "native" / name).read_text()


def integers(name: str, values: Sequence[int]) -> str:
    """A table of small numbers."""
    numbers = ", ".join(map(str, values)) or "0"
    return f"TABLE unsigned short {name}[] = {{{numbers}}};"


def is_full(plan: Elimination) -> bool:
    """Whether loops over all entries take less time than one over those that are not 0."""
    full = sum(k * (1 + k) for k in range(plan.size))
    return plan.operations > max(UNROLLED_PRODUCTS, NEARLY_FULL * full)


def entries(plan: Elimination) -> int:
    """How many the factors have."""
    return plan.size**2 if is_full(plan) else len(plan.slots)


def text(plan: Elimination, places: Sequence[Place]) -> list[str]:
    """`factorise` and `substitute`; `places` are those of the Jacobian, in its order."""
    if plan.operations <= UNROLLED_PRODUCTS:
        return _written_out(plan, places)
    if is_full(plan):
        return [native("full.h")]
    slots = plan.slots
    factors: list[int] = []
    forward: list[int] = []
    backward: list[int] = []
    for k in plan.order:
        below, beyond = plan.below(k), plan.beyond(k)
        factors += [slots[k, k], len(below), len(beyond), *(slots[k, j] for j in beyond)]
        for i in below:
            factors += [i, slots[i, k], *(slots[i, j] for j in beyond)]
        forward += [k, len(below), *(v for i in below for v in (i, slots[i, k]))]
    for k in reversed(plan.order):
        beyond = plan.beyond(k)
        backward += [k, slots[k, k], len(beyond), *(v for j in beyond for v in (j, slots[k, j]))]
    return [
        integers("JAC_SLOT", [slots[place] for place in places]),
        integers("DIAGONAL", [slots[i, i] for i in range(plan.size)]),
        integers("COLUMN", [j for _, j in sorted(slots, key=slots.__getitem__)]),
        integers("FACTORS", factors),
        integers("FORWARD", forward),
        integers("BACKWARD", backward),
        native("elimination.h"),
    ]


def _written_out(plan: Elimination, entries: Sequence[Place]) -> list[str]:
    w = {place: f"w[{slot}]" for place, slot in plan.slots.items()}
    lines = [
        "INLINE M factorise(V* w, const V* jac, V shift, const V* unit, const V* blur) {",
        "M rough = ~allof();",
    ]
    entry = {place: f"jac[{e}]" for e, place in enumerate(entries)}
    for i, j in sorted(plan.original):
        value = f"-{entry[i, j]}" if (i, j) in entry else ""
        lines.append(f"{w[i, j]} = {f'shift {value}'.strip() if i == j else value};")
    known = set(plan.original)
    changed = sorted({i for k in plan.order if plan.beyond(k) for i in plan.below(k)})
    for i in changed:
        row = [
            f"v_abs({w[place]}) * unit[{place[1]}]"
            for place in sorted(plan.original)
            if place[0] == i
        ]
        lines.append(f"const V size{i} = {' + '.join(row)};")
        lines.append(f"V grown{i} = 0.0;")
    for k in plan.order:
        lines.append(f"{w[k, k]} = 1.0 / {w[k, k]};")
        if plan.below(k) and plan.beyond(k):
            row = [f"v_abs({w[k, j]}) * unit[{j}]" for j in plan.beyond(k)]
            lines.append(f"const V row{k} = {' + '.join(row)};")
        for i in plan.below(k):
            lines.append(f"{w[i, k]} = {w[i, k]} * {w[k, k]};")
            if plan.beyond(k):
                lines.append(f"grown{i} = grown{i} + v_abs({w[i, k]}) * row{k};")
            for j in plan.beyond(k):
                before = w[i, j] if (i, j) in known else ""
                known.add((i, j))
                lines.append(f"{w[i, j]} = {before} - {w[i, k]} * {w[k, j]};")
    for i in changed:  # w holds the inverse of the pivot
        lines.append(f"rough = rough | ~le(grown{i}, GROWTH * size{i});")
        lines.append(
            f"rough = rough | ~(le(grown{i} * v_abs({w[i, i]}), blur[{i}]) | "
            f"lt(SLOW * v_abs(shift * {w[i, i]}), 1.0));"
        )
    return [*lines, "return rough;", "}", *_substitution(plan, w)]


def _substitution(plan: Elimination, w: dict[Place, str]) -> list[str]:
    lines = ["INLINE void substitute(const V* w, const V* b, V* x) {"]
    lines += [f"x[{i}] = b[{i}];" for i in range(plan.size)]
    for k in plan.order:
        lines += [f"x[{i}] = x[{i}] - {w[i, k]} * x[{k}];" for i in plan.below(k)]
    for k in reversed(plan.order):
        terms = "".join(f" - {w[k, j]} * x[{j}]" for j in plan.beyond(k))
        lines.append(f"x[{k}] = (x[{k}]{terms}) * {w[k, k]};")
    return [*lines, "}"]
