"""Some rows of a study: their solve, as the arrays that are kept."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stiffguide import documents
from stiffguide.errors import InputError, Status
from stiffguide.solution import Solution
from stiffguide.solve import solve
from stiffguide.studies.parameters import Parameters, digest, length, mapped, named

Array = NDArray[Any]
COUNTS = ("accepted", "rejected", "nfe")
OWN = ("t", "y", "status", *COUNTS)  # names that a study gives its arrays
SENTENCES, LETTERS = 500, 400  # of a shard that are kept, and of one; the status says the rest
Reduce = Callable[[Solution[Any], Any], Mapping[str, Any]]
# (F, ...) for all rows, or a function of the parameters
Start = Tensor | Array | list[Any] | tuple[Any, ...] | Callable[..., Any]


@dataclass(frozen=True)
class Task:
    """What is asked of every row."""

    f: Callable[..., Any]
    y0: Start
    t0: float
    t1: float
    args: tuple[Any, ...]
    reduce: Reduce | None
    options: Mapping[str, Any] = field(default_factory=dict)

    def solve(self, start: int, parameters: Parameters) -> dict[str, Array]:
        """The arrays of B rows from row `start` on: parameters, solution, counts, sentences."""
        rows = length(parameters)
        told = mapped(parameters, torch.from_numpy)
        found: Solution[Any] = solve(
            self.f,
            self.state(told, rows),
            self.t0,
            self.t1,
            args=(told, *self.args),
            batched=True,
            **self.options,
        )
        return {
            **{f"param_{name}": array for name, array in named(parameters).items()},
            **self._columns(found, told, rows),
            "messages": _packed(found.messages, start),
            "digest": np.frombuffer(bytes.fromhex(digest(parameters)), np.uint8),
        }

    def state(self, told: Any, rows: int) -> Tensor:
        """y0 (B, ...) of rows with these parameters."""
        if callable(self.y0):
            start = torch.as_tensor(self.y0(told))
            if start.ndim < 2 or len(start) != rows:
                raise InputError(
                    f"y0(params) must return states (B, ...) of its {rows} rows, not "
                    f"{tuple(start.shape)}"
                )
            return start
        one = torch.as_tensor(self.y0)
        if not (one.is_floating_point() or one.is_complex()) or one.ndim == 0:
            raise InputError("y0 must be a state (F,) of floating-point numbers, or a function")
        return one.expand(rows, *one.shape).clone()

    def _columns(self, found: Solution[Any], told: Any, rows: int) -> dict[str, Array]:
        counts = found.stats.as_dict()
        columns = {name: counts[name].to(torch.int32).numpy() for name in COUNTS}
        columns["status"] = found.status.to(torch.int8).numpy()
        if self.reduce is None:
            return {"t": found.t.numpy(), "y": found.y.numpy(), **columns}
        kept = self.reduce(found, told).items()
        return {**{name: _column(name, value, rows) for name, value in kept}, **columns}


def _column(name: str, value: Any, rows: int) -> Array:
    array = value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
    if array.ndim == 0 or len(array) != rows or array.dtype.kind not in "biufc":
        raise InputError(
            f"reduce returned {name} as {array.dtype} {array.shape}: it must be numbers (B, ...), "
            f"B = {rows}"
        )
    if name in ("status", *COUNTS, "messages", "digest") or name.startswith("param_"):
        raise InputError(f"reduce returned {name}, which the study keeps itself: rename it")
    return array


def _packed(said: Mapping[int, str], start: int) -> Array:
    """Sentences of the first rows that failed, as JSON; rows have their numbers in the study."""
    found = {
        str(start + row): re.sub(rf"\brow {row}\b", f"row {start + row}", message)[:LETTERS]
        for row, message in list(said.items())[:SENTENCES]
    }
    return np.frombuffer(json.dumps(found).encode(), np.uint8)


def unpacked(packed: Array) -> dict[int, str]:
    """What `_packed` made."""
    found = documents.plain(packed.tobytes().decode(), "messages")
    return {int(row): str(said) for row, said in found.items()}


def failed(status: Array) -> Array:
    """Which rows (B,) did not come to their end."""
    return ~np.isin(status, [int(code) for code in Status if code.ok])
