"""Metrics of features: Frechet distances to reference statistics, and the Inception score.

Reference statistics are files as EDM2 publishes them, a pickle {"fid": {"mu", "sigma"},
"fd_dinov2": {"mu", "sigma"}}, or as EDM does, an npz of `mu` and `sigma` for FID.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edm2 import files
from stiffguide.adapters.diffusion.metrics import Moments, frechet_distance, moments
from stiffguide.errors import InputError

BLOCK = 4096  # rows whose features are held in float64 at a time
SPLITS = 10  # of the Inception score (Salimans et al., arXiv 1606.03498)
CUSTOMARY = 50_000  # images of published numbers

Reference = dict[str, Moments]


def load(source: str, download: bool = False) -> Reference:
    """The moments of a data set by metric."""
    if source.lower().endswith(".npz"):
        with files.open_file(source, download) as file, np.load(file) as found:
            return {"fid": _moments(dict(found), source, "fid")}
    data = files.arrays(source, download)
    if not isinstance(data, Mapping):
        raise InputError(f"{source} holds {type(data).__name__}, not statistics by metric")
    return {
        name: _moments(part, source, name)
        for name, part in data.items()
        if isinstance(part, Mapping)
    }


def save(features: Mapping[str, Tensor], path: Path) -> None:
    """Write the statistics of features (N, D) by metric, in EDM2's format."""
    found = {name: summed(part) for name, part in features.items() if name != "is"}
    data: dict[str, Any] = {
        name: {"mu": part.mean.numpy(), "sigma": part.covariance.numpy()}
        for name, part in found.items()
    }
    data["num_images"] = len(next(iter(features.values())))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(data))


def check(reference: Reference, widths: Mapping[str, int], count: int, source: str) -> None:
    """InputError unless every metric can be computed from `count` images and the reference."""
    for metric, width in widths.items():
        if metric == "is":
            if count < SPLITS:
                raise InputError(
                    f"the Inception score is of {SPLITS} parts of the images, and there are "
                    f"{count}: take more, or leave it out with --metrics"
                )
            continue
        if metric not in reference:
            known = ", ".join(reference) or "nothing"
            raise InputError(f"{source} has statistics for {known}, not for {metric}")
        if count < 2:
            raise InputError(f"{metric} needs two images at least")
        found = len(reference[metric].mean)
        if found != width:
            raise InputError(f"{metric}: {source} has {found} features, the detector gives {width}")


def measure(features: Mapping[str, Tensor], reference: Reference) -> dict[str, float]:
    """The metrics of features (N, D), in float64."""
    return {
        metric: inception_score(part)
        if metric == "is"
        else frechet_distance(summed(part), reference[metric])
        for metric, part in features.items()
    }


def warning(count: int, widths: Mapping[str, int]) -> str:
    """What to know about metrics of so few images; empty if there are enough."""
    worst = max((width for name, width in widths.items() if name != "is"), default=0)
    if count <= worst:
        return (
            f"{count} images give covariances of rank {count - 1} at most, and there are {worst} "
            "features: the distances are biased upwards and compare only with the same number of "
            f"images (published ones use {CUSTOMARY})"
        )
    if count < CUSTOMARY:
        return f"{count} images: published numbers use {CUSTOMARY}, fewer give larger distances"
    return ""


def summed(features: Tensor) -> Moments:
    """The moments of many features (N, D), block by block."""
    blocks = [block for block in features.split(BLOCK) if len(block) > 1]
    if sum(map(len, blocks)) < len(features):  # a last row alone has no covariance
        blocks[-1:] = [features[-BLOCK - 1 :]]
    return reduce(Moments.merge, map(moments, blocks))


def inception_score(probabilities: Tensor) -> float:
    """exp of the mean divergence of p(class | image) from p(class), over splits (N, classes)."""
    scores = []
    for part in probabilities.to(torch.float64).tensor_split(SPLITS):
        share = torch.special.entr(part).sum(1).mean()
        scores.append(math.exp(float(torch.special.entr(part.mean(0)).sum() - share)))
    return sum(scores) / SPLITS


def _moments(part: Mapping[str, Any], source: str, metric: str) -> Moments:
    if not {"mu", "sigma"} <= set(part):
        raise InputError(f"{source}: statistics of {metric} are 'mu' and 'sigma'")
    mean, covariance = (torch.as_tensor(part[k], dtype=torch.float64) for k in ("mu", "sigma"))
    if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)):
        raise InputError(f"{source}: mu {tuple(mean.shape)}, sigma {tuple(covariance.shape)}")
    return Moments(0, mean, covariance)
