"""A kernel that can be gone back: tapes of the way there, and cotangents taken along them."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from stiffguide.errors import Status
from stiffguide.graphs.graph import digest
from stiffguide.kernels.emitting import adjoint
from stiffguide.kernels.emitting.parameters import Parameters, parameters
from stiffguide.kernels.running import packing
from stiffguide.kernels.running.run import FEW, Kernel, space
from stiffguide.kernels.running.task import Ended, Task
from stiffguide.kernels.running.threads import Flags, alone, carry_out, threads, work

MOST = 2**30  # bytes that tapes of one solve may take; of a longer one, the steps are made again
NUMBER = 8  # bytes
IDLE = 1.5  # lanes that wait for others write, too
_COTANGENTS = struct.Struct("9q")


class Tapes:
    """What the threads of one solve have written; gone when nobody holds it."""

    def __init__(self, library: ctypes.CDLL, most: int) -> None:
        self._library = library
        self._record = (ctypes.c_int64 * 3)(0, 0, most)
        self.count = 1  # at most, one of every thread

    @property
    def address(self) -> int:
        """That of the `Record`."""
        return ctypes.addressof(self._record)

    @property
    def whole(self) -> bool:
        """Whether there was room for all steps."""
        return self._record[1] <= self._record[2]

    def drop(self) -> None:
        """Begin anew."""
        self._library.stiffguide_drop(ctypes.c_void_p(self.address))
        self._record[1] = 0

    def __del__(self) -> None:
        self.drop()


class Cotangents(NamedTuple):
    """Of what a solve has left, in float64; None where there is none of a kind."""

    end: Tensor | None  # (B, F)
    saved: Tensor | None  # (B, T, F)


class Gradient(NamedTuple):
    """What becomes of them."""

    y0: Tensor  # (B, F)
    table: Tensor  # in the shape of the parameters


@dataclass
class Adjoint(Kernel):
    """The solve of one field by one method, with its discrete adjoint."""

    passes: ClassVar[int] = 4  # to choose the steps, to record them (twice as dear), and back
    size: ClassVar[int] = 2

    def key(self, *, wide: bool) -> str:
        """The name of a library: the hash of all that it depends on."""
        return digest("adjoint", super().key(wide=wide))

    def source(self) -> str:
        """The translation unit."""
        return adjoint.source(self.traced, self.method)

    def record(self, task: Task, most: int | None = None) -> tuple[Ended, Tapes]:
        """Solve every row, and keep the steps in at `most` so many bytes."""
        library = self.built(wide=task.rows > FEW)
        ended, tapes = space(task), Tapes(library, MOST if most is None else most)
        if not task.rows:
            return ended, tapes
        attempts = alone(*task.y0.shape)
        if 0 < attempts < task.max_attempts:  # nearly all solves are shorter than they may be
            self._there(task._replace(max_attempts=attempts), ended, tapes)
            if not bool((ended.counts[0] == int(Status.MAX_ATTEMPTS)).any()):
                return ended, tapes
            tapes.drop()
        self._there(task, ended, tapes)
        return ended, tapes

    def _there(self, task: Task, ended: Ended, tapes: Tapes) -> None:
        flags, tapes.count = Flags(), threads(task.rows)
        packed = packing.pack(task, ended, self.method.error_order + 1, ctypes.addressof(flags))
        library = self.built(wide=task.rows > FEW)
        there = partial(library.stiffguide_record, packed, ctypes.c_void_p(tapes.address))
        carry_out(there, task, ended, flags)

    def reverse(self, task: Task, ended: Ended, tapes: Tapes, given: Cotangents) -> Gradient:
        """The cotangents of y0 and of the parameters.

        Where the tapes are not whole the rows are solved again, so many at once as there is room.
        """
        if not task.rows:
            return Gradient(task.y0.clone(), torch.zeros_like(task.parameters))
        if tapes.whole:
            return self._back(task, ended, tapes, given)
        found = []
        for part in self._slices(ended.counts[2], task.y0.shape[1]):
            of = _sliced(task, part)
            again, kept = self.record(of, 2**62)
            seeds = Cotangents(*(None if x is None else x[part] for x in given))
            found.append(self._back(of, again, kept, seeds))
        by_y0, by_table = zip(*found, strict=True)
        by_row = task.parameters.ndim == 2 and len(task.parameters) > 1
        table = torch.cat(by_table) if by_row else torch.stack(by_table).sum(0)
        return Gradient(torch.cat(by_y0), table)

    def _slices(self, attempts: Tensor, features: int) -> Iterator[slice]:
        """Rows whose tapes have room together, at least one at a time."""
        numbers = 2 + features * (2 if self.method.family == "esdirk" else 1)
        total = torch.cumsum(attempts * (IDLE * NUMBER * numbers), 0)
        begin = 0
        while begin < len(attempts):
            before = 0.0 if begin == 0 else float(total[begin - 1])
            end = int(torch.searchsorted(total, before + MOST, right=True))
            end = max(end, begin + 1)
            yield slice(begin, end)
            begin = end

    def _back(self, task: Task, ended: Ended, tapes: Tapes, given: Cotangents) -> Gradient:
        b, f = task.y0.shape
        table, new = parameters(self.traced), task.y0.new_zeros
        by_y0, own, common = new(b, f), new(b, len(table.own)), new(tapes.count, len(table.common))
        place, flags = ctypes.c_int64(0), Flags()
        times = None if given.saved is None else task.times
        packed = _COTANGENTS.pack(
            0 if given.end is None else given.end.data_ptr(),
            *((0, 0, 0, 0) if times is None else _times(times, given.saved)),
            *(by_y0.data_ptr(), own.data_ptr(), common.data_ptr(), ctypes.addressof(place)),
        )
        plain = task._replace(times=None)
        call = packing.pack(plain, ended, self.method.error_order + 1, ctypes.addressof(flags))
        library, address = self.built(wide=b > FEW), ctypes.c_void_p(tapes.address)
        short = int(ended.counts[2].max()) <= alone(b, f)
        back = partial(library.stiffguide_reverse, call, packed, address)
        work(back, 0 if short else threads(b), flags)
        if flags[1]:
            raise KeyboardInterrupt
        return Gradient(by_y0, _assembled(task.parameters, own, common.sum(0), table))


def _times(times: Tensor, saved: Tensor | None) -> tuple[int, int, int, int]:
    assert saved is not None
    row = 0 if times.shape[0] == 1 else times.shape[1]
    return times.shape[1], times.data_ptr(), row, saved.data_ptr()


def _assembled(table: Tensor, own: Tensor, common: Tensor, places: Parameters) -> Tensor:
    """By the parameters, in the shape of their table; the first row has what all rows share."""
    found = torch.zeros_like(table)
    if table.ndim == 2 and len(table) > 1:
        found[:, list(places.own)] = own
        found[0, list(places.common)] = common
    else:
        flat = found.view(-1)
        flat[list(places.own)] = own.sum(0)
        flat[list(places.common)] = common
    return found


def _sliced(task: Task, part: slice) -> Task:
    """Some rows of a task."""

    def of(x: Tensor) -> Tensor:
        return x[part].contiguous() if x.shape[0] == task.rows else x

    by_row = task.parameters.ndim == 2
    return task._replace(
        t0=of(task.t0),
        t1=of(task.t1),
        y0=of(task.y0),
        rtol=of(task.rtol),
        atol=of(task.atol),
        parameters=of(task.parameters) if by_row else task.parameters,
        times=None if task.times is None else of(task.times),
    )
