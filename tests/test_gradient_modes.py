"""The ways to a gradient by name: what is taken, and what is refused in one sentence."""

from __future__ import annotations

import pytest
import torch
from cached import needs_compiler
from torch import Tensor

import stiffguide
from stiffguide.errors import InputError

Y0 = torch.tensor([1.0, 0.5], dtype=torch.float64)


def decay(t: Tensor, y: Tensor, k: Tensor) -> Tensor:
    return -k * y


def solved(k: Tensor, **given: object) -> stiffguide.Solution[Tensor]:
    return stiffguide.solve(decay, Y0, 0.0, 1.0, args=(k,), method="tsit5", **given)


@needs_compiler
@pytest.mark.parametrize("gradient", ["direct", "checkpoint", "kernel"])
def test_a_way_by_name_wants_something_to_differentiate(gradient, auto):
    k = torch.tensor(2.0, dtype=torch.float64)
    with pytest.raises(InputError, match="nothing here requires a gradient; call requires_grad_"):
        solved(k, gradient=gradient)
    k.requires_grad_()
    found = solved(k, gradient=gradient)
    assert found.y.requires_grad
    assert found.stats.why == f"gradient={gradient!r} was asked for"
    with torch.no_grad():
        assert not solved(k, gradient=gradient).y.requires_grad
    prepared = stiffguide.prepare(decay, like=Y0, args=(k,), gradient=gradient)
    assert prepared(Y0, 0.0, 1.0, k).y.requires_grad


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"gradient": "adjoint"}, "gradient: 'adjoint' is unknown; give 'auto', 'direct'"),
        ({"gradient": None}, "gradient: None is unknown"),
        ({"gradient": "direct", "backend": "kernel"}, "leave one of them out"),
        ({"gradient": "kernel", "backend": "eager"}, "leave one of them out"),
    ],
)
def test_what_is_no_way_is_refused(given, match):
    k = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    with pytest.raises(InputError, match=match):
        solved(k, **given)
    with pytest.raises(InputError, match=match):
        stiffguide.prepare(decay, like=Y0, args=(k,), **given)
