"""SciPy's first step (Hairer, Norsett and Wanner I, II.4), whose steps depend on the unit of t."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from stiffguide.tensors import rms

Field = Callable[[Tensor, Tensor], Tensor]


class Remembered:
    """A field that has been asked at the start, and does not ask again there the next time."""

    def __init__(self, field: Field, t0: Tensor, y0: Tensor) -> None:
        self._field = field
        self.value: Tensor = field(t0, y0)
        self._known = True

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        """f(t, y) (F,)."""
        if self._known:
            self._known = False
            return self.value
        return self._field(t, y)


def first_step(
    field: Field,
    f0: Tensor,
    span: tuple[float, float],
    y0: Tensor,
    order: int,
    settings: dict[str, Any],
) -> float:
    """|dt| for an estimate of that order, given f(t0, y0) (F,); one evaluation of f."""
    t0, t1 = span
    length, sign = abs(t1 - t0), 1.0 if t1 >= t0 else -1.0
    with torch.no_grad():
        y0, f0 = y0.detach(), f0.detach()
        atol, rtol = (
            torch.as_tensor(settings[name], dtype=torch.float64, device=y0.device)
            for name in ("atol", "rtol")
        )
        scale = atol + y0.abs() * rtol

        def at(t: float, y: Tensor) -> Tensor:
            return field(torch.tensor(t, dtype=torch.float64, device=y0.device), y).detach()

        def size(x: Tensor) -> float:
            return float(rms((x.abs() / scale).to(torch.float64)))

        d0, d1 = size(y0), size(f0)
        h0 = min(1e-6 if d0 < 1e-5 or d1 < 1e-5 else 0.01 * d0 / d1, length)
        change = size(at(t0 + h0 * sign, y0 + h0 * sign * f0) - f0)
    d2 = change / h0 if h0 else math.inf  # of an infinite f, of which nothing is known
    if d1 <= 1e-15 and d2 <= 1e-15:
        h1 = max(1e-6, h0 * 1e-3)
    else:
        h1 = (0.01 / max(d1, d2)) ** (1 / (order + 1))
    shortest = 10 * abs(math.nextafter(t0, t1) - t0)  # one that moves t
    return float(min(max(min(100 * h0, h1), shortest), length, settings["max_step"]))
