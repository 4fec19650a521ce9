"""Functions of (t, y, p) in C++: some nodes of a graph, stored where they are wanted."""

from __future__ import annotations

from collections.abc import Sequence

from stiffguide.graphs.graph import Graph
from stiffguide.kernels.emitting.expressions import Given, Printer

INLINE_NODES = 120  # a field up to this size is inlined at every stage
LONGEST = 400  # statements that stay one function; more become functions of CHUNK each,
CHUNK = 100  # because compile time grows faster than a function


def function(
    graph: Graph, given: Given, name: str, results: str, roots: Sequence[tuple[str, int]]
) -> list[str]:
    """A function of (t, y, p) that stores the values of some nodes where `roots` say."""
    needed = graph.needed([number for _, number in roots])
    head = f"void {name}(V t, const V* __restrict__ y, const Parameters& __restrict__ p, {results})"
    if len(needed) > LONGEST:
        return _chunks(graph, given, needed, head, roots)
    printer = Printer(graph, given)
    lines = printer.lines(needed)
    lines += [f"{place} = {printer.value(number)};" for place, number in roots]
    kind = "INLINE" if len(needed) <= INLINE_NODES else "CALLED"
    return [f"{kind} {head} {{", *lines, "}"]


def _chunks(
    graph: Graph,
    given: Given,
    needed: Sequence[int],
    head: str,
    roots: Sequence[tuple[str, int]],
) -> list[str]:
    """The same as several functions that hand values on through an array."""
    pieces = [needed[i : i + CHUNK] for i in range(0, len(needed), CHUNK)]
    place, longest = _handed_on(graph, pieces)
    text, calls = [], []
    name, arguments = head.removeprefix("void ")[:-1].split("(")
    passed = ", ".join(argument.split()[-1] for argument in arguments.split(", "))
    for i, piece in enumerate(pieces):
        printer, own = Printer(graph, given), set(piece)
        body = []
        for number in sorted({a for n in piece for a in graph.nodes[n].args} - own):
            if number in place:
                body.append(printer.given(number, place[number]))
            else:
                printer.line(number)
        body += printer.lines(piece)
        body += [f"{place[n]} = {printer.value(n)};" for n in piece if n in place]
        body += [f"{where} = {printer.value(n)};" for where, n in roots if n in own]
        text += [f"CALLED void {name}_{i}({arguments}, V* __restrict__ x) {{", *body, "}"]
        calls.append(f"{name}_{i}({passed}, x);")
    return [*text, f"CALLED {head} {{", f"V x[{longest + 1}];", *calls, "}"]


def _handed_on(graph: Graph, pieces: Sequence[Sequence[int]]) -> tuple[dict[int, str], int]:
    """Where the values that later pieces need are kept, and in how many places at most.

    A place is free again in the piece that needs its value last: that reads before it writes.
    """
    last = {a: i for i, piece in enumerate(pieces) for n in piece for a in graph.nodes[n].args}
    place: dict[int, str] = {}
    free: list[int] = []
    ending: dict[int, list[int]] = {}
    count = 0
    for i, piece in enumerate(pieces):
        free += ending.pop(i, [])
        for n in piece:
            if not graph.nodes[n].args or last.get(n, i) == i:
                continue
            count += not free
            slot = free.pop() if free else count - 1
            place[n] = f"x[{slot}]"
            ending.setdefault(last[n], []).append(slot)
    return place, count
