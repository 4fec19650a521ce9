"""Tracing a field for a test, and its graph as a function."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stiffguide.fields.layout import Layout
from stiffguide.tracing import tracer
from stiffguide.tracing.traced_field import Traced

F64 = torch.float64


def traced(
    f: Any, y0: Any, args: tuple[Any, ...] = (), *, t0: float = 0.1, batched: bool = False
) -> Traced:
    layout = Layout(y0, batched=batched)
    start = torch.full((layout.rows,), t0, dtype=F64)
    return tracer.trace(f, args, layout, start, layout.flatten(y0, "y0"))


def values(
    g: Traced, t: Tensor, y: Tensor, args: tuple[Any, ...] = ()
) -> tuple[Tensor, Tensor, Tensor]:
    """f (B, F), J (B, F, F) and df/dt (B, F) of a graph at t (B,), y (B, F)."""
    graph, outputs, jacobian, dfdt = g.derived
    roots = [*outputs, *jacobian.values(), *dfdt.values()]
    p = torch.atleast_2d(g.parameter_table(args, len(t)))
    found = graph.evaluate(roots, t.numpy(), y.numpy(), p.numpy())
    columns = [torch.as_tensor(x, dtype=F64).expand(t.shape) for x in found]
    f = torch.stack(columns[: g.features], -1)
    jac, slope = torch.zeros(*f.shape, g.features, dtype=F64), torch.zeros_like(f)
    for (i, j), x in zip(jacobian, columns[g.features :], strict=False):
        jac[:, i, j] = x
    for i, x in zip(dfdt, columns[g.features + len(jacobian) :], strict=True):
        slope[:, i] = x
    return f, jac, slope


def differentiated(f: Any, t: Tensor, y: Tensor, args: tuple[Any, ...] = ()) -> Any:
    """f (F,), J and df/dt by autograd at one t (), y (F,)."""
    by_y = torch.autograd.functional.jacobian(lambda x: f(t, x, *args), y)
    by_t = torch.autograd.functional.jacobian(lambda x: f(x, y, *args), t)
    return f(t, y, *args), by_y, by_t


def assert_follows(
    f: Any, y0: Tensor, args: tuple[Any, ...] = (), *, at: Tensor | None = None
) -> Traced:
    """The graph of f has f's values and derivatives at a point it has not seen; solo fields."""
    g = traced(f, y0, args)
    draw = torch.Generator().manual_seed(7)
    y = torch.rand(y0.shape, generator=draw, dtype=F64) + 0.3 if at is None else at
    t = torch.tensor(0.77, dtype=F64)
    for mine, theirs in zip(
        values(g, t[None], y[None], args), differentiated(f, t, y, args), strict=True
    ):
        scale = 1 + theirs.detach().abs().max()
        assert float((mine[0] - theirs.detach()).abs().max() / scale) < 1e-12
    return g
