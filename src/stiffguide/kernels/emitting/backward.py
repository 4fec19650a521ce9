"""The way back through one step of each family, as lines of code: the discrete adjoint.

The lines live inside `reverse_step`, which is given the cotangents of y1 (`after`) and those of the
interpolant's coefficients (`power`, where saved times lie `inside` the step), and leaves what
becomes of them by y (`bar`) and by the parameters (`shares`). The stages are computed anew.

With W k_i = f(Y_i) + ..., v_i = W^-T (cotangent of k_i) goes back through f by a pullback at Y_i.
A Rosenbrock method has J in W: its cotangent is sum_i v_i k_i^T, and that of df/dt is
dt sum_i g_i v_i, which one pullback of f, J and df/dt at the start of the step takes together
(second derivatives of f, without which the result is no gradient). See, for Rosenbrock methods,
Sandu, Daescu and Carmichael, Atmospheric Environment 37 (2003) 5083-5096.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stiffguide.kernels.emitting import steps
from stiffguide.kernels.emitting.coefficients import Coefficients
from stiffguide.kernels.emitting.elimination import Place
from stiffguide.kernels.emitting.expressions import literal
from stiffguide.kernels.emitting.steps import Body, plus, stage_names, weighted

HEAD = (
    "CALLED void reverse_step(Lanes& s, const V dt, const V (*power)[N], const bool inside, "
    "const V* after, V* bar, V* shares) {"
)
REVERSE_VECTORS = (
    "V(*stage_bar)[N] = s.stage_bar, *jac_bar = s.jac_bar;",
    "V stage_bar[STAGES + 1][N], jac_bar[NJ + 1];",
)


def step(features: int, m: Coefficients, places: Sequence[Place], *, autonomous: bool) -> list[str]:
    """`reverse_step`; `places` are those of the Jacobian, in its order."""
    body = Body(features, autonomous=autonomous)
    body.add(
        "V part[N], v[N], end[N], start[N];",
        REVERSE_VECTORS[features <= steps.UNROLLED],
        "for (int k = 0; k < OWN + COMMON; k++) shares[k] = 0.0;",
    )
    body.each("end[@] = after[@];")
    body.each("start[@] = 0.0;")  # the cotangent of f0
    FAMILIES[m.family](m, body, places)
    return [HEAD, *body.lines, "}"]


def _pull(body: Body, c: float, argument: str, seed: str) -> None:
    time = "s.t" if body.autonomous or c == 0 else f"s.t + {literal(c)} * dt"
    body.add(f"field_pullback({time}, {argument}, s.p, {seed}, part, shares);")


def _ended(m: Coefficients, body: Body) -> None:
    """What the interpolant owes to f1, y1 and y itself; `arg` becomes y1."""
    names, factor = stage_names(m.stages), "" if m.family == "rosenbrock" else "dt"
    body.each("bar[@] = 0.0;")
    body.add("if (inside) {")
    body.each("bar[@] = power[DEGREE][@];")
    weights = m.interpolant.weights
    if weights is None:
        body.each("start[@] = dt * (power[0][@] - 2.0 * power[1][@] + power[2][@]);")
        body.each("v[@] = dt * (power[2][@] - power[1][@]);")
        body.each("part[@] = 3.0 * power[1][@] - 2.0 * power[2][@];")
        body.each("end[@] = end[@] + part[@], bar[@] = bar[@] - part[@];")
    elif _sees_end(m):
        text = _weighted_powers(m, len(weights[0]) - 1)
        body.each(f"v[@] = {'dt * ' if m.interpolant.with_dt else ''}({text});")
    if weights is None or _sees_end(m):
        row = m.a[m.stages - 1] if m.accurate and m.family != "esdirk" else m.b
        body.each(f"arg[@] = s.y[@]{plus(weighted(row, names), factor)};")
        _pull(body, 1.0, "arg", "v")
        body.each("end[@] = end[@] + part[@];")
    body.add("}")
    body.each("bar[@] = bar[@] + end[@];")


def _sees_end(m: Coefficients) -> bool:
    """Whether the interpolant has a weight for f1."""
    weights = m.interpolant.weights
    columns = m.stages + m.interpolant.late + len(m.interpolant.filters)
    return weights is not None and len(weights[0]) > columns and any(row[-1] for row in weights)


def _weighted_powers(m: Coefficients, column: int) -> str:
    """sum_d weights[d][column] power_d; "" where all are 0."""
    weights = m.interpolant.weights or ()
    powers = [f"power[{d}][@]" for d in range(len(weights))]
    inside = all(column < len(row) for row in weights)
    return weighted([row[column] for row in weights], powers) if weights and inside else ""


def _begin(m: Coefficients, body: Body, weights: Sequence[float], count: int) -> list[bool]:
    """The cotangents of all stages by y1 and by the interpolant: which have one from y1."""
    by_dt = "" if m.family == "rosenbrock" else " * dt"
    found = []
    for i in range(count):
        weight = weights[i] if i < len(weights) else 0.0
        body.each(
            f"stage_bar[{i}][@] = {f'({literal(weight)}{by_dt}) * end[@]' if weight else 0.0};"
        )
        found.append(weight != 0)
    lines = [(i, text) for i in range(count) if (text := _weighted_powers(m, i))]
    if lines:
        factor = "dt" if m.interpolant.with_dt else ""
        body.add("if (inside) {")
        for i, text in lines:
            body.each(f"stage_bar[{i}][@] = stage_bar[{i}][@]{plus(text, factor)};")
        body.add("}")
    return found


def _asked(weights: Sequence[float]) -> int:
    """How many stages y1 hangs on: those behind serve the interpolant, and error estimates."""
    return 1 + max(i for i, weight in enumerate(weights) if weight != 0)


def _rosenbrock(m: Coefficients, body: Body, places: Sequence[Place]) -> None:
    names = stage_names(m.stages)
    weights = m.a[m.stages - 1] if m.accurate else m.b
    count = _asked(weights)
    steps.rosenbrock_system(body, guard=False)
    steps.rosenbrock_slopes(m, body, range(count))
    with _Perhaps(body, sure=count == m.stages):
        steps.rosenbrock_slopes(m, body, range(count, m.stages))
    _ended(m, body)
    alive = _begin(m, body, weights, m.stages)
    body.add("V slope_bar[N];", "for (int e = 0; e < NJ; e++) jac_bar[e] = 0.0;")
    body.each("slope_bar[@] = 0.0;")
    for i in reversed(range(m.stages)):
        with _Perhaps(body, sure=alive[i]):
            body.add(f"solve_transposed(s, w, stage_bar[{i}], v, mend);")
            _outer(body, i, places)
            if not body.autonomous and m.g[i] != 0:
                body.each(f"slope_bar[@] = slope_bar[@] + {literal(m.g[i])} * dt * v[@];")
            if steps.at_start(m, i):
                body.each("start[@] = start[@] + v[@];")
            else:
                body.each(f"arg[@] = s.y[@]{plus(weighted(m.a[i], names))};")
                _pull(body, m.c[i], "arg", "v")
                body.each("bar[@] = bar[@] + part[@];")
            for j in range(i):
                terms = [] if m.a[i][j] == 0 else [f"{literal(m.a[i][j])} * part[@]"]
                if m.big_c[i][j] != 0:
                    terms.append(f"{literal(m.big_c[i][j])} * per_dt * v[@]")
                if terms:
                    text = " + ".join(terms)
                    body.each(f"stage_bar[{j}][@] = stage_bar[{j}][@] + {text};")
                    alive[j] = alive[j] or alive[i]
    body.add("whole_pullback(s.t, s.y, s.p, start, jac_bar, slope_bar, part, shares);")
    body.each("bar[@] = bar[@] + part[@];")


class _Perhaps:
    """Lines that have something to do only where the interpolant is asked, if y1 does not ask."""

    def __init__(self, body: Body, *, sure: bool) -> None:
        self._body, self._sure = body, sure

    def __enter__(self) -> None:
        if not self._sure:
            self._body.add("if (inside) {")

    def __exit__(self, *_: object) -> None:
        if not self._sure:
            self._body.add("}")


def _outer(body: Body, i: int, places: Sequence[Place]) -> None:
    """The cotangent of J: v k_i^T where J has entries."""
    if body.size > steps.UNROLLED:
        product = f"v[JAC_ROW[e]] * k[{i}][JAC_COLUMN[e]]"
        body.add(f"for (int e = 0; e < NJ; e++) jac_bar[e] = jac_bar[e] + {product};")
        return
    for e, (row, column) in enumerate(places):
        body.add(f"jac_bar[{e}] = jac_bar[{e}] + v[{row}] * k[{i}][{column}];")


def _explicit(m: Coefficients, body: Body, places: Sequence[Place]) -> None:
    names = stage_names(m.stages + m.interpolant.late)
    count = _asked(m.b)
    body.add("V arg[N];", "STAGE_VECTORS")
    body.each("k[0][@] = s.f0[@];")
    steps.explicit_slopes(m, body, range(1, count))
    with _Perhaps(body, sure=count == len(names)):
        steps.explicit_slopes(m, body, range(count, len(names)))
    _ended(m, body)
    alive = _begin(m, body, m.b, len(names))
    for i in reversed(range(1, len(names))):
        with _Perhaps(body, sure=alive[i]):
            body.each(f"arg[@] = s.y[@]{plus(weighted(m.a[i], names), 'dt')};")
            _pull(body, m.c[i], "arg", f"stage_bar[{i}]")
            _hand_down(m, body, i, alive)
    body.each("stage_bar[0][@] = stage_bar[0][@] + start[@];")
    _pull(body, 0.0, "s.y", "stage_bar[0]")
    body.each("bar[@] = bar[@] + part[@];")


def _hand_down(m: Coefficients, body: Body, i: int, alive: list[bool]) -> None:
    """What `part`, the cotangent of where stage i was evaluated, means for y and earlier stages."""
    body.each("bar[@] = bar[@] + part[@];")
    for j, a in enumerate(m.a[i][:i]):
        if a != 0:
            body.each(f"stage_bar[{j}][@] = stage_bar[{j}][@] + ({literal(a)} * dt) * part[@];")
            alive[j] = alive[j] or alive[i]


def _esdirk(m: Coefficients, body: Body, places: Sequence[Place]) -> None:
    names = stage_names(m.stages)
    steps.esdirk_stages(m, body, guard=False)
    body.add("V arg[N];")
    _ended(m, body)
    alive = _begin(m, body, m.b, m.stages + len(m.interpolant.filters))
    if m.interpolant.filters:  # to a gradient W is a constant, as in methods/esdirk
        body.add("if (inside) {")
        for r, row in enumerate(m.interpolant.filters, m.stages):
            body.add(f"solve_transposed(s, w, stage_bar[{r}], v, mend);")
            for j, weight in enumerate(row):
                if weight != 0:
                    share = f"{literal(weight)} * shift * v[@]"
                    body.each(f"stage_bar[{j}][@] = stage_bar[{j}][@] + {share};")
        body.add("}")
    for i in reversed(range(m.stages)):
        if not m.implicit[i]:
            body.each(f"start[@] = start[@] + stage_bar[{i}][@];")
            continue
        with _Perhaps(body, sure=alive[i]):
            body.each(f"arg[@] = s.y[@]{plus(weighted([*m.a[i][:i], m.gamma], names), 'dt')};")
            time = "s.t" if body.autonomous else f"s.t + {literal(m.c[i])} * dt"
            body.add(f"implicit_stage(s, {time}, arg, shift, scale, stage_bar[{i}], v);")
            _pull(body, m.c[i], "arg", "v")
            _hand_down(m, body, i, alive)
    _pull(body, 0.0, "s.y", "start")
    body.each("bar[@] = bar[@] + part[@];")


FAMILIES: dict[str, Callable[[Coefficients, Body, Sequence[Place]], None]] = {
    "rosenbrock": _rosenbrock,
    "explicit": _explicit,
    "esdirk": _esdirk,
}
