"""The dense output of a solve as scipy's `OdeSolution`: a function of time with its pieces."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stiffguide.errors import InputError
from stiffguide.fronts.arrays import Arrays
from stiffguide.stepping.trajectory import Trajectory


class Interpolant:
    """One piece, between `t_old` and `t`; it can be evaluated beyond them."""

    t: float
    t_old: float
    t_max: float
    t_min: float

    def __init__(self, trajectory: Trajectory, arrays: Arrays) -> None:
        self._trajectory, self._arrays = trajectory, arrays
        self.t_old, self.t = float(trajectory.before[0, 0]), float(trajectory.after[-1, 0])
        self.t_min, self.t_max = min(self.t_old, self.t), max(self.t_old, self.t)

    def __call__(self, t: Any) -> Any:
        """(n,) at a time, (n, n_points) at times (n_points,)."""
        times = torch.as_tensor(t, dtype=torch.float64, device=self._trajectory.before.device)
        if times.ndim > 1:
            raise InputError("`t` must be a float or a 1-D array.")
        states = self._trajectory.extended(times.reshape(1, -1))[0]
        return self._arrays.give(states.T if times.ndim else states[0])


class OdeSolution:
    """All pieces; outside of [t_min, t_max] the first and the last one go on.

    ts (n_segments + 1,) are the ends of steps; there, the earlier of two pieces is asked.
    """

    t_max: float
    t_min: float

    def __init__(self, trajectory: Trajectory, arrays: Arrays) -> None:
        whole = Interpolant(trajectory, arrays)
        self._whole = whole
        self.t_min, self.t_max = whole.t_min, whole.t_max
        self.ts: Any = arrays.give(torch.cat((trajectory.before[:1, 0], trajectory.after[:, 0])))
        self.n_segments: int = trajectory.after.shape[0]
        pieces = (trajectory.piece(i) for i in range(self.n_segments))
        self.interpolants: list[Interpolant] = [Interpolant(piece, arrays) for piece in pieces]

    def __call__(self, t: Any) -> Any:
        """(n,) at a time, (n, n_points) at times (n_points,)."""
        return self._whole(t)


def standstill(y0: Tensor, t0: float, t1: float) -> Trajectory:
    """One piece on which nothing changes."""
    ends = torch.tensor([[[t0]], [[t1]]], dtype=torch.float64, device=y0.device)
    state = y0.reshape(1, 1, -1)
    sign = torch.ones(1, dtype=torch.float64, device=y0.device)
    return Trajectory(ends[0], ends[1], state, state, torch.zeros_like(state).unsqueeze(0), sign)
