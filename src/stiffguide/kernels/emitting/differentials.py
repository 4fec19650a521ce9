"""The derivative of a step of each family in one direction: the formulas of `steps`.

Where W u = r, the derivative of u solves W du = dr + dJ u with the factors of the step; so it is
exact for the numbers that the step has found. The lines live inside
`direction(Lanes& s, V dt, int j, V (*u)[N], V* by1, bool saving)`: they leave in `u` the
derivatives of the stages in direction j, and in `by1` that of y1.
"""

from __future__ import annotations

from typing import Protocol

from stiffguide.kernels.emitting.coefficients import Coefficients
from stiffguide.kernels.emitting.expressions import literal
from stiffguide.kernels.emitting.steps import UNROLLED, Body, plus, weighted


def points(m: Coefficients, body: Body) -> None:
    """J and df/dp at every stage, those of the interpolant only where it is asked for."""
    count = m.stages + m.interpolant.late
    names = [f"s.k[{j}][@]" for j in range(count)]
    body.add("V arg[N];")
    for i in range(count):
        implicit = bool(m.implicit) and m.implicit[i]
        if i == m.stages:
            body.add("if (!saving) return;", "extend(s, dt);")
        if not any(m.a[i]) and m.c[i] == 0 and not implicit:
            body.add(f"partials(s.seen, s.y, s.p, s.jacs[{i}], s.bys[{i}]);")
            continue
        factor = "" if m.family == "rosenbrock" else "dt"
        own = f" + s.k[{i}][@] * (dt * GAMMA)" if implicit else ""
        body.each(f"arg[@] = s.y[@]{plus(weighted(m.a[i], names), factor)}{own};")
        time = f"s.t + {literal(m.c[i])} * dt"
        body.add(f"partials({time}, arg, s.p, s.jacs[{i}], s.bys[{i}]);")
        if implicit:
            body.add(f"factorise_stage(s, {i}, arg, 1.0 / (dt * GAMMA));")
    if ends_in_slope(m):
        body.add("if (saving) partials(t1, s.y1, s.p, s.jacs[POINTS - 1], s.bys[POINTS - 1]);")


def ends_in_slope(m: Coefficients) -> bool:
    """Whether the interpolant takes f(t1, y1) that is none of the stages."""
    weights = m.interpolant.weights
    kept = m.stages + m.interpolant.late + len(m.interpolant.filters)
    return weights is None or len(weights[0]) > kept


def interpolant(m: Coefficients, body: Body) -> None:
    """The polynomial of the derivatives, as that of the states: `sum[d]` goes with theta^(d+1)."""
    by, by1 = "s.by[j][@]", "by1[@]"
    kept = m.stages + m.interpolant.late + len(m.interpolant.filters)
    if ends_in_slope(m):
        body.add("V f1[N];", "slope(s, POINTS - 1, by1, j, f1);")
    if m.interpolant.weights is None:
        body.add("V f0[N];", "slope(s, 0, s.by[j], j, f0);")
        body.each("sum[0][@] = dt * f0[@];")
        body.each(f"sum[1][@] = 3.0 * ({by1} - {by}) - 2.0 * sum[0][@] - dt * f1[@];")
        body.each(f"sum[2][@] = sum[0][@] + dt * f1[@] - 2.0 * ({by1} - {by});")
        return
    names = [f"u[{j}][@]" for j in range(kept)] + ["f1[@]"]
    for d, row in enumerate(m.interpolant.weights):
        total = weighted(row, names) or "V(0.0)"
        body.each(f"sum[{d}][@] = {f'dt * ({total})' if m.interpolant.with_dt else total};")


def _stages(count: int) -> list[str]:
    return [f"u[{j}][@]" for j in range(count)]


def rosenbrock(m: Coefficients, body: Body, *, changing: bool) -> None:
    """W du = J d(arg) + df/dp + coupling + d(df/dt) + dJ u at every stage."""
    names, slopes = _stages(m.stages), not body.autonomous
    body.add("V arg[N], rhs[N], x[N], bend[MOVING + 1];")
    body.add("const V per_dt = 1.0 / dt;", f"given(s, j, {m.stages});")
    if changing:
        body.add("changed(s.curved, s.by[j], bend);", f"bent_by(s, j, {m.stages});")
    if slopes:
        body.add("V drift[N];", "drift_of(s, j, drift);")
    for i in range(m.stages):
        drift = f" + {literal(m.g[i])} * dt * drift[@]" if slopes and m.g[i] else ""
        _sums(m, body, i, names)
        coupling = " + rhs[@] * per_dt" if any(m.big_c[i]) else ""
        body.each(f"rhs[@] = s.more[{i}][@]{coupling}{drift};")
        body.add(f"along(s.jacs[{i}], arg, rhs);")
        if changing:
            body.add(f"bent(bend, s.k[{i}], rhs);")
        _solve(body, "s.w", "s.mended", i)
    last = m.stages - 1
    if m.accurate:
        body.each("by1[@] = arg[@];")
    elif m.b[:last] == m.a[last]:
        body.each(f"by1[@] = arg[@]{plus(weighted(m.b[last:], names[last:]))};")
    else:
        body.each(f"by1[@] = s.by[j][@]{plus(weighted(m.b, names))};")


