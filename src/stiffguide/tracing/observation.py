"""One look at a field: run it on one row at a point, and keep the graph of what it did."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_unflatten

from stiffguide.errors import InputError
from stiffguide.fields.layout import Layout
from stiffguide.graphs.graph import Graph
from stiffguide.graphs.scalars import array
from stiffguide.tensors import real_dtype
from stiffguide.tracing import together
from stiffguide.tracing.calls import Calls
from stiffguide.tracing.course import Course
from stiffguide.tracing.decisions import Path, meant, merged
from stiffguide.tracing.interpreter import Interpreter
from stiffguide.tracing.lifting import Lifted
from stiffguide.tracing.sources import Sources
from stiffguide.tracing.together import Part
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


class Run(NamedTuple):
    """One path of a field: the nodes of its value, and the value with the numbers of the point.

    Both are nan where f raises an exception (`error`).
    """

    outputs: list[int]
    value: Tensor  # (F,)
    watch: Interpreter
    real: bool  # the numbers of the point take this path
    error: Exception | None = None


class Observation(NamedTuple):
    """What a field did at one point."""

    graph: Graph
    outputs: list[int]
    sources: Sources
    parts: list[list[Run]]  # of f, and of what is seen together with it, one a path

    @property
    def value(self) -> Tensor:
        """Of f itself (F,), and of what is seen together with it."""
        return torch.cat([_real(runs) for runs in self.parts])

    @property
    def runs(self) -> Iterator[Run]:
        """Those of all parts."""
        return chain.from_iterable(self.parts)

    @property
    def rounded(self) -> str:
        """An operation in less precision than the state's."""
        return next((run.watch.rounded for run in self.runs if run.watch.rounded), "")

    @property
    def error(self) -> Exception | None:
        """What f raises on a path that is its own choice; such a path has the value nan."""
        return next((run.error for run in self.runs if run.error is not None), None)

    def varying(self) -> frozenset[int]:
        """The ids of tensors that hold values of t or y, or computed from them."""
        return frozenset().union(*(run.watch.varying() for run in self.runs))


def observe(s: Setting, t: Tensor, y: Tensor) -> Observation:
    """Run the field at t (1,) and y (1, F), once a path."""
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
    outputs: list[int] = []
    found: list[list[Run]] = []
    for k, part in enumerate(together.parts(s.f)):
        runs: list[Run] = []
        follow = partial(_run, s, (t, y), sources, (k, part), runs)
        outputs += merged(graph, follow)
        errors = [run.error for run in runs]
        if errors[0] is not None and None not in errors:  # f has no value anywhere
            raise errors[0]
        found.append(runs)
    return Observation(graph, outputs, sources, found)


def _real(runs: list[Run]) -> Tensor:
    real = [run.value for run in runs if run.real]
    return real[0] if real else torch.full_like(runs[0].value, float("nan"))


def _run(
    s: Setting,
    point: tuple[Tensor, Tensor],
    sources: Sources,
    which: tuple[int, Part],
    runs: list[Run],
    path: Path,
) -> list[int]:
    """Run one function on one path, and keep that run; the nodes of its value."""
    runs.append(_followed(s, *point, sources, which, path))
    return runs[-1].outputs


def _followed(
    s: Setting, t: Tensor, y: Tensor, sources: Sources, which: tuple[int, Part], path: Path
) -> Run:
    (k, part), f = which, which[1].function
    graph = sources.graph
    one_way = s.layout.batched and not getattr(s.f, "by_row", False)
    course = Course(path, sources, batched=one_way)
    watch = Interpreter(graph, sources, s.layout.dtype, course)
    t = t.to(real_dtype(s.layout.dtype)).clone()
    t, y = t if s.layout.batched else t[0], y.clone()
    components = [graph.add("y", index=i) for i in range(y.shape[1])]
    watch.give(t, array(graph.add("t"), t.shape), foreign=True)
    watch.give(y, array(components, y.shape), foreign=True)
    values = [_argument(k, s, sources, watch) for k in range(len(s.values))]
    args = tree_unflatten(values, s.tree)
    if s.symbols is not None:
        f, symbols = s.symbols.function(k), s.symbols.symbols
        numbers = sources.lift(torch.stack(symbols), len(s.leaves), per_row=False)
        for symbol, number in zip(symbols, numbers, strict=True):
            watch.give(symbol, number, foreign=True)
    try:
        with torch.no_grad(), uncompiled(), watch, Calls(s.captured_rows, sources, watch):
            given = y.clone() if k else y  # a jump may write to it
            state = s.layout.unflatten(given, *((1,) if s.layout.batched else ()))
            value = part.flat(f(t, state, *args), s.layout)
    except Exception as error:
        expected = isinstance(error, InputError) and not watch.compiled
        if not expected and "torch._dynamo" in sys.modules:
            torch._dynamo.reset()  # else torch.cond fails for good once it was watched
        if watch.refused is not None:  # what f calls may have wrapped it
            raise watch.refused from error
        if not path.conditions or isinstance(error, InputError) or not meant(error):
            raise
        nowhere = y[0].new_full((len(y[0]) if part.state else 1,), float("nan"))
        return Run([graph.const(float("nan"))] * len(nowhere), nowhere, watch, course.real, error)
    outputs = watch.numbers(value).flatten().tolist()
    return Run(outputs, value.detach().reshape(-1), watch, course.real)


def uncompiled() -> AbstractContextManager[Any]:
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
