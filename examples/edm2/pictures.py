"""Images as png files, in folders of a thousand as EDM2 lays them out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stiffguide.errors import InputError

THOUSAND = 1000
ENDINGS = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}


def write(images: Tensor, seeds: Sequence[int], folder: Path) -> None:
    """Write bytes (B, 3, H, W), the image of seed 1234 as 001000/001234.png."""
    library = _pillow()
    for image, seed in zip(images.permute(0, 2, 3, 1).cpu().numpy(), seeds, strict=True):
        path = folder / f"{seed // THOUSAND * THOUSAND:06d}" / f"{seed:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        library.fromarray(image).save(path)


def listed(folder: Path) -> list[Path]:
    """Every image below a folder, by name."""
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in ENDINGS)
    if not found:
        raise InputError(f"there are no images below {folder}")
    return found


def read(paths: Sequence[Path]) -> Tensor:
    """Images of one size as bytes (B, 3, H, W)."""
    library = _pillow()
    arrays = []
    for path in paths:
        with library.open(path) as image:
            arrays.append(np.asarray(image.convert("RGB")))
        if arrays[-1].shape != arrays[0].shape:
            raise InputError(f"{path} has another size than {paths[0]}")
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)


def _pillow() -> Any:
    try:
        import PIL.Image
    except ImportError as error:
        raise InputError("image files need Pillow: pip install 'stiffguide[plot]'") from error
    return PIL.Image
