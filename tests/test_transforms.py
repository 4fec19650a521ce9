"""What torch.func and forward mode make of a solve is the derivative, or refused in our words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from families import close, real
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vjp, vmap

import stiffguide as sg
from stiffguide.errors import UnsupportedError
from stiffguide.tensors import constant

Y0, K, TANGENT = real(1.5, 0.2), real(2.0, 1.0), real(1.0, -0.5)


def pushed(t: Tensor, y: Tensor, k: Tensor) -> Tensor:
    x, v = y.unbind(-1)
    return torch.stack((v, k[..., 0] * (1 - x * x) * v - k[..., 1] * x + torch.sin(t)), -1)


def end(k: Tensor, name: str, **settings: Any) -> Tensor:
    """The end of a solve whose f gets k, and closes over it, too; it starts from where k says."""

    def f(t: Tensor, y: Tensor, given: Tensor) -> Tensor:
        return 0.5 * pushed(t, y, given) + 0.5 * pushed(t, y, k)

    given = {"controller": sg.Fixed(0.1), "rtol": 1e-10, "atol": 1e-10, "method": name}
    found = sg.solve(f, Y0 + 0.1 * k, 0.0, 0.2, args=(k,), **given | settings)
    return found.y[-1]


def dual(f: Callable[[Tensor], Tensor]) -> Tensor:
    with forward_ad.dual_level():
        return forward_ad.unpack_dual(f(forward_ad.make_dual(K, TANGENT))).tangent


def by_parameters(f: Callable[[Tensor], Tensor]) -> Tensor:
    """The gradient of a sum, where a module is given its parameter from outside."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.k = nn.Parameter(torch.zeros(2, dtype=torch.float64))

        def forward(self, _: Tensor) -> Tensor:
            return f(self.k)

    found = grad(lambda p: functional_call(Net(), p, (Y0,)).sum())({"k": K})
    return found["k"]


Jac = Tensor
WAYS: dict[str, tuple[Callable[[Any], Tensor], Callable[[Jac], Tensor]]] = {
    "grad": (lambda f: grad(lambda k: f(k).sum())(K), lambda jac: jac.sum(0)),
    "vjp": (lambda f: vjp(f, K)[1](TANGENT)[0], lambda jac: TANGENT @ jac),
    "jacrev": (lambda f: jacrev(f)(K), lambda jac: jac),
    "jvp": (lambda f: jvp(f, (K,), (TANGENT,))[1], lambda jac: jac @ TANGENT),
    "jacfwd": (lambda f: jacfwd(f)(K), lambda jac: jac),
    "dual numbers": (dual, lambda jac: jac @ TANGENT),
    "functional_call": (by_parameters, lambda jac: jac.sum(0)),
}


@pytest.mark.parametrize("name", ["tsit5", "rodas5p", "kvaerno5", "sdirk2", "adams_moulton"])
def test_transforms_give_the_derivative(name: str) -> None:
    steps = sg.Fixed(0.04 if name == "adams_moulton" else 0.1)  # whose first two are of others
    jac = torch.autograd.functional.jacobian(lambda k: end(k, name, controller=steps), K)
    assert jac.abs().min() > 1e-4
    for way, (transform, expected) in WAYS.items():
        found = transform(lambda k: end(k, name, controller=steps))
        torch.testing.assert_close(found, expected(jac), rtol=1e-8, atol=1e-10, msg=way)


@pytest.mark.parametrize("name", ["tsit5", "rodas5p"])
def test_steps_that_were_chosen_are_constants(name: str) -> None:
    chosen = {"controller": None, "rtol": 1e-3, "atol": 1e-4}
    steps = torch.autograd.functional.jacobian(lambda k: end(k, name, **chosen), K)
    close(jacfwd(lambda k: end(k, name, **chosen))(K), steps, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["tsit5", "rodas5p", "kvaerno5"])
def test_second_derivatives_by_transforms(name: str) -> None:
    def loss(k: Tensor) -> Tensor:
        return end(k, name, controller=sg.Fixed(0.2)).square().sum()

    expected = torch.autograd.functional.hessian(loss, K)
    assert expected.abs().min() > 1e-3
    close(hessian(loss)(K), expected, rtol=1e-6, atol=1e-8)


def test_a_solve_of_nothing_that_moves_goes_on_inside() -> None:
    plain = end(K, "rodas5p")
    inside = []

    def f(x: Tensor) -> Tensor:
        inside.append(end(K, "rodas5p").detach().clone())
        return x * 1

    jvp(f, (K,), (K,))
    assert inside
    close(grad(lambda x: (x * end(K, "rodas5p")).sum())(K), plain)


