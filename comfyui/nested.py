"""Latents of several parts, such as pictures and sound, as one tensor that samplers can step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from stiffguide.adapters.kdiffusion.post_cfg import branches


class Packed:
    """A model of nested latents as one of states (B, F), row by row.

    Some versions of ComfyUI hand their `NestedTensor` to samplers, others pack it themselves.
    """

    def __init__(self, model: Any, like: Any, extra_args: Mapping[str, Any] | None) -> None:
        self._model = model
        self._extra_args = extra_args or {}
        self._kind = type(like)
        self._shapes = [tuple(part.shape[1:]) for part in like.unbind()]

    def __call__(self, x: Tensor, sigma: Tensor, **extra_args: Any) -> Tensor:
        """D(x (B, F), sigma (B,))."""
        return self.pack(self._model(self.unpack(x), sigma, **extra_args))

    def branches_at(self, level: float) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """D and the unguided estimate, for CFG++."""

        def both(x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
            found = branches(self._model, self.unpack(x), sigma, self._extra_args)
            guided, weak = map(self.pack, found)
            return guided, weak

        return both

    def pack(self, nested: Any) -> Tensor:
        """The parts (B, ...) side by side, (B, F)."""
        return torch.cat([part.flatten(1) for part in nested.unbind()], 1)

    def unpack(self, x: Tensor) -> Any:
        """The parts again."""
        sizes = [torch.Size(shape).numel() for shape in self._shapes]
        parts = zip(x.split(sizes, 1), self._shapes, strict=True)
        return self._kind([part.reshape(len(x), *shape) for part, shape in parts])

    def told(self, callback: Callable[[dict[str, Any]], Any] | None) -> Any:
        """The caller's callback, which is to see nested latents."""
        if callback is None:
            return None

        def tell(step: dict[str, Any]) -> None:
            parts = {name: self.unpack(step[name]) for name in ("x", "denoised")}
            callback({**step, **parts})

        return tell
