"""A traced field and a method as one C++ translation unit: the whole adaptive solve of its rows.

What does not depend on the field (lanes, controller, refill, outputs) stands in `native/`; this
file prints the field, its Jacobian, the elimination, and the step, and puts the parts together.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from stiffguide.algebra import newton
from stiffguide.graphs.graph import Graph, digest
from stiffguide.graphs.node import Node
from stiffguide.kernels.emitting import steps
from stiffguide.kernels.emitting.coefficients import Coefficients
from stiffguide.kernels.emitting.elimination import Elimination, plan
from stiffguide.kernels.emitting.expressions import Printer, literal
from stiffguide.stepping import attempt, guards, initial_dt
from stiffguide.tracing.traced_field import Traced

INLINE_NODES = 120  # a field up to this size is inlined at every stage
UNROLLED_PRODUCTS = 150  # an elimination up to this size is written out
LONGEST = 400  # statements that stay one function; more become functions of CHUNK each,
CHUNK = 100  # because compile time grows faster than a function
GROWTH = 1e3  # a row may grow this much before its lane is factorised with pivoting,
# or until its rounding moves an unknown by so many times its own rounding, and by this part of its
# tolerance, in a mode that is not faster than so many steps: then it stays, and adds up.
BLUR, FAINT, SLOW = 1e4, 0.1, 100.0
SOURCES = ("graphs", "kernels", "kernels/emitting", "kernels/native", "kernels/running")

# small vectors live in registers, large ones in the memory of the lanes
LOCAL_SYSTEM = ("V *jac = s.jac, *w = s.w, slope[N];", "V jac[NJ + 1], w[NW + 1], slope[N];")
STAGE_VECTORS = ("V(*k)[N] = s.k;", "V k[STAGES][N];")


@cache
def native(name: str) -> str:
    """A file of `native/`."""
    return (files("stiffguide.kernels") / "native" / name).read_text()


@cache
def fingerprint() -> str:
    """What the text depends on besides graph and method: the code that makes and calls it."""
    house = files("stiffguide")
    found = []
    for wing in SOURCES:
        for file in house.joinpath(wing).iterdir():
            if file.name.endswith((".py", ".h")):
                found.append((wing, file.name, file.read_text()))
    return digest(*(text for entry in sorted(found) for text in entry))


def source(traced: Traced, method: Coefficients, entry: str = "threads.h") -> str:
    """The translation unit; -DWIDE=0 makes one lane of it, -DWIDE=1 several."""
    implicit = method.family != "explicit"
    elimination = plan(traced.features, traced.derived.jac if implicit else ())
    parts = [
        f"#define N {traced.features}",
        f"#define OPERATIONS {len((traced.derived.graph if implicit else traced.plain).nodes)}",
        native("lanes.h"),
        *_constants(traced, method, elimination),
        native("state.h"),
        *_field(traced, implicit=implicit),
    ]
    if implicit:
        parts += [
            *_jacobian(traced, slopes=method.family == "rosenbrock"),
            native("dense.h"),
            *_elimination(traced, elimination),
            native("system.h"),
        ]
    if method.family == "esdirk":
        parts.append(native("newton.h"))
    parts += [*_step(traced, method), native("output.h"), native("driver.h"), native(entry)]
    return "\n".join(parts) + "\n"


def _constants(traced: Traced, m: Coefficients, elimination: Elimination) -> list[str]:
    n, implicit = traced.features, m.family != "explicit"
    late = m.interpolant.late
    weights = m.interpolant.weights or ()
    inlined = n <= steps.UNROLLED
    numbers: dict[str, float] = {
        "P": len(traced.parameters),
        "IMPLICIT": int(implicit),
        "NJ": len(traced.derived.jac) if implicit else 0,
        "NW": len(elimination.slots),
        "STAGES": m.stages + late,
        "LATE": late,
        "DEGREE": m.interpolant.degree,
        "HERMITE": int(not weights),
        "WEIGHTS": len(weights[0]) if weights else 0,
        "WITH_DT": int(m.interpolant.with_dt),
        "ERROR_ORDER": m.error_order,
        "NFE": _evaluations(m),
    }
    real = {
        "ROUNDING": attempt.ROUNDING,
        "SHRINK": attempt.SHRINK,
        "LEAST": initial_dt.LEAST,
        "HIDDEN": guards.HIDDEN,
        "EPS": 2.0**-52,
        "TINY": 2.0**-1022,
        "GAMMA": m.gamma,
        "GROWTH": GROWTH,
        "BLUR": BLUR,
        "SLOW": SLOW,
        "FAINT": FAINT * 2.0**52,
        "UNSEEN": newton.UNSEEN,
        "SETTLED": newton.SETTLED,
        "DIVERGED": newton.DIVERGED,
        "NEWTON_TOLERANCE": newton.TOLERANCE,
    }
    lines = [f"#define {name} {value}" for name, value in numbers.items()]
    lines += [f"#define {name} {literal(value)}" for name, value in real.items()]
    lines += [
        f"#define MAX_ITERATIONS {newton.MAX_ITERATIONS}",
        f"#define UNROLL UNROLLED({n if inlined else 1})",
        f"#define LOCAL_SYSTEM {LOCAL_SYSTEM[inlined]}",
        f"#define STAGE_VECTORS {STAGE_VECTORS[inlined]}",
    ]
    if weights:
        lines.append(_table("TABLE double", "DENSE[DEGREE][WEIGHTS]", weights))
    return lines


def _evaluations(m: Coefficients) -> int:
    """Evaluations of f in every attempt; those of Newton iterations are counted as they happen."""
    if m.family == "explicit":
        return m.stages - 1 + (m.f_at is None)
    if m.family == "esdirk":
        return int(m.f_at is None)
    at_start = sum(not any(m.a[i]) and m.c[i] == 0 for i in range(m.stages))
    return m.stages - at_start + (m.f_at is None)


def _table(kind: str, name: str, rows: Sequence[Sequence[float]]) -> str:
    text = ",\n".join("{" + ", ".join(literal(v) for v in row) + "}" for row in rows)
    return f"{kind} {name} = {{{text}}};"


def _integers(name: str, values: Sequence[int]) -> str:
    numbers = ", ".join(map(str, values)) or "0"
    return f"TABLE unsigned short {name}[] = {{{numbers}}};"


def _leaf(node: Node) -> str:
    return "t" if node.op == "t" else f"{node.op}[{node.index}]"


def _function(graph: Graph, name: str, results: str, roots: Sequence[tuple[str, int]]) -> list[str]:
    """A function of (t, y, p) that stores the values of some nodes where `roots` say."""
    needed = graph.needed([number for _, number in roots])
    head = f"void {name}(V t, const V* __restrict__ y, const V* __restrict__ p, {results})"
    if len(needed) > LONGEST:
        return _chunks(graph, needed, name, head, results, roots)
    printer = Printer(graph, _leaf)
    lines = printer.lines(needed)
    lines += [f"{place} = {printer.value(number)};" for place, number in roots]
    kind = "INLINE" if len(needed) <= INLINE_NODES else "CALLED"
    return [f"{kind} {head} {{", *lines, "}"]


def _chunks(
    graph: Graph,
    needed: Sequence[int],
    name: str,
    head: str,
    results: str,
    roots: Sequence[tuple[str, int]],
) -> list[str]:
    """The same as several functions that hand values on through an array."""
    pieces = [needed[i : i + CHUNK] for i in range(0, len(needed), CHUNK)]
    home = {number: i for i, piece in enumerate(pieces) for number in piece}
    operations = {n for n in needed if graph.nodes[n].args}
    crossing = sorted(
        {a for n in needed for a in graph.nodes[n].args if a in operations and home[a] != home[n]}
    )
    place = {number: f"x[{i}]" for i, number in enumerate(crossing)}
    text, calls = [], []
    outputs = results.replace("V* ", "").replace("__restrict__ ", "")
    for i, piece in enumerate(pieces):
        printer = Printer(graph, _leaf)
        body = []
        for number in sorted({a for n in piece for a in graph.nodes[n].args} - set(piece)):
            if number in place:
                body.append(printer.given(number, place[number]))
            else:
                printer.line(number)
        body += printer.lines(piece)
        body += [f"{place[n]} = {printer.value(n)};" for n in piece if n in place]
        body += [f"{where} = {printer.value(n)};" for where, n in roots if home[n] == i]
        part = f"{name}_{i}"
        text += [
            "CALLED " + head.replace(f" {name}(", f" {part}(")[:-1] + ", V* __restrict__ x) {",
            *body,
            "}",
        ]
        calls.append(f"{part}(t, y, p, {outputs}, x);")
    return [*text, f"CALLED {head} {{", f"V x[{len(crossing) + 1}];", *calls, "}"]


def _field(traced: Traced, *, implicit: bool) -> list[str]:
    # with a Jacobian beside it, from the graph of both: they share what they have in common
    graph, outputs = traced.derived[:2] if implicit else (traced.plain, traced.values)
    roots = [(f"f[{i}]", number) for i, number in enumerate(outputs)]
    return _function(graph, "field", "V* __restrict__ f", roots)


def _jacobian(traced: Traced, *, slopes: bool) -> list[str]:
    roots = [(f"jac[{e}]", traced.derived.jac[place]) for e, place in enumerate(_places(traced))]
    slopes = slopes and not traced.autonomous
    by_t = [(f"slope[{i}]", number) for i, number in traced.derived.dfdt.items() if slopes]
    missing = [f"slope[{i}] = 0.0;" for i in range(traced.features) if i not in traced.derived.dfdt]
    lines = _function(
        traced.derived.graph, "jacobian", "V* __restrict__ jac, V* __restrict__ slope", roots + by_t
    )
    rows = [place[0] for place in _places(traced)]
    columns = [place[1] for place in _places(traced)]
    tables = [_integers("JAC_ROW", rows), _integers("JAC_COLUMN", columns)]
    return [*tables, *lines[:-1], *(missing if slopes else []), "}"]


def _places(traced: Traced) -> list[tuple[int, int]]:
    return sorted(traced.derived.jac)


def _elimination(traced: Traced, plan: Elimination) -> list[str]:
    if plan.operations <= UNROLLED_PRODUCTS:
        return _written_out(traced, plan)
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
        _integers("JAC_SLOT", [slots[place] for place in _places(traced)]),
        _integers("DIAGONAL", [slots[i, i] for i in range(plan.size)]),
        _integers("COLUMN", [j for _, j in sorted(slots, key=slots.__getitem__)]),
        _integers("FACTORS", factors),
        _integers("FORWARD", forward),
        _integers("BACKWARD", backward),
        native("elimination.h"),
    ]


def _written_out(traced: Traced, plan: Elimination) -> list[str]:
    w = {place: f"w[{slot}]" for place, slot in plan.slots.items()}
    lines = [
        "INLINE M factorise(V* w, const V* jac, V shift, const V* unit, const V* blur) {",
        "M rough = ~allof();",
    ]
    entry = {place: f"jac[{e}]" for e, place in enumerate(_places(traced))}
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
    lines += ["return rough;", "}", "INLINE void substitute(const V* w, const V* b, V* x) {"]
    lines += [f"x[{i}] = b[{i}];" for i in range(plan.size)]
    for k in plan.order:
        lines += [f"x[{i}] = x[{i}] - {w[i, k]} * x[{k}];" for i in plan.below(k)]
    for k in reversed(plan.order):
        terms = "".join(f" - {w[k, j]} * x[{j}]" for j in plan.beyond(k))
        lines.append(f"x[{k}] = (x[{k}]{terms}) * {w[k, k]};")
    return [*lines, "}"]


def _step(traced: Traced, m: Coefficients) -> list[str]:
    body = steps.Body(traced.features, autonomous=traced.autonomous)
    {"rosenbrock": steps.rosenbrock, "explicit": steps.explicit, "esdirk": steps.esdirk}[m.family](
        m, body
    )
    if traced.features <= steps.UNROLLED:
        body.add("if (s.keep) {")
        for j in range(m.stages):
            body.each(f"s.k[{j}][@] = k[{j}][@];")
        body.add("}")
    body.add("return ok;")
    lines = ["INLINE M method_step(Lanes& s, const V dt) {", *body.lines, "}"]
    if m.interpolant.late:
        more = steps.Body(traced.features, autonomous=traced.autonomous)
        steps.late(m, more)
        lines += ["CALLED void extend(Lanes& s, V dt) {", *more.lines, "}"]
    else:
        lines.append("CALLED void extend(Lanes&, V) {}")
    return lines
