"""From a search to what users are told: values, intervals, and sentences about both."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stiffguide.fitting.fitted import Fit, Restarts, split
from stiffguide.fitting.levenberg_marquardt import CONVERGED, FAILED
from stiffguide.fitting.model import Model
from stiffguide.fitting.search import Search
from stiffguide.fitting.uncertainty import Uncertainty, combination, intervals, uncertainty
from stiffguide.fitting.written import Written


def presented(s: Search, written: Written, level: float) -> Fit:
    """A search as a Fit."""
    model = written.model
    p, m = model.parameters, model.measured
    u, cost = s.minimum.u[s.best], float(s.minimum.cost[s.best])
    at = p.values(u).clamp(p.lower, p.upper)
    r, j = s.at.values[0], s.at.jacobian[0]
    held = s.box.held(u, j.mT @ r)
    known, rtol = m.sigma is not None, torch.as_tensor(model.settings.rtol)
    sizes = torch.where(p.logs, 1.0, torch.where(at == 0, 1.0, at.abs()))
    found = uncertainty(j, cost, sizes, held, absolute=known, rtol=float(rtol.max()))
    quantile = _quantile(level, found.freedom)
    ends = p.values(intervals(u, found.covariance, quantile)).mT
    slopes = p.slopes(at)
    y0 = tuple(written.state(at, k) for k in range(len(m.y0)))
    every = p.values(s.minimum.u).clamp(p.lower, p.upper)
    return Fit(
        params=p.form.given(at[: p.own]),
        y0=y0 if m.several else y0[0],
        cost=cost,
        names=p.names,
        values=at,
        covariance=slopes[:, None] * found.covariance * slopes,
        intervals=ends.clamp(p.lower[:, None], p.upper[:, None]),
        level=level,
        residuals=split(r, m),
        all=Restarts(every, s.minimum.cost, s.minimum.status == CONVERGED),
        message=_message(s, model, found, held),
        written=written,
    )


def _quantile(level: float, freedom: int) -> float:
    """Of Student's t."""
    if freedom < 1:
        return math.inf
    from scipy.stats import t  # late: it takes a while to load

    return float(t.ppf((1 + level) / 2, freedom))


def _message(s: Search, model: Model, found: Uncertainty, held: Tensor) -> str:
    """What a user has to know of a fit."""
    p, cost, count = model.parameters, s.minimum.cost, len(s.minimum.cost)
    failed = int((s.minimum.status == FAILED).sum())
    there = int((cost <= s.alike).sum())
    said = [f"{there} of {count} starts reached the best cost {float(cost[s.best]):.6g}"]
    if failed:
        said.append(f"{failed} starts could not be solved")
    if int(s.minimum.status[s.best]) != CONVERGED:
        said.append(
            "the best did not come to rest: beside it solves fail, or the cost is rough at this "
            "rtol"
        )
    if found.freedom < 1:
        said.append("there are no more values than parameters, and so no intervals")
    elif model.measured.sigma is None:
        told = f"sigma was not given, so that residuals tell the deviation, s = {found.scale:.3g}"
        said.append(told)
    said += [f"{p.names[k]} moves no value of the data" for k in found.without]
    said += [combination(own, found, p.names, p.logs) for own in found.loose]
    u = s.minimum.u[s.best]
    for k in held.nonzero().flatten().tolist():
        side = "lower" if bool(u[k] <= s.box.lower[k]) else "upper"
        value = (p.lower if side == "lower" else p.upper)[k]
        said.append(
            f"{p.names[k]} ended at its {side} bound {float(value):g}: it has no interval, and the "
            "others hold for this value of it"
        )
    if model.why:
        said.append(f"derivatives came slowly, by the loop in torch, because {model.why}")
    return "; ".join(said)
