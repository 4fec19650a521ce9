"""Whether f is a function, of rows that do not depend on each other: seen by moving other rows.

What a row of f is may depend on its place in the batch, for vectorised code rounds by place, but
not on what stands in other rows. So f is compared with itself in the rows that stay, bit by bit;
what differs may still be rounding (sums in random order on a GPU, an iteration inside f that ends
for all rows together), and counts from eps^0.7 on, as in `tracing.agreement`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from stiffguide.errors import InputError
from stiffguide.tensors import real_dtype, transformed

Flat = Callable[[Tensor, Tensor], Tensor]

ONCE = (
    "f gives two values for one input: is a module in training mode? call model.eval(); random "
    "numbers and counters of calls have no place in f either (checks=False lets it pass)"
)
STATES = (
    "row {row} of f depends on row {other} of y: with batched=True y has shape (B, F); unpack "
    "y.unbind(-1), not `a, b = y`; BatchNorm in training mode couples rows, too (checks=False lets "
    "it pass)"
)
TIMES = (
    "row {row} of f depends on t of row {other}: with batched=True t has shape (B,), and every row "
    "its own time; use t.unsqueeze(-1), not t[0] (checks=False lets it pass)"
)


class Start(NamedTuple):
    """Where a solve begins, and the value of f there."""

    t0: Tensor  # (B,)
    t1: Tensor  # (B,) t0 where rows keep one time between them
    y0: Tensor  # (B, F)
    f0: Tensor  # (B, F)


def sizes(y: Tensor) -> Tensor:
    """|y| (B, F); where that is 0, the least of the row that is not, or 1."""
    size = y.detach().abs()
    least = torch.where(size > 0, size, torch.inf).amin(-1, keepdim=True)
    return torch.where(size > 0, size, torch.where(least < torch.inf, least, 1.0))


def draws(seed: int, like: Tensor) -> Tensor:
    """Numbers (F,) between 1/2 and 3/2, the same ones in every process."""
    if transformed():  # vmap, which may be at work, lets nobody draw
        u = torch.arange(1, like.shape[-1] + 1, dtype=torch.float64) * (0.618 * seed) % 1.0
    else:
        draw = torch.Generator().manual_seed(seed)
        u = torch.rand(like.shape[-1], generator=draw, dtype=torch.float64)
    return (0.5 + u).to(dtype=real_dtype(like.dtype), device=like.device)


def check(f: Flat, s: Start) -> None:
    """Raise InputError where f is no function, or its rows depend on each other."""
    rows = torch.arange(len(s.y0), device=s.y0.device)
    # even rows and odd ones: neighbours on both sides, and of two rows each
    moves = (rows % 2 == 0, rows % 2 == 1) if len(rows) > 1 else (rows < 0,)
    for moved in moves:
        value = _elsewhere(f, s, moved)
        if value is not None and not bool((_same(value, s.f0) | moved.unsqueeze(-1)).all()):
            _explain(f, s, moved, value)


def _elsewhere(f: Flat, s: Start, moved: Tensor, *, times: bool = True) -> Tensor | None:
    """f with other states, and times, in the rows `moved` (B,); None if f would not have that."""
    y = torch.where(moved.unsqueeze(-1), s.y0 + sizes(s.y0) * draws(0, s.y0) / 8, s.y0)
    for t in (torch.where(moved, _later(s), s.t0), s.t0) if times else (s.t0,):
        try:
            return f(t, y)
        except Exception:  # of the user's f, beyond what it was made for
            continue
    return None


def _later(s: Start) -> Tensor:
    """Times (B,) a tenth of the way to t1."""
    span = s.t1 - s.t0
    endless = torch.sign(span) * torch.clamp(s.t0.abs(), min=1.0)
    return s.t0 + torch.where(torch.isinf(span), endless, span) / 10


def _same(a: Tensor, b: Tensor) -> Tensor:
    return (a == b) | (a.isnan() & b.isnan())


def _near(a: Tensor, b: Tensor, noise: Tensor | float) -> Tensor:
    """Where a and b are the same up to rounding, and to `noise`."""
    size = torch.maximum(a.abs(), b.abs())
    return _same(a, b) | ((a - b).abs() <= _rounding(a) * size + noise)


def _rounding(like: Tensor) -> float:
    return float(torch.finfo(like.dtype).eps ** 0.7)


def _explain(f: Flat, s: Start, moved: Tensor, value: Tensor) -> None:
    """Raise InputError with the cause why `value` is not f0 in the rows that stayed."""
    f0, noise = s.f0.detach(), torch.zeros_like(s.f0[:1].abs())
    for again in (f(s.t0, s.y0), f(s.t0, s.y0)):
        if _random(f, s, again.detach()):
            raise InputError(ONCE)
        change = (again.detach() - f0).abs().nan_to_num(0.0, 0.0)
        noise = torch.maximum(noise, change.amax(0, keepdim=True))
    noise = 100 * noise
    far = (~_near(value.detach(), f0, noise)).any(-1) & ~moved
    if not bool(far.any()):
        return
    if not bool(moved.any()):
        raise InputError(ONCE)
    row = int(far.nonzero()[0])

    def depends(on: Tensor, *, times: bool) -> bool:
        found = _elsewhere(f, s, on, times=times)
        return found is not None and not bool(_near(found[row], f0[row], noise[0]).all())

    states = depends(moved, times=False)
    others = moved.nonzero().flatten()
    while len(others) > 1:
        half = others[: len(others) // 2]
        on = torch.zeros_like(moved).index_fill(0, half, True)
        others = half if depends(on, times=not states) else others[len(half) :]
    raise InputError((STATES if states else TIMES).format(row=row, other=int(others[0])))


def _random(f: Flat, s: Start, again: Tensor) -> bool:
    """Whether f0 and f `again` differ by more than the rounding of the terms |f| + |J| |y|."""
    difference = (again - s.f0.detach()).abs().nan_to_num(nan=torch.inf)
    difference = torch.where(_same(again, s.f0), 0.0, difference)
    row, i = divmod(int(difference.argmax()), difference.shape[-1])
    terms = s.f0[row, i].abs().detach()
    try:
        with torch.enable_grad():
            y = s.y0.detach().requires_grad_()
            (slope,) = torch.autograd.grad(f(s.t0, y)[row, i].abs(), y)
        terms = terms + (slope[row] * y[row]).abs().sum().detach().nan_to_num()
    except RuntimeError:  # autograd cannot see through f, or part of it
        pass
    return bool(difference[row, i] > _rounding(again) * terms)