def test_a_failed_row_has_no_derivative_inside() -> None:
    def last(k: Tensor) -> Tensor:
        start = real(1.0, 0.1).unsqueeze(1)
        found = sg.solve(
            lambda t, y: k * y * y, start, 0.0, 2.0, batched=True, method="tsit5", max_attempts=60
        )
        return found.y[:, -1, 0]

    with pytest.warns(sg.StiffguideWarning, match="row 0 failed"):
        found = jvp(last, (real(1.0)[0],), (real(1.0)[0],))[1]
    assert torch.isnan(found).tolist() == [True, False]
    with pytest.warns(sg.StiffguideWarning, match="row 0 failed"):
        fine = grad(lambda k: last(k)[1])(real(1.0)[0])
    assert torch.isfinite(fine)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "kernels": ({"backend": "kernel"}, "use backend='eager'"),
    "checkpoint": ({"gradient": "checkpoint"}, "use gradient='direct'"),
    "events": ({"events": lambda t, y, k: y[0]}, "events and jumps; use"),
    "mass": ({"mass": [1.0, 2.0]}, "a mass; use"),
    "nonnegative": ({"nonnegative": True}, "nonnegative; use"),
    "guidance": ({"guidance": sg.guidance.ErkGuid(0.1, 0.1)}, "guidance; use"),
    "sparse": ({"linear_solver": "sparse"}, "linear_solver and jac_sparsity; use"),
    "radau5": ({"method": "radau5"}, "radau5; use 'rodas5p' or 'kvaerno5'"),
    "bdf": ({"method": "bdf", "controller": None}, "bdf; use 'rodas5p' or 'kvaerno5'"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_transforms_do_not_go_through_is_refused(what: str) -> None:
    settings, words = REFUSED[what]
    with pytest.raises(UnsupportedError, match=words):
        grad(lambda k: end(k, settings.get("method", "rodas5p"), **settings).sum())(K)


@pytest.mark.parametrize("transform", [jacrev, jacfwd])
@pytest.mark.parametrize("part", [Tensor.detach, lambda y: torch.tensor(y.tolist())])
def test_a_part_of_f_that_is_missed_is_noticed(transform: Any, part: Any) -> None:
    def last(k: Tensor) -> Tensor:
        def f(t: Tensor, y: Tensor) -> Tensor:
            return -k * y - 3 * part(y)

        return sg.solve(f, Y0, 0.0, 0.3, method="tsit5").y

    with pytest.raises(sg.InputError, match=r"derivative by y is wrong|write it in op"):
        transform(last)(K)


def test_a_trace_of_derivatives_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"use torch\.func\.jvp"):
        torch.func.linearize(lambda k: end(k, "tsit5"), K)


@pytest.mark.parametrize("hidden", [False, True])
def test_rows_that_vmap_hides_are_to_be_a_batch(hidden: bool) -> None:
    def loss(k: Tensor) -> Tensor:
        if hidden:
            return sg.solve(lambda t, y: pushed(t, y, k), Y0, 0.0, 0.3).y
        return end(k, "rodas5p")

    both = torch.stack((K, 2 * K))
    for transform in (loss, grad(lambda k: loss(k).sum())):
        with pytest.raises(UnsupportedError, match="give the rows as a batch, with batched=True"):
            vmap(transform)(both)


@pytest.mark.parametrize("transform", [grad, lambda f: lambda t: jvp(f, (t,), (t,))[1]])
@pytest.mark.parametrize("where", ["t0", "t1", "save_at"])
def test_times_are_refused(transform: Any, where: str) -> None:
    def loss(t: Tensor) -> Tensor:
        times = {"t0": real(0.0)[0], "t1": real(1.0)[0], "save_at": real(0.5)} | {where: t}
        times["save_at"] = times["save_at"].reshape(1)
        return sg.solve(pushed, Y0, args=(K,), method="tsit5", **times).y.sum()

    with pytest.raises(UnsupportedError, match="t0, t1 and save_at; use"):
        transform(loss)(real(0.5)[0])


def test_what_is_made_in_a_transform_and_kept_outlives_it() -> None:
    """A number that nobody has solved to before, first inside, then outside, by a kernel, too."""
    end = 0.8125

    def final(k: Tensor) -> Tensor:
        return sg.solve(lambda t, y, k: -k * y, real(1.0), 0.0, end, args=(k,)).y[-1].sum()

    slope = grad(final)(real(2.0))
    assert torch.isfinite(slope).all()
    for values in ((end,), (end, 2.5)):
        kept = constant(values, torch.float64, torch.device("cpu"))
        assert not torch._C._functorch.is_functorch_wrapped_tensor(kept)
