"""The user's function of attempts, which knows the shape of y0, as a function of rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from stiffguide.errors import InputError
from stiffguide.fields.layout import Layout


class Listener:
    """Is told of every attempt, once; what it is given are copies."""

    def __init__(self, told: Callable[..., Any], layout: Layout) -> None:
        if isinstance(told, type) or not callable(told):
            raise InputError("on_attempt: give a function of t0, y0, dt and accepted")
        self._told, self._layout = told, layout

    def __call__(self, t0: Tensor, y0: Tensor, dt: Tensor, accept: Tensor, live: Tensor) -> None:
        """An attempt of the rows `live` (B,) from t0 (B,) and y0 (B, F) over dt (B,)."""
        batched = self._layout.batched
        if t0.device.type != "cpu" and not bool(live.any()):  # where the loop asks now and then
            return
        with torch.no_grad():
            t, y, dt = t0.detach().clone(), y0.detach().clone(), dt.detach()
            dt, accept = torch.where(live, dt, 0.0), accept & live
            state = self._layout.unflatten(y)
            if batched:
                self._told(t, state, dt, accept)
            else:
                self._told(t[0], state, dt[0], bool(accept[0]))
