"""The record that crosses to native code: `Call` of native/state.h, packed as bytes."""

from __future__ import annotations

import struct

from torch import Tensor

from stiffguide.kernels.running.task import EPS, Ended, Happened, Happening, Task

# in the order of state.h: integers and addresses (q), numbers (d)
_INPUTS = struct.Struct("4q 6q q")
_SETTINGS = struct.Struct("4q 4d 5d 3d")
_OUTPUTS = struct.Struct("3q 6q 4q 6q 2q d 2q 2q 14q q")
NONE = (0, 0, 0, 0, 0, 0)  # no pieces
ALONE = (0, 0)  # no other method
ONE_END = (0, 0, 4 * EPS)  # no stops
NOTHING = (0, 0, 0, -1, *(0,) * 10)  # that may happen


def pack(task: Task, ended: Ended, k: int, flags: int) -> bytes:
    """The arguments of a call, for an error of order k; what they point to must outlive it.

    `flags` is the address of three integers: the next row, whether to stop, and whether rows go on
    that had begun.
    """
    parameters, times, pieces = task.parameters, task.times, ended.pieces
    inputs = (task.t0, task.t1, task.y0, parameters, task.rtol, task.atol)
    return joined(
        (task.rows, flags),
        tuple([x.data_ptr() for x in inputs]),
        _stride(parameters, 0) if parameters.ndim == 2 else 0,
        settings(task, k),
        (ended.t.data_ptr(), ended.y.data_ptr(), ended.dt.data_ptr(), ended.counts.data_ptr()),
        (0, 0, 0, 0)
        if times is None
        else (times.shape[1], times.data_ptr(), _stride(times, 0), _address(ended.saved)),
        NONE if pieces is None else (pieces.before.shape[0], *map(_address, pieces)),
        (0, 0, 4 * task.eps)
        if task.stops is None
        else (task.stops.shape[1], task.stops.data_ptr(), 4 * task.eps),
        (0, 0) if ended.pauses is None else tuple(map(_address, ended.pauses)),
        (_address(task.rules), 0 if pieces is None else pieces.degree),
        _happening(task.happening, ended.happened),
        0 if ended.derivatives is None else ended.derivatives.addresses.data_ptr(),
    )


def settings(task: Task, k: int) -> bytes:
    """The part of it that stays while only states, times and parameters change."""
    c, rtol, atol = task.controller, task.rtol, task.atol
    p, i, d = c.pcoeff, c.icoeff, c.dcoeff
    return _SETTINGS.pack(
        *(_stride(rtol, 0), _stride(rtol, 1), _stride(atol, 0), _stride(atol, 1)),
        *(-(p + i + d) / k, (p + 2 * d) / k, -d / k, -1 / k),
        *(c.safety, c.min_factor, c.max_factor, *c.hold),
        *(task.max_step, task.first_step or 0.0, task.max_attempts),
    )


def joined(
    rows: tuple[int, int],
    inputs: tuple[int, ...],
    stride: int,
    fixed: bytes,
    outputs: tuple[int, int, int, int],
    times: tuple[int, ...],
    pieces: tuple[int, ...] = NONE,
    stops: tuple[int, int, float] = ONE_END,
    pauses: tuple[int, ...] = (0, 0),
    sharing: tuple[int, ...] = ALONE,
    happening: tuple[int, ...] = NOTHING,
    derivatives: int = 0,
) -> bytes:
    """The whole from its addresses: see `pack`; `stride` is that of the parameters' rows."""
    count, flags = rows
    t, y, dt, first = outputs
    column = 8 * count
    counts = range(first, first + 6 * column, column)
    return (
        _INPUTS.pack(count, flags, flags + 8, flags + 16, *inputs, stride)
        + fixed
        + _OUTPUTS.pack(
            *(t, y, dt, *counts, *times, *pieces, *stops, *pauses, *sharing, *happening),
            derivatives,
        )
    )


def _happening(given: Happening | None, x: Happened | None) -> tuple[int, ...]:
    if given is None or x is None:
        return NOTHING
    rules = (given.direction.data_ptr(), given.limit.data_ptr(), given.jump.data_ptr())
    return (*rules, given.at_stops, len(x.row), *(part.data_ptr() for part in x))


def _address(x: Tensor | None) -> int:
    return 0 if x is None else x.data_ptr()


def _stride(x: Tensor, axis: int) -> int:
    """Doubles from one entry of an axis to the next; 0 where all share one."""
    shape = x.shape
    if shape[axis] == 1:
        return 0
    return shape[1] if axis == 0 else 1
