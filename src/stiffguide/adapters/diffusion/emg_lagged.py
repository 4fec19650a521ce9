"""The lagged correction of EMG: the interval before the last is integrated once more.

When D at a is there, the interval q -> p has a node beyond its end, and one more than when the
corrector went over it. With the letters of `emg`, r the level before q, w the weight that hindsight
gives to the bend, and C as the new evaluation has it:

    v   = 1 - w                       (1 while there is nothing to judge by)
    x'  = (p/q) x_q + p int_{1/q}^{1/p} D(g(s)) ds     D: the cubic in g through a, p, q and r
    x_p += v (x' - x_p);   D_p += mu v (x' - x_p),     mu the part that EMG gives its own move

and the step goes on from there. No evaluation; one state and one difference of D are kept longer.
The integrals are of products of differences of g, by Gauss-Legendre points: closed forms, from the
integrals of the powers of g, cancel: where C is at its bound the third is a tenth off.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from stiffguide.adapters.diffusion.emg_weights import (
    PART,
    Numbers,
    Products,
    Scalars,
    StepScalars,
    hindsight,
    scalars,
    variance,
)
from stiffguide.tensors import lasting

POINTS = 16  # 1e-9 over an interval of five e-folds, rounding over those that grids have


class Before(NamedTuple):
    """What a lagged correction needs of the step before."""

    x: Tensor | None  # (B, F) the corrected state at q
    rise: Tensor | None  # (B, F) D at q minus D at r


class Panel(NamedTuple):
    """The points of one interval q -> p, and the levels around it."""

    squares: Scalars  # (L + P, 1) of the levels a, p, q and r, and of the points
    gaps: Scalars  # (3, P, 1), y^2 - x^2 of x a point and y = q, p, a
    weights: Scalars  # (P, 1) of the integral p int ds
    inner: Scalars  # (L (L - 1)/2, 1) y^2 - x^2 of pairs of levels, see PAIRS


# x and y of g_x - g_y among the levels a, p, q, r: those with r come last
PAIRS = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))


@lru_cache(maxsize=512)
def panel_for(levels: tuple[float, ...], device: torch.device | None) -> Panel:
    """The panel of the levels a, p, q and, where it is there, r; on a device, or for numpy."""

    def made(values: Any) -> Scalars:
        array = np.array(values)
        return array if device is None else torch.from_numpy(array).to(device)

    a, p, q = levels[:3]
    x, w = np.polynomial.legendre.leggauss(POINTS)
    span = math.log(q / p)
    at = q * np.exp(-(x + 1) / 2 * span)
    pairs = [(levels[i], levels[j]) for i, j in PAIRS if max(i, j) < len(levels)]
    with lasting(), _disable_current_modes():  # of fake tensors: real ones are kept
        return Panel(
            made(np.square([*levels, *at])[:, None]),
            made([((y - at) * (y + at))[:, None] for y in (q, p, a)]),
            made((w / 2 * span * p / at)[:, None]),
            made([[(y - x) * (y + x)] for x, y in pairs]),
        )


def integrals(maths: Any, panel: Panel, count: int, c: Scalars) -> tuple[list[Scalars], Scalars]:
    """J_1 to J_3 (B,), and g_x - g_y (pairs, B) of the `count` levels; powers of sqrt(C) left out.

    J_1 = p int (g - g_q) ds, J_2 = p int (g - g_q)(g - g_p) ds, J_3 with (g - g_a) as well.
    """
    s = maths.sqrt(panel.squares + c)
    points, levels = s[count:], s[:count]
    product, found = panel.weights, []
    for k, gap in zip((2, 1, 0), panel.gaps, strict=True):
        product = product * gap / (points * levels[k] * (points + levels[k]))
        found.append(product.sum(0))
    pairs = [(levels[i], levels[j]) for i, j in PAIRS if max(i, j) < count]
    differences = [gap / (x * y * (x + y)) for gap, (x, y) in zip(panel.inner, pairs, strict=True)]
    return found, differences


def lagged_scalars(
    maths: Any,
    levels: tuple[float, ...],
    numbers: Numbers,
    products: Products,
    guess: Scalars | None,
    third: bool,
) -> StepScalars:
    """`scalars`, and behind its weights those of the lagged correction (B,).

    Of the way x' - x_p in x and in D; then in this way: of the rise to D_a, of the rise to D_p, and
    where there is an r of the rise to D_q. levels: b, a, p, q and, where it is there, r.
    """
    made = scalars(maths, levels, numbers, products, guess, third)
    c = variance(maths, levels, numbers, products)
    nodes = levels[1:]
    p, q = nodes[1:3]
    panel = panel_for(nodes, None if maths is np else c.device)
    (j1, j2, j3), differences = integrals(maths, panel, len(nodes), c)
    ap, aq, pq = differences[:3]
    share = 0.0 if guess is None else hindsight(products, *guess)
    v = 1 - share + 0 * c
    mu = PART / (1 + (math.log(q / p) / 2) ** 2) * c / (c + p * p)
    to_a, to_p = j2 / (ap * aq), (j1 - j2 / aq) / pq - (1 - p / q)
    lag = [v, v * mu, to_a, to_p]
    if len(nodes) > 3:
        ar, pr, qr = differences[3:]
        cubic = j3 / ar
        lag[2:] = [to_a + cubic / (ap * aq), to_p - cubic / pq * (1 / aq + 1 / pr)]
        lag.append(cubic / (pr * qr))
    return StepScalars([*made.weights, *lag], made.scales)


class Again(NamedTuple):
    """What the lagged correction leaves and finds."""

    columns: tuple[Tensor, ...]  # the weights that are left for the step
    x: Tensor  # (B, F) at p
    d: Tensor  # (B, F) at p
    rises: tuple[Tensor, Tensor]  # (B, F) D at a minus D at p, and D at p minus D at q


def corrected_again(
    columns: tuple[Tensor, ...],
    x: Tensor,
    d: Tensor,
    rises: tuple[Tensor, Tensor],
    before: Before,
    ratio: float,
) -> Again:
    """Move x and D at p (B, F) by the last of the columns (B, 1); rises are those to D_a and D_p.

    ratio: p/q.
    """
    known = rises if before.rise is None else (*rises, before.rise)
    left = len(columns) - 2 - len(known)
    v, mu, *weights = columns[left:]
    assert before.x is not None
    away = torch.lerp(d, before.x, ratio) - x
    for weight, rise in zip(weights, known, strict=True):
        away = torch.addcmul(away, weight, rise)
    moved = mu * away
    return Again(
        columns[:left], torch.addcmul(x, v, away), d + moved, (rises[0] - moved, rises[1] + moved)
    )
