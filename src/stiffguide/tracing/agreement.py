"""Whether a graph and the field that it was made of have the same values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from stiffguide.fields.array_function import ArrayFunction
from stiffguide.fields.layout import Layout
from stiffguide.graphs.derive import derived
from stiffguide.graphs.graph import Graph
from stiffguide.graphs.refusal import UntraceableError
from stiffguide.tensors import real_dtype
from stiffguide.tracing import together
from stiffguide.tracing.traced_field import ENOUGH, Traced

Function = Callable[..., Any]
NOISE = 1e-20  # of the largest component: a component below is rounding of the others
LITTLE = 2.0**-20  # of y and t, by which they are moved to see what f feels
SIGNS = (1, 2, 3)  # every so many components move down
POINTS = 6  # at most; two of them with finite values are enough


def points(t0: Tensor, y0: Tensor, seed: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
    """Points t (B,), y (B, F) near the start, for a seed the same ones in every process.

    Components that start at zero become positive: concentrations mostly may not be negative.
    """
    draw = torch.Generator().manual_seed(seed)
    start, origin = y0.detach().cpu().double(), t0.detach().cpu().double()
    size = start.abs().amax(-1, keepdim=True)
    size = torch.where(size > 0, size, 1.0)
    for _ in range(POINTS):
        near = torch.rand(start.shape, generator=draw, dtype=torch.float64)
        away = torch.rand(start.shape, generator=draw, dtype=torch.float64)
        later = torch.rand(origin.shape, generator=draw, dtype=torch.float64)
        y = start * (0.9 + 0.2 * near) + 0.01 * size * (0.1 + away)
        t = origin + (0.01 + 0.5 * later) * torch.clamp(origin.abs(), min=1.0)
        yield t.to(t0), y.to(y0)


def evaluate(f: Function, args: tuple[Any, ...], layout: Layout, t: Tensor, y: Tensor) -> Tensor:
    """f (B, F) at t (B,), y (B, F), as the eager loop evaluates it; all parts side by side."""
    values = [
        part.value(t.to(real_dtype(layout.dtype), copy=True), y, args, layout)
        for part in together.parts(f)
    ]
    return values[0] if len(values) == 1 else torch.cat(values, -1)


def refuse(difference: str, rounded: str) -> None:
    """Raise UntraceableError if there is a difference."""
    if difference:
        hint = f"; f rounds, {rounded}" if rounded else ""
        raise UntraceableError(f"f is not what its trace says: {difference}{hint}")


def compared(
    traced: Traced, f: Function, args: tuple[Any, ...], layout: Layout,
    places: Iterator[tuple[Tensor, Tensor]], telling: int = 0, rounded: str = "",
    *, raises: bool = False,
) -> Traced:  # fmt: skip
    """A trace that has the values of f at more points, `telling` of them compared before.

    `raises`: f has no value at some points, on a side of a branch.
    """
    p = torch.atleast_2d(traced.parameter_table(args, layout.rows))
    for t, y in places:
        if telling >= ENOUGH:
            break
        try:
            value = evaluate(f, args, layout, t, y)
        except Exception:
            if not (raises or isinstance(together.field(f), ArrayFunction)):
                raise
            continue  # Python's numbers raise exceptions where torch has nan
        refuse(differs(traced, layout, t, y, p, value), rounded)
        telling += bool(value.isfinite().all())
    traced.telling = telling
    return traced


def differs(traced: Traced, layout: Layout, t: Tensor, y: Tensor, p: Tensor, value: Tensor) -> str:
    """Where a trace has another value than f (B, F), in words; "" if nowhere."""
    few = torch.linspace(0, layout.rows - 1, min(layout.rows, 64)).long()
    table = p[few] if len(p) > 1 else p
    return disagreement(traced, t[few], y[few], table, value[few])


def disagreement(traced: Traced, t: Tensor, y: Tensor, p: Tensor, value: Tensor) -> str:
    """What is wrong with the graph at t (B,), y (B, F), where f has `value` (B, F); "" if nothing.

    A difference counts against the size of the terms, |f| + |J| |y| + |df/dt| |t|: what is left of
    them after cancellation has no more digits.
    """
    eps = torch.finfo(value.dtype).eps
    t, y, p = (x.detach().cpu().double().resolve_neg() for x in (t, y, p))
    value = value.detach().cpu().double()
    graph = torch.stack(_graph_values(traced.plain, traced.outputs, t, y, p), -1)
    same = (graph == value) | (graph.isnan() & value.isnan())
    same |= (graph - value).abs() <= eps**0.7 * value.abs()
    for terms in (_felt, _terms):  # derivatives are dear, and mostly not needed
        if not bool(same.all()):
            same |= (graph - value).abs() <= eps**0.7 * terms(traced, t, y, p, value)
    if bool(same.all()):
        return ""
    row, i = (~same).nonzero()[0].tolist()
    return f"{_called(traced, i)} is {value[row, i]:.9g}, its graph says {graph[row, i]:.9g}"


def _called(traced: Traced, i: int) -> str:
    """What sentences call an output."""
    beyond = i - traced.features
    if beyond < 0:
        return f"component {i}"
    if beyond < len(traced.events):
        return f"event {beyond}"
    jump, component = divmod(beyond - len(traced.events), traced.features)
    return f"component {component} of jump {jump}"


def _felt(traced: Traced, t: Tensor, y: Tensor, p: Tensor, value: Tensor) -> Tensor:
    """Less than `_terms` (B, F): |f|, and how far f moves where all of y and t move by a little."""
    scale = value.abs()
    for sign in SIGNS:
        moved = torch.where(torch.arange(y.shape[-1]) % sign == 0, 1 - LITTLE, 1 + LITTLE)
        graph = _graph_values(traced.plain, traced.outputs, t * (1 + LITTLE), y * moved, p)
        change = (torch.stack(graph, -1) - value).abs() / LITTLE
        scale = torch.maximum(scale, change.nan_to_num(0.0, 0.0, 0.0))
    return scale


def _terms(traced: Traced, t: Tensor, y: Tensor, p: Tensor, value: Tensor) -> Tensor:
    """|f| + |J| |y| + |df/dt| |t| (B, F)."""
    whole = derived(traced.plain, traced.outputs) if traced.more else traced.derived
    graph, _, jac, dfdt = whole
    slopes = _graph_values(graph, [*jac.values(), *dfdt.values()], t, y, p)
    scale = value.abs()
    for (i, j), slope in zip(jac, slopes, strict=False):
        scale[:, i] += (slope * y[:, j]).abs().nan_to_num(0.0, 0.0)
    for i, slope in zip(dfdt, slopes[len(jac) :], strict=True):
        scale[:, i] += (slope * t).abs().nan_to_num(0.0, 0.0)
    scale += NOISE * scale.nan_to_num(0.0, 0.0, 0.0).amax(-1, keepdim=True)
    return scale


def _graph_values(
    graph: Graph, roots: Sequence[int], t: Tensor, y: Tensor, p: Tensor
) -> list[Tensor]:
    """The values (B,) of nodes."""
    found = graph.evaluate(roots, t.numpy(), y.numpy(), p.numpy())
    return [torch.as_tensor(x, dtype=torch.float64).expand(t.shape) for x in found]
