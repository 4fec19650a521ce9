"""A solve recorded in segments has the values and the gradients of one recorded whole."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from families import close, every_smooth, real
from test_gradient_reach import EXACT, WAYS, Way, gradient
from torch import Tensor

import stiffguide as sg
from stiffguide.errors import InputError, UnsupportedError
from stiffguide.gradients import recorder

T1 = real(0.5, 0.3)


def oscillating(t: Tensor, y: Tensor, k: Tensor) -> Tensor:
    """An oscillator that is pushed, in each row by parameters of its own."""
    x, v = y.unbind(-1)
    return torch.stack((v, k[:, 0] * (1 - x * x) * v - k[:, 1] * x + torch.cos(3 * t)), -1)


def falling(t: Tensor, y: Tensor, k: Tensor) -> Tensor:
    return y[:, 0] - 1.95 * k[:, 1]


def slow(t: Tensor, y: Tensor, k: Tensor) -> Tensor:
    return y[:, 1] + 0.2 * k[:, 1]


def bounced(t: Tensor, y: Tensor, k: Tensor) -> Tensor:
    return torch.stack((y[:, 0], -y[:, 1]), -1)


SETTINGS: dict[str, dict[str, Any]] = {
    "times": {"save_at": real(0.0, 0.2, 0.25, 0.3).expand(2, 4)},
    "given": {"controller": sg.Fixed(0.02), "save_at": sg.EveryStep()},
    "events": {"events": [sg.Event(falling, jump=bounced), sg.Event(slow, terminal=1)]},
    "stops": {"tstops": [0.1, 0.3], "jump_at": bounced, "dense": True},
}


def solved(name: str, way: str, **settings: Any) -> tuple[sg.Solution[Tensor], list[Tensor]]:
    """A solve of two rows, and what it may be differentiated by."""
    k = torch.tensor([[3.0, 1.0], [6.0, 0.9]], dtype=torch.float64).requires_grad_()
    y0 = torch.tensor([[2.0, 0.0], [1.5, -0.5]], dtype=torch.float64).requires_grad_()
    t1 = settings.pop("t1", T1).clone().requires_grad_()
    given = {"rtol": 1e-3, "atol": 1e-4, "max_step": 0.04, "method": name, "batched": True}
    rates = torch.exp(torch.log(k))  # whose history lies behind them
    found = sg.solve(oscillating, y0, 0.0, t1, args=(rates,), gradient=way, **given | settings)
    return found, [k, y0, t1]


def slopes(found: sg.Solution[Tensor], leaves: list[Tensor]) -> list[Tensor]:
    values = [found.y, *(x for table in found.events for x in (table.t, table.y))]
    weights = [torch.linspace(1, 2, x.numel(), dtype=x.dtype).reshape(x.shape) for x in values]
    loss = sum((torch.nan_to_num(x) * w).sum() for x, w in zip(values, weights, strict=True))
    return list(torch.autograd.grad(loss, leaves))


@every_smooth
@pytest.mark.parametrize("setting", SETTINGS)
def test_segments_are_the_whole(name: str, setting: str) -> None:
    (whole, by), (parts, also) = (
        solved(name, way, **SETTINGS[setting]) for way in ("direct", "checkpoint")
    )
    assert int(parts.stats.accepted.max()) > 8
    assert all(len(table.t) for table in parts.events)
    assert torch.equal(torch.nan_to_num(whole.y), torch.nan_to_num(parts.y))
    assert torch.equal(whole.counts[:3], parts.counts[:3])
    expected, found = slopes(whole, by), slopes(parts, also)
    assert expected[0].abs().max() > 0.01
    for x, y in zip(found, expected, strict=True):
        close(x, y, rtol=1e-12, atol=1e-12 * float(y.abs().max()))


class Boxes:
    """Counts the tensors that autograd keeps for the way back, now and at the most."""

    now = most = 0

    class Box:
        def __init__(self, boxes: Boxes, x: Tensor) -> None:
            self.boxes, self.x = boxes, x
            boxes.now += 1
            boxes.most = max(boxes.most, boxes.now)

        def __del__(self) -> None:
            self.boxes.now -= 1


def kept(way: str, steps: int) -> int:
    """The most that is in memory at a time on the way forwards and back."""
    boxes, times = Boxes(), torch.linspace(0.1, 0.9, 4)
    grid = sg.Grid(torch.linspace(0, 1, steps + 1))
    hooks = torch.autograd.graph.saved_tensors_hooks(
        lambda x: Boxes.Box(boxes, x.detach()), lambda b: b.x
    )
    with hooks:
        found, leaves = solved(
            "rodas5p", way, controller=grid, t1=real(1.0, 1.0), max_step=None, save_at=times
        )
        assert int(found.stats.accepted.max()) == steps
        slopes(found, leaves)
    return boxes.most


def test_memory_grows_as_the_square_root_of_the_steps() -> None:
    direct, checkpoint = ([kept(way, n) for n in (4, 36)] for way in ("direct", "checkpoint"))
    assert direct[1] > 7 * direct[0]
    assert checkpoint[1] < 3.5 * checkpoint[0]


@pytest.mark.parametrize("name", ["tsit5", "rodas5p"])
def test_gradcheck_of_segments(name: str) -> None:
    def end(y0: Tensor, k: Tensor) -> Tensor:
        settings = {"method": name, "controller": sg.Fixed(0.05), "gradient": "checkpoint"}
        return sg.solve(oscillating, y0, 0.0, 0.2, args=(k,), batched=True, **settings).y

    y0, k = real(2.0, 0.1).reshape(1, 2), real(2.0, 1.0).reshape(1, 2)
    leaves = (y0.requires_grad_(), k.requires_grad_())
    assert torch.autograd.gradcheck(end, leaves, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_what_a_segment_depends_on_is_found(way: Way) -> None:
    given = {"tstops": [0.5], "method": "tsit5", "max_step": 0.05}
    close(gradient(way, gradient="checkpoint", **given), EXACT, rtol=1e-4)


@pytest.mark.parametrize("own", [True, False])
def test_what_nobody_sees_in_a_field_is_found_in_its_values(own: bool) -> None:
    leaf = real(2.0).requires_grad_()
    hidden = functools.lru_cache(lambda: leaf * 1.5 if own else leaf)

    def f(t: Tensor, y: Tensor) -> Tensor:
        return -hidden() * y

    ends = []
    for way in ("direct", "checkpoint"):
        found = sg.solve(f, real(1.0), 0.0, 1.0, method="rodas5p", max_step=0.1, gradient=way)
        ends.append(torch.autograd.grad(found.y.sum(), leaf, retain_graph=True)[0])
    assert ends[0].abs() > 0.01
    close(*ends)


def test_second_derivatives_are_refused() -> None:
    found, leaves = solved("tsit5", "checkpoint")
    with pytest.raises(UnsupportedError, match="use gradient='direct', or differentiate once"):
        torch.autograd.grad(found.y.sum(), leaves, create_graph=True)


def test_a_field_that_was_changed_since_is_noticed() -> None:
    scale = real(1.0)
    k = real(2.0).requires_grad_()
    found = sg.solve(
        lambda t, y: -scale * k * y, real(1.0), 0.0, 1.0, method="tsit5", gradient="checkpoint"
    )
    scale += 0.01
    with pytest.raises(InputError, match="f gave other values than before"):
        found.y.sum().backward()


class Own(sg.output.End):
    """An output of somebody's own, which sees every step."""

    def record(self, moment: Any) -> None:
        self.seen = moment.y1


def test_an_output_that_may_keep_anything_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="Own may keep what it sees"):
        solved("tsit5", "checkpoint", save_at=Own())
    assert solved("tsit5", "auto", save_at=Own())[0].y.requires_grad


def test_where_a_graph_would_be_large_nobody_has_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"max_step": 0.01}
    whole, by = solved("rodas5p", "auto", **given)
    assert "checkpoints" not in whole.stats.why
    monkeypatch.setattr(recorder, "ROOM", 10_000)
    parts, also = solved("rodas5p", "auto", **given)
    assert "gradients by checkpoints, for a graph of 50 steps would keep" in parts.stats.why
    assert torch.equal(whole.y, parts.y)
    for x, y in zip(slopes(parts, also), slopes(whole, by), strict=True):
        close(x, y, rtol=1e-12, atol=1e-12 * float(y.abs().max()))
