"""How well least squares determine what they found, by the model linearised at the minimum.

The covariance is (J^T J)^-1, as it stands where the deviations of the data are known, and times
s^2 = cost / (n - p) where they are not. Directions in which no value moves are named, and have no
end. See Bates and Watts, Nonlinear Regression Analysis and Its Applications (1988), chapter 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

ALIKE = 1e-3  # squared part in a direction, from which a parameter takes part in it
NOTHING = 1e-12  # of what the most telling parameter moves
NARROW, WIDE = 1e-9, 1e-5  # singular values that are none, of columns of length one


class Uncertainty(NamedTuple):
    """The covariance of coordinates, and what has none."""

    covariance: Tensor  # (P, P): nan where held, infinite variances where undetermined
    freedom: int  # values less directions that are determined
    scale: float  # s, the residuals' own deviation in units of the given one
    loose: list[tuple[int, ...]]  # parameters that are determined only together
    directions: Tensor  # (K, P) in which no value moves, in coordinates
    without: list[int]  # parameters that move no value at all


def uncertainty(
    jacobian: Tensor, cost: float, sizes: Tensor, held: Tensor, *, absolute: bool, rtol: float
) -> Uncertainty:
    """Of coordinates at a minimum: jacobian (N, P) of weighted residuals, `held` (P,) at bounds.

    `sizes` (P,) are changes of the coordinates that can be compared with each other.
    """
    values, count = jacobian.shape
    lengths = torch.linalg.vector_norm(jacobian, dim=0)
    without = (lengths * sizes <= NOTHING * (lengths * sizes).max()) & ~held
    free = (~held & ~without).nonzero().flatten()
    covariance = torch.full((count, count), torch.nan, dtype=jacobian.dtype)
    loose: list[tuple[int, ...]] = []
    directions = jacobian.new_zeros((0, count))
    rank = 0
    if len(free):
        unit = lengths[free].reciprocal()
        _, s, v = torch.linalg.svd(jacobian[:, free] * unit, full_matrices=len(free) > values)
        small = min(max(3 * rtol, NARROW), WIDE)
        rank = int((s > small * s[0]).sum())
        null, kept = v[rank:], v[:rank] / s[:rank, None]
        found = (kept.mT @ kept) * unit[:, None] * unit
        loose = [tuple(free[list(own)].tolist()) for own in _together(null)]
        directions = null.new_zeros((len(null), count))
        directions[:, free] = null * unit
        covariance[free[:, None], free] = found
    for k in [*without.nonzero().flatten().tolist(), *(k for own in loose for k in own)]:
        covariance[k], covariance[:, k] = torch.nan, torch.nan
        covariance[k, k] = torch.inf
    freedom = values - rank
    scale = (cost / freedom) ** 0.5 if freedom > 0 else torch.inf
    if not absolute:
        covariance = covariance * scale**2
    return Uncertainty(
        covariance, freedom, scale, loose, directions, without.nonzero().flatten().tolist()
    )


def _together(null: Tensor) -> list[list[int]]:
    """Groups of parameters that directions (K, P) have in common."""
    shares = (null.mT @ null).abs()  # a projection, whatever basis spans the directions
    member = (torch.diagonal(shares) > ALIKE).nonzero().flatten().tolist()
    groups: list[list[int]] = []
    for k in member:
        near = [g for g in groups if any(shares[k, j] > ALIKE for j in g)]
        groups = [g for g in groups if g not in near] + [sorted([k, *(j for g in near for j in g)])]
    return sorted(groups)


def combination(own: Sequence[int], u: Uncertainty, names: Sequence[str], logs: Tensor) -> str:
    """What is determined of parameters that are so only together, in a sentence."""
    titles = [names[k] for k in own]
    who = f"{', '.join(titles[:-1])} and {titles[-1]}"
    along = u.directions[:, list(own)]
    along = along[torch.linalg.vector_norm(along, dim=1) > 0]
    if len(own) == 2 and bool(logs[list(own)].all()):
        a, b = along[along.abs().amax(1).argmax()].tolist()
        for sign, word, how in ((-1, "product", "*"), (1, "ratio", "/")):
            if abs(a - sign * b) < 1e-3 * abs(a):
                return f"{who} are determined only as the {word} {titles[0]} {how} {titles[1]}"
    return f"{who} are determined only in combination"


def intervals(u: Tensor, covariance: Tensor, quantile: float) -> Tensor:
    """Coordinates (2, P) within a number of standard deviations; nan where there are none."""
    reach = quantile * torch.diagonal(covariance).sqrt()
    return torch.stack((u - reach, u + reach))
