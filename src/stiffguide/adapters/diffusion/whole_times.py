"""Networks that know whole timesteps only: those that look their time up in a table."""

from __future__ import annotations

import torch
from torch import Tensor

from stiffguide.adapters.diffusion.prediction import Network
from stiffguide.errors import InputError
from stiffguide.tensors import rows

BETWEEN = ("nearest", "linear")


def whole_times(net: Network, between: str = "linear") -> Network:
    """The network net(x_t, t (B,) int64) at times (B,) of any kind, for `as_denoiser`.

    between: "linear" asks at the whole times below and above, two calls of the network unless all
    times are whole, and goes straight between the answers; "nearest" asks once, at the nearest.
    The input is that of the level itself in both. What lies beside the trained entries is not
    told: the times that `DDPMTable` gives stay inside its table.

    Raises InputError where `between` is another way.
    """
    if between not in BETWEEN:
        raise InputError(
            f"whole_times: between is 'linear' or 'nearest', not {between!r}: there is no other way"
        )

    def nearest(x: Tensor, t: Tensor) -> Tensor:
        return net(x, torch.round(t).to(torch.int64))

    def linear(x: Tensor, t: Tensor) -> Tensor:
        low = torch.floor(t)
        below = net(x, low.to(torch.int64))
        if bool((low == t).all()):
            return below
        # a row at a whole time asks for that time twice: the entry above may not exist
        above = net(x, torch.ceil(t).to(torch.int64))
        return torch.lerp(below, above, rows(t - low, below).to(below.dtype))

    return nearest if between == "nearest" else linear
