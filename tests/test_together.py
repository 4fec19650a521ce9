"""Functions that are traced together share parameters; each has its own values and branches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from traces import traced

from stiffguide.fields.array_function import ArrayFunction
from stiffguide.fields.layout import Layout
from stiffguide.tracing import agreement, tracer
from stiffguide.tracing.together import Together

D = torch.float64
RATES = torch.tensor([0.5, 1.5, 2.5], dtype=D)


def f(t: Tensor, y: Tensor, k: Any) -> Tensor:
    return -RATES * y * k


def total(t: Tensor, y: Tensor, k: Any) -> Tensor:
    return (RATES * y).sum(-1) - k + t


def first(t: Tensor, y: Tensor, k: Any) -> Tensor:
    return y[..., 0]


def halved(t: Tensor, y: Tensor, k: Any) -> Tensor:
    return 0.5 * y + RATES


def in_place(t: Tensor, y: Tensor, k: Any) -> Tensor:
    y[..., 1] = k * t
    return y


ALL = Together(f, (total, first), (halved, in_place))


@pytest.mark.parametrize("rows", [None, 4])
def test_a_trace_has_the_values_of_all(rows: int | None) -> None:
    y0 = torch.rand(*((rows,) if rows else ()), 3, dtype=D, generator=torch.Generator())
    k = torch.tensor(2.0, dtype=D)
    if rows:
        k = torch.linspace(1.0, 2.0, rows, dtype=D).unsqueeze(1)
    args = (k,)
    whole = Together(
        f, (lambda t, y, k: total(t, y, k.squeeze(-1) if rows else k), first), (halved,)
    )
    found = traced(whole, y0, args, batched=bool(rows))
    assert len(found.values) == 3
    assert len(found.events) == 2
    assert [len(jump) for jump in found.jumps] == [3]
    layout = Layout(y0, batched=bool(rows))
    t, y = torch.full((rows or 1,), 0.7, dtype=D), layout.flatten(y0, "y0") + 0.3
    expected = agreement.evaluate(whole, args, layout, t, y)
    assert expected.shape == (rows or 1, 3 + 2 + 3)
    table = torch.atleast_2d(found.parameter_table(args, rows or 1))
    values = found.plain.evaluate(found.outputs, t.numpy(), y.numpy(), table.numpy())
    for i, value in enumerate(values):
        torch.testing.assert_close(torch.as_tensor(value).expand(rows or 1), expected[:, i])


def test_parameters_are_shared_and_derivatives_those_of_f_alone() -> None:
    k = torch.tensor(2.0, dtype=D)
    found, alone = (
        traced(ALL, torch.ones(3, dtype=D), (k,)),
        traced(f, torch.ones(3, dtype=D), (k,)),
    )
    assert len(found.parameters) == len(alone.parameters) == 4
    assert set(found.derived.jac) == set(alone.derived.jac) == {(0, 0), (1, 1), (2, 2)}
    assert found.autonomous  # whatever the events are
    assert not any(n.op == "t" for n in alone.plain.nodes)


def test_a_state_that_a_jump_writes_to_is_a_copy() -> None:
    found = traced(ALL, torch.ones(3, dtype=D), (torch.tensor(2.0, dtype=D),))
    order = found.parameter_table((torch.tensor(2.0, dtype=D),), 1)
    values = found.plain.evaluate(found.jumps[1], 3.0, [1.0, 1.0, 1.0], order.tolist())
    assert [float(v) for v in values] == [1.0, 6.0, 1.0]
    values = found.plain.evaluate(found.events, 0.0, [1.0, 1.0, 1.0], order.tolist())
    assert [float(v) for v in values] == [2.5, 1.0]


def test_names_tell_what_is_traced() -> None:
    y0, k = torch.ones(1, dtype=D), torch.tensor(2.0, dtype=D)
    g, h = (lambda t, y, k: -k * y), (lambda t, y, k: k * y[..., 0])
    keys = {
        traced(whole, y0, (k,)).key
        for whole in (
            g,
            Together(g, (h,)),
            Together(g, (), (lambda t, y, k: k * y,)),
            Together(g, (h, h)),
            Together(g, (h,), (lambda t, y, k: k * y,)),
        )
    }
    assert len(keys) == 5


def test_a_trace_serves_again_until_one_of_them_changes() -> None:
    def made(level: Tensor) -> Together:
        return Together(f, (lambda t, y, k: y[..., 0] - level,), (halved,))

    y0, k = torch.ones(3, dtype=D), torch.tensor(2.0, dtype=D)
    one, two = torch.tensor(0.25, dtype=D), torch.tensor(0.75, dtype=D)
    first_, again = traced(made(one), y0, (k,)), traced(made(one), y0, (k,))
    assert again is first_
    other = traced(made(two), y0, (k,))
    assert other.key == first_.key
    assert other is not first_
    assert any(captured.tensor is two for captured in other.captured)
    assert traced(f, y0, (k,)).events == []


def test_each_has_branches_of_its_own() -> None:
    def branching(t: Tensor, y: Tensor) -> Tensor:
        for i in range(3):  # eight paths
            if y[i] > 0.5:
                y = 2 * y
        return y

    whole = Together(
        branching,
        tuple(lambda t, y, i=i: y[i] - 1 if t > i else y[i] + 1 for i in range(3)),
        (branching, branching),
    )
    found = traced(whole, torch.tensor([0.3, 0.6, 0.9], dtype=D))
    assert found.paths == 8
    for t, y in ((0.5, [0.6, 0.1, 0.2]), (2.5, [0.1, 0.1, 0.1]), (1.5, [0.9, 0.9, 0.9])):
        given = torch.tensor(y, dtype=D)
        values = [float(v) for v in found.plain.evaluate(found.outputs, t, y)]
        expected = torch.cat(
            [
                branching(torch.tensor(t), given),
                torch.stack([event(torch.tensor(t), given) for event in whole.events]),
                branching(torch.tensor(t), given).repeat(2),
            ]
        )
        torch.testing.assert_close(torch.tensor(values, dtype=D), expected)


def test_numpy_functions_are_traced_together() -> None:
    rates = np.array([0.5, 1.5])

    def g(t: Any, y: Any, k: Any) -> Any:
        return [-k * y[0], -rates[1] * y[1]]

    def level(t: Any, y: Any, k: Any) -> Any:
        return y[0] - np.sin(k) if t > 1 else y[1]

    def jump(t: Any, y: Any, k: Any) -> Any:
        y = y.copy()
        y[1] = k * t
        return y

    whole = Together(ArrayFunction(g), (level,), (jump,))
    found = traced(whole, torch.ones(2, dtype=D), (0.7,))
    table = found.parameter_table((0.7,), 1).tolist()
    values = found.plain.evaluate(found.outputs, 2.0, [3.0, 4.0], table)
    expected = [-0.7 * 3, -1.5 * 4, 3 - np.sin(0.7), 3.0, 1.4]
    np.testing.assert_allclose([float(v) for v in values], expected, rtol=1e-15)
    assert len(found.events) == 1


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (lambda t, y, k: y, "event 0 gives no real number"),
        (lambda t, y, k: y[0] > 0, "event 0 gives no real number"),
        (lambda t, y, k: None, "event 0 gives no real number"),
        (lambda t, y, k: torch.special.bessel_j0(y[0]), "bessel"),
    ],
)
def test_what_is_no_event_is_refused(event: Any, words: str) -> None:
    with pytest.raises(tracer.UntraceableError, match=words):
        traced(Together(f, (event,)), torch.ones(3, dtype=D), (torch.tensor(2.0, dtype=D),))


def test_an_event_is_not_taken_for_a_jump() -> None:
    y0, k = torch.tensor(1.0, dtype=D), torch.tensor(2.0, dtype=D)
    g, either = (lambda t, y, k: -k * y), (lambda t, y, k: k * y)
    for _ in range(2):
        found = traced(Together(g, (either,)), y0, (k,))
        assert (len(found.events), len(found.jumps)) == (1, 0)
        found = traced(Together(g, (), (either,)), y0, (k,))
        assert (len(found.events), len(found.jumps)) == (0, 1)
