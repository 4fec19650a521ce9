"""The time that a pipeline brings with a step, and whether it is the one that is due.

Times lie on the pipeline's device, where a look at a value would wait for it. What is a view of the
scheduler's own times, as the elements are over which pipelines run, is told by its place instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from stiffguide.errors import InputError, UnsupportedError

HALVES = (torch.float16, torch.bfloat16)


def refuse_unexpected(
    timestep: float | Tensor, times: Tensor, told: Sequence[float], i: int
) -> None:
    """Raise InputError if call i is made at another time than told[i], as far as the host sees."""
    refuse_rows(timestep)
    place = view_place(timestep, times)
    if place is not None:
        time, expected = told[place], told[i]
    elif isinstance(timestep, Tensor) and timestep.device.type != "cpu":
        return
    else:
        time, expected = float(timestep), as_told(told[i], precision(timestep))
    # some pipelines cut times to whole numbers
    cut = time.is_integer() and abs(time - told[i]) < 1
    if not cut and not math.isclose(time, expected, rel_tol=1e-5, abs_tol=1e-6):
        raise InputError(
            f"timestep {time:g} came where call {i} of {len(told)} is due, at {told[i]:g}: pass "
            "the elements of scheduler.timesteps in turn, or say with set_begin_index or "
            "set_timesteps where the run goes on"
        )


def one_time(timestep: float | Tensor) -> float:
    """The one time of a call; raises InputError for one a row."""
    refuse_rows(timestep)
    return float(timestep)


def refuse_rows(timestep: float | Tensor) -> None:
    """Raise InputError for a time a row."""
    if isinstance(timestep, Tensor) and timestep.numel() != 1:
        raise InputError(
            f"timestep has shape {tuple(timestep.shape)}: all rows of a batch make their steps "
            "together, so pass one element of scheduler.timesteps"
        )


def precision(timestep: float | Tensor) -> torch.dtype | None:
    """The dtype of a time in half precision."""
    if isinstance(timestep, Tensor) and timestep.dtype in HALVES:
        return timestep.dtype
    return None


def as_told(time: float, dtype: torch.dtype | None) -> float:
    """One time as it is told in a precision."""
    return time if dtype is None else float(torch.tensor(time).to(dtype))


def rounded(times: Tensor, dtype: torch.dtype | None) -> Tensor:
    """Times as they are told in a precision."""
    return times if dtype is None else times.to(dtype).to(torch.float32)


def view_place(timestep: float | Tensor, times: Tensor) -> int | None:
    """Which element of times it is a view of, found without a look at its value."""
    if not isinstance(timestep, Tensor) or timestep.numel() != 1:
        return None
    mine, theirs = times.untyped_storage(), timestep.untyped_storage()
    if mine.data_ptr() != theirs.data_ptr() or timestep.dtype != times.dtype:
        return None
    place = int(timestep.storage_offset()) - int(times.storage_offset())
    return place if 0 <= place < len(times) else None


def refuse_parts(per_token_timesteps: Tensor | None) -> None:
    """Raise UnsupportedError where the parts of a sample have times of their own."""
    if per_token_timesteps is not None:
        raise UnsupportedError(
            "per_token_timesteps gives the parts of a sample times of their own, as a video that "
            "continues given frames asks for; here a sample has one time: keep "
            "FlowMatchEulerDiscreteScheduler in this pipeline"
        )


def refuse_index(timestep: Any) -> None:
    """Raise InputError for a whole number where times are floats: it would be taken for a time."""
    is_tensor = isinstance(timestep, Tensor)
    if (is_tensor and not timestep.is_floating_point()) or isinstance(timestep, int):
        raise InputError(
            f"timestep {timestep!r} is whole: pass an element of scheduler.timesteps, not its "
            "number"
        )
