"""FID, Inception score and CLIP score by torchmetrics, of networks that you pass in.

Nothing is downloaded here: a score is that of the network that computes features. What is published
as FID or Inception score takes Inception v3 with the weights of its authors, for images in the size
and the range that it was trained with.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from stiffguide.errors import InputError


class InceptionScore(NamedTuple):
    """Mean and standard deviation over the splits; the deviation of one split is NaN."""

    mean: float
    deviation: float


class _Features(torch.nn.Module):
    """A feature extractor with the attribute by which torchmetrics knows how many there are."""

    def __init__(self, extractor: torch.nn.Module, like: Tensor) -> None:
        super().__init__()
        self.extractor = extractor
        found = extractor(like[:1])
        if not isinstance(found, Tensor) or found.ndim != 2:
            raise InputError("an extractor must map images (n, C, H, W) to a tensor (n, D)")
        self.num_features = found.shape[1]

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, C, H, W) to features (n, D)."""
        features: Tensor = self.extractor(images)
        return features


class _Clip:
    """A model of CLIP whose embeddings are tensors, as torchmetrics wants them."""

    def __init__(self, model: Any) -> None:
        self.model, self.config = model, getattr(model, "config", None)

    def to(self, device: torch.device) -> _Clip:
        """On another device."""
        self.model.to(device)
        return self

    def get_image_features(self, pixels: Tensor) -> Tensor:
        """Embeddings (n, D) of what the processor made of images."""
        return _embeddings(self.model.get_image_features(pixels))

    def get_text_features(self, tokens: Tensor, attention: Tensor) -> Tensor:
        """Embeddings (n, D) of what the processor made of captions."""
        return _embeddings(self.model.get_text_features(tokens, attention))


@torch.no_grad()
def fid(real: Tensor, generated: Tensor, extractor: torch.nn.Module, batch: int = 64) -> float:
    """FID of images (N, C, H, W): the squared Frechet distance of features (Heusel et al., 2017).

    `extractor` maps images, as they are given here, to features (n, D); `metrics.frechet_distance`
    computes the same of features that you have already. At least two images a side.
    """
    _checked(extractor, real, generated)
    module = _torchmetrics("image.fid", "fid")
    features = _Features(extractor, real)
    metric = module.FrechetInceptionDistance(feature=features).to(real.device)
    for images, is_real in ((real, True), (generated, False)):
        for chunk in images.split(batch):
            metric.update(chunk, real=is_real)
    return float(metric.compute())


@torch.no_grad()
def inception_score(
    images: Tensor, classifier: torch.nn.Module, splits: int = 10, batch: int = 64, seed: int = 0
) -> InceptionScore:
    """exp of the mean of KL(p(class | image), p(class)) (Salimans et al., 2016).

    images: (N, C, H, W); `classifier` maps them, as they are, to logits (n, classes). The score is
    taken on `splits` random parts, drawn by `seed`; with D classes it lies between 1 and D.

    Raises InputError for more splits than images.
    """
    _checked(classifier, images)
    if not 1 <= splits <= len(images):
        raise InputError(f"splits = {splits}: from 1 to the number of images, {len(images)}")
    module = _torchmetrics("image.inception", "inception_score")
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # that it keeps features, and that one split has no spread
        torch.manual_seed(seed)
        metric = module.InceptionScore(feature=classifier, splits=splits).to(images.device)
        for chunk in images.split(batch):
            metric.update(chunk)
        mean, deviation = metric.compute()
    return InceptionScore(float(mean), float(deviation))


@torch.no_grad()
def clip_score(
    images: Tensor, captions: Sequence[str], model: Any, processor: Any, batch: int = 64
) -> float:
    """Mean of 100 cos(embedding of image, of caption), from 0 on (Hessel et al., 2021).

    images: (N, 3, H, W) as `processor` takes them, bytes as a rule; captions: N. `model` and
    `processor` are those of CLIP in transformers, or act like them: `get_image_features`,
    `get_text_features`, and a call with `images` or `text`.

    Raises InputError unless there is a caption for each of the images (N, 3, H, W).
    """
    if images.ndim != 4 or len(images) != len(captions) or not captions:
        raise InputError(
            f"clip_score takes images (N, 3, H, W) with a caption each, not {tuple(images.shape)} "
            f"with {len(captions)}"
        )
    module = _torchmetrics("multimodal.clip_score", "clip_score")
    metric = module.CLIPScore(lambda: (_Clip(model), processor)).to(images.device)
    for start in range(0, len(images), batch):
        part = slice(start, start + batch)
        metric.update(images[part], list(captions[part]))
    return float(metric.compute())


def _torchmetrics(name: str, wanted: str) -> Any:
    try:
        return importlib.import_module(f"torchmetrics.{name}")
    except ImportError as error:
        raise InputError(f"{wanted} needs torchmetrics: pip install 'stiffguide[metrics]'") from (
            error
        )


def _checked(network: object, *sets: Tensor) -> None:
    if not isinstance(network, torch.nn.Module):
        raise InputError(
            f"the network of a score must be a torch module, not {type(network).__name__}: none is "
            "downloaded here"
        )
    for images in sets:
        if images.ndim != 4 or not len(images):
            raise InputError(f"images must be (N, C, H, W) with N >= 1, not {tuple(images.shape)}")


def _embeddings(found: Any) -> Tensor:
    """A tensor, out of the record that newer versions of transformers return."""
    embeddings: Tensor = found if isinstance(found, Tensor) else found.pooler_output
    return embeddings
