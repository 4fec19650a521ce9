"""The members that laws are stated for, and a problem that is no member's favourite."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import stiffguide as sg
from stiffguide import Fixed, methods

NAMES = methods.names()
METHODS = {name: methods.get(name) for name in NAMES}
GIVEN = [n for n in NAMES if n != "bdf"]  # whose steps may have given lengths
RECORDED = [n for n, m in METHODS.items() if not m.multistep]  # with gradients, and devices
EXPLICIT = [n for n, m in METHODS.items() if not m.implicit]
IMPLICIT = [n for n, m in METHODS.items() if m.implicit]
PAIRED = [n for n, m in METHODS.items() if m.error_order is not None]
UNPAIRED = [n for n in NAMES if n not in PAIRED]
STIFF = [n for n in IMPLICIT if n in PAIRED]
SMOOTH = [
    "tsit5",
    "rodas5p",
    "kvaerno5",
    "sdirk2",
    "radau5",
    "rkc2",
]  # one of each family that records gradients
BUILT = [n for n in SMOOTH if n not in ("radau5", "rkc2")]  # of which there are kernels
WAYS = [*((n, "eager") for n in SMOOTH), *((n, "kernel") for n in BUILT)]
SOLVERS = [*SMOOTH, "bdf"]  # one of each family

TABLEAU = {n: m.tableau for n, m in METHODS.items() if hasattr(m, "tableau")}

every_method = pytest.mark.parametrize("name", GIVEN)
every_paired = pytest.mark.parametrize("name", PAIRED)
every_family = pytest.mark.parametrize("name", SOLVERS)
every_smooth = pytest.mark.parametrize("name", SMOOTH)
every_way = pytest.mark.parametrize(("name", "backend"), WAYS)


def rtol_for(name: str, rtol: float) -> float:
    """A tolerance that asks about as many steps of a method of low order as of the others."""
    return max(rtol, 1e-4) if METHODS[name].order < 3 else rtol


def adds_up(name: str) -> float:
    """How much further errors within the tolerance add up than those of other one-step methods.

    Multistep methods take more steps, whose errors have one sign; at order 1 they take many more.
    So does rkc2, and the estimate of fehlberg2 is too small (see `test_exactness`).
    """
    if METHODS[name].order == 1:
        return 10.0
    return 5.0 if METHODS[name].multistep or name in ("rkc2", "fehlberg2") else 1.0


def real(*values: float) -> Tensor:
    """A float64 tensor."""
    return torch.tensor(values, dtype=torch.float64)


def close(found: Tensor, expected: Tensor, rtol: float = 1e-12, atol: float = 0.0) -> None:
    """Equal to within rtol of the expected size, entry by entry; nan meets nan."""
    torch.testing.assert_close(found, expected, rtol=rtol, atol=atol, equal_nan=True)


def fixed(name: str, f: Any, y0: Tensor, t0: float, t1: float, steps: int, **more: Any) -> Tensor:
    """The end of so many steps of one length; Newton is driven down to rounding."""
    dt = abs(t1 - t0) / steps
    tight = {"controller": Fixed(dt), "rtol": 1e-11, "atol": 1e-11, "method": name}
    return sg.solve(f, y0, t0, t1, **{**tight, **more}).raise_if_failed().y[-1]


def wavy(t: Tensor, y: Tensor) -> Tensor:
    """Non-autonomous, coupled, nonlinear; solved by (e^sin t, e^cos t)."""
    a, b = y.unbind(-1)
    da = a * (0.5 * torch.log(b) + 0.5 * torch.cos(t))
    db = -b * (0.3 * torch.log(a) + 0.7 * torch.sin(t))
    return torch.stack((da, db), -1)


def wave(t: Tensor | float) -> Tensor:
    t = torch.as_tensor(t, dtype=torch.float64)
    return torch.stack((torch.exp(torch.sin(t)), torch.exp(torch.cos(t))), -1)
