"""A plugin of pytest that imitates another machine: f has other last bits in every eager solve.

Each value of the user's f, and each solution of a linear system, is multiplied by 1 or 1 +- eps, by
a rule that looks random and depends on the value, its row and the number of rows. A law that
breaks under `pytest -p last_bit` depends on how a machine rounds.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stiffguide.algebra.dense import Dense, Factors
from stiffguide.fields import flat

SPREAD = 9.4e7  # from one last bit to the next, the sine is another


def shaken(value: Tensor) -> Tensor:
    """The value (B, F) with other last bits here and there; -value likewise, as machines do."""
    size = value.detach().abs()
    row = torch.arange(value.shape[0], dtype=torch.float64).unsqueeze(1) + 0.7 * value.shape[0]
    chance = torch.sin(SPREAD * torch.frexp(size.double()).mantissa + row).nan_to_num()
    return value * (1 + torch.finfo(size.dtype).eps * torch.round(1.5 * chance)).to(size.dtype)


def pytest_configure() -> None:
    plain, solve = flat.field, Dense.solve

    def field(*arguments: Any) -> flat.Flat:
        f = plain(*arguments)
        return lambda t, y: shaken(f(t, y))

    flat.field = field

    def solved(self: Dense, factors: Factors, right: Tensor) -> Tensor:
        return shaken(solve(self, factors, right))

    Dense.solve = solved  # type: ignore[method-assign]
