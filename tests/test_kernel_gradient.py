"""Whatever autograd would reach, the adjoint of a kernel reaches; the rest is solved eagerly."""

from __future__ import annotations

import pytest
import torch
from cached import needs_compiler
from torch import Tensor

import stiffguide as sg
from stiffguide.errors import StiffguideWarning, UnsupportedError
from stiffguide.kernels import patience
from stiffguide.kernels.emitting import adjoint as emitting

D = torch.float64
Y0 = torch.tensor([1.0, 0.5], dtype=D)


def rates() -> Tensor:
    return torch.tensor([1.0, 2.0], dtype=D, requires_grad=True)


def by_module():
    torch.manual_seed(0)
    weights = torch.nn.Linear(2, 2).double()
    with torch.no_grad():
        weights.weight[0, 0] = 0.0  # which is a zero that may change
    return (lambda t, y: -weights(y)), (), weights.weight


def by_captured_tensor():
    rate = rates()
    return (lambda t, y: -rate * y), (), rate


def by_argument():
    rate = rates()
    return (lambda t, y, k: -k * y), (rate,), rate


def by_nested_argument():
    rate = rates()
    return (lambda t, y, k: -k["rate"] * y), ({"rate": rate},), rate


def by_what_is_made_of_it():
    rate = rates()
    return (lambda t, y, k: -k * y), (torch.exp(rate),), rate


WAYS = (by_module, by_captured_tensor, by_argument, by_nested_argument, by_what_is_made_of_it)


@needs_compiler
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_gradient_is_never_lost(way, auto):
    f, args, parameter = way()
    slopes = []
    with torch.no_grad():
        sg.solve(f, Y0, 0.0, 0.1, args=args, method="tsit5", backend="kernel")
    # a kernel is loaded now, which knows of no gradient
    for backend in ("auto", "kernel", "auto", "eager"):
        solution = sg.solve(f, Y0, 0.0, 0.1, args=args, method="tsit5", backend=backend)
        (slope,) = torch.autograd.grad((solution.y * Y0).sum(), parameter, retain_graph=True)
        slopes.append((solution.stats.backend, slope))
    assert [name for name, _ in slopes[1:]] == ["kernel", "kernel", "eager"]
    for _, slope in slopes[:-1]:
        torch.testing.assert_close(slope, slopes[-1][1], rtol=1e-9, atol=1e-12)
        assert bool((slope != 0).all())


@needs_compiler
def test_zeros_that_were_structure_are_parameters_when_they_want_a_gradient():
    matrix = torch.tensor([[-1.0, 0.0], [1.0, -2.0]], dtype=D)

    def f(t, y):
        return matrix @ y

    for _ in range(3):  # its values have been looked at
        sg.solve(f, Y0, 0.0, 0.1, method="tsit5", backend="kernel")
    matrix.requires_grad_()
    sg.solve(f, Y0, 0.0, 0.1, method="tsit5", backend="kernel").y.sum().backward()
    assert bool((matrix.grad != 0).all())


def detached(t, y, k):
    return -k.detach() * y


def of_its_own(t, y, k):
    return Doubled.apply(k) * -y


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, k):
        return 2.0 * k

    @staticmethod
    def backward(ctx, bar):
        return 5.0 * bar  # as a straight-through estimator would


@needs_compiler
@pytest.mark.parametrize("f", [detached, of_its_own])
def test_what_f_says_of_its_own_derivative_is_heard(f, auto):
    k = rates()
    y0 = Y0.clone().requires_grad_()
    with pytest.raises(UnsupportedError, match="another derivative of f than its formulas"):
        sg.solve(f, y0, 0.0, 0.1, args=(k,), method="tsit5", backend="kernel")
    found = sg.solve(f, y0, 0.0, 0.1, args=(k,), method="tsit5")
    assert found.stats.backend == "eager"
    assert "another derivative" in found.stats.why


@needs_compiler
@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"save_at": sg.EveryStep()}, "not of every step"),
        ({"dense": True}, "nor of interpolants"),
        ({"tstops": 0.05}, "not through events, jumps or tstops"),
        ({"events": lambda t, y, k: y[0] - 0.9}, "not through events, jumps or tstops"),
        ({"monitor": lambda t, y: False}, "not while `monitor`"),
        ({"save_at": torch.tensor([0.05], dtype=D, requires_grad=True)}, "not by times"),
    ],
    ids=lambda x: x if isinstance(x, str) else "-".join(x),
)
def test_what_has_no_adjoint_is_recorded(given, match, auto):
    k = rates()
    with pytest.raises(UnsupportedError, match=match):
        sg.solve(
            by_argument()[0], Y0, 0.0, 0.1, args=(k,), method="tsit5", backend="kernel", **given
        )
    with pytest.raises(UnsupportedError, match="use gradient='direct'"):
        sg.solve(by_argument()[0], Y0, 0.0, 0.1, args=(k,), gradient="kernel", **given)
    found = sg.solve(by_argument()[0], Y0, 0.0, 0.1, args=(k,), method="tsit5", **given)
    assert found.stats.backend == "eager"
    assert found.y.requires_grad


