"""What a solve returns: it can be kept, copied, printed, and asked for any time."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from families import close, every_family, real
from torch import Tensor

import stiffguide as sg


def decay(t: Tensor, y: dict[str, Tensor]) -> dict[str, Tensor]:
    return {"a": -y["a"], "b": y["a"] - y["b"]}


def solved(name: str, **settings: Any) -> sg.Solution:
    y0 = {"a": real(1.0, 2.0).unsqueeze(1), "b": real(0.0, 1.0).unsqueeze(1)}
    return sg.solve(decay, y0, 0.0, real(1.0, 3.0), batched=True, method=name, **settings)


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


@every_family
@pytest.mark.parametrize("duplicate", [pickled, copy.deepcopy])
def test_a_solution_can_be_kept(name: str, duplicate: Callable[[Any], Any]) -> None:
    found = solved(name, dense=True, rtol=1e-3, max_attempts=500)
    other = duplicate(found)
    assert torch.equal(other.y["b"], found.y["b"])
    assert torch.equal(other.at(0.5)["a"], found.at(0.5)["a"])
    assert repr(other) == repr(found)
    assert other.message == found.message
    assert other.success.all()
    failed = duplicate(solved(name, max_attempts=2))
    assert not failed.success.all()
    with pytest.raises(sg.SolveFailed, match="row 0: max_attempts"):
        failed.raise_if_failed()


def test_a_solution_with_a_graph_can_be_kept_once_detached() -> None:
    k = real(2.0).requires_grad_()
    found = sg.solve(lambda t, y: -k * y, real(1.0), 0.0, 1.0, dense=True)
    assert found.y.requires_grad
    assert found.at(0.5).requires_grad
    assert not found.t.requires_grad
    assert not found.stats.nfe.is_floating_point()


@every_family
def test_its_text_is_short_and_says_how_it_ended(name: str) -> None:
    good, bad = repr(solved(name, rtol=1e-3)), repr(solved(name, max_attempts=1))
    for text in (good, bad):
        assert f"Solution by {name}" in text
        assert "accepted=" in text
        assert "0x" not in text
        assert len(text) < 700
        assert len(text.splitlines()) <= 5
    assert "success" in good
    assert "2 of 2 rows failed" in bad
    assert "max_attempts was used up" in bad


@every_family
def test_counts_are_per_row_and_scalars_when_not_batched(name: str) -> None:
    batch = solved(name, rtol=1e-3, atol=1e-4)
    alone = sg.solve(lambda t, y: -y, real(1.0), 0.0, 1.0, method=name, rtol=1e-3)
    for count in ("accepted", "rejected", "nfe", "njac", "nlu"):
        assert getattr(batch.stats, count).shape == (2,)
        assert getattr(alone.stats, count).shape == ()
    assert batch.status.shape == (2,)
    assert alone.status.shape == alone.success.shape == ()
    assert bool(alone.success)


@every_family
@pytest.mark.usefixtures("eager")
def test_evaluations_are_counted(name: str) -> None:
    calls = [0]

    def f(t: Tensor, y: Tensor) -> Tensor:
        calls[0] += 1
        return -y * y

    jac = {"jac": lambda t, y: torch.diag(-2 * y)}
    found = sg.solve(f, real(1.0), 0.0, 1.0, method=name, rtol=1e-4, **jac)
    assert int(found.stats.nfe) <= calls[0]
    # what is not counted: a linearisation in time, and whether f can be recorded
    assert calls[0] <= int(found.stats.nfe) + 3


@every_family
def test_the_interpolant_answers_in_the_shape_of_the_question(name: str) -> None:
    alone = sg.solve(lambda t, y: -y, real(1.0, 2.0), 0.0, 1.0, method=name, dense=True, rtol=1e-3)
    assert alone.at(0.5).shape == (2,)
    assert alone.at(torch.zeros(3, 4)).shape == (3, 4, 2)
    batch = solved(name, dense=True, rtol=1e-3)
    assert batch.at(0.5)["a"].shape == (2, 1)
    assert batch.at(torch.zeros(5))["a"].shape == (2, 5, 1)
    assert batch.at(torch.zeros(2, 5))["a"].shape == (2, 5, 1)
    assert torch.isnan(batch.at(2.0)["a"][0]).all()
    assert torch.isfinite(batch.at(2.0)["a"][1]).all()
    close(batch.at(0.0)["a"], real(1.0, 2.0).unsqueeze(1))
    close(batch.at(real(1.0, 3.0).unsqueeze(1))["b"][:, 0], batch.y["b"][:, 0])


def test_messages_count_the_rows_that_failed() -> None:
    found = sg.solve(
        lambda t, y: y * real(1.0, float("nan"), float("nan")).unsqueeze(1),
        torch.ones(3, 1, dtype=torch.float64),
        0.0,
        1.0,
        batched=True,
    )
    assert found.message.startswith("row 1: ")
    assert found.message.endswith("(and 1 more rows failed)")
    assert list(found.messages) == [1, 2]


@pytest.mark.parametrize("backend", ["eager", "kernel"])
def test_attempts_are_accepted_or_rejected(backend):
    pole = lambda t, y: y * y  # noqa: E731 - steps must shrink towards t = 1
    y0 = torch.ones(1, dtype=torch.float64)
    solution = sg.solve(pole, y0, 0.0, 2.0, method="tsit5", max_attempts=60, backend=backend)
    counts = solution.stats.as_dict()
    assert tuple(counts) == sg.solution.Stats.NAMES
    assert int(counts["accepted"] + counts["rejected"]) == 60
    assert 0 < int(counts["rejected"]) < int(counts["accepted"])
