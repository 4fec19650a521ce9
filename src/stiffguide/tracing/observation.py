"""One look at a field: run it on one row at a point, and keep the graph of what it did."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import TreeSpec, tree_map_only, tree_unflatten

from stiffguide.errors import InputError
from stiffguide.fields.layout import Layout
from stiffguide.graphs.graph import Graph
from stiffguide.graphs.scalars import array
from stiffguide.tensors import real_dtype
from stiffguide.tracing.interpreter import Interpreter
from stiffguide.tracing.lifting import Lifted
from stiffguide.tracing.op_schema import tensors
from stiffguide.tracing.sources import Sources
from stiffguide.tracing.traced_field import Leaf


@dataclass(frozen=True)
class Setting:
    """A field and what its arguments are taken for."""

    f: Callable[..., Any]
    layout: Layout  # of one row
    values: list[Any]  # leaves of args
    tree: TreeSpec  # of args
    leaves: list[Leaf]
    captured_rows: int | None  # captured tensors of that length have the axis of rows
    symbols: Lifted | None = None  # a copy of f, in which these stand for floats


class Observation(NamedTuple):
    """What a field did at one point."""

    graph: Graph
    outputs: list[int]
    sources: Sources
    value: Tensor  # (F,), of f itself
    rounded: str  # an operation in less precision than the state's
    watch: Interpreter


def observe(s: Setting, t: Tensor, y: Tensor) -> Observation:
    """Run the field at t (1,) and y (1, F)."""
    compiler = "torch._dynamo" in sys.modules
    try:
        return _observe(s, t, y)
    except Exception:
        if compiler or "torch._dynamo" not in sys.modules:
            raise
        return _observe(s, t, y)  # f has called torch's compiler, which can be held back now


def _observe(s: Setting, t: Tensor, y: Tensor) -> Observation:
    graph = Graph()
    graph.const(0.0)  # node 0: movements fill with it
    sources = Sources(graph, len(s.leaves) + (s.symbols is not None))
    watch = Interpreter(graph, sources, s.layout.dtype)
    t = t.to(real_dtype(s.layout.dtype)).clone()
    t, y = t if s.layout.batched else t[0], y.clone()
    components = [graph.add("y", index=i) for i in range(y.shape[1])]
    watch.give(t, array(graph.add("t"), t.shape), foreign=True)
    watch.give(y, array(components, y.shape), foreign=True)
    values = [_argument(k, s, sources, watch) for k in range(len(s.values))]
    args = tree_unflatten(values, s.tree)
    f = s.f
    if s.symbols is not None:
        f = s.symbols.f
        for k, symbol in enumerate(s.symbols.symbols):
            number = sources.entry(len(s.leaves), k)
            watch.give(symbol, array(number, symbol.shape), foreign=True)
    try:
        with torch.no_grad(), _uncompiled(), watch, OneRow(s.captured_rows, sources, watch):
            state = s.layout.unflatten(y, *((1,) if s.layout.batched else ()))
            value = s.layout.flatten(f(t, state, *args), "the value of f")
    except Exception as error:
        expected = isinstance(error, InputError) and not watch.compiled
        if not expected and "torch._dynamo" in sys.modules:
            torch._dynamo.reset()  # else torch.cond fails for good once it was watched
        if watch.refused is not None:  # what f calls may have wrapped it
            raise watch.refused from error
        raise
    outputs = watch.numbers(value).flatten().tolist()
    return Observation(graph, outputs, sources, value.detach().reshape(-1), watch.rounded, watch)


def _uncompiled() -> AbstractContextManager[Any]:
    """Run what f has had compiled by torch as it was written."""
    if "torch._dynamo" in sys.modules:
        stance: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
        return stance
    return nullcontext()


def _argument(place: int, s: Setting, sources: Sources, watch: Interpreter) -> Any:
    """A leaf of args as f sees it: one row, with the numbers of its nodes."""
    value, role = s.values[place], s.leaves[place].role
    if role == "fixed":
        return value
    if role == "number":
        value = torch.tensor(value, dtype=torch.float64, device=s.layout.device)
    else:
        value = value.detach()[:1] if role == "row" else value.detach()[...]
    watch.give(value, sources.lift(value, place, per_row=role == "row"), foreign=True)
    return value


class OneRow(TorchFunctionMode):
    """Shows f the first row only of the captured tensors that have an axis of `rows`.

    And it reads x[i] with a tensor i of no axes as x[i[None]][0]: torch would ask for the value.
    """

    def __init__(self, rows: int | None, sources: Sources, watch: Interpreter) -> None:
        super().__init__()
        self._rows = rows
        self._sources = sources
        self._watch = watch
        self._shown: dict[int, tuple[Tensor, Tensor]] = {}  # by id; keeps the tensors alive
        self._made: dict[int, Tensor] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Exchange the arguments, and remember the results as f's own."""
        if func is Tensor.__getitem__ and (found := _widened(args[1])) is not None:
            index, axis = found
            with self:
                return args[0][index].squeeze(axis)
        if self._rows is None:
            return func(*args, **(kwargs or {}))
        args, kwargs = tree_map_only(Tensor, self._show, (args, kwargs or {}))
        out = func(*args, **kwargs)
        self._made.update((id(x), x) for x in tensors(out))
        return out

    def _show(self, tensor: Tensor) -> Tensor:
        if id(tensor) in self._made or self._watch.knows(tensor):
            return tensor
        if tensor.ndim == 0 or tensor.shape[0] != self._rows:
            return tensor
        if id(tensor) not in self._shown:
            row = tensor.detach()[:1]
            self._watch.give(row, self._sources.capture(tensor, row), foreign=True)
            self._shown[id(tensor)] = (tensor, row)
        return self._shown[id(tensor)][1]


def _widened(subscript: Any) -> tuple[tuple[Any, ...], int] | None:
    """A subscript with integer tensors of no axes as one with an axis each, and where that comes.

    None where there are no such tensors, or where the axis would come elsewhere.
    """
    entries = subscript if isinstance(subscript, tuple) else (subscript,)
    places = [k for k, entry in enumerate(entries) if _is_place(entry)]
    if not places or not all(_is_place(e) or isinstance(e, (int, slice)) for e in entries):
        return None
    if any(isinstance(e, slice) for e in entries[places[0] : places[-1]]):
        return None
    with_axes = tuple(e.reshape(1) if k in places else e for k, e in enumerate(entries))
    return with_axes, sum(isinstance(e, slice) for e in entries[: places[0]])


def _is_place(entry: Any) -> bool:
    integer = isinstance(entry, Tensor) and not entry.is_floating_point()
    return integer and entry.ndim == 0 and entry.dtype != torch.bool
