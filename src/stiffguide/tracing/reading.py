"""One trace of a field: the ways to read its arguments, and what is kept of the first that works.

A field is traced at two points. Where the two graphs differ, f draws random numbers, counts its
calls, or freezes values that torch cannot follow; where a graph and the field differ in value, f
does something with its rows that a single row cannot show. Both are refused, in one sentence.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from stiffguide.errors import InputError
from stiffguide.fields.array_function import ArrayFunction, number
from stiffguide.fields.layout import Layout
from stiffguide.graphs.graph import Graph
from stiffguide.graphs.refusal import UntraceableError
from stiffguide.tracing import agreement, together
from stiffguide.tracing.fingerprint import fingerprint
from stiffguide.tracing.glance import glance
from stiffguide.tracing.lifting import Lifted
from stiffguide.tracing.lines import place
from stiffguide.tracing.observation import Observation, Setting, observe
from stiffguide.tracing.sources import Sources, structure
from stiffguide.tracing.together import Together, written
from stiffguide.tracing.traced_field import ENOUGH, Captured, Leaf, Traced, fixed, named

if TYPE_CHECKING:
    from stiffguide.tracing import numpy_fields

Function = Callable[..., Any]


def trace(
    f: Function,
    args: tuple[Any, ...],
    layout: Layout,
    t0: Tensor,
    y0: Tensor,
    symbols: Lifted | None = None,
) -> Traced:
    """Try the ways to understand the arguments, the most useful first."""
    if layout.dtype.is_complex:
        raise UntraceableError(f"y0 is {layout.dtype}: a kernel computes in real numbers")
    if isinstance(together.field(f), ArrayFunction):
        return _of_arrays(f, args, layout, t0, y0, symbols)
    row = layout
    if layout.batched:
        row = Layout(layout.unflatten(y0[:1], 1), batched=True)
    values, tree = tree_flatten(args)
    errors = []
    for leaves, captured_rows in _readings(values, layout):
        setting = Setting(f, row, values, tree, leaves, captured_rows, symbols)
        try:
            return _attempt(setting, args, layout, t0, y0)
        except UntraceableError as error:
            errors.append((leaves, error))
    # the plainest reading tells best: floats as they are, rows as rows
    plain = [e for leaves, e in errors if not any(leaf.role == "number" for leaf in leaves)]
    raise plain[0]


def _readings(values: list[Any], layout: Layout) -> Any:
    """(leaves, rows of captured tensors): floats as parameters or fixed, tensors by row or not."""
    floats = (True, False) if any(isinstance(v, float) for v in values) else (False,)
    rowed = layout.batched and any(
        isinstance(v, Tensor) and v.ndim > 0 and v.shape[0] == layout.rows for v in values
    )
    ways: list[tuple[bool, int | None]] = [(layout.batched, None)]
    if layout.batched and layout.rows > 1:
        ways.append((True, layout.rows))
    if rowed:
        ways.append((False, None))
    for numbers, (by_row, captured_rows) in itertools.product(floats, ways):
        rows = layout.rows if by_row else None
        yield [_leaf(v, rows, numbers) for v in values], captured_rows


def _leaf(value: Any, rows: int | None, numbers: bool) -> Leaf:
    if isinstance(value, float) and numbers:
        return Leaf("number")
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return Leaf("fixed")
    if rows is not None and value.ndim > 0 and value.shape[0] == rows:
        return Leaf("row", tuple(value.shape[1:]), value.dtype)
    return Leaf("shared", tuple(value.shape), value.dtype)


def _attempt(s: Setting, args: tuple[Any, ...], layout: Layout, t0: Tensor, y0: Tensor) -> Traced:
    """One reading of the arguments, traced and checked."""
    places = agreement.points(t0, y0)
    looks = [(t, y, _observe(s, t[:1], y[:1])) for t, y in itertools.islice(places, 2)]
    if not _same(looks[0][2], looks[1][2]):
        # f may have prepared something at its first call, such as a table; then the next is alike
        carried = _carried(looks[0][2], looks[1][2])
        t, y = next(places)
        looks = [looks[1], (t, y, _observe(s, t[:1], y[:1]))]
        if carried or not _same(looks[0][2], looks[1][2]):
            raise UntraceableError(CHANGES)
    first = looks[0][2]
    if s.symbols is not None:
        with s.symbols.moved():
            if not _same(first, _observe(s, *(x[:1] for x in looks[0][:2]))):
                raise UntraceableError("f turns a number that changes into a constant")
    traced = _assemble(s, layout, first.graph, first.outputs, first.sources)
    p = torch.atleast_2d(traced.parameter_table(args, layout.rows))
    for t, y, look in looks:
        value = look.value[None]
        agreement.refuse(agreement.disagreement(traced, t[:1], y[:1], p[:1], value), first.rounded)
    # Rows together show what one row cannot; values that are not finite show nothing.
    telling = sum(bool(look.value.isfinite().all()) for _, _, look in looks) - layout.batched
    few = places if first.error else itertools.islice(places, ENOUGH - telling)
    agreement.compared(
        traced, s.f, args, layout, few, telling, first.rounded, raises=first.error is not None
    )
    if first.error is not None:
        agreement.evaluate(s.f, args, layout, t0, y0)  # at the start f must have a value
    own = first.parts[0]
    traced.paths = len(own)
    traced.operations = max(run.watch.operations for run in own)
    return traced


def _of_arrays(
    f: Any,
    args: tuple[Any, ...],
    layout: Layout,
    t0: Tensor,
    y0: Tensor,
    symbols: Lifted | None,
) -> Traced:
    """A function of numpy arrays, traced and checked."""
    from stiffguide.tracing import numpy_fields  # late: it loads scipy

    own: Any = together.field(f)
    if layout.batched and not own.by_row:
        raise UntraceableError("f is a function of numpy arrays, of which only one row is followed")
    values, tree = tree_flatten(args)
    if own.by_row:
        values = [number(x[0]) for x in values]
    leaves, state = tree_flatten(layout.unflatten(y0))
    shapes = [tuple(leaf.shape[int(own.by_row) :]) for leaf in leaves]
    places = () if symbols is None else symbols.places
    states = tuple(part.state for part in together.parts(f))
    question = numpy_fields.Question(
        written(f), shapes, state, own.column, values, tree, places, states
    )
    try:
        found = numpy_fields.answer(question)
    except UntraceableError as error:
        raise UntraceableError(f"{error}{place(error)}") from None
    except Exception as error:
        raise _not_followed(f, args, layout, t0, y0, error) from error
    if own.by_row:
        found = _of_rows(found)
    setting = Setting(f, layout, values, tree, found.leaves, None, symbols)
    traced = _assemble(setting, layout, found.graph, found.outputs, found.sources)
    traced.paths = found.paths
    traced = agreement.compared(traced, f, args, layout, agreement.points(t0, y0))
    if not traced.telling:
        agreement.evaluate(f, args, layout, t0.clone(), y0.clone())  # if it fails, that is to see
    return traced


def _of_rows(found: numpy_fields.Answer) -> numpy_fields.Answer:
    """The answer about one row, whose arguments are those of every row."""
    if any(leaf.role == "fixed" for leaf in found.leaves):
        raise UntraceableError("f needs the value of a parameter, and every row has one of its own")
    sources, size = found.sources, len(found.leaves)
    sources.parameters = [replace(p, per_row=p.source < size) for p in sources.parameters]
    leaves = [Leaf("row", leaf.shape, torch.float64) for leaf in found.leaves]
    return replace(found, leaves=leaves)


def _observe(s: Setting, t: Tensor, y: Tensor) -> Observation:
    """`observe`, with one kind of exception and the place in the user's code."""
    try:
        return observe(s, t, y)
    except UntraceableError as error:
        raise UntraceableError(f"{error}{place(error)}") from None
    except InputError as error:
        raise UntraceableError(str(error)) from error
    except Exception as error:
        args = tree_unflatten(s.values, s.tree)
        raise _not_followed(s.f, args, s.layout, t, y, error) from error


