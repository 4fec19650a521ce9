"""Where events happen within a step: changes of sign along the interpolant, and their roots.

Letters: E events. `side` is the sign that an event has before a crossing, 0 where it was zero when
the solve began, as in scipy. What is found here is a proposal: see `events`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from stiffguide.stepping.interpolate import evaluate

PLACES = (0.25, 0.5, 0.75)  # of a step, at which events are looked at besides its end
SHALLOW = 0.3  # of its neighbours' height: a minimum that low may reach below zero
ROUNDS = 4  # of a parabola, towards a minimum
NARROW = 2.0**-10  # of a step: the distance of two values whose difference is a slope
FAR = 0.25  # of a step, up to which its slope is believed beyond its end
MOST = 60  # evaluations for a root: bisection alone would be at the last bit
EARLY = 0.2  # of the bracket, by which the secant's root is moved towards its middle (ITP)

Value = Callable[[Tensor, Tensor], Tensor]  # of t (B,) and y (B, F): (B,)


class Along(NamedTuple):
    """A step as a curve: theta in [0, 1] stands for t0 + theta (t1 - t0)."""

    events: Sequence[Value]
    t0: Tensor  # (B,)
    t1: Tensor  # (B,)
    y0: Tensor  # (B, F)
    y1: Tensor  # (B, F)
    coefficients: Tensor  # (D, B, F)

    def value(self, k: int, theta: Tensor) -> Tensor:
        """Event k at theta (B,)."""
        y = evaluate(self.coefficients, theta, self.y0, self.y1)
        return self.events[k](self.t0 + theta * (self.t1 - self.t0), y).to(theta.dtype)

    def values(self, place: float) -> Tensor:
        """All events at one place (B, E)."""
        theta = torch.full_like(self.t0, place)
        y, t = evaluate(self.coefficients, theta, self.y0, self.y1), self.t0
        t = t + place * (self.t1 - t)
        return torch.stack([event(t, y).to(theta.dtype) for event in self.events], -1)


class Crossings(NamedTuple):
    """What the events did in a step."""

    root: Tensor  # (B, E) theta of the first crossing that is wanted; inf where there is none
    goes: Tensor  # (B, E) the side after it
    side: Tensor  # (B, E) the side at the end, where there is none


def crossings(
    along: Along, side: Tensor, ends: tuple[Tensor, Tensor], direction: Tensor, width: Tensor
) -> Crossings:
    """The first crossing of each event that goes in its `direction` (E,); 0 wants both.

    `ends` are the events (B, E) at both ends, `width` (B,) is what a root may be off by.
    """
    inner = [along.values(place) for place in PLACES]
    values = torch.stack((ends[0], *inner, ends[1]))
    places = torch.tensor((0.0, *PLACES, 1.0), dtype=values.dtype, device=values.device)
    places = places[:, None, None].expand_as(values)
    places, values = _with_minima(along, side, places, values)
    low, high, goes, side = _walk(places, values, side, direction)
    root = torch.stack([_root(along, k, low, high, goes, width) for k in range(len(direction))], -1)
    return Crossings(root, goes, side)


def ahead(along: Along, side: Tensor, ends: Tensor, direction: Tensor) -> Tensor:
    """Where (B, E) events would cross a little beyond the end of a step, else inf.

    The step is as good as the solution at its end, where its slope leads to what is left.
    """
    slope = (along.values(1 + NARROW) - along.values(1 - NARROW)) / (2 * NARROW)
    rest = -ends / slope
    heads = (side * ends > 0) & (side * slope < 0) & (rest <= FAR)
    heads = heads & ((direction == 0) | (direction == -side))
    return torch.where(heads, 1 + rest, torch.inf)


def _walk(
    places: Tensor, values: Tensor, side: Tensor, direction: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Along the samples (M, B, E): brackets of theta, nan where nothing is found, and sides."""
    low = high = torch.full_like(side, torch.nan)
    gone, found = side, torch.zeros_like(side, dtype=torch.bool)
    for i in range(1, len(values)):
        here, rest = values[i], values[i - 1] == 0
        # nan tells nothing, and an event that stays zero does not cross it again and again
        sign = torch.where(torch.isnan(here) | ((here == 0) & rest), side, torch.sign(here))
        leaves, crosses = (side == 0) & (sign != 0), (side != 0) & (sign != side)
        goes = torch.where(leaves, sign, -side)
        wanted = (leaves | crosses) & ~found & ((direction == 0) | (direction == goes))
        low = torch.where(wanted, places[i - 1], low)
        high = torch.where(wanted, torch.where(leaves, places[i - 1], places[i]), high)
        gone = torch.where(wanted, goes, gone)
        found = found | wanted
        side = torch.where((leaves | crosses) & ~found, goes, side)
    return low, high, gone, side


