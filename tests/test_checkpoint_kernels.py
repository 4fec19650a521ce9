"""Kernels that are killed between two slices of attempts go on, to the last bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from cached import needs_compiler
from kills import Case, Killed, moments, quick, same
from torch import Tensor

import stiffguide as sg
from stiffguide.kernels.running.run import Kernel

F64 = torch.float64
pytestmark = [needs_compiler, pytest.mark.usefixtures("plain_builds")]
ROWS = 11


def swing(t: Tensor, y: Tensor, k: Any) -> Tensor:
    a, b = y.unbind(-1)
    return torch.stack((b, -k * torch.sin(a) - 0.1 * b + torch.cos(t)), -1)


def stiff(t: Tensor, y: Tensor, k: Any) -> Tensor:
    a, b = y.unbind(-1)
    return torch.stack((b, k * (1 - a * a) * b - a), -1)


RATES = torch.linspace(0.5, 4.0, ROWS, dtype=F64)
STARTS = torch.stack((RATES, 0 * RATES), -1)
MANY: dict[str, Any] = {"backend": "kernel", "batched": True, "args": (RATES,)}
TIMES = torch.linspace(0.1, 3.0, 8, dtype=F64)
CASES = {
    "rows": Case(swing, STARTS, 2 * RATES, {"method": "tsit5", **MANY}),
    "times": Case(swing, STARTS, 3.0, {"method": "rodas5p", "save_at": TIMES, **MANY}),
    "dense": Case(swing, STARTS, 3.0, {"method": "kvaerno5", "dense": True, **MANY}),
    "steps": Case(
        swing,
        STARTS[5],
        9.0,
        {**MANY, "batched": False, "args": (1.0,), "method": "tsit5", "save_at": sg.EveryStep()},
    ),
    "stops": Case(swing, STARTS, 3.0, {"method": "kvaerno5", "tstops": [1.0, 2.0], **MANY}),
    "auto": Case(stiff, STARTS, 30.0, {**MANY, "args": (30.0,), "rtol": 1e-4}),
    "monitor": Case(
        swing,
        STARTS,
        5.0,
        {"method": "tsit5", "monitor": lambda t, y: t > 2 + y[:, 0], **MANY},
        ("monitor",),
    ),
    "failing": Case(
        lambda t, y, k: k.unsqueeze(-1) * y * y, STARTS + 1, 2.0, {"method": "rodas5p", **MANY}
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_resumed_is_as_never_killed(name: str, tmp_path: Path, monkeypatch: Any) -> None:
    quick(monkeypatch)
    case, path, slices = CASES[name], tmp_path / "run.ckpt", 0
    whole, deadly, real = case.solve(), 0, Kernel.go_on

    def burning(self: Kernel, *given: Any) -> None:
        nonlocal slices
        slices += 1
        real(self, *given)
        if slices == deadly:
            raise Killed

    monkeypatch.setattr(Kernel, "go_on", burning)
    same(case.solve(checkpoint=path, every=3), whole)
    same(case.resume(path), whole)
    for at in moments(len(name), slices - 1, 4):
        path.unlink()
        slices, deadly = 0, at
        with pytest.raises(Killed):
            case.solve(checkpoint=path, every=3)
        deadly = 0
        same(case.resume(path), whole)


def test_what_a_kernel_does_not_keep_is_refused(tmp_path: Path) -> None:
    path, case = tmp_path / "run.ckpt", CASES["rows"]
    for more in (
        {"events": lambda t, y, k: y[:, 0]},
        {"tstops": [0.3], "jump_at": lambda t, y, k: y},
    ):
        with pytest.raises(sg.UnsupportedError, match="in a solve that is kept in a file"):
            case.solve(checkpoint=path, **more)
    with pytest.raises(sg.UnsupportedError, match="gradients are made of recorded steps"):
        case._replace(y0=STARTS.clone().requires_grad_()).solve(checkpoint=path)
    with pytest.raises(sg.UnsupportedError, match="native steps of large systems"):
        sg.solve(
            lambda t, y: torch.roll(y, 1, -1) - 2 * y + torch.roll(y, -1, -1),
            *(torch.ones(100, dtype=F64), 0.0, 1.0),
            **{"method": "bdf", "backend": "kernel", "checkpoint": path},
        )
    assert not path.exists()
