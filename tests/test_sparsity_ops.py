"""Every operation that kernels know, index sets follow: nothing of its derivative is missing."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from test_kernel_ops import ABOVE_ONE, COMPOSITE, F64, FLAT, applied
from test_kernel_ops import FIELDS as RULED
from test_kernel_trace import FIELDS, Y5
from torch import Tensor

from stiffguide import problems
from stiffguide.tracing.op_rules import RULES
from stiffguide.tracing.pattern import sparsity
from stiffguide.tracing.pointwise import FORMULAS, TRUTHS

Y = torch.tensor([0.3, 0.6, 0.9, 0.4], dtype=F64)


def of_one(f):
    """f of states (F,) as one of (1, F)."""
    return lambda t, y: f(t[0], y[0])[None]


def follows(f, *points: Tensor, t: float = 0.77) -> None:
    """The sets at the first point have all derivatives at all of them."""
    at = torch.tensor(t, dtype=F64)
    found = sparsity(of_one(f), at[None], points[0][None])
    assert found.way == "sets", found.note
    pattern = torch.from_numpy(found.matrix.toarray())
    for y in points:
        jac = torch.autograd.functional.jacobian(partial(f, at), y).nan_to_num(0.0)
        assert not ((jac != 0) & ~pattern).any()


@pytest.mark.parametrize("name", sorted({*FORMULAS, *TRUTHS}))
def test_formulas(name):
    y = Y + 1 if name in ABOVE_ONE else Y
    f = lambda t, y: applied(name, y) + 0 * y  # noqa: E731 - the last term has a derivative
    with torch.inference_mode(name in COMPOSITE):  # else torch takes them apart before
        found = sparsity(of_one(f), torch.zeros(1, dtype=F64), y[None])
    assert found.way == "sets", found.note
    if name not in FLAT:
        follows(f, y, y * 1.07, y.flip(0))


@pytest.mark.parametrize("name", RULES)
def test_rules(name):
    follows(lambda t, y: RULED[name](y), Y, Y * 1.07, Y.flip(0), Y.roll(1))


@pytest.mark.parametrize("name", FIELDS)
def test_fields(name):
    follows(FIELDS[name], Y5, Y5.flip(0), Y5.roll(2) * 1.1)


@pytest.mark.parametrize("name", problems.names())
def test_problems(name):
    small = {"brusselator_1d": 6, "brusselator_2d": 4}
    problem = getattr(problems, name)(small[name]) if name in small else problems.get(name)
    y = problem.y0[None] + torch.linspace(0.1, 0.2, problem.size, dtype=F64)
    t = torch.tensor([2.0], dtype=F64)
    found = sparsity(problem.f, t, y)
    assert found.way == "sets", found.note
    assert torch.equal(torch.from_numpy(found.matrix.toarray()), problem.jac(t, y)[0] != 0)
