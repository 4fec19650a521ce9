"""The record that crosses to native code: `Call` of native/state.h, packed as bytes."""

from __future__ import annotations

import struct

from torch import Tensor

from stiffguide.kernels.running.task import Ended, Task

# in the order of state.h: integers and addresses (q), numbers (d)
_LAYOUT = struct.Struct("3q 6q 5q 4d 5d 3d 3q 6q 4q 6q")


def pack(task: Task, ended: Ended, k: int, flags: int) -> bytes:
    """The arguments of a call, for an error of order k; what they point to must outlive it.

    `flags` is the address of two integers: the next row, and whether to stop.
    """
    c, count, stride = task.controller, ended.counts.data_ptr(), 8 * task.rows
    p, i, d = c.pcoeff, c.icoeff, c.dcoeff
    parameters, rtol, atol, times = task.parameters, task.rtol, task.atol, task.times
    return _LAYOUT.pack(
        task.rows, flags, flags + 8,
        task.t0.data_ptr(), task.t1.data_ptr(), task.y0.data_ptr(), parameters.data_ptr(),
        rtol.data_ptr(), atol.data_ptr(),
        _stride(parameters, 0) if parameters.ndim == 2 else 0,
        _stride(rtol, 0), _stride(rtol, 1), _stride(atol, 0), _stride(atol, 1),
        -(p + i + d) / k, (p + 2 * d) / k, -d / k, -1 / k,
        c.safety, c.min_factor, c.max_factor, *c.hold,
        task.max_step, task.first_step or 0.0, task.max_attempts,
        ended.t.data_ptr(), ended.y.data_ptr(), ended.dt.data_ptr(),
        count, count + stride, count + 2 * stride,
        count + 3 * stride, count + 4 * stride, count + 5 * stride,
        0 if times is None else times.shape[1],
        _address(times), 0 if times is None else _stride(times, 0), _address(ended.saved),
        *((0,) * 6 if ended.pieces is None
          else (ended.pieces.before.shape[0], *map(_address, ended.pieces))),
    )  # fmt: skip


def _address(x: Tensor | None) -> int:
    return 0 if x is None else x.data_ptr()


def _stride(x: Tensor, axis: int) -> int:
    """Doubles from one entry of an axis to the next; 0 where all share one."""
    shape = x.shape
    if shape[axis] == 1:
        return 0
    return shape[1] if axis == 0 else 1
