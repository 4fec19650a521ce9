"""From a function of numpy arrays to a scalar graph, by running a copy of it on symbols.

The copy reads stand-ins for numpy, math and scipy (`arrays.stand_ins`). It runs once for each path
through its branches on numbers (`decisions`), and everything once more, to see whether f keeps
values from call to call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import numpy as np
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from stiffguide.graphs.graph import Graph
from stiffguide.graphs.refusal import UntraceableError
from stiffguide.tracing.arrays.stand_ins import StandIns
from stiffguide.tracing.arrays.symbol_arrays import Symbols, floats, plain
from stiffguide.tracing.arrays.symbols import RUNNING, NeedsValueError, Run, Symbol
from stiffguide.tracing.decisions import Path, meant, merged
from stiffguide.tracing.lifting import Key
from stiffguide.tracing.sources import LARGEST_CAPTURED, Sources
from stiffguide.tracing.traced_field import Leaf


@dataclass(frozen=True)
class Question:
    """A function of numpy arrays, the state that it is asked about, and its arguments."""

    f: Any  # or a tuple of functions, see `together`
    shapes: list[tuple[int, ...]]  # of the leaves of the state
    state: TreeSpec
    column: bool  # f, the first of several, takes and gives a state of shape (n, 1)
    values: list[Any]  # leaves of the arguments
    args: TreeSpec
    places: tuple[Key, ...] = ()  # of floats in f that are parameters, too
    states: tuple[bool, ...] = (True,)  # for each function, whether it gives one, or a number


@dataclass(frozen=True)
class Answer:
    """The graph of a function, and what its arguments were taken for."""

    graph: Graph
    outputs: list[int]
    sources: Sources
    leaves: list[Leaf]
    paths: int  # by branches on numbers


def answer(q: Question) -> Answer:
    """The graph of q.f; raises UntraceableError.

    Floats and arrays of floats in the arguments are parameters, but for those that f needs the
    values of, such as the length of a loop.
    """
    leaves, loose = [_leaf(value) for value in q.values], False
    while True:
        try:
            return _twice(q, leaves, loose=loose)
        except NeedsValueError as error:
            if error.written and not loose:  # perhaps to an array that f was defined with
                loose = True
                continue
            if not error.sources:
                raise
            leaves = [Leaf("fixed") if k in error.sources else x for k, x in enumerate(leaves)]


def _leaf(value: Any) -> Leaf:
    if isinstance(value, float):
        return Leaf("number")
    if type(value) is np.ndarray and value.dtype == float and value.size <= LARGEST_CAPTURED:
        return Leaf("array", value.shape)
    return Leaf("fixed")


def _twice(q: Question, leaves: list[Leaf], *, loose: bool) -> Answer:
    """All paths, and all again, the first with what the first run of f has left behind."""
    first, again = _Paths(q, leaves, loose=loose), _Paths(q, leaves, loose=loose)
    again.stand_ins = first.stand_ins
    return _same(first.answer(), again.answer())


def _same(first: Answer, again: Answer) -> Answer:
    if first.outputs != again.outputs or first.graph.nodes != again.graph.nodes:
        raise UntraceableError(CHANGES)
    return first


class _Paths:
    """All paths through f."""

    def __init__(self, q: Question, leaves: list[Leaf], *, loose: bool) -> None:
        self._q = q
        self._leaves = leaves
        self._loose = loose
        self._graph = Graph()
        self._graph.const(0.0)
        self._sources = Sources(self._graph, len(leaves) + bool(q.places))
        self._table = [self._numbers(k) for k in range(len(leaves))]
        self._components = [self._graph.add("y", index=i) for i in range(sum(map(prod, q.shapes)))]
        self._lifted = {
            place: self._sources.entry(len(leaves), k) for k, place in enumerate(q.places)
        }
        self._failed: list[list[Exception | None]] = [[] for _ in q.states]  # by path
        self.stand_ins: StandIns | None = self._new()  # of the first path; others have their own

    def answer(self) -> Answer:
        """The merged graph."""
        outputs: list[int] = []
        for k, failed in enumerate(self._failed):
            outputs += merged(self._graph, partial(self._follow, k))
            if failed[0] is not None and all(failed):
                raise failed[0]
        paths = len(self._failed[0])
        return Answer(self._graph, outputs, self._sources, self._leaves, paths)

    def _follow(self, k: int, path: Path) -> list[int]:
        """The nodes of a function's value on one path; nan where it raises an exception there."""
        try:
            values = self._values(k, Run(self._graph, path))
            self._failed[k].append(None)
        except Exception as error:
            if not path.conditions or not meant(error):
                raise
            self._failed[k].append(error)
            size = len(self._components) if self._q.states[k] else 1
            values = [self._graph.const(np.nan)] * size
        return values

    def _values(self, k: int, run: Run) -> list[int]:
        q, stand_ins = self._q, self.stand_ins or self._new()
        self.stand_ins = None
        before = RUNNING.set(run)
        try:
            whole = stand_ins.copies.at(q, "f", q.f, attribute=True)
            f = whole[k] if isinstance(whole, tuple) else whole
            column = q.column and k == 0
            args = [self._argument(k, run, stand_ins) for k in range(len(q.values))]
            state, time = _state(run, self._components, q, column=column), run.symbol("t")
            with np.errstate(all="ignore"):
                value = f(time, state, *tree_unflatten(args, q.args))
                entries = _entries(value, q, column=column) if q.states[k] else _number(value)
        except Exception as error:
            refused = run.refused or _of_a_mask(error)
            if isinstance(refused, NeedsValueError):
                refused.sources = self._arguments_of(refused.needed)
            if refused is None or refused is error:
                raise
            raise refused from None  # f may have caught the first, or numpy wrapped it
        finally:
            RUNNING.reset(before)
        if run.refused is not None:
            raise run.refused
        return [v.number if isinstance(v, Symbol) else run.graph.const(float(v)) for v in entries]

    def _new(self) -> StandIns:
        return StandIns(loose=self._loose, numbers=self._lifted)

    def _numbers(self, place: int) -> list[int]:
        """The nodes of an argument."""
        leaf = self._leaves[place]
        size = 0 if leaf.role == "fixed" else prod(leaf.shape)
        return [self._sources.entry(place, k) for k in range(size)]

    def _argument(self, place: int, run: Run, stand_ins: StandIns) -> Any:
        leaf, numbers = self._leaves[place], self._table[place]
        if leaf.role == "fixed":
            return stand_ins.copies.at(self._q.values, place, self._q.values[place])
        return _array(run, numbers, leaf.shape) if leaf.role == "array" else Symbol(run, numbers[0])

    def _arguments_of(self, needed: Sequence[Symbol]) -> frozenset[int]:
        """The arguments that symbols are made of; none, if t or y is in them."""
        leaves = self._graph.needed(symbol.number for symbol in needed)
        if any(self._graph.nodes[n].op in ("t", "y") for n in leaves):
            return frozenset()
        return frozenset(k for k, own in enumerate(self._table) if set(own) & set(leaves))


