"""Steps of given lengths: their times, and the solution between them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from stiffguide.fronts.torchdiffeq.settings import Options
from stiffguide.stepping.controllers import Fixed, Grid
from stiffguide.stepping.output import AtTimes, Chords, End, EveryStep

NO_STEP = (
    "Event handling for fixed step solvers currently requires `step_size` to be provided in "
    "options."
)
MOST_TO_EVENT = 20_000  # steps, as in torchdiffeq
EXCLUSIVE = "step_size and grid_constructor are mutually exclusive arguments."


def settings(options: Options, func: Any, y0: Any, t: Tensor, *, to_event: bool) -> dict[str, Any]:
    """What a method takes whose steps are given, to the end of t (T,) or to an event."""
    linear, sided = options.take("interp", "linear"), options.take("perturb", False)
    if linear not in ("linear", "cubic"):
        raise ValueError(f"interp: {linear!r} is unknown; give 'linear' or 'cubic'")
    if to_event:
        step = options.take("step_size")
        assert step is not None, NO_STEP
        most = int(options.take("max_num_steps", MOST_TO_EVENT))
        return {"controller": Fixed(abs(float(step))), "max_attempts": most}
    grid = times(options, func, y0, t).double()
    chosen: dict[str, Any] = {"controller": Grid(grid)}
    if sided:
        chosen["tstops"] = grid.detach()
    if len(t) == 2:
        chosen["save_at"] = End()  # and the start is known
    elif len(grid) == len(t) and bool((grid == t).all()):
        chosen["save_at"] = EveryStep()
    else:
        chosen["save_at"] = (Chords if linear == "linear" else AtTimes)(t)
    return chosen


def times(options: Options, func: Any, y0: Any, t: Tensor) -> Tensor:
    """The times (N + 1,) to step between, from t[0] to t[-1]; raises ValueError, AssertionError."""
    step, constructor = options.take("step_size"), options.take("grid_constructor")
    if step is not None and constructor is not None:
        raise ValueError(EXCLUSIVE)
    if constructor is None:
        return t if step is None else _even(t, float(step))
    found: Tensor = constructor(func, y0, t).to(t.device)
    ends = torch.stack((t[0], t[-1], found[0], found[-1])).detach().tolist()
    assert ends[:2] == ends[2:], (
        "grid_constructor: the grid must run from {:g} to {:g}, as t does, not from {:g} to "
        "{:g}".format(*ends)
    )
    return found


def _even(t: Tensor, step: float) -> Tensor:
    """Times from t[0] on, `step` apart, and t[-1]."""
    if not step > 0:
        raise ValueError(f"step_size must be positive, not {step:g}")
    first, last = t[0].detach().item(), t[-1].detach().item()
    forth = math.copysign(step, last - first)
    count = math.ceil(abs(last - first) / step)
    # in the precision of t, as is whoever counts these steps
    times = torch.arange(count, dtype=t.dtype, device=t.device) * forth + t[0]
    while count and (times[count - 1].detach().item() - last) * forth >= 0:
        count -= 1  # rounded beyond the end, or to it
    return torch.cat((times[:count], t[-1:]))
