"""A traced field and a method as one C++ translation unit: the whole adaptive solve of its rows.

What does not depend on the field (lanes, controller, refill, outputs) stands in `native/`; this
file prints the field, its Jacobian, the elimination, and the step, and puts the parts together.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from stiffguide.algebra import newton
from stiffguide.fields import differences
from stiffguide.graphs.graph import digest
from stiffguide.kernels.emitting import factorisation, happening, steps
from stiffguide.kernels.emitting.coefficients import Coefficients
from stiffguide.kernels.emitting.elimination import Elimination, Place, plan
from stiffguide.kernels.emitting.expressions import literal
from stiffguide.kernels.emitting.factorisation import native
from stiffguide.kernels.emitting.functions import function
from stiffguide.kernels.emitting.parameters import parameters
from stiffguide.kernels.emitting.sensitivities import Directions, Sensitivities
from stiffguide.sharing import explicit, pair, stiff
from stiffguide.stepping import attempt, crossings, guards, initial_dt, regimes
from stiffguide.tracing.traced_field import Traced

SOURCES = ("graphs", "kernels", "kernels/emitting", "kernels/native", "kernels/running")

# small vectors live in registers, large ones in the memory of the lanes
LOCAL_SYSTEM = ("V *jac = s.jac, *w = s.w, slope[N];", "V jac[NJ + 1], w[NW + 1], slope[N];")
STAGE_VECTORS = ("V(*k)[N] = s.k;", "V k[STAGES][N];")


def fingerprint() -> str:
    """What the text depends on besides graph and method: the code around it, and shared numbers."""
    return digest(_code(), repr(_shared()), repr(crossings.PLACES))


@cache
def _code() -> str:
    """The code that makes the text and calls what is built of it."""
    house = files("stiffguide")
    found = []
    for wing in SOURCES:
        for file in house.joinpath(wing).iterdir():
            if file.name.endswith((".py", ".h")):
                found.append((wing, file.name, file.read_text(encoding="utf-8")))
    return digest(*(text for entry in sorted(found) for text in entry))


def source(
    traced: Traced,
    method: Coefficients,
    entries: Sequence[str] = ("thread.h", "threads.h"),
    back: Sequence[str] = (),
    directions: Directions | None = None,
) -> str:
    """The translation unit; -DWIDE=0 makes one lane of it, -DWIDE=1 several.

    `back` is what the way back needs, if there is one.
    """
    implicit = method.family != "explicit"
    derivatives = None if directions is None else Sensitivities(traced, method, directions)
    elimination = plan(traced.features, traced.derived.jac if implicit else ())
    parts = [
        f"#define N {traced.features}",
        f"#define OPERATIONS {len((traced.derived.graph if implicit else traced.plain).nodes)}",
        native("lanes.h"),
        *_constants(traced, method, elimination, directions, tape=bool(back)),
        *_directions(derivatives),
        native("state.h"),
        *_field(traced, implicit=implicit),
    ]
    if implicit:
        parts += [
            *_jacobian(traced, slopes=method.family == "rosenbrock"),
            native("differences.h"),
            native("dense.h"),
            *factorisation.text(elimination, places(traced)),
            native("system.h"),
        ]
    if method.family == "esdirk":
        parts.append(native("newton.h"))
    parts += _step(traced, method)
    parts += [] if derivatives is None else derivatives.text()
    parts += [native("output.h"), native("stops.h"), native("start.h")]
    parts += [*happening.text(traced), native("course.h"), *back, native("driver.h")]
    parts += map(native, entries)
    return "\n".join(parts) + "\n"


def _directions(derivatives: Sensitivities | None) -> list[str]:
    numbers = (
        {"DIRECTIONS": 0, "ANEW": 0, "MATRICES": 1} if derivatives is None else derivatives.numbers
    )
    return [f"#define {name} {value}" for name, value in numbers.items()]


def _constants(
    traced: Traced,
    m: Coefficients,
    elimination: Elimination,
    directions: Directions | None,
    *,
    tape: bool,
) -> list[str]:
    n, implicit = traced.features, m.family != "explicit"
    late = m.interpolant.late
    weights = m.interpolant.weights or ()
    inlined = n <= steps.UNROLLED
    numbers: dict[str, float] = {
        "EVENTS": len(traced.events),
        "JUMPS": len(traced.jumps),
        "OWN": len(parameters(traced).own),
        "IMPLICIT": int(implicit),
        "SLOPES": int(m.family == "rosenbrock" and not traced.autonomous),
        "NJ": len(traced.derived.jac) if implicit or directions else 0,
        "NW": factorisation.entries(elimination),
        "STAGES": m.stages + late + len(m.interpolant.filters),
        "LATE": late,
        "DEGREE": m.interpolant.degree,
        "HERMITE": int(not weights),
        "WEIGHTS": len(weights[0]) if weights else 0,
        "WITH_DT": int(m.interpolant.with_dt),
        "ERROR_ORDER": m.error_order,
        "NFE": _evaluations(m),
        "CARRIED": carried(traced, directions),
        "SHARED": int(not tape and (m.family == "rosenbrock" or m.ends is not None)),
        "TAPE": int(tape),
        "SLOPE_KEPT": int(m.family == "esdirk"),
        "COMMON": len(parameters(traced).common),
    }
    lines = [f"#define {name} {value}" for name, value in numbers.items()]
    limits = {**_shared(), **_limits(m)}
    lines += [f"#define {name} {literal(value)}" for name, value in limits.items()]
    lines += [
        f"#define UNROLL UNROLLED({n if inlined else 1})",
        f"#define LOCAL_SYSTEM {LOCAL_SYSTEM[inlined]}",
        f"#define STAGE_VECTORS {STAGE_VECTORS[inlined]}",
    ]
    lines.append(factorisation.integers("OWN_ENTRY", parameters(traced).own))
    if weights:
        lines.append(_table("TABLE double", "DENSE[DEGREE][WEIGHTS]", weights))
    return lines


def _shared() -> dict[str, float]:
    """The numbers that kernels have in common with the eager loop."""
    return {
        "ROUNDING": attempt.ROUNDING,
        **happening.shared(),
        "FALLS": regimes.FALLS,
        "AT_LIMIT": explicit.AT_LIMIT,
        "SAFE": stiff.SAFE,
        "MOST_PATIENCE": pair.MOST,
        "CALM": explicit.CALM,
        "REJECTED": explicit.REJECTED,
        "BACK": stiff.BACK,
        "GAIN": stiff.GAIN,
        "BRIEF": stiff.BRIEF,
        "LENGTHENED": stiff.SETTLED,
        "OVERTIME": stiff.OVERTIME,
        "PROBING": stiff.PROBING,
        "NUDGE": stiff.NUDGE,
        "SHRINK": attempt.SHRINK,
        "LEAST": initial_dt.LEAST,
        "HIDDEN": guards.HIDDEN,
        "NEAR_ZERO": differences.NEAR_ZERO,
        "UNSEEN": newton.UNSEEN,
        "SETTLED": newton.SETTLED,
        "DIVERGED": newton.DIVERGED,
        "NEWTON_TOLERANCE": newton.TOLERANCE,
        "MAX_ITERATIONS": newton.MAX_ITERATIONS,
    }


def _limits(m: Coefficients) -> dict[str, float]:
    """Their own."""
    return {
        "EPS": 2.0**-52,
        "HALF": 2.0**-26,
        "TINY": 2.0**-1022,
        "GAMMA": m.gamma,
        "GROWTH": factorisation.GROWTH,
        "BLUR": factorisation.BLUR,
        "SLOW": factorisation.SLOW,
        "FAINT": factorisation.FAINT * 2.0**52,
    }


def carried(traced: Traced, directions: Directions | None = None) -> int:
    """The numbers that a row has between its attempts: see `carry` of native/driver.h.

    After whether it has begun, they begin with the logarithms of the scaled errors of the last two
    accepted steps, and f0 (F,). They are the same for all methods.
    """
    n, events = traced.features, len(traced.events)
    happening = 5 * events + 2 if events else 0
    course = n + 16
    derivatives = 0 if directions is None else 1 + n * directions.count(n)
    return 3 * n + 15 + happening + course + derivatives


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


def _field(traced: Traced, *, implicit: bool) -> list[str]:
    # with a Jacobian beside it, from the graph of both: they share what they have in common
    graph, outputs = traced.derived[:2] if implicit else (traced.plain, traced.values)
    roots = [(f"f[{i}]", number) for i, number in enumerate(outputs)]
    return function(graph, parameters(traced), "field", "V* __restrict__ f", roots)


def _jacobian(traced: Traced, *, slopes: bool) -> list[str]:
    roots = [(f"jac[{e}]", traced.derived.jac[place]) for e, place in enumerate(places(traced))]
    slopes = slopes and not traced.autonomous
    by_t = [(f"slope[{i}]", number) for i, number in traced.derived.dfdt.items() if slopes]
    missing = [f"slope[{i}] = 0.0;" for i in range(traced.features) if i not in traced.derived.dfdt]
    graph, results = traced.derived.graph, "V* __restrict__ jac, V* __restrict__ slope"
    lines = function(graph, parameters(traced), "jacobian", results, roots + by_t)
    rows = [place[0] for place in places(traced)]
    columns = [place[1] for place in places(traced)]
    tables = [
        factorisation.integers("JAC_ROW", rows),
        factorisation.integers("JAC_COLUMN", columns),
    ]
    return [*tables, *lines[:-1], *(missing if slopes else []), "}"]


def places(traced: Traced) -> list[Place]:
    """Where the Jacobian has entries, row by row."""
    return sorted(traced.derived.jac)


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
