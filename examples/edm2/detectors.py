"""Networks that turn images into features: Inception v3 and DINOv2, as EDM2 measures with them.

A detector is a TorchScript file, or a pickle as NVIDIA publishes Inception v3: called with images
(B, 3, H, W) in bytes and `return_features=True` it gives (B, 2048), with `no_output_bias=True` the
class probabilities of the Inception score. DINOv2 sees 224 x 224 pixels, normalised as ImageNet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from edm2 import files
from stiffguide.errors import InputError

METRICS = ("fid", "fd_dinov2", "is")
SOURCES = {"fid": "inception", "is": "inception", "fd_dinov2": "dinov2"}  # options of the command

DINOV2_SIDE = 224
DINOV2_REPOSITORY, DINOV2_MODEL = "facebookresearch/dinov2:main", "dinov2_vitl14"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Detector:
    """What a metric is computed from: `features(images (B, 3, H, W) in bytes) -> (B, width)`."""

    metric: str
    features: Callable[[Tensor], Tensor]
    width: int


class Detectors:
    """The detectors of several metrics, and where each one's features are in a row."""

    def __init__(self, members: Iterable[Detector]) -> None:
        self.members = tuple(members)

    @property
    def metrics(self) -> list[str]:
        """The metrics that can be computed."""
        return [detector.metric for detector in self.members]

    @property
    def widths(self) -> dict[str, int]:
        """The number of features of every metric."""
        return {detector.metric: detector.width for detector in self.members}

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """The features of all of them side by side, (B, sum of widths) in float32 on the CPU."""
        parts = [detector.features(images).to("cpu", torch.float32) for detector in self.members]
        return torch.cat(parts, 1) if parts else torch.zeros(len(images), 0)

    def split(self, features: Tensor) -> dict[str, Tensor]:
        """The features (N, width) of every metric."""
        parts = features.split([detector.width for detector in self.members], 1)
        return dict(zip(self.metrics, parts, strict=True))


@torch.no_grad()
def load(
    metrics: Iterable[str],
    sources: Mapping[str, str | None],
    device: torch.device,
    download: bool = False,
) -> Detectors:
    """The detectors for `metrics`, from sources {"inception": file, "dinov2": file}."""
    nets: dict[str, Any] = {}
    found = []
    for metric in metrics:
        if metric not in SOURCES:
            raise InputError(f"no metric is called {metric!r}; there are {', '.join(METRICS)}")
        option = SOURCES[metric]
        source = sources.get(option)
        if source is None:
            raise InputError(f"{metric} needs a detector: --{option} FILE")
        if option not in nets:
            nets[option] = _network(source, option, download).to(device).eval()
        extract = _extractor(metric, nets[option])
        seen = extract(torch.zeros(1, 3, 64, 64, dtype=torch.uint8, device=device))
        if seen.ndim != 2:
            raise InputError(f"{source} gives {tuple(seen.shape)} for one image, not (1, D)")
        found.append(Detector(metric, extract, seen.shape[1]))
    return Detectors(found)


def _extractor(metric: str, net: Any) -> Callable[[Tensor], Tensor]:
    if metric == "fid":
        return lambda images: net(images, return_features=True)
    if metric == "is":
        return lambda images: net(images, no_output_bias=True)
    return lambda images: net(_normalised(images))


def _network(source: str, option: str, download: bool) -> Any:
    if option == "dinov2" and (source == "hub" or Path(source).is_dir()):
        return _from_hub(source, download)
    if source.endswith(".pkl"):
        return files.unpickle(source, download)
    with files.open_file(source, download) as file:
        try:
            return torch.jit.load(file, map_location="cpu")
        except RuntimeError as error:
            raise InputError(f"{source} is no TorchScript file: {error}") from error


def _from_hub(source: str, download: bool) -> Any:
    """DINOv2 from its repository, or from a clone of it; its weights are fetched or cached."""
    if not download:
        raise InputError(f"--dinov2 {source} lets torch.hub fetch weights: allow it by --download")
    local = source != "hub"
    return torch.hub.load(
        source if local else DINOV2_REPOSITORY,
        DINOV2_MODEL,
        source="local" if local else "github",
        trust_repo=True,
        verbose=False,
    )


def _normalised(images: Tensor) -> Tensor:
    size = (DINOV2_SIDE, DINOV2_SIDE)
    x = F.interpolate(images.to(torch.float32), size, mode="bicubic", antialias=True) / 255
    mean, std = (x.new_tensor(v).reshape(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    return (x - mean) / std
