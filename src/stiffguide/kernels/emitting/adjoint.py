"""The translation unit of a solve that can be gone back: its steps on a tape, and their adjoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stiffguide.graphs.refusal import UntraceableError
from stiffguide.graphs.reverse import gathered, pullback
from stiffguide.kernels.emitting import backward, cpp, transposed
from stiffguide.kernels.emitting.coefficients import Coefficients
from stiffguide.kernels.emitting.elimination import plan
from stiffguide.kernels.emitting.factorisation import native
from stiffguide.kernels.emitting.functions import function
from stiffguide.kernels.emitting.parameters import Parameters, parameters
from stiffguide.tracing.traced_field import Traced

FIELD = ("v",)  # cotangents of f
LARGEST = 200_000  # nodes of a pullback
WHOLE = ("v", "m", "q")  # of f, of the entries of J, of df/dt


@dataclass(frozen=True)
class Seeded:
    """The parameters of a field, and beyond them cotangents: `seeds` names them in their order."""

    table: Parameters
    entries: int  # of the table
    seeds: tuple[str, ...]

    def place(self, entry: int) -> tuple[str, bool]:
        """How C++ names an entry, and whether that is one number for all lanes."""
        if entry < self.entries:
            return self.table.place(entry)
        return self.seeds[entry - self.entries], False

    def constant(self, value: float) -> str:
        """How C++ names a constant."""
        return self.table.constant(value)


def source(traced: Traced, method: Coefficients) -> str:
    """One translation unit with the way there and the way back."""
    implicit = method.family != "explicit"
    back = [*_pullback(traced, "field_pullback", FIELD, implicit=implicit)]
    if implicit:
        back += transposed.text(plan(traced.features, traced.derived.jac))
    if method.family == "rosenbrock":
        back += _pullback(traced, "whole_pullback", WHOLE, implicit=True)
    if method.family == "esdirk":
        back.append(native("implicit_stage.h"))
    places = cpp.places(traced) if implicit else []
    back += backward.step(traced.features, method, places, autonomous=traced.autonomous)
    return cpp.source(traced, method, ("thread.h", "backward.h"), [native("tape.h"), *back])


def _pullback(traced: Traced, name: str, given: Sequence[str], *, implicit: bool) -> list[str]:
    """A function that turns cotangents into those of y, `part`, and adds to those of parameters."""
    whole, values = traced.derived[:2] if implicit else (traced.plain, traced.values)
    graph, table = whole.copy(), parameters(traced)
    entries, n = len(traced.parameters), traced.features
    seeds: list[str] = []

    def seed(text: str) -> int:
        seeds.append(text)
        return graph.add("p", index=entries + len(seeds) - 1)

    roots = [(root, seed(f"v[{i}]")) for i, root in enumerate(values)]
    if "m" in given:
        jac = traced.derived.jac
        roots += [(jac[place], seed(f"m[{e}]")) for e, place in enumerate(cpp.places(traced))]
        roots += [(root, seed(f"q[{i}]")) for i, root in traced.derived.dfdt.items()]
    found = pullback(graph, roots)
    by_y, by_p = gathered(graph, found, "y"), gathered(graph, found, "p")
    zero = graph.const(0.0)
    stored = [(f"part[{i}]", by_y.get(i, zero)) for i in range(n)]
    for k, entry in enumerate([*table.own, *table.common]):
        if entry in by_p:
            place = f"shares[{k}]"
            stored.append((place, graph.add("add", seed(place), by_p[entry])))
    cotangents = ", ".join(f"const V* __restrict__ {letter}" for letter in given)
    if len(graph.needed([number for _, number in stored])) > LARGEST:
        raise UntraceableError(
            f"kernel: the adjoint of f takes more than {LARGEST} scalar operations, too many to "
            "compile: use gradient='direct' or 'checkpoint'"
        )
    results = f"{cotangents}, V* __restrict__ part, V* __restrict__ shares"
    return function(graph, Seeded(table, entries, tuple(seeds)), name, results, stored)
