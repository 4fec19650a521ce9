"""The record of a traced field: its graph, its derivatives, and where its parameters come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from stiffguide.errors import InputError
from stiffguide.kernels.fingerprint import Mark, content, fingerprint, leaves
from stiffguide.kernels.graph import Graph


@dataclass(frozen=True)
class Parameter:
    """Where entry p[k] comes from.

    `source` counts the leaves of args, then the captured tensors; `element` is the place in the
    flattened tensor, or in the flattened rest of it behind the row axis where it is `per_row`.
    """

    source: int
    element: int
    per_row: bool


@dataclass
class Traced:
    """A field as a scalar graph with its derivatives.

    `outputs[i]` is the node of f_i; `jac` and `dfdt` name nodes for the entries that are not zero
    by structure. `key` names the content: equal keys, equal kernels, in every process.
    """

    graph: Graph
    features: int
    outputs: list[int]
    parameters: list[Parameter]
    jac: dict[tuple[int, int], int]
    dfdt: dict[int, int]
    autonomous: bool
    key: str

    def parameter_table(self, args: tuple[Any, ...], rows: int) -> Tensor:
        """(B, P) where an entry differs by row, else (P,): float64, read now."""
        raise NotImplementedError