@needs_compiler
def test_what_is_captured_is_seen_when_it_has_been_traced(auto):
    f, _, rate = by_captured_tensor()
    given = {"method": "tsit5", "dense": True}
    with pytest.raises(UnsupportedError, match="nor of interpolants"):
        sg.solve(f, Y0, 0.0, 0.1, backend="kernel", **given)
    found = sg.solve(f, Y0, 0.0, 0.1, **given)
    assert torch.autograd.grad(found.at(0.05).sum(), rate)[0].shape == rate.shape


@needs_compiler
def test_second_derivatives_are_refused_where_they_are_taken():
    k = rates()
    y = sg.solve(
        lambda t, y, k: -k * y, Y0, 0.0, 0.1, args=(k,), method="tsit5", backend="kernel"
    ).y
    (slope,) = torch.autograd.grad(y.sum(), k, create_graph=True)
    with pytest.raises(UnsupportedError, match="give gradient='direct'"):
        slope.sum().backward()


@needs_compiler
def test_a_row_that_failed_leaves_the_others_their_gradient():
    y0 = torch.tensor([[1.0], [0.5], [1.0]], dtype=D)
    k = torch.tensor([[-1.0], [40.0], [-2.0]], dtype=D, requires_grad=True)
    with pytest.warns(StiffguideWarning, match="row 1 failed"):
        found = sg.solve(
            lambda t, y, k: k * y * y, y0, 0.0, 1.0, args=(k,), batched=True, backend="kernel"
        )
    assert found.success.tolist() == [True, False, True]
    (slope,) = torch.autograd.grad(found.y[found.success].sum(), k, retain_graph=True)
    assert slope[1] == 0
    expected = 1 / (1 - k.detach()[[0, 2]]) ** 2
    torch.testing.assert_close(slope[[0, 2]], expected, rtol=1e-4, atol=0.0)
    (slope,) = torch.autograd.grad(found.y.sum(), k)
    assert torch.isnan(slope).flatten().tolist() == [False, True, False]


@needs_compiler
def test_a_long_recorded_solve_builds_its_kernel(auto, monkeypatch):
    """It is done when the loop has taken as long as the build, and is not begun the next time."""
    monkeypatch.setattr(patience, "A_BUILD", 20_000)

    def f(t, y, k):
        return -k * y + torch.sin(3.0 * t)

    k, slopes, said = rates(), [], []
    for gradient in ("auto", "auto", "direct"):
        given = {"method": "tsit5", "max_step": 0.01, "gradient": gradient}
        found = sg.solve(f, Y0, 0.0, 1.5, args=(k,), **given)
        said.append((found.stats.backend, found.stats.why.split(",")[0]))
        slopes.append(torch.autograd.grad(found.y.sum(), k)[0])
    assert said[0] == ("kernel", "the eager loop had taken as long as the build of a kernel")
    assert said[1] == ("kernel", "the kernel was there")
    assert said[2][0] == "eager"
    for slope in slopes[:2]:
        torch.testing.assert_close(slope, slopes[2], rtol=1e-9, atol=0.0)


@needs_compiler
def test_nobody_named_a_method(auto):
    k = rates()
    found = sg.solve(by_argument()[0], Y0, 0.0, 0.1, args=(k,), backend="kernel")
    assert found.method == "rodas5p"
    assert "gradients go through its steps" in found.stats.why


@needs_compiler
def test_an_adjoint_that_is_too_large_is_recorded(auto, monkeypatch):
    monkeypatch.setattr(emitting, "LARGEST", 10)
    monkeypatch.setattr(patience, "A_BUILD", 0)
    monkeypatch.setattr(patience, "A_NODE", 0)
    k = rates()
    given = {"args": (k,), "method": "tsit5"}

    def f(t, y, k):
        return -k * y * torch.cos(y) - torch.sin(y) * k.flip(0)

    with pytest.raises(UnsupportedError, match="use gradient='direct' or 'checkpoint'"):
        sg.solve(f, Y0, 0.0, 0.1, gradient="kernel", **given)
    found = sg.solve(f, Y0, 0.0, 0.1, **given)
    assert found.stats.backend == "eager"
    assert found.y.requires_grad
