"""How good samples are: against other samples (Frechet, sliced Wasserstein), against the flow.

Distance to data and distance to the flow are different matters: a coarse sampler may end nearer
to the data than the exact flow does. Frechet distances and Wasserstein distances see the first,
`end_point_error` the second. `image_scores` has FID, Inception score and CLIP score.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from stiffguide.errors import InputError


class EndPointError(NamedTuple):
    """Distances |x - reference| over the rows: half of them lie below `median`."""

    median: float
    rms: float
    largest: float


class Moments(NamedTuple):
    """Mean and covariance of features, in float64; `merge` adds up what chunks have seen."""

    samples: int
    mean: Tensor  # (D,)
    covariance: Tensor  # (D, D), divided by samples - 1

    def merge(self, other: Moments) -> Moments:
        """The moments of both sets together."""
        m, n = self.samples, other.samples
        gap = other.mean - self.mean
        scatter = (m - 1) * self.covariance + (n - 1) * other.covariance
        scatter = scatter + m * n / (m + n) * torch.outer(gap, gap)
        return Moments(m + n, self.mean + n / (m + n) * gap, scatter / (m + n - 1))


def end_point_error(x: Tensor, reference: Tensor) -> EndPointError:
    """Euclidean distances of x (B, ...) to the flow's own end points (B, ...).

    Raises InputError where the two differ in shape.
    """
    if x.shape != reference.shape:
        raise InputError(f"x is {tuple(x.shape)}, the reference {tuple(reference.shape)}")
    gap = (x.to(torch.float64) - reference.to(torch.float64)).flatten(1)
    size = torch.linalg.vector_norm(gap, dim=-1)
    return EndPointError(
        size.median().item(), size.square().mean().sqrt().item(), size.max().item()
    )


def moments(features: Tensor) -> Moments:
    """Mean and covariance of features (N, ...), flattened to (N, D); N >= 2.

    Raises InputError for other shapes.
    """
    if features.ndim < 2 or len(features) < 2:
        raise InputError(f"features must be (N, D) with N >= 2, not {tuple(features.shape)}")
    flat = features.flatten(1).to(torch.float64)
    mean = flat.mean(0)
    centred = flat - mean
    return Moments(len(flat), mean, centred.mT @ centred / (len(flat) - 1))


def frechet_distance(a: Tensor | Moments, b: Tensor | Moments) -> float:
    """|m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)) of features (N, D) or their moments.

    The squared distance of the two Gaussians with these moments (Dowson and Landau, 1982); FID is
    this for Inception features. tr (S_a S_b)^(1/2) is the sum of the singular values of
    S_a^(1/2) S_b^(1/2), which stays real and exact for covariances of low rank.

    Raises InputError where the two differ in dimension.
    """
    p = a if isinstance(a, Moments) else moments(a)
    q = b if isinstance(b, Moments) else moments(b)
    if p.mean.shape != q.mean.shape:
        raise InputError(f"features have {len(p.mean)} and {len(q.mean)} dimensions")
    overlap = torch.linalg.svdvals(_root(p.covariance) @ _root(q.covariance)).sum()
    spread = p.covariance.trace() + q.covariance.trace() - 2 * overlap
    return float((p.mean - q.mean).square().sum() + spread)


def sliced_wasserstein(
    a: Tensor, b: Tensor, projections: int = 256, generator: torch.Generator | None = None
) -> float:
    """Root mean square of 2-Wasserstein distances over random directions; a (N, ...), b (M, ...).

    On a line the optimal plan matches sorted values (Rabin et al., 2011); unequal counts are
    compared at common quantiles.

    Raises InputError where the two differ in dimension.
    """
    x, y = (v.flatten(1).to(torch.float64) for v in (a, b))
    if x.shape[1] != y.shape[1]:
        raise InputError(f"samples have {x.shape[1]} and {y.shape[1]} dimensions")
    directions = torch.randn(
        x.shape[1], projections, generator=generator, dtype=torch.float64, device=x.device
    )
    directions = directions / torch.linalg.vector_norm(directions, dim=0)
    first, second = (v @ directions for v in (x, y))
    count = max(len(x), len(y))
    gap = _quantiles(first, count) - _quantiles(second, count)
    return math.sqrt(gap.square().mean().item())


def distance_to_flow(reference: Tensor, which: str = "median") -> Callable[[Tensor], float]:
    """A metric for curves: the `median`, `rms` or `largest` error to end points (B, ...).

    Raises InputError for another name.
    """
    if which not in EndPointError._fields:
        raise InputError(f"which = {which!r}: one of {', '.join(EndPointError._fields)}")
    return lambda x: float(getattr(end_point_error(x, reference), which))


def _root(covariance: Tensor) -> Tensor:
    """The symmetric root of a positive semi-definite matrix."""
    sizes, axes = torch.linalg.eigh(covariance)
    root: Tensor = (axes * sizes.clamp(min=0).sqrt()) @ axes.mT
    return root


def _quantiles(values: Tensor, count: int) -> Tensor:
    """The sorted columns of values (N, P) at `count` equally likely levels."""
    ordered = values.sort(0).values
    if len(values) == count:
        return ordered
    level = (torch.arange(count, device=values.device) + 0.5) / count
    return ordered[(level * len(values)).long().clamp(max=len(values) - 1)]
