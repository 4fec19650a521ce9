"""Times and states that were asked for, of what a kernel has left."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stiffguide.kernels.running.task import Ended, Pieces, Task
from stiffguide.stepping.output import AtTimes, EveryStep


def kept_states(output: Any, task: Task, ended: Ended, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Times (B, T) and states (B, T, F) that were asked for."""
    if isinstance(output, AtTimes):
        assert task.times is not None
        assert ended.saved is not None
        return task.times.expand(task.rows, -1), ended.saved.to(dtype)
    if isinstance(output, EveryStep):
        if ended.pieces is None:  # after an interrupt: start and end
            ends = torch.cat((task.t0.unsqueeze(1), ended.t), 1)
            return ends, torch.cat((task.y0.unsqueeze(1), ended.y), 1).to(dtype)
        kept = ended.counts[1] if ended.happened is None else ended.happened.kept
        return _steps(task, ended.pieces, kept, dtype)
    return ended.t, ended.y if ended.y.dtype == dtype else ended.y.to(dtype)


def _steps(task: Task, pieces: Pieces, kept: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The start, and the end of every step that was `kept` (B,), nan behind the last of a row."""
    longest = int(kept.max()) if kept.numel() else 0
    times = torch.cat((task.t0.unsqueeze(1), pieces.after[:longest].T), 1)
    states = torch.cat((task.y0.unsqueeze(1), pieces.y1[:longest].movedim(0, 1)), 1)
    beyond = torch.arange(longest + 1, device=kept.device) > kept.unsqueeze(1)
    times = times.masked_fill(beyond, float("nan"))
    return times, states.masked_fill(beyond.unsqueeze(-1), float("nan")).to(dtype)
