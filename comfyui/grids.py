"""The nodes that give SIGMAS, and the one that measures what the first of them wants to know."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import folder_paths
import torch
from torch import Tensor

from stiffguide.adapters.diffusion import CalibratedGrid, grid
from stiffguide.errors import InputError

from .inputs import Inputs, number
from .mix_grid import mix_sigmas
from .model_range import ModelRange, partial

CENTER = 0.375  # of the principal deviation: see `grid.mix`


def _on_a_model(**more: Any) -> dict[str, tuple[Any, dict[str, Any]]]:
    """What all of them take, and then some."""
    part = "Part of the way that is run: 1 from noise, less from an image."
    return {
        "model": ("MODEL", {"tooltip": "Its range of sigmas is used."}),
        "steps": (
            "INT",
            {"default": 16, "min": 1, "max": 10000, "tooltip": "Number of intervals."},
        ),
        "denoise": number(1.0, 1.0, part),
        **more,
    }


class GridNode:
    """What ComfyUI is told of every node here that gives SIGMAS."""

    CATEGORY = "sampling/custom_sampling/schedulers"
    RETURN_TYPES: ClassVar = ("SIGMAS",)
    OUTPUT_TOOLTIPS: ClassVar = ("From the model's largest sigma to 0; fewer for denoise < 1.",)
    FUNCTION = "get_sigmas"


class MixScheduler(GridNode):
    """The mix grid over the range of a model."""

    DESCRIPTION = "Sigmas for few steps: dense where the data takes shape. For every sampler here."

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        """The model, and how its range is used."""
        data = "Standard deviation of the latents; 0: not told, 1 for the range."
        shift = "Factor on the noise levels, larger for larger images; 0: the model's own."
        center = (
            "Noise level of the dense part: what Measure Center says. "
            "0: sigma_data/2, or Karras's levels where that is 0, too."
        )
        return {
            "required": _on_a_model(
                sigma_data=number(0.0, 100.0, data), shift=number(0.0, 100.0, shift)
            ),
            "optional": {"center": number(0.0, 1000.0, center)},  # not in older workflows
        }

    def get_sigmas(
        self,
        model: Any,
        steps: int,
        denoise: float,
        sigma_data: float,
        shift: float,
        center: float = 0.0,
    ) -> tuple[Any]:
        """The SIGMAS."""
        kind = model.get_model_object("model_sampling")
        return (partial(lambda n: mix_sigmas(kind, n, sigma_data, shift, center), steps, denoise),)


class KarrasScheduler(GridNode):
    """Karras's grid over the range of a model."""

    DESCRIPTION = "Karras's sigmas over the model's own range; of a flow, of sigma/(1 - sigma)."

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        """The model, and the exponent."""
        rho = "Larger: more steps at small sigmas. 7 in the paper."
        return {"required": _on_a_model(rho=number(7.0, 100.0, rho, least=0.1))}

    def get_sigmas(self, model: Any, steps: int, denoise: float, rho: float) -> tuple[Any]:
        """The SIGMAS."""
        span = ModelRange.of(model.get_model_object("model_sampling"))

        def levels(n: int) -> Tensor:
            return span.sigmas(grid.karras(n, span.low, span.high, rho=rho, zero=True))

        return (partial(levels, steps, denoise),)


class TimeScheduler(GridNode):
    """Even steps in the time that a model was trained in."""

    DESCRIPTION = "Even steps in the model's own time, or in a root of it."

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        """The model, and the power."""
        power = "1: even steps in time. Larger: more of them near the end."
        return {"required": _on_a_model(power=number(1.0, 10.0, power, least=0.1))}

    def get_sigmas(self, model: Any, steps: int, denoise: float, power: float) -> tuple[Any]:
        """The SIGMAS."""
        kind = model.get_model_object("model_sampling")

        def sigmas(n: int) -> Tensor:
            # from 1 to 0, of which ComfyUI tells the sigmas between the ends
            times = torch.linspace(1.0, 0.0, n + 1, dtype=torch.float64)[1:-1] ** power
            inner = [float(kind.percent_to_sigma(1 - t)) for t in times.tolist()]
            return torch.tensor([float(kind.sigma_max), *inner, 0.0])

        return (partial(sigmas, steps, denoise),)


class CalibratedScheduler(GridNode):
    """A grid that was calibrated for a model, from a file."""

    DESCRIPTION = "Sigmas from a grid that calibrate_grid of stiffguide has made and saved."

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        """The model, and the file."""
        name = "Name of a .json file in ComfyUI's input folder."
        return {"required": _on_a_model(file=("STRING", {"default": "grid.json", "tooltip": name}))}

    @classmethod
    def IS_CHANGED(cls, file: str, **_: Any) -> str:
        """ComfyUI asks whether to run it again: where the text of the file has changed."""
        return _in_input_folder(file).read_text(encoding="utf-8", errors="replace")

    def get_sigmas(self, model: Any, steps: int, denoise: float, file: str) -> tuple[Any]:
        """The SIGMAS; raises InputError where the file is none, or of another model."""
        span = ModelRange.of(model.get_model_object("model_sampling"))
        made = CalibratedGrid.load(_in_input_folder(file))
        top = made.levels[0]
        if span.scale is None and top > span.top * (1 + 1e-6):
            raise InputError(
                f"{file} goes up to sigma = {top:g} and the model to {span.top:g}: it was "
                "calibrated for another model"
            )
        return (partial(lambda n: span.sigmas(made(n, zero=True)), steps, denoise),)


class MeasureCenter:
    """Where the data takes shape, measured."""

    DESCRIPTION = (
        "The center of Mix Scheduler for latents like these: some 200, and of the size made."
    )
    CATEGORY = "sampling/custom_sampling/schedulers"
    RETURN_TYPES: ClassVar = ("FLOAT",)
    RETURN_NAMES: ClassVar = ("center",)
    OUTPUT_TOOLTIPS: ClassVar = ("0.375 principal deviations. Connect it to Mix Scheduler.",)
    FUNCTION = "measure"

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        """The latents, and the model that says in which unit it sees them."""
        latent = "Encoded images, or samples: far fewer than 200 say too much."
        return {
            "required": {
                "model": ("MODEL", {"tooltip": "It knows how latents are scaled for it."}),
                "latent": ("LATENT", {"tooltip": latent}),
            }
        }

    def measure(self, model: Any, latent: dict[str, Any]) -> tuple[float]:
        """The center, in the units of the model."""
        seen = model.get_model_object("latent_format").process_in(latent["samples"])
        parts = seen.unbind() if getattr(seen, "is_nested", False) else [seen]
        whole = torch.cat([part.flatten(1) for part in parts], 1)
        return (CENTER * grid.principal_deviation(whole),)


def _in_input_folder(name: str) -> Path:
    """The file of that name, which nothing but a file in the folder can be."""
    folder = Path(folder_paths.get_input_directory()).resolve()
    path = (folder / name).resolve()
    if not path.is_file() or folder not in path.parents:
        raise InputError(f"there is no file {name!r} in the input folder of ComfyUI, {folder}")
    return path
