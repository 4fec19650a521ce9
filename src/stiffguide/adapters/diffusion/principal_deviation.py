"""How far data spreads along the direction in which it spreads most."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from stiffguide.errors import InputError

Images = Tensor | Sequence[Tensor]


def principal_deviation(images: Images) -> float:
    """sqrt(lambda_max), lambda_max the largest eigenvalue of the covariance of flattened images.

    images: (N, ...) in any floating-point dtype, scaled as the model sees them, or a sequence of
    such batches: data, latents, or samples of the model itself. Some 200 are enough; far fewer
    give too much. 0.375 times it is the `center` of `grid.mix`: in high dimension the first
    decision of a flow falls at the principal deviation (Biroli et al., arXiv 2402.18491), the
    later ones below it. That is not `sigma_data` of EDM, which is the deviation of one pixel.

    Raises InputError for images that are no such tensors, or all the same.
    """
    rows = _rows(images)
    if bool((rows == rows[0]).all()):
        raise InputError("principal_deviation: the images are all the same: give different ones")
    size = float(rows.abs().max())
    rows = rows / size  # so that no sum and no square overflows
    rows -= rows.mean(0)
    # the covariance and the Gram matrix have the same eigenvalues but for zeros: the smaller one
    square = rows @ rows.T if len(rows) < rows.shape[1] else rows.T @ rows
    largest = float(torch.linalg.eigvalsh(square)[-1])
    return size * math.sqrt(largest / (len(rows) - 1))


def _rows(images: Images) -> Tensor:
    """Checked data (N, D), in float64 on the CPU."""
    batches: list[Any] = list(images) if isinstance(images, list | tuple) else [images]
    for i, batch in enumerate(batches):
        if not isinstance(batch, Tensor) or not batch.is_floating_point() or batch.ndim < 2:
            raise InputError(
                "principal_deviation: images are a floating-point tensor (N, ...), or a sequence "
                f"of them; {_described(batch)} is none: scale them as the model sees them, and "
                "stack single ones"
            )
        if batch.shape[1:] != batches[0].shape[1:]:
            raise InputError(
                f"principal_deviation: images of batch {i} have shape {tuple(batch.shape[1:])}, "
                f"those of batch 0 {tuple(batches[0].shape[1:])}: give images of one shape"
            )
    count = sum(len(batch) for batch in batches)
    if count < 2 or not batches[0].shape[1:].numel():
        raise InputError(
            f"principal_deviation: {count} images with a value or more say nothing of their "
            "spread: give 2 at least, 200 if you can"
        )
    rows = torch.cat([b.detach().flatten(1).to("cpu", torch.float64) for b in batches])
    bad = torch.nonzero(~torch.isfinite(rows).all(1)).flatten()
    if len(bad):
        raise InputError(
            f"principal_deviation: {len(bad)} of {count} images are not finite, image "
            f"{int(bad[0])} first: leave them out"
        )
    return rows


def _described(value: object) -> str:
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)} in {str(value.dtype).removeprefix('torch.')}"
    return f"an object of type {type(value).__name__}"
