"""The record of a traced field: its graph, its derivatives, and where its parameters come from."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_leaves

from stiffguide.errors import InputError
from stiffguide.graphs.derive import Derived, derived
from stiffguide.graphs.graph import Graph, digest
from stiffguide.graphs.refusal import UntraceableError
from stiffguide.tensors import constant
from stiffguide.tracing.fingerprint import fingerprint
from stiffguide.tracing.glance import Glance
from stiffguide.tracing.mark import Mark, changed
from stiffguide.tracing.sources import Parameter, content, readable, structure

ENOUGH = 2  # checks that can tell
Groups = tuple[list[int], list[int], list[list[int]]]
NOTHING = Mark((), (), (), (), complete=True)
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Leaf:
    """What a trace took a leaf of args for.

    `role`: "row" (a tensor with the axis of rows), "shared" (a tensor), "array" (one of numpy, of
    float64), "number" (a float), and "fixed" (anything else, part of the graph).
    """

    role: str
    shape: tuple[int, ...] = ()  # without the axis of rows
    dtype: torch.dtype | None = None

    def accepts(self, value: Any, rows: int) -> bool:
        """Whether a value can stand where the traced one stood."""
        if self.role == "fixed":
            return True  # the fingerprint looks at it
        if self.role == "number":
            return isinstance(value, float)
        if self.role == "array":
            ours = isinstance(value, np.ndarray) and value.dtype == np.float64
            return ours and value.shape == self.shape
        if not isinstance(value, Tensor) or value.dtype != self.dtype:
            return False
        return tuple(value.shape) == ((rows, *self.shape) if self.role == "row" else self.shape)


@dataclass(eq=False)
class Captured:
    """A tensor that f reaches by itself, and what of its values is part of the graph."""

    tensor: Tensor
    per_row: bool
    structure: bytes
    _seen: bytes = b""

    def unchanged(self, rows: int) -> bool:
        """Whether the graph is still right for the values that the tensor has now."""
        if self.per_row and self.tensor.shape[0] != rows:
            return False
        if not self.structure:
            return True
        if self.tensor.requires_grad and self.tensor.is_floating_point():
            return False  # its zeros and ones want a gradient, too
        found = content(readable(self.tensor))
        if found != self._seen:
            if structure(self.tensor) != self.structure:
                return False
            self._seen = found
        return True


@dataclass(eq=False)
class Traced:
    """A field as a scalar graph, with its derivatives on demand.

    `values[i]` is the node of f_i in `plain`, `events` and `jumps` those of functions that were
    traced with it (see `together`); derivatives are of f alone. `key` names the content: equal
    keys, equal kernels, in every process. A kernel that is found in the cache needs no derivative.
    """

    plain: Graph
    values: list[int]
    parameters: list[Parameter]
    key: str
    leaves: list[Leaf] = field(default_factory=list)
    nesting: TreeSpec | None = None  # of args; None where nothing is nested
    captured: list[Captured] = field(default_factory=list)
    mark: Mark = NOTHING
    glance: Glance | None = None  # of a field whose mark is that of f alone
    device: torch.device = CPU
    shape: Hashable = ()  # of the state
    rows: int = 1  # that it was checked with
    paths: int = 1  # by branches of f on numbers
    telling: int = 0  # checks at points where f is finite
    operations: int = 20  # that torch dispatches in one evaluation of f
    rigid: bool = False  # no float of its code can be a parameter
    arrays: bool = False  # of numpy: what it reads of a tensor is part of the graph
    # parameters between those of args and the captured tensors:
    lifted: tuple[int, ...] = ()  # floats of the mark
    varied: tuple[int, ...] = ()  # or nodes that were constants,
    numbers: tuple[float, ...] = ()  # with these values
    events: list[int] = field(default_factory=list)
    jumps: list[list[int]] = field(default_factory=list)  # by component
    differentiable: bool = False  # its derivatives were found to be those of autograd

    def __post_init__(self) -> None:
        groups = groupby(self.parameters, key=lambda p: (p.source, p.per_row))
        self._lifted = set(self.lifted)
        self._none = constant((), torch.float64, self.device)
        self._columns = [(*key, self._elements(key[0], list(group))) for key, group in groups]

    def _elements(self, source: int, group: list[Parameter]) -> Tensor | None:
        """Which entries of a source are in use; None: all, in their order."""
        places = [p.element for p in group]
        size, own = len(self.lifted or self.numbers), len(self.leaves)
        own += bool(size)
        if source < len(self.leaves):
            size = prod(self.leaves[source].shape)
        elif source >= own:
            captured = self.captured[source - own]
            size = prod(captured.tensor.shape[int(captured.per_row) :])
        if places == list(range(size)):
            return None
        return torch.tensor(places, device=self.device)

    @property
    def features(self) -> int:
        """The number of components."""
        return len(self.values)

    @property
    def groups(self) -> Groups:
        """All results: of f, of the events, of the jumps."""
        return self.values, self.events, self.jumps

    @property
    def more(self) -> list[int]:
        """The results of events and jumps."""
        return [*self.events, *(number for jump in self.jumps for number in jump)]

    @property
    def outputs(self) -> list[int]:
        """All results, in their order."""
        return [*self.values, *self.more]

    @cached_property
    def autonomous(self) -> bool:
        """Whether f does not depend on t."""
        nodes = self.plain.nodes
        used = self.plain.needed(self.values) if self.more else range(len(nodes))
        return all(nodes[number].op != "t" for number in used)

    @property
    def derived(self) -> Derived:
        """f, J and df/dt in one graph; raises UntraceableError where that grows too large."""
        if isinstance(self._derived, UntraceableError):
            raise self._derived
        return self._derived

    @cached_property
    def _derived(self) -> Derived | UntraceableError:
        try:
            return derived(self.plain, self.values)
        except UntraceableError as error:  # which takes as long to find out again
            return error

    def fitted(self, f: Callable[..., Any], args: tuple[Any, ...], rows: int) -> Traced | None:
        """This trace with the numbers of today; None where it is not f with these arguments."""
        values, nesting = flattened(args)
        if len(values) != len(self.leaves) or (self.rows == 1) != (rows == 1):
            return None  # one row alone cannot tell what is by row, and what rows do together
        if nesting != self.nesting:
            return None
        for leaf, value in zip(self.leaves, values, strict=True):
            if not leaf.accepts(value, rows):
                return None
        found = self
        if self.glance is None or not self.glance.holds(f):
            mark = fingerprint(f, *fixed(self.leaves, values))
            renewed = self if mark == self.mark else self._renewed(mark)
            if renewed is None:
                return None
            found = renewed
        for captured in found.captured:
            if not captured.unchanged(rows):
                return None
        return found

    def _renewed(self, mark: Mark) -> Traced | None:
        """The same with other floats where it has parameters for them, and other tensors."""
        if mark.values != self.mark.values or not set(changed(self.mark, mark)) <= self._lifted:
            return None
        captured = list(self.captured)
        for old, new in zip(self.mark.tensors, mark.tensors, strict=True):
            if old is new:
                continue
            place = next((k for k, c in enumerate(self.captured) if c.tensor is old), None)
            if place is None:  # it decides something else
                return None
            captured[place] = replace(captured[place], tensor=new, _seen=b"")
        found = copy.copy(self)
        found.mark, found.captured, found.glance = mark, captured, None
        return found

    @property
    def sure(self) -> bool:
        """Whether a change of f cannot but show in its mark, and f was met inside its domain."""
        seen = self.mark.complete and not (self.arrays and self.mark.tensors)
        return seen and self.telling >= ENOUGH

    def parameter_table(self, args: tuple[Any, ...], rows: int, *, history: bool = False) -> Tensor:
        """(B, P) where an entry differs by row, else (P,): float64, read now.

        With `history` it is differentiable, by what requires a gradient.
        """
        if not self._columns:
            return self._none
        values = leaves_of(args)
        if self.lifted or self.numbers:
            floats = self.numbers or [self.mark.floats[slot] for slot in self.lifted]
            values.append(torch.tensor(floats, dtype=torch.float64, device=self.device))
        values += [c.tensor for c in self.captured]
        if len(self._columns) == 1:  # as they are, where that is possible
            source, per_row, elements = self._columns[0]
            whole = values[source]
            if elements is None and not per_row and _plain(whole, self.device):
                return readable(whole, history=history).reshape(-1)
        columns = []
        for source, per_row, elements in self._columns:
            value = values[source]
            if isinstance(value, np.ndarray):
                value = torch.tensor(value, device=self.device)
            if not isinstance(value, Tensor):
                columns.append(torch.tensor([value], dtype=torch.float64, device=self.device))
                continue
            if per_row and value.shape[0] != rows:
                raise InputError(f"a parameter has {value.shape[0]} rows, the state has {rows}")
            flat = readable(value, history=history).to(self.device, torch.float64)
            flat = flat.reshape(rows, -1) if per_row else flat.reshape(-1)
            columns.append(flat if elements is None else flat[..., elements])
        if not any(per_row for _, per_row, _ in self._columns):
            return torch.cat(columns)
        return torch.cat([c if c.ndim == 2 else c.expand(rows, -1) for c in columns], -1)


def named(graph: Graph, groups: Groups) -> str:
    """The name of a content."""
    return digest(graph.text(), *map(str, groups))


def _plain(value: Any, place: torch.device) -> bool:
    """Whether a kernel can read a tensor where it lies."""
    return (
        isinstance(value, Tensor)
        and value.dtype == torch.float64
        and value.layout is torch.strided
        and value.device == place
        and value.is_contiguous()
        and not value.is_neg()
    )


def leaves_of(args: tuple[Any, ...]) -> list[Any]:
    """The leaves of nested arguments, fast where nothing is nested."""
    for value in args:
        if type(value) is not Tensor and type(value) is not float:
            return tree_leaves(args)
    return list(args)


def flattened(args: tuple[Any, ...]) -> tuple[list[Any], TreeSpec | None]:
    """The leaves, and how they are nested: None where args are the leaves themselves."""
    for value in args:
        if type(value) is not Tensor and type(value) is not float:
            break
    else:
        return list(args), None
    leaves, tree = tree_flatten(args)
    flat = len(leaves) == len(args) and all(a is b for a, b in zip(leaves, args, strict=True))
    return leaves, None if flat else tree


def fixed(leaves: list[Leaf], values: list[Any]) -> list[Any]:
    """The values that are part of the graph."""
    return [v for leaf, v in zip(leaves, values, strict=True) if leaf.role == "fixed"]
