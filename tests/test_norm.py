"""A norm of the user's decides on steps, as the root mean square does where there is none."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from families import real
from torch import Tensor

import stiffguide as sg

LOOSE = {"rtol": 1e-3, "atol": 1e-6, "backend": "eager", "save_at": sg.EveryStep()}


def field(t: Tensor, y: dict[str, Any]) -> dict[str, Any]:
    """Coupled, of two sizes, and stiff enough for a Jacobian to count."""
    a, (b,) = y["a"], y["b"]
    return {"a": -3.0 * a + torch.sin(t).unsqueeze(-1) * b[..., :1], "b": (a.sum(-1, True) - b,)}


def start(rows: int, dtype: torch.dtype) -> dict[str, Any]:
    y0 = torch.linspace(0.5, 2.0, 3 * rows, dtype=torch.float64).reshape(rows, 3).to(dtype)
    return {"a": y0[:, :2], "b": (y0[:, 2:] * 10,)}


def mean_square(error: dict[str, Any]) -> Tensor:
    whole = torch.cat((error["a"], error["b"][0]), -1)
    assert whole.ndim == 2
    return (whole.abs() ** 2).mean(-1).sqrt()


FAMILIES = ["tsit5", "rodas5p", "kvaerno5", "radau5", "rkc2", "bdf", "dop853"]


@pytest.mark.parametrize("name", FAMILIES)
def test_the_usual_norm_changes_nothing(name: str) -> None:
    given = {**LOOSE, "batched": True, "method": name}
    t1 = torch.tensor([0.3, -0.2], dtype=torch.float64)
    dtype = torch.complex128 if name in ("tsit5", "kvaerno5") else torch.float64
    more = 1e6 if name == "dop853" else 1e3
    plain = sg.solve(field, start(2, dtype), 0.0, t1, **given)
    asked = sg.solve(field, start(2, dtype), 0.0, t1, norm=mean_square, **given)
    assert asked.stats.accepted.tolist() == plain.stats.accepted.tolist()
    torch.testing.assert_close(asked.t, plain.t, rtol=1e-6, atol=0, equal_nan=True)
    tight = sg.solve(field, start(2, dtype), 0.0, t1, norm=lambda e: more * mean_square(e), **given)
    assert (tight.stats.accepted > plain.stats.accepted).all()


def test_twice_the_norm_is_half_the_tolerance() -> None:
    def twice(error: Tensor) -> float:
        return 2 * float(torch.linalg.vector_norm(error)) / math.sqrt(2)

    def ring(t: Tensor, y: Tensor) -> Tensor:
        return torch.stack((y[1], -y[0]))

    given = {"method": "bosh3", "save_at": sg.EveryStep(), "backend": "eager"}
    asked = sg.solve(ring, real(1.0, 0.1), 0.0, 2.0, norm=twice, rtol=2e-4, atol=2e-6, **given)
    plain = sg.solve(ring, real(1.0, 0.1), 0.0, 2.0, rtol=1e-4, atol=1e-6, **given)
    torch.testing.assert_close(asked.t, plain.t, rtol=1e-12, atol=0)


def decay(t: Tensor, y: Tensor) -> Tensor:
    return -y


BAD = {
    "negative": (lambda e: e.sum() * 0 - 1.0, "norm returned -1; a norm is zero, or positive"),
    "nan": (lambda e: torch.tensor(math.nan), "norm returned nan"),
    "per component": (lambda e: e.abs(), r"norm returned float64 of shape \(2,\)"),
    "complex": (lambda e: e.abs().max() * 1j, "norm returned complex128"),
    "text": (lambda e: "large", "norm returned a str"),
    "a number": (0.5, "norm: give a function"),
    "a class": (Tensor, "norm: give a function"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("name", ["tsit5", "bdf"])
def test_what_is_no_norm_is_refused(name: str, case: str) -> None:
    norm, words = BAD[case]
    with pytest.raises(sg.InputError, match=words):
        sg.solve(decay, real(1.0, 2.0), 0.0, 1.0, method=name, norm=norm)


def test_rows_have_a_norm_each() -> None:
    with pytest.raises(sg.InputError, match=r"one for every row, \(1,\)"):
        sg.solve(decay, real(1.0).expand(1, 1), 0.0, 1.0, batched=True, norm=lambda e: e.max())


@pytest.mark.parametrize("name", ["tsit5", "bdf"])
def test_an_infinite_norm_accepts_nothing(name: str) -> None:
    found = sg.solve(decay, real(1.0, 2.0), 1.0, 2.0, method=name, norm=lambda e: math.inf)
    assert found.status == sg.Status.DT_TOO_SMALL
    assert found.stats.accepted == 0
    assert "norm is infinite there" in found.message


def test_kernels_do_not_ask_it(auto: None) -> None:
    def norm(error: Tensor) -> Tensor:
        return error.abs().max()

    with pytest.raises(sg.UnsupportedError, match="and norm was given"):
        sg.solve(decay, real(1.0), 0.0, 1.0, norm=norm, backend="kernel")
    found = sg.solve(decay, real(1.0), 0.0, 1.0, norm=norm)
    assert found.stats.backend == "eager"
    assert "norm was given" in found.stats.why
