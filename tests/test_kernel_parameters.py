"""Parameters of a kernel: few or many, shared or by row, they are those of the field."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from cached import needs_compiler
from torch import Tensor
from traces import F64, traced

import stiffguide as sg
from stiffguide.kernels.emitting.parameters import MANY, parameters

FEATURES, ROWS = 3, 11


def f(t: Tensor, y: Tensor, rates: Tensor, sizes: Tensor) -> Tensor:
    """Decays whose rates are sums, products and negatives of parameters alone, and of y."""
    k = rates[..., ::2] * rates[..., 1::2] + (-rates[..., ::2]) / (2.0 + rates[..., 1::2])
    k = k.abs().unflatten(-1, (FEATURES, -1)).sum(-1) + torch.exp(-rates[..., :FEATURES])
    return sizes[..., :FEATURES] - k * y - 0.1 * y * y.sum(-1, keepdim=True)


def tables(count: int, by_row: str) -> tuple[Tensor, Tensor]:
    """`count` rates and the sizes; those named in `by_row` differ between rows."""
    draw = torch.Generator().manual_seed(3)
    rates, sizes = (
        torch.rand((ROWS, n) if name in by_row else (n,), generator=draw, dtype=F64) + 0.1
        for name, n in (("rates", count), ("sizes", FEATURES))
    )
    return rates, sizes


Y0 = torch.linspace(0.0, 2.0, ROWS * FEATURES, dtype=F64).reshape(ROWS, FEATURES)
SOME = {"method": "rodas5p", "rtol": 1e-7, "atol": 1e-9}


@needs_compiler
@pytest.mark.parametrize("count", [6, 6 * MANY])
@pytest.mark.parametrize("by_row", ["", "rates", "sizes", "rates and sizes"])
def test_every_row_has_its_own_parameters(count: int, by_row: str) -> None:
    args = tables(count, by_row)
    found = sg.solve(f, Y0, 0.0, 1.0, args=args, batched=True, backend="kernel", **SOME)
    for i in (0, 4, ROWS - 1):
        mine = tuple(x[i] if x.ndim == 2 else x for x in args)
        alone = sg.solve(f, Y0[i], 0.0, 1.0, args=mine, backend="eager", **SOME)
        torch.testing.assert_close(found.y[i, -1], alone.y[-1], rtol=1e-9, atol=1e-12)


@needs_compiler
@pytest.mark.parametrize("count", [6, 6 * MANY])
def test_parameters_may_be_shared_in_one_call_and_not_in_the_next(count: int) -> None:
    """Where the graph is the same, the kernel must not be."""
    shared, own = tables(count, ""), tables(count, "rates and sizes")

    def end(args: Any) -> Tensor:
        y0 = Y0[:1].expand(ROWS, -1)
        done = sg.solve(f, y0, 0.0, 1.0, args=args, batched=True, backend="kernel", **SOME)
        return done.raise_if_failed().y[:, -1]

    first, rows, again = end(shared), end(own), end(shared)
    assert torch.equal(first, again)
    assert torch.equal(first, first[:1].expand_as(first))
    repeated = end(tuple(x.expand(ROWS, -1).clone() for x in shared))
    torch.testing.assert_close(first, repeated, rtol=1e-12, atol=0)
    assert (rows[1:] != rows[:1]).all()


@pytest.mark.parametrize("by_row", ["", "rates", "sizes", "rates and sizes"])
def test_lanes_carry_few_parameters_or_those_that_differ(by_row: str) -> None:
    for count in (6, 6 * MANY):
        g = traced(f, Y0, tables(count, by_row), batched=True)
        differing = tuple(k for k, p in enumerate(g.parameters) if p.per_row)
        everything = tuple(range(len(g.parameters)))
        assert parameters(g).own == (everything if len(everything) <= MANY else differing)
