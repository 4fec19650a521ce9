"""Ignition delays: when a gas that burns in a reactor is 400 K hotter than at the start."""

from __future__ import annotations

import torch
from mechanism import Mechanism, R
from torch import Tensor

import stiffguide as sg

HOTTER = 400.0  # K
RTOL, ATOL = 1e-6, 1e-12


def density(gas: Mechanism, y: Tensor, pressure: float) -> Tensor:
    """Of mixtures (B, 1 + K) in kg / m3: (B, 1)."""
    moles = (y[:, 1:] / gas.weights).sum(-1, keepdim=True)
    return pressure / (R * y[:, :1] * moles)


def delays(gas: Mechanism, y0: Tensor, pressure: float, until: float, at: str) -> Tensor:
    """When mixtures (B, 1 + K) are 400 K hotter, on a straight line within a step; nan: later."""
    if at == "pressure":
        f, args = gas.at_pressure, (pressure,)
    else:
        f, args = gas.at_volume, (density(gas, y0, pressure),)
    settings = {"batched": True, "rtol": RTOL, "atol": ATOL, "method": "rodas5p"}
    burnt = sg.solve(
        f, y0, 0.0, until, args=args, save_at=sg.EveryStep(), backend="kernel", **settings
    )
    burnt.raise_if_failed()
    above = burnt.y[..., 0] - y0[:, :1] - HOTTER  # nan behind the last step
    first = (above > 0).to(torch.int64).argmax(-1, keepdim=True).clamp(min=1)
    left, right = above.gather(-1, first - 1), above.gather(-1, first)
    early, late = burnt.t.gather(-1, first - 1), burnt.t.gather(-1, first)
    delay = early - left * (late - early) / (right - left)
    return torch.where(right > 0, delay, torch.nan).squeeze(-1)
