"""What an implicit step must not hide: modes that grow faster than it can see."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

HIDDEN = 0.1  # of the tolerance: what moved by less than that no error estimate has looked at


def turned(
    solve: Callable[[Tensor], Tensor], secant: Tensor, h: Tensor, scale: Tensor
) -> Tensor | None:
    """Rows (B,) bool in which a mode grows so fast that the step would damp it; None: in none.

    An L-stable step with h lambda >> 1 damps a growing mode just as a decaying one, and while the
    mode is below the tolerance no error estimate objects. W^-1 = (I/(h gamma) - J)^-1, the solve
    of the step, sends an eigenvector to 1/(1/(h gamma) - lambda) times itself: that turns round
    where Re lambda > 1/(h gamma), for real and complex modes and any number of them. It is asked
    of the last step's `secant` (B, F), (y1 - y0)/dt, which holds no fast noise, as f0 does; once
    in all components, and once in those that moved by a small part of their `scale` (B, F), which
    the others would outvote. As h (B, 1) goes to 0 every row passes.
    """
    scale = torch.clamp(scale, min=torch.finfo(scale.dtype).tiny)
    moved = secant * h / scale
    image = solve(secant) / scale * moved
    worst = image.sum(-1)
    if secant.shape[-1] > 1:
        worst = torch.fmin(worst, (image * (moved.abs() < HIDDEN)).sum(-1))
    found = worst < 0
    # on an accelerator asking costs more than going on with a mask
    return None if found.device.type == "cpu" and not bool(found.any()) else found
