"""From a torch field to a scalar graph, by running it on one row and watching what it does.

A field is traced at two points. Where the two graphs differ, f draws random numbers, counts its
calls, or freezes values that torch cannot follow; where a graph and the field differ in value, f
does something with its rows that a single row cannot show. Both are refused, in one sentence.
"""

from __future__ import annotations

import itertools
import traceback
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_structure

from stiffguide.errors import InputError
from stiffguide.kernels import agreement
from stiffguide.kernels.derive import derivatives
from stiffguide.kernels.fingerprint import fingerprint
from stiffguide.kernels.graph import digest
from stiffguide.kernels.observe import Observation, Setting, observe
from stiffguide.kernels.refusal import UntraceableError
from stiffguide.kernels.sources import Parameter, structure
from stiffguide.kernels.traced import Captured, Leaf, Traced, fixed
from stiffguide.layout import Layout
from stiffguide.tensors import real_dtype

__all__ = ["Captured", "Leaf", "Parameter", "Traced", "UntraceableError", "field"]

Function = Callable[..., Any]
REMEMBERED = 64  # pieces of code
FOREIGN = (str(Path(torch.__file__).parent), str(Path(__file__).parent))

_memory: OrderedDict[Hashable, list[Traced]] = OrderedDict()


def field(f: Function, args: tuple[Any, ...], layout: Layout, t0: Tensor, y0: Tensor) -> Traced:
    """The graph of f(t, y, *args) around t0 (B,), y0 (B, F); one that was made before if it fits.

    Raises UntraceableError, naming the operation or the cause. With `layout.batched`, tensors in
    args with as many rows as y0 have parameters of their own for every row; so have captured
    tensors, where f makes no sense otherwise.
    """
    shape, known = _shape(layout, y0), _memory.setdefault(_anchor(f), [])
    _memory.move_to_end(_anchor(f))
    for traced in known:
        if traced.shape == shape and traced.fits(f, args, layout.rows):
            return traced
    with torch.no_grad():
        made = _trace(f, args, layout, t0, y0)
    made.shape = shape
    del known[3:]
    known.insert(0, made)
    if len(_memory) > REMEMBERED:
        _memory.popitem(last=False)
    return made


def _anchor(f: Function) -> Hashable:
    """The code behind a function, however it is wrapped."""
    while isinstance(f, (partial, MethodType)):
        f = f.func if isinstance(f, partial) else f.__func__
    return f.__code__ if isinstance(f, FunctionType) else type(f)


def _shape(layout: Layout, y0: Tensor) -> Hashable:
    base = (layout.batched, layout.dtype, layout.device)
    if layout.single:
        return (*base, layout.feature_shape)
    leaves, tree = tree_flatten(layout.unflatten(y0[:1], 1) if layout.batched else layout.unflatten(y0))
    return (*base, str(tree), tuple(tuple(x.shape) for x in leaves))


def _trace(f: Function, args: tuple[Any, ...], layout: Layout, t0: Tensor, y0: Tensor) -> Traced:
    """Try the ways to understand the arguments, the most useful first."""
    if layout.dtype.is_complex:
        raise UntraceableError(f"y0 is {layout.dtype}: a kernel computes in real numbers")
    row = layout
    if layout.batched:
        row = Layout(layout.unflatten(y0[:1], 1), batched=True)
    values, tree = tree_flatten(args)
    errors = []
    for leaves, captured_rows in _readings(values, layout):
        setting = Setting(f, row, values, tree, leaves, captured_rows)
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


def _attempt(
    s: Setting, args: tuple[Any, ...], layout: Layout, t0: Tensor, y0: Tensor
) -> Traced:
    places = agreement.points(t0, y0)
    seen, finite = [], 0
    for t, y in itertools.islice(places, 2):
        seen.append((t, y, _observe(s, t[:1], y[:1])))
    _same(seen[0][2], seen[1][2])
    traced = _assemble(s, args, seen[0][2])
    p = torch.atleast_2d(traced.parameter_table(args, layout.rows))
    for t, y, look in seen:
        _check(agreement.disagreement(traced, t[:1], y[:1], p[:1], look.value[None]), look)
        finite += bool(look.value.isfinite().all())
    # rows together, which one row cannot show; and other points, where these told nothing
    for t, y in places:
        if finite >= 2 and not layout.batched:
            break
        value = _evaluate(s.f, args, layout, t, y)
        few = slice(0, 64)
        _check(agreement.disagreement(traced, t[few], y[few], p[few], value[few]), seen[0][2])
        finite += bool(value[few].isfinite().all())
        if finite >= 3:
            break
    return traced
