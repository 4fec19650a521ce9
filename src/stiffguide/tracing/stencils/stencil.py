"""What a field of many unknowns computes: a few programs, and the rows of each.

One run of f shows it. Everything in it that depends on neither t nor y is a number of this run, as
are the branches that f took on such numbers; so a stencil is one of f as it was then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.overrides import TorchFunctionMode

from stiffguide.errors import StiffguideError
from stiffguide.graphs.graph import Graph
from stiffguide.graphs.refusal import UntraceableError
from stiffguide.tracing.observation import uncompiled
from stiffguide.tracing.sets import LEAVING
from stiffguide.tracing.stencils.entries import MANY, MOST_KINDS, Column, Entries, Numbers, Values
from stiffguide.tracing.stencils.watch import READ, Watch

Field = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Piece:
    """The rows of f that one program computes.

    In the graph y[k] is the component `state[k]` of the state, of which no two are the same in a
    row, and p[k] is entry `table[k]` of the table: columns (R,), as the rows themselves.
    """

    graph: Graph
    root: int
    rows: NDArray[np.int64]
    state: list[Column]
    table: list[Column]


@dataclass(frozen=True)
class Stencil:
    """A field by its pieces; `met` are the tensors that it reaches by itself, or by its args."""

    features: int
    dtype: torch.dtype
    pieces: list[Piece]
    table: Values
    met: list[Tensor]


def stencil(f: Field, t: Tensor, y: Tensor) -> Stencil:
    """The stencil of f(t (1,), y (1, F)) -> (1, F); raises UntraceableError, naming the cause."""
    entries = Entries()
    watch = Watch(entries)
    t, y = t.detach().clone(), y.detach().clone()
    watch.give(y, torch.from_numpy(entries.components(y.numel())).reshape(y.shape))
    watch.give(t, torch.full(t.shape, entries.time()))
    try:
        with torch.no_grad(), uncompiled(), watch, _Leaving(watch):
            value = f(t, y)
    except StiffguideError as error:
        raise watch.refused or UntraceableError(str(error)) from error
    except Exception as error:
        if watch.refused is not None:  # what f calls may have wrapped it
            raise watch.refused from error
        f(t.clone(), y.clone())  # if it fails by itself, that is to see
        reason = str(error).strip().split("\n")[0]
        raise UntraceableError(f"f cannot be followed: {type(error).__name__}: {reason}") from error
    numbers = _distinct(entries, watch.flat(value))
    pieces = [_piece(entries, *group) for group in entries.groups(numbers)]
    return Stencil(y.numel(), y.dtype, pieces, entries.table, list(watch.met.values()))


class _Leaving(TorchFunctionMode):
    """Refuses to take values out of torch that depend on t or y."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Carry out a call of torch."""
        if func in LEAVING:
            if not self._watch.known(args[0]):
                raise UntraceableError(READ)
            self._watch.met[id(args[0])] = args[0]
        return func(*args, **(kwargs or {}))


def _distinct(entries: Entries, numbers: Numbers) -> Numbers:
    """The same entries by programs that read no component of the state twice."""
    found = numbers.copy()
    for program, rows, columns in entries.groups(numbers):
        kinds = entries.programs.kinds(program)
        state = [column for column, kind in zip(columns, kinds, strict=True) if kind]
        for same in _alike(state, len(rows)):
            at = rows[same]
            found[at] = entries.apply(lambda x: x, [numbers[at]], len(at))
    return found


def _alike(columns: list[Column], count: int) -> Iterator[NDArray[np.int64]]:
    """Rows in which some columns are equal, for each choice of such columns."""
    equal = np.zeros(count, dtype=bool)
    pairs = [(k, j) for k in range(len(columns)) for j in range(k)]
    for k, j in pairs:
        equal |= columns[k] == columns[j]
    rows = np.flatnonzero(equal)
    if not len(rows):
        return
    table = np.stack([columns[k][rows] == columns[j][rows] for k, j in pairs], 1)
    kinds, which = np.unique(table, axis=0, return_inverse=True)
    if len(kinds) > MOST_KINDS:
        raise UntraceableError(MANY)
    for kind in range(len(kinds)):
        yield rows[which.reshape(-1) == kind]


def _piece(entries: Entries, program: int, rows: NDArray[np.int64], columns: list[Column]) -> Piece:
    root, kinds = entries.programs.programs[program]
    graph, moved, places = entries.programs.graph.pruned([root])
    slots = [k for k, kind in enumerate(kinds) if kind]
    return Piece(
        _renumbered(graph, slots), moved[root], rows, [columns[k] for k in slots],
        [columns[k] for k in places],
    )  # fmt: skip


def _renumbered(graph: Graph, slots: list[int]) -> Graph:
    """The same graph, in which y[k] is what y[slots[k]] was."""
    place = {slot: k for k, slot in enumerate(slots)}
    nodes = [n._replace(index=place[n.index]) if n.op == "y" else n for n in graph.nodes]
    return Graph(nodes, {node: k for k, node in enumerate(nodes)})
