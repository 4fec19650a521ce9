"""W^T x = b with the factors of W, as C++: see `factorisation`."""

from __future__ import annotations

from collections.abc import Sequence

from stiffguide.kernels.emitting.elimination import Elimination
from stiffguide.kernels.emitting.factorisation import UNROLLED_PRODUCTS, integers, is_full, native

HEAD = "INLINE void substitute_transposed(const V* w, const V* b, V* x) {"


def text(plan: Elimination) -> list[str]:
    """`substitute_transposed`, and what solves with lanes that were pivoted."""
    return [*_substitution(plan), native("transposed.h")]


def _substitution(plan: Elimination) -> Sequence[str]:
    if plan.operations <= UNROLLED_PRODUCTS:
        return _written_out(plan)
    if is_full(plan):
        return [native("full_transposed.h")]
    slots = plan.slots
    upper: list[int] = []
    lower: list[int] = []
    for k in plan.order:
        beyond = plan.beyond(k)
        upper += [k, slots[k, k], len(beyond), *(v for j in beyond for v in (j, slots[k, j]))]
    for k in reversed(plan.order):
        below = plan.below(k)
        lower += [k, len(below), *(v for i in below for v in (i, slots[i, k]))]
    return [
        integers("UPPER", upper),
        integers("LOWER", lower),
        native("elimination_transposed.h"),
    ]


def _written_out(plan: Elimination) -> list[str]:
    w = {place: f"w[{slot}]" for place, slot in plan.slots.items()}
    lines = [HEAD, *(f"x[{i}] = b[{i}];" for i in range(plan.size))]
    for k in plan.order:
        lines.append(f"x[{k}] = x[{k}] * {w[k, k]};")
        lines += [f"x[{j}] = x[{j}] - {w[k, j]} * x[{k}];" for j in plan.beyond(k)]
    for k in reversed(plan.order):
        terms = "".join(f" - {w[i, k]} * x[{i}]" for i in plan.below(k))
        if terms:
            lines.append(f"x[{k}] = x[{k}]{terms};")
    return [*lines, "}"]
