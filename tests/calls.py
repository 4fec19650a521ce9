"""One solve whose exact solution is known, in whatever form an option asks for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

import stiffguide as sg

K = 0.1


def rates(t: Tensor, y: Tensor, k: Tensor) -> Tensor:
    """Non-autonomous, coupled, nonlinear, at rest in the end; for (F,) and (B, F), k () or (B,)."""
    a, b = y.unbind(-1)
    fading = k * torch.exp(-3 * t)
    return torch.stack((a * 1.5 * (torch.log(b) + fading), b * (torch.log(a) - k - 2 * fading)), -1)


def flow(t: Tensor, k: Tensor) -> Tensor:
    """Its solution (..., 2)."""
    fading = k * torch.exp(-3 * t)
    return torch.stack((torch.exp(k - fading), torch.exp(fading)), -1)


M = torch.tensor([[2.0, 0.5], [-1.0, 0.75]], dtype=torch.float64)


def weighed(t: Tensor, y: Tensor, k: Tensor) -> Tensor:
    """M times the same rates."""
    value = rates(t, y, k)
    return value @ M.T.to(value)


def constrained(t: Tensor, y: Tensor, k: Tensor) -> Tensor:
    """The first rate, and what holds the second component: a b = exp(k)."""
    a, b = y.unbind(-1)
    return torch.stack((rates(t, y, k)[..., 0], torch.log(a) + torch.log(b) - k), -1)


@dataclass
class Call:
    """A solve of `rates` in the making."""

    k: Tensor = field(default_factory=lambda: torch.tensor(K, dtype=torch.float64))  # () or (B,)
    dtype: torch.dtype = torch.float64
    rows: int = 0  # 0: not batched
    t1: float = 1.0
    pack: list[Callable[[Tensor], Any]] = field(default_factory=list)  # states as the user has them
    unpack: list[Callable[[Any], Any]] = field(default_factory=list)  # and back
    settings: dict[str, Any] = field(default_factory=dict)
    rates: Callable[[Tensor, Tensor, Tensor], Tensor] = rates
    parted: bool = False  # f is a pair: the rate of the first component, and that of the second

    @property
    def end(self) -> Any:
        """T1, of its own for each row."""
        return self.t1 * torch.linspace(1.0, 0.6, self.rows) if self.rows else self.t1

    def theirs(self, y: Tensor) -> Any:
        """The state as the user has it, from (..., 2)."""
        for step in self.pack:
            y = step(y)
        return y

    def ours(self, state: Any) -> Tensor:
        """(..., 2) from a state as the user has it."""
        for step in reversed(self.unpack):
            state = step(state)
        y: Tensor = state
        return y

    def real(self, state: Any) -> Tensor:
        """The same in float64."""
        y = self.ours(state)
        if y.is_complex():
            assert y.imag.nan_to_num(0.0).abs().max() < 1e-3
            y = y.real
        return y.double()

    def solve(self, method: str) -> sg.Solution[Any]:
        """Make the call."""
        y0 = flow(torch.zeros(self.rows) if self.rows else torch.tensor(0.0), self.k)
        wide = {"rtol": 1e-3, "atol": 1e-5, "args": (self.k.to(self.dtype),)}
        first = torch.tensor([True, False])

        def f(t: Tensor, state: Any, k: Tensor, part: Tensor | None = None) -> Any:
            value = self.rates(t, self.ours(state), k)
            return self.theirs(value if part is None else torch.where(part, value, 0.0))

        pair = (partial(f, part=first), partial(f, part=~first))
        return sg.solve(
            pair if self.parted else f,
            self.theirs(y0.to(self.dtype)),
            0.0,
            self.end,
            method=method,
            batched=self.rows > 0,
            **{**wide, **self.settings},
        )

    def flow(self, t: Tensor) -> Tensor:
        """The exact solution at the times (T,) or (B, T) of a solution."""
        return flow(t, self.k.unsqueeze(-1) if self.k.ndim else self.k)
