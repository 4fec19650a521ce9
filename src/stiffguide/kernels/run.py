"""A kernel at work: tensors in, where every row ended out; threads share the rows."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from stiffguide.controllers import PID
from stiffguide.errors import Status
from stiffguide.kernels import build, device, emit_cpp, emit_cuda
from stiffguide.kernels.coefficients import Coefficients
from stiffguide.kernels.graph import digest
from stiffguide.kernels.traced import Traced

FEW = 4  # up to so many rows, one lane at a time is faster than many lanes that idle
PATIENCE = 0.05  # seconds between two looks for an interrupt
SHARE = 64  # rows that make another thread worth starting

_DOUBLES, _LONGS = ctypes.c_void_p, ctypes.c_void_p
_FIELDS = (
    ("rows", ctypes.c_int64), ("next", _LONGS), ("stop", _LONGS),
    ("t0", _DOUBLES), ("t1", _DOUBLES), ("y0", _DOUBLES), ("p", _DOUBLES),
    ("rtol", _DOUBLES), ("atol", _DOUBLES),
    ("p_row", ctypes.c_int64), ("rtol_row", ctypes.c_int64), ("rtol_entry", ctypes.c_int64),
    ("atol_row", ctypes.c_int64), ("atol_entry", ctypes.c_int64),
    ("e_now", ctypes.c_double), ("e_last", ctypes.c_double), ("e_before", ctypes.c_double),
    ("e_shrink", ctypes.c_double), ("safety", ctypes.c_double), ("min_factor", ctypes.c_double),
    ("max_factor", ctypes.c_double), ("hold_low", ctypes.c_double), ("hold_high", ctypes.c_double),
    ("max_step", ctypes.c_double), ("first_step", ctypes.c_double),
    ("max_attempts", ctypes.c_double),
    ("t", _DOUBLES), ("y", _DOUBLES), ("dt", _DOUBLES),
    ("status", _LONGS), ("accepted", _LONGS), ("attempts", _LONGS),
    ("nfe", _LONGS), ("njac", _LONGS), ("nlu", _LONGS),
    ("times", ctypes.c_int64), ("time", _DOUBLES), ("time_row", ctypes.c_int64),
    ("saved", _DOUBLES),
    ("pieces", ctypes.c_int64), ("before", _DOUBLES), ("after", _DOUBLES), ("start", _DOUBLES),
    ("end", _DOUBLES), ("coefficient", _DOUBLES),
)  # fmt: skip


class _Call(ctypes.Structure):
    """`Call` of native/state.h."""

    _fields_ = _FIELDS


@dataclass(frozen=True)
class Task:
    """What is to be solved, in float64; shapes as in `contracts`."""

    t0: Tensor  # (B,)
    t1: Tensor  # (B,)
    y0: Tensor  # (B, F)
    parameters: Tensor  # (P,) or (B, P)
    rtol: Tensor  # (1 or B, 1 or F)
    atol: Tensor
    controller: PID
    max_step: float
    first_step: float | None
    max_attempts: int
    times: Tensor | None = None  # (1 or B, T), to save at

    @property
    def rows(self) -> int:
        """B."""
        return self.y0.shape[0]


class Pieces(NamedTuple):
    """Accepted steps, N the largest number of them; a row with fewer ends in steps of no length."""

    before: Tensor  # (N, B)
    after: Tensor  # (N, B)
    y0: Tensor  # (N, B, F)
    y1: Tensor  # (N, B, F)
    coefficients: Tensor | None  # (N, D, B, F)


class Ended(NamedTuple):
    """Where every row ended, and what that took."""

    t: Tensor  # (B,)
    y: Tensor  # (B, F)
    dt: Tensor  # (B,)
    counts: Tensor  # (6, B) int64: status, accepted, attempts, nfe, njac, nlu
    saved: Tensor | None  # (B, T, F)
    pieces: Pieces | None = None


@dataclass
class Kernel:
    """The solve of one field by one method; libraries are built or loaded when first used."""

    traced: Traced
    method: Coefficients
    _libraries: dict[bool, ctypes.CDLL] = field(default_factory=dict)
    _program: device.Program | None = None

    def key(self, *, wide: bool) -> str:
        """The name of a library: the hash of all that it depends on."""
        parts = (self.traced.key, repr(self.method), emit_cpp.fingerprint(), repr(build.FLAGS))
        return digest(*parts, build.cpu(), str(wide))

    def ready(self, *, wide: bool) -> bool:
        """Whether the library is loaded or in the cache."""
        if wide not in self._libraries:
            found = build.find(self.key(wide=wide))
            if found is not None:
                self._libraries[wide] = found
        return wide in self._libraries

    def library(self, *, wide: bool) -> ctypes.CDLL:
        """The library, built if need be; raises UnsupportedError."""
        if not self.ready(wide=wide):
            option = f"-DWIDE={int(wide)}"
            self._libraries[wide] = build.make(
                self.key(wide=wide), lambda: emit_cpp.source(self.traced, self.method), (option,)
            )
        return self._libraries[wide]

    def prepare(self, place: torch.device, *, wide: bool) -> None:
        """Build what a solve on that device needs; raises UnsupportedError."""
        if place.type == "cpu":
            self.library(wide=wide)
        elif self._program is None:
            self._program = device.compile(emit_cuda.source(self.traced, self.method), place)

    def solve(self, task: Task) -> Ended:
        """Solve every row."""
        return self._run(task, None)

    def trace_steps(self, task: Task, *, dense: bool) -> Ended:
        """Solve every row twice: to count the steps, then to keep them."""
        first = self._run(task, None)
        n = max(int(first.counts[1].max()), 1) if task.rows else 1
        b, f = task.y0.shape
        degree = self.method.interpolant.degree
        pieces = Pieces(
            first.t.repeat(n, 1),
            first.t.repeat(n, 1),
            first.y.repeat(n, 1, 1),
            first.y.repeat(n, 1, 1),
            task.y0.new_zeros(n, degree, b, f) if dense else None,
        )
        return self._run(task, pieces)._replace(pieces=pieces)

    def _run(self, task: Task, pieces: Pieces | None) -> Ended:
        (b, f), place = task.y0.shape, task.y0.device
        memory = torch.empty((f + 2) * b, dtype=torch.float64, device=place)
        t, dt, y = memory[:b], memory[b : 2 * b], memory[2 * b :].reshape(b, f)
        counts = torch.empty((6, b), dtype=torch.int64, device=place)
        saved = None
        if task.times is not None:
            saved = task.y0.new_full((b, task.times.shape[1], f), float("nan"))
        ended = Ended(t, y, dt, counts, saved, pieces)
        if not b:
            return ended
        flags = torch.zeros(2, dtype=torch.int64, device=place)  # next row, stop
        call = _call(task, ended, self.method.error_order + 1, flags)
        self.prepare(place, wide=b > FEW)
        if self._program is not None and place.type != "cpu":
            self._program.run(bytes(call), b)
            return ended
        function = self.library(wide=b > FEW).stiffguide_solve
        _work(lambda: function(ctypes.byref(call)), b, flags)
        if flags[1]:
            _leave(task, ended, int(flags[0]))
        return ended


def _leave(task: Task, ended: Ended, first: int) -> None:
    """The rows from `first` on, which an interrupt kept from beginning."""
    rest = slice(first, None)
    ended.t[rest], ended.y[rest], ended.dt[rest] = task.t0[rest], task.y0[rest], 0.0
    ended.counts[:, rest] = 0
    ended.counts[0, rest] = int(Status.INTERRUPTED)


def _call(task: Task, ended: Ended, k: int, flags: Tensor) -> _Call:
    """The arguments of a call; what they point to must outlive it."""
    c = task.controller
    p, i, d = c.pcoeff, c.icoeff, c.dcoeff
    at = flags.data_ptr()
    count, stride = ended.counts.data_ptr(), 8 * task.rows
    times, pieces = task.times, ended.pieces
    return _Call(
        task.rows, at, at + 8,
        task.t0.data_ptr(), task.t1.data_ptr(), task.y0.data_ptr(), task.parameters.data_ptr(),
        task.rtol.data_ptr(), task.atol.data_ptr(),
        _stride(task.parameters, 0) if task.parameters.ndim == 2 else 0,
        _stride(task.rtol, 0), _stride(task.rtol, 1), _stride(task.atol, 0), _stride(task.atol, 1),
        -(p + i + d) / k, (p + 2 * d) / k, -d / k, -1 / k,
        c.safety, c.min_factor, c.max_factor, *c.hold,
        task.max_step, task.first_step or 0.0, float(task.max_attempts),
        ended.t.data_ptr(), ended.y.data_ptr(), ended.dt.data_ptr(),
        *(count + j * stride for j in range(6)),
        0 if times is None else times.shape[1],
        None if times is None else times.data_ptr(),
        0 if times is None else _stride(times, 0),
        None if ended.saved is None else ended.saved.data_ptr(),
        0 if pieces is None else pieces.before.shape[0],
        *((None,) * 5 if pieces is None else (x if x is None else x.data_ptr() for x in pieces)),
    )  # fmt: skip


def _stride(x: Tensor, axis: int) -> int:
    """Doubles from one entry of an axis to the next; 0 where all share one."""
    if x.shape[axis] == 1:
        return 0
    return x.shape[1] if axis == 0 else 1


def _work(run: Callable[[], int], rows: int, flags: Tensor) -> None:
    """Run in as many threads as torch would use; an interrupt stops them all.

    Few rows are done in the calling thread: they are over before an interrupt is of any use.
    """
    results: list[int] = []
    workers = min(torch.get_num_threads(), rows // SHARE)
    if workers < 1:
        results.append(run())
    else:
        threads = [threading.Thread(target=lambda: results.append(run())) for _ in range(workers)]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive():  # a signal may wake another thread than this one
                    thread.join(PATIENCE)
        except KeyboardInterrupt:
            flags[1] = 1
            for thread in threads:
                thread.join()
    if any(results):
        raise MemoryError("kernel: no memory for the lanes")
