"""Where a search begins: at the user's values, and at others all around."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

from stiffguide.fitting.parameters import Parameters

DECADE = math.log(10.0)


def region(p: Parameters) -> tuple[Tensor, Tensor]:
    """The coordinates (P,) between which starts lie: the bounds, or as far as is usual.

    That is a decade each way for a logarithm, and for any other parameter its own size.
    """
    middle, low, high = (p.coordinates(x) for x in (p.start, p.lower, p.upper))
    size = torch.where(p.start == 0, 1.0, p.start.abs())
    reach = torch.where(p.logs, DECADE, size)
    both = low.isfinite() & high.isfinite()
    least = torch.where(both, low, torch.maximum(low, middle - reach))
    most = torch.where(both, high, torch.minimum(high, middle + reach))
    return least, most


def spread(p: Parameters, count: int, seed: int) -> Tensor:
    """Coordinates (count, P): first those of the user's values, then a Sobol sequence."""
    least, most = region(p)
    draws = SobolEngine(len(least), scramble=True, seed=seed).draw(count, dtype=least.dtype)
    found = least + (most - least) * draws
    found[0] = p.coordinates(p.start)
    return found
