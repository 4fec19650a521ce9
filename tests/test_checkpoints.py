"""A solve that is killed and resumed is, to the last bit, the solve that nothing stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.sparse
import torch
from kills import Case, Fuse, Killed, moments, quick, same
from torch import Tensor

import stiffguide as sg

F64 = torch.float64


class Named(NamedTuple):
    """A state of one's own."""

    a: Tensor
    b: Tensor


def chain(t: Tensor, y: Tensor, k: float) -> Tensor:
    a, b = y.unbind(-1)
    return torch.stack((-k * a * b + torch.sin(t), k * a * b - 9 * b), -1)


def relaxing(t: Tensor, y: Tensor) -> Tensor:
    return -0.8 * y + 0.3 * torch.cos(3 * t)


def stiffly(t: Tensor, y: Tensor) -> Tensor:
    return -40.0 * (y - torch.cos(t))


def oscillator(t: Tensor, y: Tensor) -> Tensor:
    a, b = y.unbind(-1)
    return torch.stack((b, 30 * (1 - a * a) * b - a), -1)


def nested(t: Tensor, y: Any) -> Any:
    return {"x": -2 * y["x"] + y["z"][0], "z": [torch.sin(t) - y["z"][0]]}


def turning(t: Tensor, y: Tensor) -> Tensor:
    return (2j - 0.3 * y.abs()) * y


def row_of_cells(t: Tensor, y: Tensor) -> Tensor:
    return 900 * (torch.roll(y, 1, -1) - 2 * y + torch.roll(y, -1, -1)) + y * (1 - y)


def switched(t: Tensor, y: Tensor) -> Tensor:
    far = y.roll(7) if float(t) > 0.3 else y
    return 20 * (far - y) - y


def pulse(t: Tensor, y: Tensor) -> Tensor:
    return torch.exp(-t) - y


def dying(t: Tensor, y: Tensor) -> Tensor:
    a, b = y.unbind(-1)
    return torch.stack((-100 * a * b, -2 * b + 0.01 * torch.sin(5 * t) ** 2), -1)


def algebraic(t: Tensor, y: Tensor) -> Tensor:
    a, b = y.unbind(-1)
    return torch.stack((-a + b, a + b - torch.sin(t) - 1), -1)


def falls(t: Tensor, y: Tensor) -> Tensor:
    return torch.stack((y[..., 1], torch.full_like(y[..., 1], -9.81)), -1)


def ground(t: Tensor, y: Tensor) -> Tensor:
    return y[..., 0]


def bounced(t: Tensor, y: Tensor) -> Tensor:
    return torch.stack((y[..., 0].abs(), -0.8 * y[..., 1]), -1)


def dosed(t: Tensor, y: Tensor, *args: Any) -> Tensor:
    return y + 0.25


def largest(error: Tensor) -> Tensor:
    return error.abs().amax()


def numbers(*values: float) -> Tensor:
    return torch.tensor(values, dtype=F64)


GRID = torch.linspace(0.0, 1.0, 1201, dtype=F64) ** 2 * 2.0
BALL = sg.Event(ground, direction=-1.0, jump=bounced)
LAST = sg.Event(ground, direction=-1.0, terminal=4, jump=bounced)
CELLS = torch.rand(96, generator=torch.Generator().manual_seed(0), dtype=F64)
TWO = numbers(1.0, 0.5)
ROWS = torch.stack((TWO, 3 * TWO, 0.1 * TWO))
CHAIN = {"args": (20.0,), "rtol": 1e-5}

