"""What an implicit step must not believe: a Jacobian that is not finite, a growth that it damps."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from stiffguide.algebra.mass import Mass
from stiffguide.stepping.contracts import Field, Linearisation, Units

HIDDEN = 0.1  # of the tolerance: what moved by less than that no error estimate has looked at


def sound(
    found: Linearisation, f: Field, t: Tensor, y: Tensor, units: Units
) -> tuple[Linearisation, Tensor | None]:
    """A Jacobian that is finite, and the rows (B,) bool in which it is; None: in all.

    f may be finite where its derivative is not (sqrt at 0), or where autograd only believes so
    (`torch.where` around 0/0). A solve with J = inf gives 0, which looks like rest: differences
    take the place of entries that are not finite.
    """
    total = found.jac.detach().sum()
    if found.time is not None:
        total = total + found.time.detach().sum()
    if y.device.type != "cpu":  # asking would cost more than a rejection
        return found, _finite(found)
    if math.isfinite(total) or bool(_finite(found).all()):  # a sum may overflow by itself
        return found, None
    with torch.no_grad():
        other = f.by_differences(t, y, units, time=found.time is not None)
        jac = torch.where(torch.isfinite(found.jac), found.jac, other.jac)
        time = found.time
        if time is not None and other.time is not None:
            time = torch.where(torch.isfinite(time), time, other.time)
    mended = Linearisation(jac, time, found.nfe + other.nfe)
    fine = _finite(mended)
    return mended, None if bool(fine.all()) else fine


def _finite(x: Linearisation) -> Tensor:
    fine = torch.isfinite(x.jac).flatten(1).all(-1)
    return fine if x.time is None else fine & torch.isfinite(x.time).all(-1)


def turned(
    solve: Callable[[Tensor], Tensor],
    secant: Tensor,
    h: Tensor,
    scale: Tensor,
    mass: Mass | None = None,
) -> Tensor | None:
    """Rows (B,) bool in which a mode grows so fast that the step would damp it; None: in none.

    An L-stable step with h lambda >> 1 damps a growing mode just as a decaying one, and while the
    mode is below the tolerance no error estimate objects. W^-1 = (I/(h gamma) - J)^-1, the solve
    of the step, sends an eigenvector to 1/(1/(h gamma) - lambda) times itself: that turns round
    where Re lambda > 1/(h gamma), for real and complex modes and any number of them. It is asked
    of the last step's `secant` (B, F), (y1 - y0)/dt, which holds no fast noise, as f0 does; once
    in all components, and once in those that moved by a small part of their `scale` (B, F), which
    the others would outvote. Those are asked again alone where they seem to turn: on a grid some
    points rest while their neighbours, to which diffusion ties them, move the other way. As h
    (B, 1) goes to 0 every row passes.

    With a mass M y moves in the place of y, and W^-1 = (M/(h gamma) - J)^-1: what holds no
    derivative follows the rest, and may well go another way.
    """
    if mass is not None:
        weigh, only = mass.times, solve
        solve, secant, scale = (lambda d: weigh(only(d))), weigh(secant), mass.sizes(scale)
    scale = torch.clamp(scale, min=torch.finfo(scale.dtype).tiny)
    moved = secant * h / scale
    image = solve(secant) / scale * moved
    found = image.sum(-1) < 0
    if secant.shape[-1] > 1:
        hidden = moved.abs() < HIDDEN
        found = found | _turned_alone(solve, secant, moved, scale, hidden, image)
    # on an accelerator asking costs more than going on with a mask
    return None if found.device.type == "cpu" and not bool(found.any()) else found


def _turned_alone(
    solve: Callable[[Tensor], Tensor],
    secant: Tensor,
    moved: Tensor,
    scale: Tensor,
    hidden: Tensor,
    image: Tensor,
) -> Tensor:
    """Rows (B,) bool in which the `hidden` components turn round, also by themselves."""
    found = (image * hidden).sum(-1) < 0
    if found.device.type == "cpu" and not bool(found.any()):
        return found
    alone = solve(secant * hidden) / scale * moved * hidden
    return found & (alone.sum(-1) < 0)