def _not_followed(
    f: Function, args: tuple[Any, ...], layout: Layout, t: Tensor, y: Tensor, error: Exception
) -> UntraceableError:
    """The refusal for an exception of f; if f fails by itself, that is the user's to see."""
    # watching must not change what f does
    agreement.evaluate(f, args, layout, t.clone(), y.clone())
    reason = str(error).strip().split("\n")[0]
    return UntraceableError(f"f cannot be followed: {type(error).__name__}: {reason}{place(error)}")


CHANGES = (
    "f has another graph when it is traced again: it draws random numbers, counts its calls, keeps "
    "values from call to call, or freezes values by torch.tensor([y[0], ...]), for which "
    "torch.stack serves"
)


def _same(first: Observation, second: Observation) -> bool:
    """Whether f did the same at both points, with the same captured tensors."""
    a, b = first.sources, second.sources
    return (
        first.outputs == second.outputs
        and first.graph.nodes == second.graph.nodes
        and a.parameters == b.parameters
        and len(a.captured) == len(b.captured)
        and all(x is y for x, y in zip(a.captured, b.captured, strict=True))
    )


def _carried(first: Observation, second: Observation) -> bool:
    """Whether f kept a value of t or y, or computed from them, until its second call."""
    varying = first.varying()
    return any(id(tensor) in varying for tensor in second.sources.captured)


def _assemble(
    s: Setting, layout: Layout, grown: Graph, outputs: list[int], sources: Sources
) -> Traced:
    """Keep what is needed, and name it."""
    graph, moved, entries = grown.pruned(outputs)
    values, size = [moved[n] for n in outputs], layout.features
    first = size + (len(s.f.events) if isinstance(s.f, Together) else 0)
    jumps = [values[k : k + size] for k in range(first, len(values), size)]
    groups = values[:size], values[size:first], jumps
    captured = [
        Captured(tensor, per_row, b"" if per_row else structure(tensor))
        for tensor, per_row in zip(sources.captured, sources.per_row, strict=True)
    ]
    return Traced(
        plain=graph,
        values=groups[0],
        parameters=[sources.parameters[k] for k in entries],
        key=named(graph, groups),
        leaves=s.leaves,
        captured=captured,
        mark=fingerprint(written(s.f), *fixed(s.leaves, s.values)),
        glance=None if fixed(s.leaves, s.values) else glance(written(s.f)),
        device=s.layout.device,
        rows=layout.rows,
        arrays=isinstance(s.f, ArrayFunction),
        lifted=() if s.symbols is None else s.symbols.slots,
        events=groups[1],
        jumps=jumps,
    )
