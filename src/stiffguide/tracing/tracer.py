"""From a torch field to a scalar graph, by running it on one row and watching what it does.

A field is traced at two points. Where the two graphs differ, f draws random numbers, counts its
calls, or freezes values that torch cannot follow; where a graph and the field differ in value, f
does something with its rows that a single row cannot show. Both are refused, in one sentence.
"""

from __future__ import annotations

import itertools
import logging
import threading
import traceback
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from stiffguide.errors import InputError
from stiffguide.fields.layout import Layout
from stiffguide.graphs.graph import digest
from stiffguide.graphs.refusal import UntraceableError
from stiffguide.tensors import real_dtype
from stiffguide.tracing import agreement, lifting
from stiffguide.tracing.fingerprint import fingerprint
from stiffguide.tracing.glance import glance
from stiffguide.tracing.lifting import Lifted
from stiffguide.tracing.observation import Observation, Setting, observe
from stiffguide.tracing.sources import Parameter, structure
from stiffguide.tracing.traced_field import (
    ENOUGH,
    Captured,
    Leaf,
    Traced,
    changed,
    fixed,
    leaves_of,
)
from stiffguide.tracing.varying import varied

__all__ = [
    "Captured",
    "Leaf",
    "Parameter",
    "Traced",
    "UntraceableError",
    "anchor",
    "holds",
    "shape",
    "trace",
]

LOG = logging.getLogger("stiffguide")

Function = Callable[..., Any]
REMEMBERED = 64  # pieces of code,
ALIKE = 4  # and traces of each
HERE = Path(__file__).parent
FOREIGN = (str(Path(torch.__file__).parent), str(HERE), str(HERE.parent / "graphs"))

_memory: OrderedDict[Hashable, tuple[Traced, ...]] = OrderedDict()
_lock = threading.Lock()
_turn = itertools.count(1)  # seeds of the points at which traces are compared again


def trace(f: Function, args: tuple[Any, ...], layout: Layout, t0: Tensor, y0: Tensor) -> Traced:
    """The graph of f(t, y, *args) around t0 (B,), y0 (B, F); one that was made before if it fits.

    Raises UntraceableError, naming the operation or the cause. With `layout.batched`, tensors in
    args with as many rows as y0 have parameters of their own for every row; so have captured
    tensors, where f makes no sense otherwise.
    """
    form, code = shape(layout, y0), anchor(f)
    known = [traced for traced in _memory.get(code, ()) if traced.shape == form]
    wrong: list[Traced] = []
    for traced in known:
        found = traced.fitted(f, args, layout.rows)
        if found is None:
            continue
        if found.sure or holds(found, f, args, layout, t0, y0):
            return _remember(code, found, wrong if found is traced else [*wrong, traced])
        wrong.append(traced)
    with torch.no_grad():
        made = _with_symbols(f, args, layout, t0, y0, known)
        made = made or varied(_trace(f, args, layout, t0, y0), known)
    made.shape = form
    made.rigid = any(traced.rigid for traced in known)
    return _remember(code, made, wrong)


def _with_symbols(
    f: Function,
    args: tuple[Any, ...],
    layout: Layout,
    t0: Tensor,
    y0: Tensor,
    known: Sequence[Traced],
) -> Traced | None:
    """A trace of f in which floats that have changed since an earlier one are parameters."""
    values = leaves_of(args)
    for traced in known:
        if traced.rigid or len(values) != len(traced.leaves):
            continue
        mark = fingerprint(f, *fixed(traced.leaves, values))
        if mark.values != traced.mark.values or not changed(traced.mark, mark):
            continue
        slots = sorted({*changed(traced.mark, mark), *traced.lifted})
        symbols = lifting.lifted(f, slots)
        try:
            if symbols is not None:
                return _trace(f, args, layout, t0, y0, symbols)
        except UntraceableError as error:
            LOG.info("the numbers that f is built of stay part of its graph: %s", error)
        traced.rigid = True
    return None


def holds(
    traced: Traced, f: Function, args: tuple[Any, ...], layout: Layout, t0: Tensor, y0: Tensor
) -> bool:
    """Whether a trace has the value of f where neither was compared before.

    For what f depends on may have changed where no fingerprint reaches, or f may not have been
    finite where it was traced.
    """
    places = agreement.points(t0, y0, next(_turn))
    p = torch.atleast_2d(traced.parameter_table(args, layout.rows))
    with torch.no_grad():
        for t, y in (next(places), (t0, y0)):
            try:
                value = _evaluate(f, args, layout, t, y)
            except Exception:  # of the user's f, which need not have a value beside the start
                continue
            if _differs(traced, layout, t, y, p, value):
                return False
            if bool(value.isfinite().all()):
                traced.telling += 1
                return True
    return True


