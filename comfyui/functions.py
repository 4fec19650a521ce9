"""Sampler functions as ComfyUI calls them, which find out by themselves what the model is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import comfy.model_sampling
from torch import Tensor

from stiffguide.adapters.kdiffusion import SAMPLERS

from .nested import Packed

SamplerFunction = Callable[..., Any]  # a Tensor, or a nested one where x is


def model_sampling_of(model: Any) -> Any:
    """What ComfyUI knows of the model's sigmas, down the chain of inner models; None without."""
    while model is not None:
        kind = getattr(model, "model_sampling", None)
        if kind is not None:
            return kind
        model = getattr(model, "inner_model", None)
    return None


def is_flow(model: Any) -> bool:
    """Whether the model's states are (1 - sigma) x0 + sigma noise.

    ComfyUI says so by the type of `model_sampling`. Where there is none the samplers integrate in
    sigma, which is right for both kinds.
    """
    return isinstance(model_sampling_of(model), comfy.model_sampling.CONST)


def sampler_function(name: str, **fixed: Any) -> SamplerFunction:
    """The sampler of that name in `stiffguide.adapters.kdiffusion`, with options of its own."""
    function = SAMPLERS[name]

    def sample(
        model: Any,
        x: Any,
        sigmas: Tensor,
        extra_args: dict[str, Any] | None = None,
        callback: Callable[[dict[str, Any]], Any] | None = None,
        disable: bool | None = None,
        **options: Any,
    ) -> Any:
        told = {"flow": is_flow(model), **fixed, **options}
        if not getattr(x, "is_nested", False):
            return function(model, x, sigmas, extra_args, callback, disable, **told)
        packed = Packed(model, x, extra_args)
        seen = packed.told(callback)
        found = function(packed, packed.pack(x), sigmas, extra_args, seen, disable, **told)
        return packed.unpack(found)

    sample.__name__ = sample.__qualname__ = f"sample_{name}"
    return sample