FAMILIES = ("tsit5", "dop853", "rodas5p", "kvaerno5", "radau5", "bdf")
CASES = {
    **{name: Case(chain, TWO, 2.0, {"method": name, **CHAIN}) for name in FAMILIES},
    **{
        f"{name} rows": Case(
            chain, ROWS, numbers(1.0, 2.0, 0.5), {"method": name, "batched": True} | CHAIN
        )
        for name in ("tsit5", "rodas5p", "kvaerno5", "radau5", "bdf")
    },
    "auto rows": Case(
        oscillator,
        numbers(2.0, 0.0) * numbers(1, 1, 0.1).unsqueeze(-1),
        numbers(12.0, 30.0, 5.0),
        {"rtol": 1e-4, "batched": True},
    ),
    "secant": Case(relaxing, TWO, 2.0, {"method": "secant_heun", "rtol": 1e-3}),
    "adams": Case(relaxing, TWO, 2.0, {"method": "adams_moulton", "controller": sg.Fixed(0.002)}),
    "rkc": Case(stiffly, TWO, 1.0, {"method": "rkc2", "rtol": 1e-3}),
    "sdirk": Case(chain, TWO, 2.0, {"method": "sdirk2"} | CHAIN | {"rtol": 1e-3}),
    "gauss": Case(chain, TWO, 2.0, {"method": "gauss4", "controller": sg.Fixed(0.1)} | CHAIN),
    "bdf3": Case(stiffly, TWO, 2.0, {"method": "bdf3"}),
    "imex": Case((relaxing, stiffly), TWO, 2.0, {"method": "kencarp4"}),
    "grid": Case(relaxing, TWO, 2.0, {"method": "rk4", "controller": sg.Grid(GRID)}),
    "auto": Case(oscillator, numbers(2.0, 0.0), 30.0, {"rtol": 1e-4}),
    "auto of cells": Case(row_of_cells, CELLS, 0.02, {"rtol": 1e-4}),
    **{
        f"{name} of cells": Case(row_of_cells, CELLS, 0.05, {"method": name, "linear_solver": by})
        for name, by in (
            ("kvaerno5", "band"),
            ("bdf", "sparse"),
            ("radau5", "sparse"),
            ("bdf", "krylov"),
        )
    },
    "a pattern": Case(
        row_of_cells,
        CELLS,
        0.02,
        {
            "method": "kvaerno5",
            "rtol": 1e-4,
            "jac_sparsity": scipy.sparse.csc_array(
                np.eye(96)
                + np.eye(96, k=1)
                + np.eye(96, k=-1)
                + np.eye(96, k=95)
                + np.eye(96, k=-95)
            ),
        },
    ),
    "a named state": Case(
        lambda t, y: Named(-y.b, y.a),
        Named(numbers(1.0), numbers(0.0)),
        2.0,
        {"method": "tsit5"},
        ("y0",),
    ),
    "a method": Case(chain, TWO, 2.0, {"method": sg.methods.get("rodas5p")} | CHAIN, ("method",)),
    "more entries on the way": Case(  # with which the solve begins anew
        switched, CELLS, 0.8, {"method": "kvaerno5", "tstops": [0.3], "rtol": 1e-4}
    ),
    "times": Case(chain, TWO, 2.0, {"method": "kvaerno5", "save_at": np.linspace(0, 2, 9)} | CHAIN),
    "times of rows": Case(
        chain, ROWS, 2.0, {"batched": True, "save_at": [0.1, 0.7, 2.0], "method": "tsit5"} | CHAIN
    ),
    "chords": Case(
        relaxing, TWO, 2.0, {"method": "tsit5", "save_at": sg.output.Chords([0.1, 1.0])}
    ),
    "every step": Case(chain, TWO, 2.0, {"method": "rodas5p", "save_at": sg.EveryStep()} | CHAIN),
    "steady state": Case(lambda t, y: 1 - y, TWO, float("inf"), {"save_at": sg.SteadyState()}),
    "dense": Case(chain, ROWS, 1.0, {"dense": True, "batched": True, "method": "bdf"} | CHAIN),
    "nested": Case(
        nested, {"x": numbers(1.0, 2.0), "z": [numbers(0.5, 0.1)]}, 2.0, {"method": "kvaerno5"}
    ),
    "complex": Case(
        turning, torch.tensor([1 + 1j], dtype=torch.complex128), 2.0, {"method": "tsit5"}
    ),
    "complex in parts": Case(
        turning, torch.tensor([1 + 1j], dtype=torch.complex128), 2.0, {"method": "rodas5p"}
    ),
    "a number": Case(lambda t, y: -y + torch.cos(t), 1.0, 3.0, {"method": "kvaerno5"}),
    "float32": Case(relaxing, TWO.float(), 2.0, {"method": "tsit5", "rtol": 1e-4}),
    "tstops": Case(chain, TWO, 2.0, {"tstops": [0.0, 0.5, 1.5, 2.0], "method": "bdf"} | CHAIN),
    "doses": Case(
        chain,
        TWO,
        2.0,
        {"tstops": [0.5, 1.5], "jump_at": dosed, "method": "rodas5p"} | CHAIN,
        ("jump_at",),
    ),
    "bounces": Case(
        falls, numbers(1.0, 0.0), 2.0, {"events": [BALL], "method": "tsit5"}, ("events",)
    ),
    "the last bounce": Case(
        falls,
        torch.stack((numbers(1.0, 0.0), numbers(2.0, 1.0))),
        4.0,
        {"events": LAST, "batched": True, "save_at": [0.2, 0.9, 1.7], "method": "kvaerno5"},
        ("events",),
    ),
    "nonnegative": Case(dying, TWO, 3.0, {"nonnegative": True, "method": "rodas5p", "rtol": 1e-3}),
    "mass": Case(
        algebraic, numbers(0.3, 0.7), 2.0, {"mass": numbers(1.0, 0.0), "method": "rodas5p"}
    ),
    "mass of esdirk": Case(
        algebraic,
        numbers(0.3, 0.7),
        2.0,
        {"mass": torch.diag(numbers(1.0, 0.0)), "method": "kvaerno5"},
    ),
    "norm": Case(chain, TWO, 2.0, {"norm": largest, "method": "tsit5"} | CHAIN, ("norm",)),
    "monitor": Case(
        chain, TWO, 2.0, {"monitor": lambda t, y: t > 1.5, "method": "tsit5"} | CHAIN, ("monitor",)
    ),
    "guidance": Case(
        relaxing,
        TWO,
        1.0,
        {"guidance": sg.guidance.ErrorDirection(), "method": "heun", "rtol": 1e-3},
        ("guidance",),
    ),
    "failing": Case(lambda t, y: y * y, numbers(1.0), 2.0, {"method": "rodas5p", "rtol": 1e-2}),
    "failing by both": Case(
        lambda t, y: y * y, numbers(1.0, 0.5).unsqueeze(-1), 3.0, {"batched": True, "rtol": 1e-2}
    ),
    "a pulse": Case(pulse, numbers(0.0), 20.0, {"method": "tsit5", "rtol": 1e-3, "atol": 0.02}),
    "too many attempts": Case(chain, TWO, 2.0, {"max_attempts": 9, "method": "tsit5"} | CHAIN),
    "min_step": Case(chain, TWO, 2.0, {"min_step": 0.05, "method": "rodas5p"} | CHAIN),
}
MANY = ("the last bounce", "doses", "auto rows", "bdf rows")  # killed at more moments


