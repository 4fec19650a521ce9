"""Entries by their numbers: which program each has, and what its slots read.

A number names a segment and a place in it. The entries of a segment have one program and, for
every slot, a column of what they read: components of the state, or places in the table of numbers.
So whatever happens to a million entries alike happens once to their program, and by numpy to their
columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stiffguide.graphs.programs import Placed, Programs
from stiffguide.graphs.refusal import UntraceableError
from stiffguide.graphs.scalars import Scalar

Numbers = NDArray[np.int64]
Column = NDArray[np.int32]
Values = NDArray[np.float64]
SHIFT = 40  # bits of a number below the segment
PLACE = (1 << SHIFT) - 1
MOST_KINDS = 256  # programs that one operation may give its entries
MOST_SLOTS = 96  # of an entry
LARGEST_MEMORY = 2**32  # bytes of all columns
FEW = 16  # entries that are compared before all of them
MANY = (
    f"f computes its entries in over {MOST_KINDS} different ways, so that there is no regular grid "
    "to loop over"
)


class Segment(NamedTuple):
    """Entries with one program."""

    program: int
    columns: list[Column]  # by slot


class Group(NamedTuple):
    """The entries of an operation whose operands have the same programs."""

    programs: tuple[int, ...]
    rows: NDArray[np.int64] | None  # None: all


class Entries:
    """All entries that were ever computed, but for constants."""

    def __init__(self) -> None:
        self.programs: Programs = Programs()
        self._segments: list[Segment] = []
        self._program = np.zeros(0, dtype=np.int64)  # by segment
        self._memory = 0
        self._table: list[Values] = []
        self._tabled = 0
        self.add(self.programs.zero, [])  # so that no entry has the number 0
        self.zero: int = self.add(self.programs.zero, [])

    def add(self, program: int, columns: list[Column]) -> int:
        """The first number of a new segment."""
        new = len(self._segments)
        if new == len(self._program):
            grown = np.zeros(2 * new + 64, dtype=np.int64)
            grown[:new] = self._program
            self._program = grown
        self._program[new] = program
        self._segments.append(Segment(program, columns))
        return new << SHIFT

    def components(self, count: int) -> Numbers:
        """Numbers of all components of the state."""
        return self._leaves(0, count, state=True)

    def constants(self, values: Values) -> Numbers:
        """Numbers of known values: one program where all are the same, else entries of a table."""
        first = values[:1]
        if bool(((values == first) | (np.isnan(values) & np.isnan(first))).all()):
            return np.full(len(values), self.constant(float(first[0]) if len(values) else 0.0))
        start, self._tabled = self._tabled, self._tabled + len(values)
        self._table.append(values)
        return self._leaves(start, len(values), state=False)

    def constant(self, value: float) -> int:
        """The number of a known value."""
        program = self.programs.const(value)
        return self.zero if program == self.programs.zero else self.add(program, [])

    def time(self) -> int:
        """The number of t."""
        return self.add(self.programs.time(), [])

    @property
    def table(self) -> Values:
        """The known values."""
        return np.concatenate(self._table) if self._table else np.zeros(0)

    def _leaves(self, start: int, count: int, *, state: bool) -> Numbers:
        places = np.arange(count, dtype=np.int64)
        column = (start + places).astype(np.int32)
        return self.add(self.programs.leaf(state=state), [column]) + places

    def program_of(self, numbers: Numbers) -> NDArray[np.int64]:
        """The program of every entry."""
        found: NDArray[np.int64] = self._program[numbers >> SHIFT]
        return found

    def apply(self, formula: Callable[..., Scalar], operands: Sequence[Any], count: int) -> Numbers:
        """The numbers (count,) of what a formula gives for every entry.

        `operands` are numbers (count,) of entries, and whatever the formula is given for all.
        """
        out = np.zeros(count, dtype=np.int64)
        given = [x for x in operands if isinstance(x, np.ndarray)]
        for group in self._grouped(given):
            rows = group.rows
            found = self._joined(formula, operands, group)
            size = count if rows is None else len(rows)
            numbers = found if found == self.zero else found + np.arange(size)  # as all zeros
            if rows is None:
                out[:] = numbers
            else:
                out[rows] = numbers
        return out

    def groups(self, numbers: Numbers) -> Iterator[tuple[int, NDArray[np.int64], list[Column]]]:
        """(program, entries, their columns) for every program."""
        for group in self._grouped([numbers]):
            rows = np.arange(len(numbers)) if group.rows is None else group.rows
            yield group.programs[0], rows, self._columns(numbers[rows])

    def _grouped(self, given: Sequence[Numbers]) -> list[Group]:
        found = [Group((), None)]
        keys, base = np.zeros(1, dtype=np.int64), len(self.programs.programs)
        for numbers in given:
            own = self.program_of(numbers)
            first = int(own[0]) if len(own) else 0
            if bool((own == first).all()):
                found = [Group((*group.programs, first), group.rows) for group in found]
                continue
            keys, names = _compact(keys * base + own)
            tuples = [(*found[int(k // base)].programs, int(k % base)) for k in names]
            if len(tuples) > MOST_KINDS:
                raise UntraceableError(MANY)
            found = [Group(which, None) for which in tuples]
        if len(found) == 1:
            return found
        return [Group(g.programs, np.flatnonzero(keys == k)) for k, g in enumerate(found)]

    def _joined(self, formula: Callable[..., Scalar], operands: Sequence[Any], group: Group) -> int:
        """The first number of a group of results."""
        slots: list[Column] = []
        kinds: list[bool] = []
        given: list[Any] = []
        programs = iter(group.programs)
        for operand in operands:
            if not isinstance(operand, np.ndarray):
                given.append(operand)
                continue
            program = next(programs)
            columns = self._columns(operand if group.rows is None else operand[group.rows])
            places = [
                _place(slots, kinds, column, kind)
                for column, kind in zip(columns, self.programs.kinds(program), strict=True)
            ]
            given.append(Placed(program, tuple(places)))
        program, used = self.programs.joined(formula, given, kinds)
        if len(used) > MOST_SLOTS:
            raise UntraceableError(f"an entry of f depends on more than {MOST_SLOTS} numbers")
        if program == self.programs.zero:
            return self.zero
        return self.add(program, [slots[k] for k in used])

    def _columns(self, numbers: Numbers) -> list[Column]:
        """What entries with one program read, by slot."""
        segments, places = numbers >> SHIFT, numbers & PLACE
        first = int(segments[0])
        if bool((segments == first).all()):
            columns = self._segments[first].columns
            return self._read(columns, places) if columns else columns
        _, names = _compact(segments)
        width = len(self._segments[first].columns)
        found = [np.empty(len(numbers), dtype=np.int32) for _ in range(width)]
        for name in names:
            rows = np.flatnonzero(segments == name)
            for out, column in zip(found, self._segments[int(name)].columns, strict=True):
                out[rows] = column[places[rows]]
        self._keep(found)
        return found

    def _read(self, columns: list[Column], places: NDArray[np.int64]) -> list[Column]:
        """Some places of columns: the columns themselves, or views of them, if that is possible."""
        first, size = int(places[0]), len(places)
        step = int(places[1]) - first if size > 1 else 1
        regular = int(places[-1]) == first + step * (size - 1) and step >= 0
        if not regular or not bool((np.diff(places) == step).all()):
            return self._keep([column[places] for column in columns])
        if step == 0:
            return [np.broadcast_to(column[first], (size,)) for column in columns]
        if step == 1 and size == len(columns[0]):
            return columns
        return [column[first : first + step * (size - 1) + 1 : step] for column in columns]

    def _keep(self, columns: list[Column]) -> list[Column]:
        self._memory += sum(column.nbytes for column in columns)
        if self._memory > LARGEST_MEMORY:
            raise UntraceableError("f takes over 4 GiB of memory to follow")
        return columns


def _compact(keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Small numbers as 0, 1, ..., in their order; and what they were."""
    present = np.zeros(int(keys.max()) + 1, dtype=bool)
    present[keys] = True
    names = np.flatnonzero(present)
    return (np.cumsum(present) - 1)[keys], names


def _place(slots: list[Column], kinds: list[bool], column: Column, kind: bool) -> int:
    """The slot that reads the same everywhere, or a new one."""
    for k, (known, its) in enumerate(zip(slots, kinds, strict=True)):
        if its == kind and _same(known, column):
            return k
    slots.append(column)
    kinds.append(kind)
    return len(slots) - 1


def _same(a: Column, b: Column) -> bool:
    if a is b:
        return True
    few = slice(None, None, max(len(a) // FEW, 1))
    return bool((a[few] == b[few]).all()) and bool((a == b).all())
