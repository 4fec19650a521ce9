"""Solutions of every kind: nestings, batches, kinds of numbers, what is kept, and how it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import torch
from families import real
from torch import Tensor

import stiffguide as sg


class Two(NamedTuple):
    """A state of two parts."""

    a: Tensor
    b: Tensor


def decay(t: Tensor, y: Tensor, k: Any = 1.0) -> Tensor:
    return -k * y


def mutual(t: Tensor, y: Two) -> Two:
    return Two(-y.a, y.a.sum() - y.b)


def nested(t: Tensor, y: dict[str, Any]) -> dict[str, Any]:
    return {"a": -y["a"], "<b>": [-y["<b>"][0], (y["a"].sum(-1),)]}


def solved(f: Any, y0: Any, t1: Any = 1.0, **more: Any) -> sg.Solution:
    given = {"method": "tsit5", "rtol": 1e-3, "backend": "eager"}
    return sg.solve(f, y0, 0.0, t1, **{**given, **more})


def at_half(t: Tensor, y: Tensor) -> Tensor:
    return y[..., 0] - 0.5


TIMES = real(0.0, 0.25, 1.0)
ROWS = real(1.0, 2.0, 3.0, 4.0).reshape(2, 2)
NEST = {"a": real(1.0, 2.0), "<b>": [real(3.0), (torch.tensor(0.5, dtype=torch.float64),)]}

MADE: dict[str, Callable[[], sg.Solution]] = {
    "end": lambda: solved(decay, real(1.0, 2.0)),
    "number": lambda: solved(decay, 1.0, save_at=TIMES),
    "matrix": lambda: solved(decay, ROWS, save_at=TIMES),
    "back": lambda: solved(decay, real(1.0, 2.0), -1.0, save_at=-TIMES),
    "back by rows": lambda: solved(decay, ROWS, real(-1.0, 1.0), batched=True, dense=True),
    "float32": lambda: solved(decay, torch.ones(2), dense=True),
    "bfloat16": lambda: solved(decay, torch.ones(2).bfloat16(), rtol=1e-1, save_at=TIMES),
    "complex": lambda: solved(decay, torch.tensor([1.0, 1j]), args=(1j,), save_at=TIMES),
    "conjugate": lambda: replace(made("complex"), y=made("complex").y.conj()),
    "complex parts": lambda: solved(decay, torch.tensor([1.0, 1j]), method="rodas4", dense=True),
    "dictionary": lambda: solved(nested, NEST, save_at=TIMES),
    "names": lambda: solved(mutual, Two(real(1.0, 2.0), real(0.0)), save_at=TIMES, dense=True),
    "rows": lambda: solved(decay, ROWS, real(1.0, 2.0), batched=True, dense=True),
    "steps": lambda: solved(
        decay, ROWS, real(0.1, 2.0), batched=True, save_at=sg.EveryStep(), atol=1e-6
    ),
    "events": lambda: solved(decay, ROWS, 3.0, batched=True, events=[at_half, at_half]),
    "event": lambda: solved(decay, real(1.0), events=at_half, save_at=TIMES, dense=True),
    "shared": lambda: solved(
        lambda t, y: torch.where(t < 0.1, -y, -1e4 * (y - 1)), real(2.0, 1.0), method="auto"
    ),
    "shared by rows": lambda: solved(
        lambda t, y: -real(1.0, 1e4).unsqueeze(1) * y, ROWS, batched=True, method="auto"
    ),
    "failed": lambda: solved(decay, ROWS, batched=True, max_attempts=1, save_at=TIMES, dense=True),
    "warned": lambda: solved(
        *(decay, real(0.0, 1.0).unsqueeze(1)),
        **{"batched": True, "min_step": 0.5, "save_at": TIMES, "rtol": 1e-9, "atol": 1e-12},
    ),
    "positive": lambda: solved(
        lambda t, y: -torch.sqrt(y), real(0.1), nonnegative=True, dense=True
    ),
    "derivatives": lambda: solved(
        lambda t, y, k: {"a": -k * y["a"]},
        {"a": real(1.0, 2.0)},
        args=(real(1.0, 0.5),),
        sensitivities=[0, "y0"],
        method="rodas4",
        save_at=TIMES,
    ),
    "gradients": lambda: solved(
        decay, real(1.0).requires_grad_(), args=(real(2.0).requires_grad_(),), dense=True
    ),
}
KINDS = list(MADE)


@cache
def made(kind: str) -> sg.Solution:
    """The solution, solved once."""
    return MADE[kind]()
