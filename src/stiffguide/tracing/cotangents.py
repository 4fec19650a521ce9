"""Whether autograd finds the derivatives of f that its graph has.

A trace takes f for its formulas. What f says about its own derivative, by a detached part or by a
function with a backward of its own, shows only when both are compared.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stiffguide.fields.layout import Layout
from stiffguide.graphs.refusal import UntraceableError
from stiffguide.graphs.reverse import gathered, pullback
from stiffguide.tracing import agreement
from stiffguide.tracing.agreement import Function
from stiffguide.tracing.traced_field import Traced, leaves_of

F64 = torch.float64
CLOSE = 1e-6  # of the largest entry, for float64: by how much the two may differ
ROWS = 16  # that are compared
OTHER = (
    "autograd finds another derivative of f than its formulas have, as where part of f is "
    "detached, or has a backward of its own"
)


def compare(
    traced: Traced, f: Function, args: tuple[Any, ...], layout: Layout, t0: Tensor, y0: Tensor
) -> None:
    """Raise UntraceableError where they differ, in a product with some cotangents near the start.

    Derivatives by the state, and by all that requires a gradient.
    """
    t, y = next(agreement.points(t0, y0))
    rows = layout.rows
    with torch.enable_grad():
        state = y.detach().requires_grad_()
        table = traced.parameter_table(args, rows, history=True)
        value = agreement.evaluate(f, args, layout, t, state)
        draw = torch.Generator().manual_seed(0)
        seeds = torch.rand(value.shape, generator=draw, dtype=F64) + 0.5
        seeds[ROWS:] = 0.0
        sources = [state, *_sources(traced, args)]
        theirs = _gradient(value, sources, seeds.to(value))
        by_y, by_p = _by_graph(traced, t, state, table.detach(), seeds)
        ours = [by_y, *_gradient(table, sources[1:], by_p)]
    close = max(CLOSE, torch.finfo(y0.dtype).eps ** 0.5)
    for one, other in zip(ours, theirs, strict=True):
        scale = close * other.abs().amax() if other.numel() else 0.0
        if bool(((one - other).abs() > scale).any()):  # not where either is nan
            raise UntraceableError(OTHER)
    traced.differentiable = True


def _sources(traced: Traced, args: tuple[Any, ...]) -> list[Tensor]:
    """The tensors besides the state that require a gradient, as far as f depends on them."""
    leaves = [x for x in leaves_of(args) if isinstance(x, Tensor)]
    found = [*leaves, *(captured.tensor for captured in traced.captured)]
    return [x for x in {id(x): x for x in found}.values() if x.requires_grad]


def _gradient(value: Tensor, sources: list[Tensor], seeds: Tensor) -> list[Tensor]:
    """The derivatives by some tensors, in float64; 0 where there is none."""
    if not sources:
        return []
    if not value.requires_grad:
        return [torch.zeros(x.shape, dtype=F64) for x in sources]
    found = torch.autograd.grad(value, sources, seeds, allow_unused=True)
    zero = [torch.zeros_like(x) if g is None else g for x, g in zip(sources, found, strict=True)]
    return [g.detach().to(F64) for g in zero]


def _by_graph(
    traced: Traced, t: Tensor, y: Tensor, p: Tensor, seeds: Tensor
) -> tuple[Tensor, Tensor]:
    """The same by reverse mode on the graph: by the state (B, F) and by the table."""
    graph, n = traced.plain.copy(), traced.features
    size = len(traced.parameters)
    roots = [(root, graph.add("p", index=size + i)) for i, root in enumerate(traced.values)]
    found = pullback(graph, roots)
    by_y, by_p = gathered(graph, found, "y"), gathered(graph, found, "p")
    rows = torch.atleast_2d(p).expand(len(y), -1)
    given = torch.cat((rows, seeds), 1).numpy()
    numbers = [*by_y.values(), *by_p.values()]
    values = graph.evaluate(numbers, t.double().numpy(), y.detach().double().numpy(), given)
    state, table = torch.zeros(len(y), n, dtype=F64), torch.zeros(len(y), size, dtype=F64)
    for place, x in zip(by_y, values, strict=False):
        state[:, place] = torch.as_tensor(x, dtype=F64)
    for place, x in zip(by_p, values[len(by_y) :], strict=True):
        table[:, place] = torch.as_tensor(x, dtype=F64)
    return state, table if p.ndim == 2 else table.sum(0)
