"""The numbers that a solve is given: checked, and brought to the shapes that the loop wants."""

from __future__ import annotations

import math
import reprlib
import sys
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from stiffguide.errors import InputError, UnsupportedError
from stiffguide.fields import parts
from stiffguide.fields.layout import Layout
from stiffguide.fields.norm import GivenNorm
from stiffguide.inputs import Norm, Number, Numbers, PerEntry, Times
from stiffguide.stepping.controllers import Fixed, Grid
from stiffguide.stepping.live import Open, Problem
from stiffguide.stepping.tolerance import Tolerance
from stiffguide.tensors import constant, listed, real_dtype, tangles

ROUNDING = 1e-9  # by which the gaps of a grid may differ from what they were meant to be


def times(t0: Numbers, t1: Numbers, layout: Layout) -> tuple[Tensor, Tensor]:
    """t0 and t1 as (B,) float64 each, with their histories; raises InputError."""
    ends = []
    for name, value in (("t0", t0), ("t1", t1)):
        if isinstance(value, (float, int)) and abs(value) <= sys.float_info.max:
            ends.append(_everywhere(float(value), layout))
            continue
        t = _numbers(value, name, "a number").to(layout.device)
        if t.ndim > 1 or (t.ndim == 1 and (not layout.batched or t.shape[0] != layout.rows)):
            expected = f"a scalar or ({layout.rows},)" if layout.batched else "a scalar"
            order = ", as in solve(f, y0, t0, t1)" if name == "t0" else ""
            raise InputError(f"{name} has shape {tuple(t.shape)}; give {expected}{order}")
        endless = name == "t1" and not bool(torch.isnan(t).any())  # something else has to stop it
        if not endless and not bool(torch.isfinite(t).all()):
            raise InputError(f"{name} must be finite, not {value}")
        ends.append(t.expand(layout.rows).clone())
    return ends[0], ends[1]


def _everywhere(value: float, layout: Layout) -> Tensor:
    if layout.rows == 1:  # nobody writes to times: solves of one row share them
        return constant((value,), torch.float64, layout.device)
    return torch.full((layout.rows,), value, dtype=torch.float64, device=layout.device)


def tolerance(
    rtol: PerEntry, atol: PerEntry, layout: Layout, norm: Norm | None = None
) -> Tolerance:
    """Both tolerances: numbers, or (1 or B, 1 or F), and the norm; raises InputError.

    A complex number has one, of its modulus, whether or not flat states hold it in parts.
    """
    made = _tolerance(rtol, atol, layout)
    return made if norm is None else replace(made, given=GivenNorm(norm, layout))


def _tolerance(rtol: PerEntry, atol: PerEntry, layout: Layout) -> Tolerance:
    made = Tolerance(_per_entry(rtol, "rtol", layout), _per_entry(atol, "atol", layout))
    least = 0.0
    for name in ("rtol", "atol"):
        value = getattr(made, name)
        # numbers stay numbers: every tensor operation would cost a small solve dearly
        low = high = value
        if isinstance(value, Tensor):
            if not value.numel():
                continue
            low, high = map(float, torch.aminmax(value))
        if not (low >= 0 and high < math.inf):
            raise InputError(f"{name} must be finite and not negative, got {low:g}")
        least += low
    if least == 0 and not bool((torch.as_tensor(made.rtol) + torch.as_tensor(made.atol) > 0).all()):
        raise InputError("rtol and atol are both zero: no step can be accurate enough")
    if not layout.split:
        return made
    relative, absolute = (_of_both_parts(value, layout) for value in (made.rtol, made.atol))
    return Tolerance(relative, absolute, norm=parts.rms, size=parts.modulus)


def _of_both_parts(value: Tensor | float, layout: Layout) -> Tensor | float:
    if isinstance(value, Tensor) and value.shape[1] == layout.features:
        return value.repeat(1, 2)
    return value


def _per_entry(given: PerEntry, name: str, layout: Layout) -> Tensor | float:
    if isinstance(given, (int, float)):
        return float(given)
    if not layout.single and not isinstance(given, Tensor):
        given = Layout(given, batched=False).flatten(given, name).reshape(-1)
    value = _numbers(given, name, "a number or a tensor").detach()
    value = value.to(device=layout.device, dtype=real_dtype(layout.dtype))
    b, n, shape = layout.rows, layout.features, tuple(value.shape)
    if value.ndim == 0:
        return float(value)
    per_row = layout.batched and shape in ((b,), (b, 1))
    if shape in ((n,), (1, n)) or (layout.single and shape == layout.feature_shape):
        if per_row and shape == (b,) and n > 1:
            raise InputError(
                f"{name} of shape {shape} may mean {b} rows or {n} components: "
                f"give ({b}, 1) or (1, {n})"
            )
        return value.reshape(1, n)
    if per_row:
        return value.reshape(b, 1)
    if layout.batched and layout.single and shape == (b, *layout.feature_shape):
        return value.reshape(b, n)
    raise InputError(
        f"{name} has shape {shape}; give a number, the shape of y0 {layout.feature_shape}"
        + (f", or ({b},) per row" if layout.batched else "")
    )


