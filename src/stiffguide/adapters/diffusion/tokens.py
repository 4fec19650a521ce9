"""Models that are told a time for every token: parts of a sample are given, and the rest is made.

Video models are trained so, to go on from given frames: these come clean, at time 0, and the others
at the time of the step.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stiffguide.adapters.diffusion.prediction import Denoiser
from stiffguide.errors import InputError
from stiffguide.tensors import rows


def per_token(denoiser: Denoiser, given: Tensor, new: Tensor, clean: float = 0.0) -> Denoiser:
    """The denoiser(x (B, T, ...), sigma (B,)) of one that is told a sigma (B, T).

    given: what is known, in the shape of x or broadcastable to it. new: (T,) or (B, T), true for
    tokens to be made, false for given ones: the model gets these clean and is told `clean` for
    them, 0 or the least level that it knows, and they come out as they were given. `as_denoiser`
    and `preconditioned` (with clean > 0) take a sigma (B, T) too. Raises InputError for tokens
    that are partly given.
    """
    made = new.bool()
    if not bool((made == new).all()) or new.ndim not in (1, 2):
        raise InputError(
            "per_token: new is (T,) or (B, T) of truth values: a token is given or made, and none "
            "is noised a little"
        )
    if not clean >= 0:
        raise InputError(f"per_token: clean is a level, 0 or above, not {clean}")

    def call(x: Tensor, sigma: Tensor) -> Tensor:
        if x.ndim < 3 or made.shape not in (x.shape[:2], x.shape[1:2]):
            raise InputError(
                f"per_token: x has shape {tuple(x.shape)} and new {tuple(new.shape)}: x must be "
                "(B, T, ...), new (T,) or (B, T)"
            )
        which = made.to(x.device).expand(len(x), -1)
        spread, known = rows(which, x), given.to(x).expand(x.shape)
        told = torch.where(which, sigma.unsqueeze(1), clean)
        return torch.where(spread, denoiser(torch.where(spread, x, known), told), known)

    return call
