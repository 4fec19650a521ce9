"""Kernels of random fields: what is printed, differentiated and built is what torch computes."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor

import stiffguide

D = torch.float64
SIZE = 8  # random fields to a kernel: the components of one system
COMPILER = shutil.which("g++") or shutil.which("clang++")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="needs a C++ compiler")

UNARY = {
    "sin": torch.sin,
    "cos": torch.cos,
    "tanh": torch.tanh,
    "atan": torch.atan,
    "erf": torch.erf,
    "gauss": lambda x: torch.exp(-x * x),
    "log": lambda x: torch.log1p(x * x),
    "root": lambda x: torch.sqrt(1 + x * x),
    "sigmoid": torch.sigmoid,
    "abs": torch.abs,
    "relu": torch.relu,
    "clamp": lambda x: x.clamp(-1, 1.5),
    "asinh": torch.asinh,
    "neg": torch.neg,
    "expm1": lambda x: torch.expm1(-x.abs()),
    "cube": lambda x: (0.5 * x) ** 3,
}
BINARY = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": lambda x, y: x / (1 + y * y),
    "max": torch.maximum,
    "min": torch.minimum,
    "where": lambda x, y: torch.where(x > y, x, 0.5 * (x + y)),
    "pow": lambda x, y: (1 + x * x) ** torch.tanh(y),
    "atan2": lambda x, y: torch.atan2(x, 2 + y * y),
}

leaves = st.one_of(
    st.tuples(st.just("y"), st.integers(0, SIZE - 1)),
    st.tuples(st.just("c"), st.floats(-2, 2).map(lambda x: round(x, 3))),
    st.just(("t", 0)),
)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(sorted(UNARY)), inner),
        st.tuples(st.sampled_from(sorted(BINARY)), inner, inner),
    ),
    max_leaves=8,
)
systems = st.lists(trees, min_size=SIZE, max_size=SIZE)


def value(tree: Any, t: Tensor, y: Tensor) -> Tensor:
    """An expression tree in torch."""
    kind, *rest = tree
    if kind == "y":
        return y[..., rest[0]]
    if kind == "c":
        return torch.full_like(y[..., 0], rest[0])
    if kind == "t":
        return t.expand(y[..., 0].shape)
    if kind in UNARY:
        return UNARY[kind](value(rest[0], t, y))
    return BINARY[kind](value(rest[0], t, y), value(rest[1], t, y))


def field_of(system: list[Any]) -> Any:
    """Components that stay bounded: y_i' = tanh(tree_i) - rate_i y_i."""
    rates = [0.5 + 3.0 * i for i in range(SIZE)]

    def f(t: Tensor, y: Tensor) -> Tensor:
        return torch.stack(
            [
                torch.tanh(value(x, t, y)) - r * y[..., i]
                for i, (x, r) in enumerate(zip(system, rates, strict=True))
            ],
            -1,
        )

    return f


def agree(system: list[Any], method: str) -> None:
    f, y0 = field_of(system), torch.linspace(-1, 1.2, SIZE, dtype=D)
    s = {"method": method, "rtol": 1e-5, "atol": 1e-7}
    kernel = stiffguide.solve(f, y0, 0.0, 1.0, backend="kernel", **s)
    eager = stiffguide.solve(f, y0, 0.0, 1.0, backend="eager", **s)
    assert int(kernel.status) == int(eager.status) == 0
    # corners as of |x|, where rounding decides which way a step goes; Jacobians that are kept
    assert abs(int(kernel.stats.accepted) - int(eager.stats.accepted)) <= 3
    torch.testing.assert_close(kernel.y, eager.y, rtol=2e-4, atol=2e-6)
    onto_stops(f, y0, s)


def onto_stops(f: Any, y0: Tensor, settings: dict[str, Any]) -> None:
    """The same there and back again, by way of given times."""
    for t0, t1, stops in ((0.0, 1.0, [0.3, 0.7]), (0.0, -0.2, [-0.05, -0.1])):
        kernel, eager = (
            stiffguide.solve(
                f, y0, t0, t1, tstops=stops, save_at=stiffguide.EveryStep(), backend=way, **settings
            )
            for way in ("kernel", "eager")
        )  # fmt: skip
        assert int(kernel.status) == int(eager.status) == 0
        assert set(stops) <= set(kernel.t.tolist())
        for t in (*stops, t1):
            there = [found.y[found.t == t] for found in (kernel, eager)]
            torch.testing.assert_close(*there, rtol=2e-4, atol=2e-6)


# a smaller example would be one build away each: no shrinking
QUICK = {
    "deadline": None,
    "derandomize": True,
    "phases": [Phase.generate],
    "suppress_health_check": list(HealthCheck),
}


@needs_compiler
@pytest.mark.parametrize("method", ["rodas4", "tsit5", "kvaerno3"])
@settings(max_examples=2, **QUICK)
@given(system=systems)
def test_random_fields(method: str, system: list[Any]) -> None:
    agree(system, method)


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize(("method", "examples"), [("rodas4", 9), ("tsit5", 9), ("kvaerno3", 7)])
def test_two_hundred_random_fields(method: str, examples: int) -> None:
    @settings(max_examples=examples, **QUICK)
    @given(system=systems)
    def check(system: list[Any]) -> None:
        agree(system, method)

    check()