def _with_minima(
    along: Along, side: Tensor, places: Tensor, values: Tensor
) -> tuple[Tensor, Tensor]:
    """The samples (M, B, E), where one made place for a minimum beyond zero that they jump over."""
    height = values * side
    left, middle, right = height[:-2], height[1:-1], height[2:]
    bend, tilt = left - 2 * middle + right, right - left
    lowest = middle - tilt**2 / (8 * bend)
    top = torch.maximum(torch.maximum(left, middle), right)
    near = (bend > 0) & (tilt.abs() <= 2 * bend) & (lowest < SHALLOW * (top - lowest))
    near = near & (height > 0)[1:].all(0)
    if values.device.type == "cpu" and not bool(near.any()):
        return places, values
    at = torch.where(near, lowest, torch.inf).argmin(0, keepdim=True)
    spot = []
    for k in range(values.shape[-1]):
        triple = [
            tuple(x[..., k].gather(0, at[..., k] + j).squeeze(0) for j in range(3))
            for x in (places, height)
        ]
        spot.append(_minimum(along, k, side[:, k], *triple))
    x, a = (torch.stack(found, -1) for found in zip(*spot, strict=True))
    beyond = near.any(0) & (a <= 0)
    taken = torch.zeros_like(height, dtype=torch.bool).scatter_(0, at + 1, True) & beyond
    return torch.where(taken, x, places), torch.where(taken, a * side, values)


def _minimum(
    along: Along, k: int, side: Tensor, x: tuple[Tensor, ...], a: tuple[Tensor, ...]
) -> tuple[Tensor, Tensor]:
    """Where side times event k is least between x_0 and x_2 (B,), by parabolas through three."""
    (x0, x1, x2), (a0, a1, a2) = x, a
    for _ in range(ROUNDS):
        p, q = (x1 - x0) * (a1 - a2), (x1 - x2) * (a1 - a0)
        best = x1 - ((x1 - x0) * p - (x1 - x2) * q) / (2 * (p - q))
        best = torch.where((best > x0) & (best < x2) & (best != x1), best, (x0 + x1) / 2)
        found = side * along.value(k, best)
        lower, before = found < a1, best < x1
        left, right = (lower & ~before) | (~lower & before), (lower & before) | (~lower & ~before)
        inner, outer = torch.where(lower, x1, best), torch.where(lower, a1, found)
        x0, a0 = torch.where(left, inner, x0), torch.where(left, outer, a0)
        x2, a2 = torch.where(right, inner, x2), torch.where(right, outer, a2)
        x1, a1 = torch.where(lower, best, x1), torch.where(lower, found, a1)
    return x1, a1


def _root(along: Along, k: int, low: Tensor, high: Tensor, goes: Tensor, width: Tensor) -> Tensor:
    """Where event k crosses in its bracket (B,), seen from beyond; inf where it has none.

    By ITP (Oliveira and Takahashi, ACM TOMS 47, 2021), which is never slower than bisection.
    """
    goes, low, high = goes[:, k], low[:, k], high[:, k]
    none, on_cpu = torch.isnan(low), low.device.type == "cpu"
    if on_cpu and bool(none.all()):
        return torch.full_like(low, torch.inf)
    low, high = torch.nan_to_num(low), torch.nan_to_num(high)
    first = high - low
    before, after = (-goes * along.value(k, x) for x in (low, high))
    # the side of the start may be one that its rounded value does not show
    before = torch.where(before > 0, before, after.abs())
    halvings = torch.ceil(torch.log2(torch.clamp(first / width, min=1.0))) + 1
    for j in range(MOST):
        gap = high - low
        if on_cpu and bool((gap <= width).all()):
            break
        middle = (low + high) / 2
        secant = (after * low - before * high) / (after - before)
        secant = torch.where(torch.isfinite(secant), secant, middle)
        toward, shift = torch.sign(middle - secant), EARLY * gap**2 / first
        x = torch.where(shift <= (middle - secant).abs(), secant + toward * shift, middle)
        # what bisection could still afford: so far from the middle the next point may be
        spare = torch.clamp(width / 2 * 2.0 ** (halvings - j) - gap / 2, min=0.0)
        x = torch.where((x - middle).abs() <= spare, x, middle - toward * spare)
        x = torch.where(gap <= width, high, x)
        found = -goes * along.value(k, x)
        beyond = found <= 0
        low, before = torch.where(beyond, low, x), torch.where(beyond, before, found)
        high, after = torch.where(beyond, x, high), torch.where(beyond, found, after)
    return torch.where(none, torch.inf, high)
