"""States of every nesting, shape and precision are solved as their flat counterparts."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import pytest
import torch
from families import EXPLICIT, METHODS, TABLEAU, close, every_family, fixed, real, wave, wavy
from hypothesis import example, given, settings
from torch import Tensor

import stiffguide as sg
from stiffguide import testing
from stiffguide.testing import Nested

# shapes of states --------------------------------------------------------------------------------


def flat_field(t: Tensor, y: Tensor) -> Tensor:
    return torch.sin(t) * torch.roll(y, 1, -1) - y * y.mean(-1, keepdim=True)


FLAT = real(1.0, 0.5, 0.25, 2.0, 1.5, 0.75)


def as_tree(y: Tensor) -> dict[str, Any]:
    return {"a": y[0], "b": (y[1:4].reshape(3, 1), [y[4:]])}


def from_tree(y: dict[str, Any]) -> Tensor:
    return torch.cat((y["a"].reshape(1), y["b"][0].reshape(3), y["b"][1][0]))


NESTINGS = {
    "3-D": (lambda y: y.reshape(1, 2, 3), lambda y: y.reshape(6)),
    "tuple": (lambda y: (y[:2], y[2:]), lambda y: torch.cat(y)),
    "list": (lambda y: [y[:2], y[2:]], lambda y: torch.cat(y)),
    "scalars": (lambda y: tuple(y), lambda y: torch.stack(y)),
    "tree": (as_tree, from_tree),
}


def examples(test: Any) -> Any:
    """Every one of the nestings above, before those that are drawn."""
    for name, (build, flatten) in NESTINGS.items():
        test = example(nested=Nested(name, len(FLAT), build, flatten))(test)
    return test


@every_family
@settings(max_examples=2)
@given(nested=testing.states())
@examples
def test_nested_states_equal_the_flat_solve(name: str, nested: Nested) -> None:
    asked = {"method": name, "rtol": 1e-4, "atol": 1e-6, "dense": True, "save_at": [1.0, 2.0]}
    start = FLAT.repeat(2)[: nested.size]
    plain = sg.solve(flat_field, start, 0.0, 2.0, **asked)
    found = sg.solve(
        lambda t, y: nested.build(flat_field(t, nested.flatten(y))),
        nested.build(start),
        0.0,
        2.0,
        **asked,
    )
    assert int(found.stats.accepted) == int(plain.stats.accepted)
    assert type(found.y) is type(nested.build(start))
    flat = torch.stack([nested.flatten(pick(found.y, i)) for i in range(2)])
    close(flat, plain.y, rtol=1e-12)
    close(nested.flatten(found.at(1.5)), plain.at(1.5), rtol=1e-12)
    close(nested.flatten(pick(found.at(real(0.5, 1.5)), 1)), plain.at(1.5), rtol=1e-12)


def pick(tree: Any, i: int) -> Any:
    """Entry i of every leaf."""
    if isinstance(tree, Tensor):
        return tree[i]
    if isinstance(tree, dict):
        return {k: pick(v, i) for k, v in tree.items()}
    return type(tree)(pick(v, i) for v in tree)


@every_family
def test_batches_of_nested_states_equal_batches_of_flat_ones(name: str) -> None:
    y0 = FLAT.repeat(3, 1) * real(1.0, 0.5, 2.0).unsqueeze(1)
    settings = {"batched": True, "method": name, "rtol": 1e-4, "atol": 1e-6, "dense": True}

    def f(t: Tensor, y: Tensor) -> Tensor:
        return torch.sin(t).unsqueeze(1) * torch.roll(y, 1, -1) - y * y.mean(-1, keepdim=True)

    def nested(t: Tensor, y: dict[str, Tensor]) -> dict[str, Tensor]:
        flat = f(t, torch.cat((y["u"].reshape(-1, 4), y["v"]), 1))
        return {"u": flat[:, :4].reshape(-1, 2, 2), "v": flat[:, 4:]}

    plain = sg.solve(f, y0, 0.0, 2.0, save_at=[1.0, 2.0], **settings)
    tree = {"u": y0[:, :4].reshape(3, 2, 2), "v": y0[:, 4:]}
    found = sg.solve(nested, tree, 0.0, 2.0, save_at=[1.0, 2.0], **settings)
    assert found.y["u"].shape == (3, 2, 2, 2)
    close(found.y["u"].reshape(3, 2, 4), plain.y[..., :4], rtol=1e-12)
    close(found.y["v"], plain.y[..., 4:], rtol=1e-12)
    for t in (0.5, real(0.5, 1.5), real(0.5, 1.0, 1.5).unsqueeze(1)):
        close(found.at(t)["v"], plain.at(t)[..., 4:], rtol=1e-12)


@every_family
def test_a_named_tuple_comes_back(name: str) -> None:
    class Pair(NamedTuple):
        x: Tensor
        v: Tensor

    found = sg.solve(
        lambda t, y: Pair(y.v, -y.x), Pair(real(1.0), real(0.0)), 0.0, 1.0, method=name
    )
    assert type(found.y) is Pair
    close(found.y.x[0], real(math.cos(1.0)), rtol=1e-3)


# precision ---------------------------------------------------------------------------------------


def spin(t: Tensor, y: Tensor) -> Tensor:
    return 20 * torch.stack((y[1], -y[0]))


@every_family
def test_time_is_float64_whatever_the_state_is(name: str) -> None:
    settings = {"method": name, "rtol": 1e-4, "atol": 1e-5}
    y0 = torch.tensor([1.0, 0.0])
    near = sg.solve(spin, y0, 0.0, 1.0, **settings)
    # float32 cannot tell 1e6 from 1e6 + 0.01, and the steps here are shorter than that
    far = sg.solve(spin, y0, 1e6, 1e6 + 1, first_step=1e-3, **settings)
    assert near.y.dtype == far.y.dtype == torch.float32
    assert near.t.dtype == far.t.dtype == torch.float64
    assert far.success
    assert float(far.t) == 1e6 + 1
    assert int(far.stats.accepted) > 20
    close(far.stats.accepted.double(), near.stats.accepted.double(), rtol=0.1, atol=8)
    close(far.y.double(), near.y.double(), rtol=0, atol=5e-3)
    exact = real(math.cos(20), -math.sin(20))
    close(near.y[0].double(), exact, rtol=0, atol=2e-2 if METHODS[name].order < 3 else 5e-3)


@every_family
def test_float32_agrees_with_float64(name: str) -> None:
    settings = {"method": name, "rtol": 1e-4, "atol": 1e-6}
    wide = sg.solve(wavy, wave(0.0), 0.0, 2.0, **settings)
    narrow = sg.solve(wavy, wave(0.0).float(), 0.0, 2.0, **settings)
    assert narrow.y.dtype == torch.float32
    close(narrow.y.double(), wide.y, rtol=1e-3)


# complex states ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in EXPLICIT if n in TABLEAU])
def test_a_complex_state_is_two_real_ones(name: str) -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        return 1j * y * torch.exp(1j * t) + y.abs() ** 2 * 0.1

    def parts(t: Tensor, y: Tensor) -> Tensor:
        return torch.view_as_real(f(t, torch.view_as_complex(y.reshape(-1, 2)))).reshape(-1)

    y0 = torch.tensor([1.0 + 0.5j, -0.3 + 2.0j], dtype=torch.complex128)
    whole = fixed(name, f, y0, 0.0, 1.0, 5)
    split = fixed(name, parts, torch.view_as_real(y0).reshape(-1), 0.0, 1.0, 5)
    close(torch.view_as_real(whole).reshape(-1), split, rtol=1e-12)


def test_complex_states_are_solved_adaptively() -> None:
    y0 = torch.tensor([1.0 + 0j], dtype=torch.complex128)
    for dtype, rtol in ((torch.complex128, 1e-8), (torch.complex64, 1e-4)):
        times = [0.5, 1.0]
        found = sg.solve(
            lambda t, y: 5j * y, y0.to(dtype), 0.0, 1.0, method="tsit5", rtol=rtol, save_at=times
        )
        assert found.y.dtype == dtype
        exact = torch.exp(5j * real(*times)).unsqueeze(1)
        torch.testing.assert_close(found.y.to(torch.complex128), exact, rtol=100 * rtol, atol=0)