def _remember(code: Hashable, traced: Traced, wrong: Sequence[Traced]) -> Traced:
    """Put a trace first among those of its code, and its code last to be forgotten."""
    if not wrong and next(reversed(_memory), None) == code and _memory[code][0] is traced:
        return traced
    gone = {id(t) for t in (traced, *wrong)}
    with _lock:
        others = tuple(t for t in _memory.get(code, ()) if id(t) not in gone)
        _memory[code] = (traced, *others[: ALIKE - 1])
        _memory.move_to_end(code)
        if len(_memory) > REMEMBERED:
            _memory.popitem(last=False)
    return traced


def anchor(f: Function) -> Hashable:
    """The code behind a function, however it is wrapped."""
    while isinstance(f, (partial, MethodType)):
        f = f.func if isinstance(f, partial) else f.__func__
    return id(f.__code__) if isinstance(f, FunctionType) else id(type(f))


def shape(layout: Layout, y0: Tensor) -> Hashable:
    """What a trace takes for granted about the state."""
    base = (layout.batched, layout.dtype, layout.device)
    if layout.single:
        return (*base, layout.feature_shape)
    leaves, tree = tree_flatten(
        layout.unflatten(y0[:1], 1) if layout.batched else layout.unflatten(y0)
    )
    return (*base, str(tree), tuple(tuple(x.shape) for x in leaves))


def _trace(
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
    traced = _assemble(s, layout, first)
    p = torch.atleast_2d(traced.parameter_table(args, layout.rows))
    for t, y, look in looks:
        value = look.value[None]
        _refuse(agreement.disagreement(traced, t[:1], y[:1], p[:1], value), first)
    # Rows together show what one row cannot; values that are not finite show nothing.
    telling = sum(bool(look.value.isfinite().all()) for _, _, look in looks) - layout.batched
    tried = 0
    for t, y in places:
        if telling + tried >= ENOUGH:
            break
        try:
            value = _evaluate(s.f, args, layout, t, y)
        except Exception:
            if first.error is None:
                raise
            continue  # f has no value there
        _refuse(_differs(traced, layout, t, y, p, value), first)
        tried, telling = tried + 1, telling + bool(value.isfinite().all())
    if first.error is not None:
        _evaluate(s.f, args, layout, t0, y0)  # at the start f must have a value
    traced.telling = telling
    return traced


def _differs(traced: Traced, layout: Layout, t: Tensor, y: Tensor, p: Tensor, value: Tensor) -> str:
    """Where a trace has another value than f (B, F), in words; "" if nowhere."""
    few = torch.linspace(0, layout.rows - 1, min(layout.rows, 64)).long()
    table = p[few] if len(p) > 1 else p
    return agreement.disagreement(traced, t[few], y[few], table, value[few])


def _evaluate(f: Function, args: tuple[Any, ...], layout: Layout, t: Tensor, y: Tensor) -> Tensor:
    """f (B, F) at t (B,), y (B, F), as the eager loop evaluates it."""
    t = t.to(real_dtype(layout.dtype))
    value = f(t if layout.batched else t[0], layout.unflatten(y), *args)
    return layout.flatten(value, "the value of f")


def _observe(s: Setting, t: Tensor, y: Tensor) -> Observation:
    """`observe`, with one kind of exception and the place in the user's code."""
    try:
        return observe(s, t, y)
    except UntraceableError as error:
        raise UntraceableError(f"{error}{_place(error)}") from None
    except InputError as error:
        raise UntraceableError(str(error)) from error
    except Exception as error:
        # watching must not change what f does: if f fails by itself, that is the user's to see
        _evaluate(s.f, tree_unflatten(s.values, s.tree), s.layout, t.clone(), y.clone())
        reason = str(error).strip().split("\n")[0]
        raise UntraceableError(
            f"f cannot be followed: {type(error).__name__}: {reason}{_place(error)}"
        ) from error


def _place(error: BaseException) -> str:
    """Where in the user's code: the innermost frame that is not torch's or ours."""
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        if not frame.filename.startswith(FOREIGN):
            return f" (line {frame.lineno} of {Path(frame.filename).name})"
    return ""


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


def _refuse(difference: str, look: Observation) -> None:
    if difference:
        hint = f"; f rounds, {look.rounded}" if look.rounded else ""
        raise UntraceableError(f"f is not what its trace says: {difference}{hint}")


def _assemble(s: Setting, layout: Layout, look: Observation) -> Traced:
    """Keep what is needed, and name it."""
    graph, moved, entries = look.graph.pruned(look.outputs)
    values = [moved[n] for n in look.outputs]
    sources = look.sources
    captured = [
        Captured(tensor, per_row, b"" if per_row else structure(tensor))
        for tensor, per_row in zip(sources.captured, sources.per_row, strict=True)
    ]
    return Traced(
        plain=graph,
        values=values,
        parameters=[sources.parameters[k] for k in entries],
        key=digest(graph.text(), str(values)),
        leaves=s.leaves,
        captured=captured,
        mark=fingerprint(s.f, *fixed(s.leaves, s.values)),
        glance=None if fixed(s.leaves, s.values) else glance(s.f),
        paths=len(look.runs),
        device=s.layout.device,
        rows=layout.rows,
        operations=max(run.watch.operations for run in look.runs),
        lifted=() if s.symbols is None else s.symbols.slots,
    )
