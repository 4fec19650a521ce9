"""From a field to a scalar graph: a trace that was made before, if it fits, or a new one.

Traces are remembered by the code of the field. One that fits is still f, for these arguments, with
the numbers of today; where floats alone have changed that a graph has as constants, f is traced
again in such a way that they are parameters (`lifting`, `varying`). See `reading` for one trace.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten

from stiffguide.fields.array_function import ArrayFunction, user_function
from stiffguide.fields.layout import Layout
from stiffguide.graphs.refusal import UntraceableError
from stiffguide.tracing import agreement, lifting, reading, together
from stiffguide.tracing.fingerprint import fingerprint
from stiffguide.tracing.mark import changed
from stiffguide.tracing.sources import Parameter
from stiffguide.tracing.traced_field import Captured, Leaf, Traced, fixed, flattened
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

_memory: OrderedDict[Hashable, tuple[Traced, ...]] = OrderedDict()
_lock = threading.Lock()
_turn = itertools.count(1)  # seeds of the points at which traces are compared again


def trace(f: Function, args: tuple[Any, ...], layout: Layout, t0: Tensor, y0: Tensor) -> Traced:
    """The graph of f(t, y, *args) around t0 (B,), y0 (B, F); one that was made before if it fits.

    Raises UntraceableError, naming the operation or the cause. With `layout.batched`, tensors in
    args with as many rows as y0 have parameters of their own for every row; so have captured
    tensors, where f makes no sense otherwise.
    """
    form, code = shape(f, layout, y0), anchor(f)
    known = [traced for traced in _memory.get(code, ()) if traced.shape == form]
    wrong: list[Traced] = []
    for traced in known:
        found = traced.fitted(together.written(f), args, layout.rows)
        if found is None:
            continue
        if found.sure or holds(found, f, args, layout, t0, y0):
            return _remember(code, found, wrong if found is traced else [*wrong, traced])
        wrong.append(traced)
    with torch.no_grad():
        made = _with_symbols(f, args, layout, t0, y0, known)
        made = made or varied(reading.trace(f, args, layout, t0, y0), known)
    made.shape, made.nesting = form, flattened(args)[1]
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
    values, nesting = flattened(args)
    for traced in known:
        alike = len(values) == len(traced.leaves) and nesting == traced.nesting
        if traced.rigid or not alike:
            continue
        mark = fingerprint(together.written(f), *fixed(traced.leaves, values))
        if mark.values != traced.mark.values or not changed(traced.mark, mark):
            continue
        slots = sorted({*changed(traced.mark, mark), *traced.lifted})
        symbols = lifting.lifted(together.written(f), slots)
        try:
            if symbols is not None:
                return reading.trace(f, args, layout, t0, y0, symbols)
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
                value = agreement.evaluate(f, args, layout, t, y)
            except Exception:  # of the user's f, which need not have a value beside the start
                continue
            if agreement.differs(traced, layout, t, y, p, value):
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


def anchor(f: Any) -> Hashable:
    """The code behind a function, however it is wrapped."""
    if isinstance(f, together.Together):
        return len(f.events), *map(anchor, together.written(f))
    f = user_function(f)
    while isinstance(f, (partial, MethodType)):
        f = f.func if isinstance(f, partial) else f.__func__
    return id(f.__code__) if isinstance(f, FunctionType) else id(type(f))


def shape(f: Function, layout: Layout, y0: Tensor) -> Hashable:
    """What a trace takes for granted about the state."""
    own = together.field(f)
    arrays = own.column if isinstance(own, ArrayFunction) else None
    base = (arrays, layout.batched, layout.dtype, layout.device)
    if layout.single:
        return (*base, layout.feature_shape)
    leaves, tree = tree_flatten(
        layout.unflatten(y0[:1], 1) if layout.batched else layout.unflatten(y0)
    )
    return (*base, str(tree), tuple(tuple(x.shape) for x in leaves))
