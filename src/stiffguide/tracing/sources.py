"""Where the numbers of a graph come from: arguments, captured tensors, and how they are read.

A tensor of floats becomes entries of the parameter table, which is filled anew at every call. Two
things are part of the graph instead, and a change of them asks for a new one: integers and truth
values (they mostly index), and the zeros and plus or minus ones of a captured tensor that has more
than one entry and wants no gradient. Those are the structure of a matrix, and with them go the
zeros of the Jacobian.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from stiffguide.graphs.graph import Graph
from stiffguide.graphs.refusal import UntraceableError
from stiffguide.graphs.scalars import array

LARGEST_CAPTURED = 65_536  # entries
STRUCTURAL = (0.0, 1.0, -1.0)
FEW = 64  # entries


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
class Sources:
    """The parameters that a trace has met so far."""

    graph: Graph
    leaves: int  # of args; captured tensors count from here
    parameters: list[Parameter] = field(default_factory=list)
    captured: list[Tensor] = field(default_factory=list)
    per_row: list[bool] = field(default_factory=list)  # of the captured
    _known: dict[int, Tensor] = field(default_factory=dict)  # numbers by source
    _places: dict[tuple[int, bool], int] = field(default_factory=dict)  # sources by id and per_row

    def lift(self, tensor: Tensor, source: int, *, per_row: bool) -> Tensor:
        """Node numbers in the shape of `tensor`, an entry of the table each."""
        if source not in self._known:
            numbers = [self.entry(source, k, per_row) for k in range(tensor.numel())]
            self._known[source] = array(numbers, tensor.shape)
        return self._known[source]

    def entry(self, source: int, element: int, per_row: bool = False) -> int:
        """An entry of the table."""
        self.parameters.append(Parameter(source, element, per_row))
        return self.graph.add("p", index=len(self.parameters) - 1)

    def capture(self, tensor: Tensor, row: Tensor | None = None) -> Tensor:
        """Node numbers of a tensor that f reaches by itself; `row` is what f sees of it.

        They are the same in every run of f.
        """
        key = (id(tensor), row is not None)
        known = self._places.get(key)
        if known is None:
            _check(tensor if row is None else row)
            known = self._places[key] = self.leaves + len(self.captured)
            self.captured.append(tensor)
            self.per_row.append(row is not None)
            self._known[known] = self._captured(tensor, known, row)
        return self._known[known]

    def _captured(self, tensor: Tensor, source: int, row: Tensor | None) -> Tensor:
        if row is not None:
            return self.lift(row, source, per_row=True)
        dense = readable(tensor)
        if not tensor.is_floating_point():
            return constants(self.graph, dense)
        if not has_structure(tensor):
            return self.lift(dense, source, per_row=False)
        numbers = [
            self.graph.const(v) if v in STRUCTURAL else self.entry(source, k, False)
            for k, v in enumerate(dense.flatten().tolist())
        ]
        return array(numbers, dense.shape)


def _check(tensor: Tensor) -> None:
    if tensor.is_complex():
        raise UntraceableError(f"f uses a complex tensor of shape {tuple(tensor.shape)}")
    if tensor.is_quantized or tensor.is_meta:
        raise UntraceableError("f uses a captured tensor that is quantized or has no values")
    if tensor.numel() > LARGEST_CAPTURED:
        raise UntraceableError(
            f"f uses a captured tensor of {tensor.numel()} entries; in a kernel "
            f"{LARGEST_CAPTURED} are the most"
        )


def readable(tensor: Tensor, *, history: bool = False) -> Tensor:
    """The values of a tensor, dense, and without a gradient unless its `history` is wanted."""
    tensor = tensor if history else tensor.detach()
    if tensor.is_neg():  # a view that has the numbers of another with the other sign
        tensor = tensor.resolve_neg()
    return tensor if tensor.layout == torch.strided else tensor.to_dense()


def has_structure(tensor: Tensor) -> bool:
    """Whether its zeros and ones are part of the graph."""
    return tensor.is_floating_point() and tensor.numel() > 1 and not tensor.requires_grad


def structure(tensor: Tensor) -> bytes:
    """What of a captured tensor's values is part of the graph."""
    values = readable(tensor)
    if not tensor.is_floating_point():
        return content(values)
    if not has_structure(tensor):
        return b""
    if values.numel() <= FEW:  # of few numbers, python asks faster than torch
        entries = values.reshape(-1).tolist()
        return bytes([STRUCTURAL.index(v) + 1 if v in STRUCTURAL else 0 for v in entries])
    found = sum(((values == v) * (k + 1) for k, v in enumerate(STRUCTURAL)), 0 * values)
    return content(found.to(torch.int8))


def content(tensor: Tensor) -> bytes:
    """The values of a tensor of any dtype, to be compared."""
    if tensor.dtype == torch.bfloat16:  # numpy has none
        tensor = tensor.float()
    found: bytes = tensor.cpu().numpy().tobytes()
    return found


def constants(graph: Graph, tensor: Tensor) -> Tensor:
    """Node numbers of known values."""
    if tensor._is_zerotensor() or tensor.is_meta:  # forward-mode autograd's: they have no memory
        return torch.full(tensor.shape, graph.const(0.0), device="cpu")
    values = tensor.detach().reshape(-1).tolist()
    return array([graph.const(v) for v in values], tensor.shape)
