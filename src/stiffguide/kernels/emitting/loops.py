"""A stencil in C++: the field, the values of its Jacobian, and df/dt, as loops over rows.

What changes from grid to grid stands in tables beside the text: where the runs of rows begin, what
they read, the numbers of f. So one library serves all sizes of a grid and all values of parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from stiffguide.algebra.pattern import Pattern
from stiffguide.graphs.derive import Derived, derived
from stiffguide.graphs.graph import Graph
from stiffguide.graphs.refusal import UntraceableError
from stiffguide.kernels.emitting.expressions import Printer, literal
from stiffguide.kernels.emitting.factorisation import native
from stiffguide.tracing.stencils.runs import Family, families
from stiffguide.tracing.stencils.stencil import Piece, Stencil

Column = NDArray[np.integer[Any]]
FUNCTIONS = ("field", "jacobian", "slope")
LARGEST = 20_000  # nodes
FEW, SHARED = 32, 4  # programs that may be of few rows; so many rows the others have, on average
PLAIN = 16  # integers up to this are part of the text
REMEMBERED = 256  # derivatives


class Names:
    """How C++ names what a program reads, for a printer."""

    def __init__(self, constants: dict[float, int]) -> None:
        self._constants = constants

    def place(self, entry: int) -> tuple[str, bool]:
        """A slot of the table, and whether it is one number for all rows."""
        return f"p[{entry}]", False

    def constant(self, value: float) -> str:
        """A number: those that parameters are likely to have are read at run time."""
        whole = abs(value) <= PLAIN and value == round(value)
        if whole or abs(value) == 0.5 or not math.isfinite(value):
            return f"V({literal(value)})"
        return f"k[{self._constants.setdefault(value, len(self._constants))}]"


@dataclass
class Text:
    """A library as it grows: its lines, and the tables beside it."""

    lines: list[str] = field(default_factory=list)
    constants: dict[float, int] = field(default_factory=dict)
    indices: list[NDArray[np.int32]] = field(default_factory=list)
    loops: list[tuple[int, int]] = field(default_factory=list)  # see Data of native/loops.h
    bodies: int = 0

    def loop(
        self, count: int, table: NDArray[np.int32], lines: Sequence[str], kind: str = "LOOPS"
    ) -> str:
        """The call of a loop, in whose lines r is its table and m the number of runs or rows.

        A function for each, for compile time grows faster than a function.
        """
        place, start = len(self.loops), sum(len(own) for own in self.indices)
        self.loops.append((count, start))
        self.indices.append(table.reshape(-1))
        head = f"const int* r = x + n[{2 * place + 1}]; const long long m = n[{2 * place}];"
        self.lines += [f"{kind}(loop_{place}) {{", head, *lines, "}"]
        return f"loop_{place}(t, u, out, c, k, x, n);"

    def body(self, graph: Graph, roots: Sequence[int]) -> str:
        """The name of a function that computes some nodes of a program."""
        name, self.bodies = f"program_{self.bodies}", self.bodies + 1
        printer = Printer(graph, Names(self.constants))
        lines = printer.lines(graph.needed(roots))
        lines += [f"o[{k}] = {printer.value(number)};" for k, number in enumerate(roots)]
        given = "V t, const V* y, const V* p, const V* __restrict__ k, V* o"
        self.lines += [f"INLINE void {name}({given}) {{", *lines, "}"]
        return name


class Emitted(NamedTuple):
    """A library before it is built, and what it is given at run time."""

    text: str
    constants: NDArray[np.float64]
    indices: NDArray[np.int32]
    loops: NDArray[np.int64]
    pattern: Pattern


def emitted(stencil: Stencil) -> Emitted:
    """The text and the tables of a stencil."""
    text = Text()
    text.lines += [f"#define SINGLE {int(stencil.dtype == torch.float32)}", native("loops.h")]
    slopes = [_derived(piece) for piece in stencil.pieces]
    _limit(len(slopes), stencil.features, sum(len(found.graph.nodes) for found in slopes))
    pattern, places, empty = _pattern(stencil, slopes)
    zeros = ["for (long long i = 0; i < m; i++) out[r[i]] = 0;"]
    calls = {name: list[str]() for name in FUNCTIONS}
    calls["jacobian"].append(text.loop(len(empty), empty.astype(np.int32), zeros))
    for piece, found, own in zip(stencil.pieces, slopes, places, strict=True):
        roots = {
            "field": [(piece.rows, found.outputs[0])],
            "jacobian": [(at, found.jac[0, k]) for k, at in own.items()],
            "slope": [(piece.rows, number) for number in found.dfdt.values()],
        }
        for name in FUNCTIONS:
            calls[name] += _loops(text, piece, found.graph, roots[name]) if roots[name] else []
    for name in FUNCTIONS:
        text.lines += [f"LOOPS({name}) {{", *calls[name], "}"]
        text.lines.append(f"CALLED_AS(stiffguide_{name}, {name})")
    return Emitted(
        "\n".join(text.lines) + "\n",
        np.array(list(text.constants), dtype=np.float64),
        np.concatenate(text.indices),
        np.array(text.loops, dtype=np.int64).reshape(-1),
        pattern,
    )


def _limit(pieces: int, rows: int, nodes: int) -> None:
    """Raise UntraceableError for what a compiler would take too long for."""
    if nodes > LARGEST:
        raise UntraceableError(
            f"f and its Jacobian take {nodes} scalar operations in {pieces} kinds of entries, and "
            f"{LARGEST} are the most that is compiled"
        )
    if pieces > FEW and rows < SHARED * pieces:
        raise UntraceableError(
            f"f computes its {rows} entries in {pieces} different ways, so that there is no "
            "regular grid to loop over"
        )


def _loops(
    text: Text, piece: Piece, graph: Graph, roots: Sequence[tuple[Column, int]]
) -> list[str]:
    """The calls of loops that store nodes of a program for all rows, at columns of places."""
    numbers = [number for _, number in roots]
    used = [graph.nodes[number] for number in graph.needed(numbers)]
    state = sorted({node.index for node in used if node.op == "y"})
    table = sorted({node.index for node in used if node.op == "p"})
    name = text.body(graph, numbers)
    columns = [column for column, _ in roots]
    columns += [piece.state[k] for k in state] + [piece.table[k] for k in table]
    regular, rest = families(columns)
    count = len(roots)

    def call(index: Callable[[int], str]) -> str:
        """One row, whose index in column j is `index(j)`."""
        first = count + len(state)
        y = _slots("y", state, lambda k: f"u[{index(count + k)}]")
        p = _slots("p", table, lambda k: f"c[{index(first + k)}]")
        stores = " ".join(f"out[{index(j)}] = o[{j}];" for j in range(count))
        return f"{{ {y} {p} V o[{count}]; {name}(t, y, p, k, o); {stores} }}"

    calls = [text.loop(len(family.runs), family.runs, _runs(family, call)) for family in regular]
    if len(rest):
        rows = np.stack([column[rest] for column in columns]).astype(np.int32)
        lines = ["for (long long i = 0; i < m; i++)", call(lambda j: f"r[{j} * m + i]")]
        calls.append(text.loop(len(rest), rows, lines, "SINGLY"))
    return calls


def _runs(family: Family, call: Callable[[Callable[[int], str]], str]) -> list[str]:
    """A loop over runs, and one over the rows of each."""
    width = family.runs.shape[1]
    starts = ", ".join(f"s{j} = r[{j + 1}]" for j in range(width - 1))
    return [
        f"for (long long j = 0; j < m; j++, r += {width}) {{",
        f"const long long size = r[0], {starts};",
        '_Pragma("omp simd")',
        "for (long long i = 0; i < size; i++)",
        call(lambda j: f"s{j} + {family.strides[j]} * i"),
        "}",
    ]


def _slots(name: str, used: Sequence[int], place: Callable[[int], str]) -> str:
    """An array of what a row reads, by slot."""
    if not used:
        return f"const V* {name} = 0;"
    reads = {slot: place(k) for k, slot in enumerate(used)}
    values = ", ".join(reads.get(slot, "V(0)") for slot in range(used[-1] + 1))
    return f"const V {name}[] = {{{values}}};"


_known: dict[tuple[str, int], Derived] = {}


def _derived(piece: Piece) -> Derived:
    """The program of a piece with its derivatives; those of a field do not change."""
    key = piece.graph.text(), piece.root
    if key not in _known:
        if len(_known) >= REMEMBERED:
            _known.clear()
        _known[key] = derived(piece.graph, [piece.root])
    return _known[key]


def _pattern(
    stencil: Stencil, slopes: Sequence[Derived]
) -> tuple[Pattern, list[dict[int, NDArray[np.int64]]], NDArray[np.int64]]:
    """The pattern; by piece, where in it the derivatives by each slot are; and where it is 0.

    That is on the diagonal, which the pattern has whether or not f_i depends on y_i.
    """
    from scipy.sparse import csr_matrix  # late: most solves need none of it

    n = stencil.features
    slots = [sorted(k for i, k in found.jac) for found in slopes]
    sizes, bare = np.zeros(n, dtype=np.int64), []
    for piece, own in zip(stencil.pieces, slots, strict=True):
        diagonal = np.zeros(len(piece.rows), dtype=bool)
        for k in own:
            diagonal |= piece.state[k] == piece.rows
        bare.append(piece.rows[~diagonal])
        sizes[piece.rows] = len(own)
    missing = np.concatenate(bare)
    inside = sizes.copy()
    sizes[missing] += 1
    indptr = np.concatenate(([0], np.cumsum(sizes)))
    columns = np.empty(indptr[-1], dtype=np.int64)
    for piece, own in zip(stencil.pieces, slots, strict=True):
        for j, k in enumerate(own):
            columns[indptr[piece.rows] + j] = piece.state[k]
    columns[indptr[missing] + inside[missing]] = missing
    entries = np.arange(indptr[-1])
    by_column = csr_matrix((entries, columns, indptr), shape=(n, n)).tocsc()
    at = np.empty_like(entries)
    at[by_column.data] = entries
    pattern = Pattern(n, by_column.indptr.astype(np.int64), by_column.indices.astype(np.int64))
    places = [
        {k: at[indptr[piece.rows] + j] for j, k in enumerate(own)}
        for piece, own in zip(stencil.pieces, slots, strict=True)
    ]
    return pattern, places, at[indptr[missing] + inside[missing]]