def killed(case: Case, path: Path, at: int, every: int) -> None:
    """The file that is left where f is evaluated for the n-th time."""
    with pytest.raises(Killed):
        case.solve(case.burning(Fuse(path, at)), checkpoint=path, every=every, checks=False)


@pytest.mark.parametrize("name", CASES)
def test_resumed_is_as_never_killed(name: str, tmp_path: Path, monkeypatch: Any) -> None:
    quick(monkeypatch)
    path = tmp_path / "run.ckpt"
    case, fuse = CASES[name], Fuse(path)
    whole = case.solve(checks=False)
    every = 1 + len(name) % 3
    kept = case.solve(case.burning(fuse), checkpoint=path, every=every, checks=False)
    same(kept, whole)
    same(case.resume(path), whole)  # of a solve that has ended
    count, last = 6 if name in MANY else 2, fuse.count - 2  # before the end is kept
    for at in (*moments(len(name), last, count), last):
        path.unlink()
        killed(case, path, at, every)
        same(case.resume(path), whole)


def test_rows_changed_over_and_steps_were_rejected() -> None:
    """The cases above are none unless something happens in them."""
    met = CASES["auto"].solve()
    assert len(met.stats.methods) > 2
    together = CASES["auto rows"].solve()
    assert [len(m) for m in together.stats.methods] == [2, 4, 2]
    assert int(together.stats.rejected.sum())
    entries = CASES["more entries on the way"].solve()
    assert "the branch at the start" in entries.stats.linear_solver
    assert len(CASES["the last bounce"].solve().events[0].t) == 8
    assert CASES["failing"].solve().status != 0
    assert CASES["monitor"].solve().t[-1] < 2.0
