"""A row that failed keeps its value, and has nan for a gradient."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from families import close, every_smooth, real
from torch import Tensor

import stiffguide as sg

SHORT: dict[str, Any] = {"rtol": 1e-3, "atol": 1e-4, "max_attempts": 40}


def bursting(t: Tensor, y: Tensor, k: Tensor) -> Tensor:
    """Rows 1 and 3 reach infinity at t = 1/3; the others decay."""
    bursts = torch.arange(y.shape[0]).unsqueeze(1) % 2 == 1
    return k.unsqueeze(1) * torch.where(bursts, 3 * y * y, -y)


def solve(k: Tensor, y0: Tensor, **settings: Any) -> sg.Solution:
    return sg.solve(bursting, y0, 0.0, 1.0, args=(k,), batched=True, **SHORT, **settings)


def leaves() -> tuple[Tensor, Tensor]:
    k = torch.ones(4, dtype=torch.float64, requires_grad=True)
    return k, torch.ones(4, 1, dtype=torch.float64, requires_grad=True)


@every_smooth
def test_only_what_failed_has_no_gradient(name: str) -> None:
    k, y0 = leaves()
    with pytest.warns(sg.StiffguideWarning, match=r"row 1 failed \(.*\), and 1 more: .* are nan"):
        found = solve(k, y0, method=name)
    plain = solve(k.detach(), y0.detach(), method=name)
    close(found.y.detach(), plain.y, rtol=1e-3)  # close to a pole
    assert found.success.tolist() == [True, False, True, False]
    for leaf in (k, y0):
        (whole,) = torch.autograd.grad(found.y.sum(), leaf, retain_graph=True)
        (fine,) = torch.autograd.grad(found.y[found.success].sum(), leaf, retain_graph=True)
        assert torch.isnan(whole.reshape(4)[1::2]).all()
        close(whole.reshape(4)[::2], fine.reshape(4)[::2])
        assert torch.isfinite(fine).all()
        assert not fine.reshape(4)[1::2].any()


@pytest.mark.parametrize("save_at", [[0.1, 0.9], sg.EveryStep()])
def test_no_saved_time_of_a_failed_row_has_one(save_at: Any) -> None:
    k, y0 = leaves()
    with pytest.warns(sg.StiffguideWarning):
        found = solve(k, y0, save_at=save_at, method="tsit5")
    (slope,) = torch.autograd.grad(found.y[:, 0].sum() + torch.nansum(found.y[:, 1:]), k)
    assert torch.isnan(slope).tolist() == [False, True, False, True]


def test_the_warning_names_the_solve_and_the_line_that_asked_for_it() -> None:
    k = real(1.0).requires_grad_()
    with pytest.warns(
        sg.StiffguideWarning, match=r"the solve failed \(.*\): its gradient is nan"
    ) as caught:
        found = sg.solve(lambda t, y: k * y * y, real(1.0), 0.0, 2.0, **SHORT)
    assert [w.filename for w in caught] == [__file__]
    (slope,) = torch.autograd.grad(found.y.sum(), k)
    assert torch.isnan(slope).all()


def test_no_warning_without_a_gradient_or_without_a_failure() -> None:
    k, y0 = leaves()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with torch.no_grad():
            solve(k, y0)
        solve(k.detach(), y0.detach())
        found = solve(k[::2], y0[:1].expand(2, 1) * 0, monitor=lambda t, y: t > 0.1)
    assert found.status.tolist() == [int(sg.Status.EVENT)] * 2
    assert found.y.requires_grad
