"""`stiffguide roughness`: how rough a denoiser is in sigma, and what that leaves to be gained."""

from __future__ import annotations

import torch

from stiffguide.adapters.diffusion.noise import noise_like
from stiffguide.adapters.diffusion.roughness import RoughnessPlan
from stiffguide.adapters.diffusion.roughness import roughness as measure
from stiffguide.cli import models, samplers
from stiffguide.cli.options import MOST_EVALUATIONS, wholes
from stiffguide.cli.tables import console
from stiffguide.errors import InputError


def roughness(
    model: str,
    method: str,
    nfe: str,
    grid: str,
    center: float | None,
    sigma_min: float,
    sigma_max: float,
    seeds: list[int],
) -> None:
    """Measure a model, and say what was found."""
    chosen = samplers.model(model, 1.0, 1.0, torch.device("cpu")) if _named(model) else _own(model)
    plan = RoughnessPlan(budgets=tuple(wholes(nfe, "--nfe", MOST_EVALUATIONS, "8,16,32")))
    samplers.levels(grid, 1, sigma_min, sigma_max, center)  # refused before anything is evaluated
    noise = noise_like((len(seeds), *chosen.shape), seeds, dtype=chosen.dtype)
    page = console()
    page.print(f"{plan.evaluations} evaluations of each of {len(seeds)} samples ...", markup=False)
    found = measure(
        chosen.denoiser(None),
        noise,
        lambda n: samplers.levels(grid, n, sigma_min, sigma_max, center),
        method,
        plan,
    )
    page.print(str(found), markup=False)


def _named(model: str) -> bool:
    return models.PLACE.fullmatch(model) is None


def _own(text: str) -> samplers.Model:
    """What a Python file defines: `denoiser(x, sigma) -> x0`, and the `shape` of one sample."""
    path, name = models.place(text, "denoiser")
    found = models.ran(path)
    if missing := [needed for needed in (name, "shape") if needed not in found]:
        raise InputError(
            f"{path} has no {' and no '.join(missing)}: define {name}(x, sigma) -> x0, and shape, "
            "that of one sample"
        )
    shape = found["shape"]
    if not isinstance(shape, tuple) or not all(isinstance(n, int) and n > 0 for n in shape):
        raise InputError(f"{path}: shape is that of one sample, such as (3, 32, 32)")
    dtype = found.get("dtype", torch.float32)
    if not isinstance(dtype, torch.dtype):
        raise InputError(f"{path}: dtype is one of torch, such as torch.float32")
    return samplers.Model(text, shape, lambda classes: found[name], dtype, False)
