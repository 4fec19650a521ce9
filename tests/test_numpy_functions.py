"""What functions of numpy, math and scipy become is what they are."""

from __future__ import annotations

import copy
import functools
import itertools
import math
import operator
from collections import deque
from typing import Any

import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
import scipy.special
import torch
from numpy_expressions import FOLLOWED, REFUSED
from traces import F64

from stiffguide.fields.array_function import ArrayFunction
from stiffguide.fields.layout import Layout
from stiffguide.tracing import tracer
from stiffguide.tracing.tracer import UntraceableError

NAMES = {
    "np": np, "math": math, "scipy": scipy, "operator": operator, "copy": copy,
    "it": itertools, "functools": functools, "deque": deque, "__name__": "of_the_user",
}  # fmt: skip
Y0 = [0.55, 0.31, 0.72, 0.13, 0.93, 0.45]
FIELD = """
def f(t, y):
    Y, S = y.reshape(2, 3), np.array([[2.0, y[0]], [y[0], 3.0]])
    Z, D = np.zeros(6), np.zeros((2, 2))
    result = {}
    parts = result if isinstance(result, (tuple, list)) else [result]
    values = np.concatenate([np.ravel(np.asarray(part)) * 1.0 for part in parts])
    folded = np.zeros(6)
    for i in range(len(values)):
        folded[i % 6] = folded[i % 6] + (1 + i) * values[i]
    return folded
"""


def field(expression: str) -> Any:
    """A field of 6 components, of which every entry of the expression is a part."""
    space = dict(NAMES)
    exec(FIELD.format(expression), space)
    return space["f"]


def traced(f: Any) -> Any:
    y0 = torch.tensor(Y0, dtype=F64)
    t0 = torch.full((1,), 0.1, dtype=F64)
    return tracer.trace(ArrayFunction(f), (), Layout(y0, batched=False), t0, y0[None])


@pytest.mark.parametrize("expression", FOLLOWED.strip().splitlines())
def test_the_graph_is_the_expression(expression):
    f = field(expression)
    g = traced(f)
    draw = np.random.default_rng(1)
    for k in range(12):
        t, y = np.float64(draw.uniform(0, 1.5)), draw.uniform(0.02, 0.98, 6)
        y = np.round(y, 1) + 0.05 if k % 6 == 0 else y  # where some are equal
        got = [float(v) for v in g.plain.evaluate(g.values, t, y)]
        assert got == pytest.approx(f(t, y.copy()), rel=1e-9, abs=1e-11, nan_ok=True)


@pytest.mark.parametrize("expression", REFUSED.strip().splitlines())
def test_an_expression_that_has_no_scalar_form_is_refused(expression):
    with pytest.raises(UntraceableError, match=r"f (uses|takes|needs|branches).*\(line"):
        traced(field(expression))
