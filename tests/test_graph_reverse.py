"""Laws of reverse mode on graphs: the cotangents of leaves are those that the Jacobian gives."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from random_fields import RandomField
from test_kernel_elimination import STATES, grown, nodes
from torch import Tensor
from traces import traced

from stiffguide.graphs.derive import derivatives
from stiffguide.graphs.graph import Graph
from stiffguide.graphs.refusal import UntraceableError
from stiffguide.graphs.reverse import gathered, pullback
from stiffguide.graphs.scalars import Scalar
from stiffguide.tracing.traced_field import Traced

SEEDS = [0.7, -1.3, 2.1]


def compared(graph: Any, outputs: list[int], y: Any, p: Any = ()) -> tuple[Any, Any, Any]:
    """sum_i seed_i df_i/dy_j by the Jacobian, and by reverse mode; and the size of its terms."""
    jac, _ = derivatives(graph, outputs)
    seeds = [graph.const(s) for s in SEEDS[: len(outputs)]]
    found = gathered(graph, pullback(graph, list(zip(outputs, seeds, strict=True)), ("y",)), "y")
    n = y.shape[-1]
    numbers = [*jac.values(), *(found.get(j, graph.const(0.0)) for j in range(n))]
    values = graph.evaluate(numbers, np.full(len(y), 0.3), y, p)
    values = [np.broadcast_to(x, (len(y),)) for x in values]
    wanted, size = np.zeros((n, len(y))), np.zeros((n, len(y)))
    for (i, j), x in zip(jac, values, strict=False):
        wanted[j] += SEEDS[i] * x
        size[j] += np.abs(SEEDS[i] * x)
    return wanted, np.array(values[len(jac) :]), size


@settings(max_examples=150)
@given(st.lists(nodes, min_size=6, max_size=20))
def test_a_random_graph_has_one_gradient(drawn: Any) -> None:
    graph, outputs = grown(drawn)
    y = np.array([STATES[0], STATES[2]])
    with np.errstate(all="ignore"):
        wanted, found, size = compared(graph, outputs, y)
        values = [np.broadcast_to(x, (2,)) for x in graph.evaluate(outputs, np.full(2, 0.3), y)]
        # where an intermediate derivative overflows or cancels, orders differ
        sound = np.isfinite(wanted) & np.isfinite(values).all(0) & (size < 1e6)
        assert (np.abs(found - wanted)[sound] <= 1e-6 * (1 + size[sound])).all()


@pytest.mark.parametrize("first", range(0, 260, 65))
def test_random_fields_have_the_gradient_of_autograd(first: int) -> None:
    compared_with = 0
    for seed in range(first, first + 65):
        f = RandomField(seed, n=6, smooth=seed % 2 == 0)
        y = 0.3 + torch.rand(4, 6, generator=torch.Generator().manual_seed(seed)).double()
        try:
            trace = traced(f, y0=y, batched=True)
        except UntraceableError:  # some operations have no rule
            continue
        compared_with += 1
        seeds = 0.5 + torch.rand(6, generator=torch.Generator().manual_seed(1)).double()
        leaf = y.clone().requires_grad_()
        (theirs,) = torch.autograd.grad(f(torch.zeros(4), leaf), leaf, seeds.expand(4, -1))
        torch.testing.assert_close(by_graph(trace, y, seeds), theirs, rtol=1e-9, atol=1e-9)
    assert compared_with >= 50


def by_graph(trace: Traced, y: Tensor, seeds: Tensor) -> Tensor:
    graph = trace.plain
    given = [graph.const(s) for s in seeds.tolist()]
    found = pullback(graph, list(zip(trace.values, given, strict=True)), ("y",))
    by_y = gathered(graph, found, "y")
    numbers = [by_y.get(j, graph.const(0.0)) for j in range(y.shape[1])]
    p = np.atleast_2d(trace.parameter_table((), len(y)).numpy())
    values = graph.evaluate(numbers, np.zeros(len(y)), y.numpy(), p)
    return torch.stack([torch.as_tensor(x, dtype=y.dtype).expand(len(y)) for x in values], -1)


def test_a_cotangent_of_zero_meets_no_infinite_factor() -> None:
    """sqrt(y) is not asked for where its factor is 0 by another branch."""
    graph = Graph()
    y = Scalar(graph, graph.add("y", index=0))
    root = (y > 0).where(y.apply("sqrt"), 0.0 * y + y.apply("sqrt") * 0.0).number
    seed = graph.const(1.0)
    (bar,) = pullback(graph, [(root, seed)], ("y",)).values()
    assert graph.evaluate([bar], 0.0, np.array([0.25, 0.0, 0.0]))[0] == 1.0
    assert graph.evaluate([bar], 0.0, np.array([0.0, 0.0, 0.0]))[0] == 0.0
