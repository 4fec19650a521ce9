"""Conditions go with the rows of the state, wherever a denoiser is called."""

from __future__ import annotations

import pytest
import torch
from flows import F64, SMOOTH, normal
from torch import Tensor

from stiffguide.adapters.diffusion import (
    SAMPLERS,
    Conditioned,
    calibrate_grid,
    grid,
    invert,
    sample,
)
from stiffguide.errors import InputError

LABELS = torch.tensor([2, 0, 1, 2, 1])
SHIFTS = torch.tensor([-0.3, 0.0, 0.4], dtype=F64)
NOISE = normal(5, 3, seed=6)
LEVELS = grid.karras(6)


def net(x: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
    moved = SHIFTS[labels].unsqueeze(-1)
    return SMOOTH(x - moved, sigma) + moved


def nested(x: Tensor, sigma: Tensor, told: dict) -> Tensor:
    return net(x, sigma, told["label"]) * told["more"][0].unsqueeze(-1)


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_row_has_its_own(name: str) -> None:
    whole = sample(net, NOISE, LEVELS, name, condition=LABELS).x
    for row in range(len(NOISE)):
        one = slice(row, row + 1)
        alone = sample(net, NOISE[one], LEVELS, name, condition=LABELS[one]).x
        torch.testing.assert_close(alone, whole[one], rtol=1e-10, atol=1e-10)
    closure = sample(lambda x, s: net(x, s, LABELS), NOISE, LEVELS, name).x
    assert torch.equal(closure, whole)


def test_containers_of_conditions() -> None:
    told = {"label": LABELS, "more": [torch.ones(5, dtype=F64)]}
    found = sample(nested, NOISE, LEVELS, condition=told).x
    assert torch.equal(found, sample(net, NOISE, LEVELS, condition=LABELS).x)
    denoiser = Conditioned(nested, told)
    assert len(denoiser) == 5
    for which in ([3, 1], torch.tensor([3, 1]), range(3, 0, -2)):
        part = denoiser.rows(which)
        found = part(NOISE[[3, 1]], torch.ones(2, dtype=F64))
        assert torch.equal(found, denoiser(NOISE, torch.ones(5, dtype=F64))[[3, 1]])


def test_calibration_and_the_way_back() -> None:
    made = calibrate_grid(net, NOISE, steps=6, condition=LABELS)
    assert made == calibrate_grid(lambda x, s: net(x, s, LABELS), NOISE, steps=6)
    part = Conditioned(net, LABELS).rows([0, 3])
    assert calibrate_grid(part, NOISE[[0, 3]], steps=6).levels == made.levels
    up = grid.karras(20).flip(0)
    there = invert(net, NOISE, up, condition=LABELS).x
    assert torch.equal(there, invert(lambda x, s: net(x, s, LABELS), NOISE, up).x)


def test_calibration_from_images() -> None:
    image = normal(5, 3, seed=7)
    made = calibrate_grid(SMOOTH, NOISE, 0.01, 5.0, steps=6, init=image)
    moved = calibrate_grid(SMOOTH, NOISE + image / 5.0, 0.01, 5.0, steps=6)
    torch.testing.assert_close(
        torch.tensor(made.densities), torch.tensor(moved.densities), rtol=1e-6, atol=1e-6
    )
    with pytest.raises(InputError, match="init has shape"):
        calibrate_grid(SMOOTH, NOISE, steps=6, init=normal(2, 2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sample(net, NOISE, LEVELS, condition=LABELS[:3]), "3 rows and the state 5"),
        (lambda: Conditioned(net, torch.tensor(1)), "with one B, not tensors of shape"),
        (lambda: Conditioned(net, [LABELS, LABELS[:2]]), r"not tensors of shape \(5,\), \(2,\)"),
        (lambda: Conditioned(net, {}), "not an empty container"),
        (lambda: Conditioned(net, 3), "not int"),
        (lambda: Conditioned("net", LABELS), "must be callable, not str"),
    ],
)
def test_what_does_not_fit_is_said(make, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
