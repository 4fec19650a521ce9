"""The search from many starts, and the best of them followed to the end."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from stiffguide.errors import SolveFailed
from stiffguide.fitting import starts
from stiffguide.fitting.levenberg_marquardt import (
    CONVERGED,
    FAILED,
    MOVING,
    Aims,
    Box,
    Minimum,
    Residuals,
    minimise,
)
from stiffguide.fitting.model import Model
from stiffguide.progress import bars

FTOL, POLISHED = 1e-6, 1e-12  # reductions of the cost that are too small to go on for
BEST, LAST = 4, 20  # starts that are followed to the end, and attempts for that
LONGEST = 2.0  # step of a logarithm; of another parameter, in units of its region
GOOD = 0.1  # residuals, in tolerances of the solve, that are as good as none


class Search(NamedTuple):
    """Where all starts ended, and what is there at the best of them."""

    minimum: Minimum
    best: int
    box: Box
    at: Residuals  # of one row
    alike: float  # costs up to this one are those of the best


def search(model: Model, u0: Tensor, *, progress: bool) -> Search:
    """Go down from coordinates u0 (R, P); raises SolveFailed where no start can be solved."""
    p = model.parameters
    box = Box(p.coordinates(p.lower), p.coordinates(p.upper))
    least, most = starts.region(p)
    longest = torch.where(p.logs, LONGEST, LONGEST * (most - least))
    level = model.tolerance().square().sum()  # the cost of what the solver leaves
    enough = (GOOD**2 * level).expand(len(u0))
    found = _shown(model, u0, box, Aims(FTOL, enough, longest), progress=progress)
    if bool((found.status == FAILED).all()):
        raise SolveFailed(f"no start of the fit could be solved; {model.sentence(u0[0])}")
    few = found.cost.argsort()[:BEST]
    few = few[found.cost[few] < torch.inf]
    aims = Aims(POLISHED, enough[few], longest, LAST)
    ends = minimise(lambda u, rows: model(u, few[rows]), found.u[few], box, aims)
    status = torch.where(found.status[few] == CONVERGED, CONVERGED, ends.status)
    found = Minimum(
        found.u.index_copy(0, few, ends.u),
        found.cost.index_copy(0, few, ends.cost),
        found.status.index_copy(0, few, status),
        found.evaluations + ends.evaluations,
    )
    best = int(found.cost.argmin())
    at = model(found.u[best : best + 1], torch.tensor([best]))
    alike = (1 + ALIKE) * float(found.cost[best]) + float(level)
    return Search(found, best, box, at, alike)


ALIKE = 1e-3  # of the best cost: what is nearer to it is the same minimum


def _shown(model: Model, u0: Tensor, box: Box, aims: Aims, *, progress: bool) -> Minimum:
    if not progress:
        return minimise(model, u0, box, aims)
    form = "{percentage:5.1f}% |{bar}| {elapsed}"
    with bars()(total=len(u0), unit="start", bar_format=form) as bar:

        def look(status: Tensor) -> None:
            bar.update(int((status != MOVING).sum()) - bar.n)

        return minimise(model, u0, box, aims, look)