def stops(tstops: Number | Times | None, t0: Tensor, t1: Tensor, layout: Layout) -> dict[str, Any]:
    """The times (B, K) to step on exactly, in order, t1 last; and which rows begin or end on one.

    As arguments of `Problem`.
    """
    if tstops is None:
        return {"stops": t1.unsqueeze(1)}
    stops = torch.atleast_2d(_numbers(tstops, "tstops", "a list of times")).to(layout.device)
    if tangles(stops):
        raise UnsupportedError("tstops requires grad, which is not supported: detach it")
    if stops.ndim != 2 or stops.shape[0] not in (1, layout.rows):
        raise InputError(f"tstops has shape {tuple(stops.shape)}; give (K,) or ({layout.rows}, K)")
    if not bool(torch.isfinite(stops).all()):
        raise InputError("tstops must be finite")
    sign = torch.where(t1 < t0, -1.0, 1.0).unsqueeze(1)
    ahead = stops.expand(layout.rows, -1) * sign
    # stops that are not inside the interval are met at its end: harmless, and no row is ragged
    outside = (ahead <= t0.unsqueeze(1) * sign) | (ahead >= t1.unsqueeze(1) * sign)
    ends = Open(*((ahead == t.unsqueeze(1) * sign).any(1) for t in (t0, t1)))
    ahead = torch.where(outside, t1.unsqueeze(1) * sign, ahead).sort(dim=1).values
    twice = torch.nn.functional.pad(ahead.diff(dim=1) == 0, (1, 0))
    ahead = torch.where(twice, t1.unsqueeze(1) * sign, ahead).sort(dim=1).values
    some = bool(ends.start.any()) or bool(ends.end.any())
    times = torch.cat((ahead * sign, t1.unsqueeze(1)), 1)
    return {"stops": times, "open": ends if some else None}


def length(value: Number | None, name: str) -> float | None:
    """A positive length of time, or None."""
    if value is None:
        return None
    number = _numbers(value, name, "a number")
    if number.ndim > 0 or not bool(number > 0):
        raise InputError(f"{name} must be positive, not {value}")
    return float(number)


def shortest(value: Number | None) -> float:
    """The least length of a step, 0 where it is not limited."""
    least = length(value, "min_step") or 0.0
    if math.isinf(least):
        raise InputError("min_step must be finite; give the length of the shortest step")
    return least


def check_lengths(p: Problem) -> None:
    """Raise InputError where dt cannot be as short, or as long, as it is to be."""
    if not p.min_step and p.max_step == math.inf:
        return
    name = type(p.controller).__name__
    if p.min_step > p.max_step:
        raise InputError(
            f"min_step is {p.min_step:g}, and max_step is {p.max_step:g}: exchange them"
        )
    if p.min_step and not p.controller.adaptive:
        raise InputError(f"min_step: {name} gives the lengths of steps; leave min_step out")
    gap = 0.0
    if isinstance(p.controller, Fixed):
        gap = p.controller.dt
    elif isinstance(p.controller, Grid):
        gap = float(p.controller.times.diff(dim=1).abs().max())
    if gap > p.max_step * (1 + ROUNDING):
        raise InputError(
            f"max_step is {p.max_step:g}, and {name} makes steps of {gap:g}: leave max_step out, "
            "or give shorter steps"
        )


def attempts(value: int) -> int:
    """A positive number of attempts."""
    if type(value) is int and value >= 1:
        return min(value, 2**62)
    number = _numbers(value, "max_attempts", "a number")
    if number.ndim > 0 or not bool(number >= 1):
        raise InputError(f"max_attempts must be at least 1, not {value}")
    return int(min(float(number), float(2**62)))


def _numbers(value: Any, name: str, what: str) -> Tensor:
    """A float64 tensor, or an InputError that says what `name` should have been."""
    try:
        return torch.as_tensor(listed(value), dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise InputError(f"{name} is not {what}: {reprlib.repr(value)}") from error