def _sums(m: Coefficients, body: Body, i: int, names: list[str]) -> None:
    """Where stage i is evaluated, and its coupling: stage by stage, as sums that stay in registers.

    Some methods go on from where the stage before was.
    """
    row, goes_on = m.a[i], i > 1 and m.a[i][: i - 1] == m.a[i - 1]
    if body.size > UNROLLED:
        coupling = weighted(m.big_c[i], names) or "0.0"
        body.each(f"arg[@] = s.by[j][@]{plus(weighted(row, names))}, rhs[@] = {coupling};")
        return
    if not goes_on:
        body.each("arg[@] = s.by[j][@];")
    begun = False
    for k in range(i):
        if row[k] and not (goes_on and k < i - 1):
            body.each(f"arg[@] = arg[@]{plus(weighted(row[k : k + 1], names[k:]))};")
        if m.big_c[i][k]:
            before = "rhs[@]" if begun else ""
            text = weighted(m.big_c[i][k : k + 1], names[k:])
            body.each(f"rhs[@] = {before}{plus(text) if begun else text};")
            begun = True


def _solve(body: Body, factors: str, mended: str, i: int) -> None:
    """u[i] of rhs; in a local vector, which may be registers."""
    body.add(f"substitute({factors}, rhs, x);", f"if ({mended}) {{")
    body.each("s.scratch[0][@] = rhs[@], s.scratch[1][@] = x[@];")
    body.add("solve_lanes(s);")
    body.each("x[@] = s.scratch[1][@];")
    body.add("}")
    body.each(f"u[{i}][@] = x[@];")


def explicit(m: Coefficients, body: Body, *, changing: bool) -> None:
    """du = J d(arg) + df/dp."""
    count = m.stages + m.interpolant.late
    names = _stages(count)
    body.add("V arg[N], rhs[N];")
    body.add(f"given(s, j, saving ? {count} : {m.stages});")
    for i in range(count):
        if i == m.stages:
            body.add("if (!saving) return;")
        body.each(f"arg[@] = s.by[j][@]{plus(weighted(m.a[i], names), 'dt')};")
        body.each(f"rhs[@] = s.more[{i}][@];")
        body.add(f"along(s.jacs[{i}], arg, rhs);")
        body.each(f"u[{i}][@] = rhs[@];")
        if i == m.stages - 1 and m.accurate:
            body.each("by1[@] = arg[@];")
        elif i == m.stages - 1:
            body.each(f"by1[@] = s.by[j][@]{plus(weighted(m.b, names), 'dt')};")


def esdirk(m: Coefficients, body: Body, *, changing: bool) -> None:
    """(I/(dt gamma) - J) du = (J d(base) + df/dp)/(dt gamma), J being that of the stage."""
    names = _stages(m.stages)
    body.add("V arg[N], rhs[N], x[N];")
    body.add("const V shift = 1.0 / (dt * GAMMA);", f"given(s, j, {m.stages});")
    for i in range(m.stages):
        body.each(f"arg[@] = s.by[j][@]{plus(weighted(m.a[i], names), 'dt')};")
        body.each(f"rhs[@] = s.more[{i}][@];")
        body.add(f"along(s.jacs[{i}], arg, rhs);")
        if not m.implicit[i]:
            body.each(f"u[{i}][@] = rhs[@];")
            continue
        body.each("rhs[@] = rhs[@] * shift;")
        body.add(f"if (s.mendeds[{i}]) turn_to(s, {i});")
        _solve(body, f"s.ws[{i}]", f"s.mendeds[{i}]", i)
    if m.accurate:
        body.each(f"by1[@] = arg[@] + u[{m.stages - 1}][@] * (dt * GAMMA);")
    else:
        body.each(f"by1[@] = s.by[j][@]{plus(weighted(m.b, names), 'dt')};")
    body.add("turn_to(s, -1);")
    if not m.interpolant.filters:
        return
    # W is a constant here, as in the eager loop: its share is that of an error in an error
    body.add("if (!saving) return;")
    for r, row in enumerate(m.interpolant.filters, m.stages):
        body.each(f"rhs[@] = ({weighted(row, names)}) * shift;")
        _solve(body, "s.w", "s.mended", r)


class Family(Protocol):
    """How the lines of a family are made; `changing`: J or df/dt are no constants."""

    def __call__(self, m: Coefficients, body: Body, *, changing: bool) -> None:
        """Append them."""


FAMILIES: dict[str, Family] = {"rosenbrock": rosenbrock, "explicit": explicit, "esdirk": esdirk}
