"""Events, their jumps and the gradients of both, beside every other way to make the steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from families import close, real
from torch import Tensor

import stiffguide as sg
from stiffguide import Event, guidance

FAMILIES = {"tsit5": 1e-5, "rodas5p": 1e-6, "kvaerno5": 1e-5}
SECANT = {"secant_heun": 1e-3}  # of which a step costs the most
LEVEL, RATE = 0.4, 1.7


@dataclass
class Case:
    """Decay to a level, which doubles it; the state is that in units of its own."""

    sign: float = 1.0
    rows: int = 0
    dtype: torch.dtype = torch.float64
    settings: dict[str, Any] = field(default_factory=dict)
    rtol: float = 1.0  # of the answer, in units of that of its family
    unit: complex = 1.0


def with_setting(name: str, value: Any, rtol: float = 1.0) -> Callable[[Case], None]:
    def change(case: Case) -> None:
        case.settings[name] = value
        case.rtol *= rtol

    return change


def backwards(case: Case) -> None:
    case.sign = -1.0


def batch(case: Case) -> None:
    case.rows = 3


def turned(case: Case) -> None:
    case.dtype, case.unit = torch.complex128, 0.6 + 0.8j


WAYS = {
    "as it is": lambda case: None,
    "backwards": backwards,
    "batched": batch,
    "complex": turned,
    "Fixed": with_setting("controller", sg.Fixed(0.02), 10),
    "dense": with_setting("dense", True),
    "guidance": with_setting("guidance", guidance.ErkGuid(0.1, 0.1), 100),
    "stops": with_setting("tstops", [0.3, 0.7]),
    "max_step": with_setting("max_step", 0.03),
    "saved": with_setting("save_at", [0.25, 0.9], 100),
    "steps": with_setting("save_at", sg.EveryStep()),
}
TWO = [
    ("batched", "backwards"),
    ("batched", "complex"),
    ("batched", "Fixed"),
    ("batched", "guidance"),
    ("batched", "steps"),
    ("backwards", "Fixed"),
    ("complex", "dense"),
    ("guidance", "saved"),
]


def exact(t: Tensor, k: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """The state at t, and all times up to 1 at which the level is reached."""
    first, period = -torch.log(c) / k, torch.log(real(2.0)[0]) / k
    hits = torch.stack([first + i * period for i in range(8)])
    count = (hits.detach() < t.detach()).sum()
    return 2**count * torch.exp(-k * t), hits[hits.detach() < 1.0]


def solved(case: Case, name: str, k: Tensor, c: Tensor) -> sg.Solution[Any]:
    def f(t: Tensor, y: Tensor) -> Tensor:
        rate = k[: case.rows].unsqueeze(1) if case.rows else k[0]
        return -case.sign * rate * y

    def level(t: Tensor, y: Tensor) -> Tensor:
        return y[..., 0].abs() - c

    event = Event(level, direction=-1, jump=lambda t, y: 2 * y)
    y0 = torch.full((case.rows, 1) if case.rows else (1,), case.unit, dtype=case.dtype)
    rtol = (FAMILIES | SECANT)[name]
    tight = {"rtol": rtol, "atol": rtol / 100}
    kinds = dict(case.settings)
    for times in ("tstops", "save_at"):
        if isinstance(kinds.get(times), list):
            kinds[times] = [case.sign * t for t in kinds[times]]
    more = {"events": event, "method": name, "batched": case.rows > 0, **tight, **kinds}
    return sg.solve(f, y0, 0.0, case.sign, **more).raise_if_failed()


def gradients(values: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    found = torch.autograd.grad(values, leaves, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for g, x in zip(found, leaves, strict=True)]


CASES = [(name, (way,)) for way in WAYS for name in FAMILIES]
CASES += [
    (name, (way,))
    for name in SECANT
    for way in ("as it is", "batched", "complex", "guidance", "saved")
]
CASES += [(name, two) for two in TWO for name in FAMILIES]


@pytest.mark.parametrize(("name", "ways"), CASES, ids=str)
def test_times_and_states_and_their_gradients(name: str, ways: tuple[str, ...]) -> None:
    case = Case()
    for way in ways:
        WAYS[way](case)
    k = (RATE * torch.tensor([1.0, 0.8, 1.3]).double()).requires_grad_()
    c = torch.tensor(LEVEL).double().requires_grad_()
    found = solved(case, name, k, c)
    rtol = case.rtol * (1e-2 if name == "secant_heun" else 1e-4)
    (table,) = found.events
    times, states = torch.atleast_2d(found.t.detach()), found.y / case.unit
    states = (states.real if states.is_complex() else states).reshape(*times.shape)
    for row in range(max(case.rows, 1)):
        known = [i for i in range(times.shape[1]) if not bool(torch.isnan(times[row, i]))]
        for i in (known[0], known[-1]):
            agree(states[row, i], exact(times[row, i].abs(), k[row], c)[0], [k, c], rtol)
        hits = exact(real(1.0)[0], k[row], c)[1]
        ours = case.sign * table.t[table.row == row]
        assert len(ours) == len(hits)
        for one, other in zip(ours, hits, strict=True):
            agree(one, other, [k, c], rtol)


def agree(found: Tensor, expected: Tensor, leaves: list[Tensor], rtol: float) -> None:
    close(found.detach(), expected.detach(), rtol=rtol, atol=rtol)
    if not found.requires_grad and not expected.requires_grad:
        return
    if not found.requires_grad:  # the start
        found = found + 0 * leaves[0].sum()
    for ours, theirs in zip(gradients(found, leaves), gradients(expected, leaves), strict=True):
        close(ours, theirs, rtol=rtol, atol=rtol)