def _array(run: Run, numbers: list[int], shape: tuple[int, ...]) -> Any:
    """Symbols that f must not write to."""
    entries = np.empty(len(numbers), dtype=object)
    entries[:] = [Symbol(run, n) for n in numbers]
    found = entries.reshape(shape).view(Symbols)
    found.flags.writeable = False
    return found


def _state(run: Run, components: list[int], q: Question, *, column: bool) -> Any:
    leaves, start = [], 0
    for shape in q.shapes:
        end = start + prod(shape)
        leaf = _array(run, components[start:end], (*shape, 1) if column else shape)
        leaves.append(leaf if shape else leaf[()])
        start = end
    return tree_unflatten(leaves, q.state)


def _entries(value: Any, q: Question, *, column: bool) -> list[Any]:
    """The entries of f's value, in the order of the state's."""
    values = [value]
    if not q.state.is_leaf():
        values, tree = tree_flatten(value)
        if tree != q.state:
            raise UntraceableError(f"f gives {tree} where the state is {q.state}")
    found: list[Any] = []
    for part, shape in zip(values, q.shapes, strict=True):
        entries, out = plain(part), np.empty(shape, dtype=object)
        out[...] = floats(entries.ravel() if column else entries)
        found += out.ravel().tolist()
    return found


def _number(value: Any) -> list[Any]:
    """The value of an event."""
    found: list[Any] = floats(plain(value)).ravel().tolist()
    if len(found) != 1:
        raise UntraceableError(f"an event gives {len(found)} numbers, not one")
    return found


def _of_a_mask(error: Exception) -> UntraceableError | None:
    if isinstance(error, IndexError) and "arrays used as indices" in str(error):
        sentence = "f takes entries of an array at places that depend on t or y"
        return NeedsValueError(sentence, [], written=True)  # arrays that are loose know how
    return None


CHANGES = (
    "f has another graph when it is traced again: it draws random numbers, counts its calls, or "
    "keeps values from call to call"
)
