"""Derivatives of the states by parameters and by y0, as code: those of the steps that are made.

A step is a function of y and of the parameters. Its derivative in a direction takes J and df/dp at
every stage, which all directions share, and what changes J and df/dt where the step begins. See
`differentials` for the formulas, and `native/sensitivities.h` for what is done with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from stiffguide.graphs.partials import Entries, Partials, partials
from stiffguide.graphs.refusal import UntraceableError
from stiffguide.kernels.emitting import differentials
from stiffguide.kernels.emitting.coefficients import Coefficients
from stiffguide.kernels.emitting.elimination import Place
from stiffguide.kernels.emitting.factorisation import integers, native
from stiffguide.kernels.emitting.functions import function
from stiffguide.kernels.emitting.parameters import parameters
from stiffguide.kernels.emitting.steps import Body
from stiffguide.tracing.traced_field import Traced

WRITTEN_OUT = 200  # products of a sparse matrix and a vector, up to which they are
INLINED = 60
LARGEST = 65_535  # entries of a table


class Directions(NamedTuple):
    """What states are differentiated by: entries of the table of parameters, then y0."""

    entries: tuple[int, ...]
    start: bool  # by all components of y0

    def count(self, features: int) -> int:
        """How many there are."""
        return len(self.entries) + features * self.start


class Changes(NamedTuple):
    """How J and df/dt change: (place, component of y) or (place, direction) -> node."""

    jac_by_y: Entries
    jac_by_p: Entries
    dfdt_by_y: Entries
    dfdt_by_p: Entries


@dataclass(frozen=True)
class Sensitivities:
    """What a kernel differentiates, and the graph of it."""

    traced: Traced
    method: Coefficients
    directions: Directions

    @cached_property
    def found(self) -> Partials:
        """The derivatives of f, J and df/dt; raises UntraceableError where they are too many."""
        made = partials(self.traced.derived, self.directions.entries)
        if max(len(found) for found in (made.jac, *made[3:])) > LARGEST:
            raise UntraceableError(
                f"kernel: sensitivities with more than {LARGEST} derivatives of one kind cannot be "
                "generated: ask for fewer, or use backend='eager'"
            )
        return made

    @property
    def slopes(self) -> bool:
        """Whether a step takes df/dt."""
        return self.method.family == "rosenbrock" and not self.traced.autonomous

    @cached_property
    def changes(self) -> Changes:
        """Those that a step takes, in the order of the places, or of the directions."""
        x = self.found
        if self.method.family != "rosenbrock":
            return Changes({}, {}, {}, {})
        by_t = (x.dfdt_by_y, x.dfdt_by_p) if self.slopes else (Entries(), Entries())
        jac_by_p, dfdt_by_p = by_direction(x.jac_by_p), by_direction(by_t[1])
        return Changes(x.jac_by_y, jac_by_p, by_t[0], dfdt_by_p)

    @property
    def numbers(self) -> dict[str, int]:
        """What the code around is told."""
        sizes, anew = [len(part) for part in self.changes], self.method.family == "esdirk"
        return {
            "DIRECTIONS": self.directions.count(self.traced.features),
            "GIVEN": len(self.directions.entries),
            "POINTS": self.method.stages + self.method.interpolant.late + 1,
            "BY": len(self.found.f_by_p),
            "CURVED": sum(sizes),
            "BEND_BY": sizes[0],  # where they begin among the changes
            "DRIFT": sizes[0] + sizes[1],
            "DRIFT_BY": sum(sizes[:3]),
            "MOVING": len({e for e, _ in self.changes.jac_by_y}),
            "ANEW": int(anew),  # factors at every stage
            "MATRICES": 1 + anew * self.method.stages,
        }

    def text(self) -> list[str]:
        """`differentiate`, and what it is made of."""
        m, n = self.method, self.traced.features
        body, points, sums = (Body(n, autonomous=not self.slopes) for _ in range(3))
        differentials.FAMILIES[m.family](m, body, changing=any(self.changes))
        differentials.points(m, points)
        differentials.interpolant(m, sums)
        given = "int j, V (*u)[N], V* by1"
        return [
            *self._values(),
            *self._products(),
            native("sensitivities.h"),
            "CALLED void points(Lanes& s, V t1, V dt, bool saving) {",
            *[*points.lines, "}"],
            f"FUSED CALLED void direction(Lanes& s, V dt, {given}, bool saving) {{",
            *[*body.lines, "}"],
            f"INLINE void polynomial(Lanes& s, V dt, {given}, V (*sum)[N]) {{",
            *[*sums.lines, "}"],
            native("differentiate.h"),
        ]

    def _values(self) -> list[str]:
        """J and df/dp at a place, and what changes J and df/dt."""
        given, x = parameters(self.traced), self.found
        first = [(f"jac[{e}]", node) for e, node in enumerate(x.jac.values())]
        by_p = enumerate(by_direction(x.f_by_p).values())
        first += [(f"by[{k}]", node) for k, node in by_p]
        nodes = [node for part in self.changes for node in part.values()]
        second = [(f"curved[{k}]", node) for k, node in enumerate(nodes)]
        results = "V* __restrict__ jac, V* __restrict__ by"
        return [
            *function(x.graph, given, "partials", results, first),
            *function(x.graph, given, "curvature", "V* __restrict__ curved", second),
        ]

    def _products(self) -> list[str]:
        """Sparse matrices times vectors, and what the parameters of a direction add."""
        x, c, n = self.found, self.changes, self.traced.features
        places, times = list(x.jac), list(x.dfdt)
        moving = sorted({e for e, _ in c.jac_by_y})  # entries of J that depend on y
        at = {e: k for k, e in enumerate(moving)}
        lines = [
            *product("along", places),
            *product("changed", [(at[e], i) for e, i in c.jac_by_y], first=True),
            *product("bent", [places[e] for e in moving]),
            *product("drifted", [(times[k], i) for k, i in c.dfdt_by_y]),
        ]
        count = self.directions.count(n)
        for name, part, rows in (
            ("BY", by_direction(x.f_by_p), range(n)),
            ("BEND", c.jac_by_p, [row for row, _ in places]),
            ("DRIFT", c.dfdt_by_p, times),
        ):
            lines.append(integers(f"{name}_FIRST", firsts(part, count)))
            lines.append(integers(f"{name}_ROW", [rows[place] for place, _ in part]))
        lines.append(integers("BEND_COLUMN", [places[e][1] for e, _ in c.jac_by_p]))
        return lines


def by_direction(entries: Entries) -> Entries:
    """The same, those of a direction together."""
    return dict(sorted(entries.items(), key=lambda entry: entry[0][::-1]))


def firsts(entries: Entries, count: int) -> list[int]:
    """Where the entries of every direction begin, and where the last of them end."""
    return [sum(direction < j for _, direction in entries) for j in range(count + 1)]


def product(name: str, places: Sequence[Place], *, first: bool = False) -> list[str]:
    """A function that adds a sparse matrix times x to `out`, or begins with it: no row is empty."""
    kind = "INLINE" if len(places) <= INLINED else "CALLED"
    head = f"{kind} void {name}(const V* __restrict__ a, const V* x, V* __restrict__ out) {{"
    if len(places) > WRITTEN_OUT:
        tables = [integers(f"{name}_ROW", [i for i, _ in places])]
        tables.append(integers(f"{name}_COLUMN", [j for _, j in places]))
        rows = 1 + max(i for i, _ in places)
        zeros = [f"for (int i = 0; i < {rows}; i++) out[i] = 0.0;"] * first
        loop = f"for (int e = 0; e < {len(places)}; e++)"
        term = f"out[{name}_ROW[e]] = out[{name}_ROW[e]] + a[e] * x[{name}_COLUMN[e]];"
        return [*tables, head, *zeros, loop, term, "}"]
    lines, begun = [], set[int]()
    for e, (i, j) in sorted(enumerate(places), key=lambda entry: entry[1][0]):
        before = f"out[{i}] + " if i in begun or not first else ""
        lines.append(f"out[{i}] = {before}a[{e}] * x[{j}];")
        begun.add(i)
    return [head, *lines, "}"]
