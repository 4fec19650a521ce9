"""What the sampling commands are asked for, as objects: models, guidance, grids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from stiffguide.adapters.diffusion import grid, problems
from stiffguide.adapters.diffusion.calibrate import CalibratedGrid
from stiffguide.adapters.diffusion.curves import COSTS
from stiffguide.adapters.diffusion.digits import load_digits_denoiser
from stiffguide.adapters.diffusion.model_guidance import autoguidance, classifier_free
from stiffguide.adapters.diffusion.prediction import Denoiser
from stiffguide.errors import InputError
from stiffguide.guidance import ErkGuid, ErrorDirection
from stiffguide.stepping.contracts import Guidance


@dataclass(frozen=True)
class Model:
    """A denoiser for rows of given classes, and the shape of one sample."""

    name: str
    shape: tuple[int, ...]
    denoiser: Callable[[Tensor | None], Denoiser]
    dtype: torch.dtype
    image: bool


def model(name: str, scale: float, auto: float, device: torch.device) -> Model:
    """A model by name: "digits", or one of the analytic problems."""
    if name != "digits":
        problem = problems.get(name)
        if scale != 1.0 or auto != 1.0:
            raise InputError(f"{name} has no classes and no weak model: leave --cfg and --auto out")
        mixture = problem.mixture.to(device)
        return Model(name, (mixture.size,), lambda classes: mixture, torch.float64, False)

    def denoiser(classes: Tensor | None) -> Denoiser:
        strong = load_digits_denoiser(classes).to(device)
        made: Denoiser = strong
        if auto != 1.0:
            weak = load_digits_denoiser(classes, model="digits_weak").to(device)
            made = autoguidance(made, weak, auto)
        if scale != 1.0:
            made = classifier_free(made, strong.of_class(None), scale)
        return made

    return Model(name, (8, 8), denoiser, torch.float32, True)


def guidance(name: str, w_stiff: float, w_con: float) -> Guidance | None:
    """A rule by name."""
    if name == "erk-guid":
        return ErkGuid(w_stiff, w_con)
    if name == "none":
        return None
    return ErrorDirection(order=3 if name == "error-direction-3" else 2)


def levels(name: str, steps: int, low: float, high: float, center: float | None = None) -> Tensor:
    """A grid by name, or from a file that `calibrate_grid` saved; center is that of mix."""
    if center is not None and name != "mix":
        raise InputError(f"--center is for --grid mix, not for --grid {name}: leave it out")
    if name.endswith(".json"):
        return CalibratedGrid.load(Path(name))(steps)
    makers: dict[str, Callable[..., Tensor]] = {
        "karras": grid.karras,
        "mix": grid.mix,
        "exponential": grid.exponential,
        "linear": grid.linear,
        "quadratic": grid.quadratic,
    }
    if name not in makers:
        raise InputError(f"--grid {name}: there are {', '.join(makers)}, or a .json file")
    # the models here are those that the default of mix was measured on: it is told no dimension
    words = {} if center is None else {"center": center}
    return makers[name](steps, low, high, **words)


def intervals(method: str, nfe: int) -> int:
    """How many intervals so many evaluations pay for, on a grid that ends above 0."""
    return max(1, nfe // COSTS.get(method, 1))
