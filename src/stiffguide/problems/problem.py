"""The record of one initial value problem: field, exact Jacobian, data, what is known of y(t1)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from stiffguide.errors import InputError

Field = Callable[[Tensor, Tensor], Tensor]

# The accuracy for which `Problem.atol` is stated.
ATOL_RTOL = 1e-8


@dataclass(frozen=True, eq=False)
class Problem:
    """An initial value problem y' = f(t, y) with y(t0) = y0 on [t0, t1], or M y' = f(t, y).

    `f(t, y)` and `jac(t, y)` take y of shape (F,) or (B, F), t of shape () or (B,), and return
    (..., F) and (..., F, F). `reference` holds y(t1), or only its components `probes` when these
    are given; `digits` of it are within reach of a float64 solver. `invariant(y)` (...,) is
    constant along solutions. `sparsity` is the pattern of the Jacobian (a scipy sparse array).
    `mass` is M (F, F), or its diagonal (F,).
    """

    name: str
    title: str
    f: Field
    jac: Field
    y0: Tensor
    t0: float
    t1: float
    atol: float | tuple[float, ...]
    stiff: bool
    source: str
    reference: tuple[float, ...] | None = None
    probes: tuple[int, ...] = ()
    digits: int = 0
    exact: Callable[[Tensor], Tensor] | None = None
    invariant: Callable[[Tensor], Tensor] | None = None
    sparsity: Any = None
    mass: Tensor | None = None
    params: Mapping[str, float] = field(default_factory=dict)
    notes: str = ""

    @property
    def size(self) -> int:
        """Number of equations F."""
        return self.y0.shape[-1]

    def atol_for(self, rtol: float) -> float | tuple[float, ...]:
        """The absolute tolerance that goes with `rtol`: `atol` is stated for rtol = 1e-8."""
        scale = rtol / ATOL_RTOL
        if isinstance(self.atol, tuple):
            return tuple(scale * value for value in self.atol)
        return scale * self.atol

    def error(self, y1: Tensor) -> Tensor:
        """The error (...,) of y1 (..., F): max |y1 - reference| / max |reference|.

        Raises InputError where these parameters have no reference.
        """
        if self.reference is None:
            raise InputError(
                f"{self.name} with {dict(self.params)} has no stored reference at t = {self.t1:g}; "
                "solve it once at a tight tolerance and compare with that"
            )
        reference = y1.new_tensor(self.reference)
        known = y1[..., list(self.probes)] if self.probes else y1
        return (known - reference).abs().amax(-1) / reference.abs().max()

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Problem:
        """The same problem with y0 and the constants of f and jac on another device or dtype."""

        def move(value: Any) -> Any:
            if isinstance(value, tuple) and hasattr(value, "_make"):
                return value._make(map(move, value))
            return value.to(device=device, dtype=dtype) if isinstance(value, Tensor) else value

        def rebind(function: Field) -> Field:
            if not isinstance(function, partial):
                return function
            args = [move(value) for value in function.args]
            return partial(
                function.func, *args, **{k: move(v) for k, v in function.keywords.items()}
            )

        moved = {"y0": move(self.y0), "mass": move(self.mass)}
        return replace(self, **moved, f=rebind(self.f), jac=rebind(self.jac))


def as_matrix(entries: Sequence[Tensor]) -> Tensor:
    """The matrices (..., n, n) whose n^2 entries (...,) are given row by row."""
    flat = torch.stack(tuple(entries), -1)
    n = math.isqrt(len(entries))
    return flat.reshape(*flat.shape[:-1], n, n)
