"""Matrices that are full or nearly so: factorised by loops over all entries."""

from __future__ import annotations

import pytest
import torch
from agreement import assert_same, both
from cached import needs_compiler
from torch import Tensor

from stiffguide.catalogue.rosenbrock import RODAS5P
from stiffguide.kernels.emitting.elimination import plan
from stiffguide.kernels.emitting.factorisation import UNROLLED_PRODUCTS, entries, is_full

D = torch.float64
TOLERANCE = {"rtol": 1e-6, "atol": 1e-9}


def everywhere(n: int) -> set[tuple[int, int]]:
    return {(i, j) for i in range(n) for j in range(n)}


def test_full_is_what_takes_half_of_the_products_and_is_not_written_out() -> None:
    assert not is_full(plan(7, everywhere(7)))
    assert plan(7, everywhere(7)).operations <= UNROLLED_PRODUCTS
    for n in (8, 9, 40):
        assert is_full(plan(n, everywhere(n)))
        assert is_full(plan(n, everywhere(n) - {(n - 1, 0), (2, n - 1)}))
        assert entries(plan(n, {(0, n - 1)} | everywhere(n))) == n * n
    banded = plan(40, {(i, j) for i, j in everywhere(40) if abs(i - j) < 4})
    assert not is_full(banded)
    assert entries(banded) == len(banded.slots)


def matrix(n: int, missing: int) -> Tensor:
    """Decay at rates from 1 to 1e5, coupled; `missing` entries are 0."""
    draw = torch.Generator().manual_seed(n)
    rates = torch.logspace(0, 5, n, dtype=D)
    coupling = torch.randn(n, n, generator=draw, dtype=D) * rates.sqrt()[:, None] * 0.1
    places = torch.randperm(n * n, generator=draw)[:missing]
    coupling.view(-1)[places] = 0
    return coupling - torch.diag(rates)


@needs_compiler
@pytest.mark.parametrize("rows", [1, 11])
@pytest.mark.parametrize("n", [8, 9, 10, 11, 21])
def test_a_step_is_that_of_the_eager_loop(n: int, rows: int) -> None:
    a = matrix(n, missing=n // 2)
    assert is_full(plan(n, {(i, j) for i, j in everywhere(n) if a[i, j] != 0}))

    def f(t: Tensor, y: Tensor) -> Tensor:
        return y @ a.T + 0.1 * y * y

    y0 = torch.rand(rows, n, generator=torch.Generator().manual_seed(1), dtype=D)
    settings = {"batched": True, "method": "rodas5p", "first_step": 1e-3, **TOLERANCE}
    assert_same(*both(f, y0, 0.0, 1e-3, **settings), **TOLERANCE)


@needs_compiler
@pytest.mark.parametrize("rows", [1, 11])
def test_a_pivot_that_vanishes_is_seen(rows: int) -> None:
    """W = I/(dt gamma) - J of an oscillation in nine components has nothing at its first place."""
    dt = 0.02
    a = 1e-3 * torch.randn(9, 9, generator=torch.Generator().manual_seed(2), dtype=D)
    a[0, 0] = 1 / (dt * float(RODAS5P.gamma))
    a[0, 1], a[1, 0], a[1, 1] = 1e3, -1e3, -a[0, 0]

    def f(t: Tensor, y: Tensor) -> Tensor:
        return y @ a.T

    y0 = torch.full((rows, 9), 1e-10, dtype=D)
    settings = {"batched": True, "method": "rodas5p", "first_step": dt, **TOLERANCE}
    assert_same(*both(f, y0, 0.0, dt, **settings), **TOLERANCE)
