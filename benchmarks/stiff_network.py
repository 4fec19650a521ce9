"""A stiff neural ODE by torchdiffeq and by ours, and kernels beside the loop."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import page
import torch
import torchdiffeq as theirs
from in_turn import medians
from torch import Tensor, nn

import stiffguide as sg
from stiffguide.fronts import torchdiffeq as ours
from stiffguide.problems import get

F64 = torch.float64
MOST = 5_000  # steps of torchdiffeq
RATES = (-1.0, -1e3, -1e6)
ENDS = torch.tensor([0.0, 2.0], dtype=F64)
LOOSE = {"rtol": 1e-5, "atol": 1e-8}


class Relaxing(nn.Module):
    """A y + net(y), with fast directions that are not those of the components."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        torch.manual_seed(0)
        turn = torch.linalg.qr(torch.randn(3, 3, dtype=F64)).Q
        self.register_buffer("A", turn @ torch.diag(torch.tensor(RATES, dtype=F64)) @ turn.T)
        self.enter, self.leave = nn.Linear(3, width, dtype=F64), nn.Linear(width, 3, dtype=F64)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return y @ self.A + self.leave(torch.tanh(self.enter(y)))


def gradients(*, quick: bool) -> str:
    """The table of the stiff neural ODE: who comes to its end, in which time, how exactly."""
    net, y0 = Relaxing(), torch.tensor([1.0, 0.5, -0.5], dtype=F64)
    few = {"options": {"max_num_steps": 20 if quick else MOST}}
    kernel = {"adjoint_options": {"mode": "kernel"}}
    back = {"adjoint_options": {"max_num_steps": 100}}  # which would be millions
    ways: dict[str, tuple[Any, dict[str, Any]]] = {
        "torchdiffeq, dopri5": (theirs.odeint, few),
        "torchdiffeq, dopri5, adjoint": (theirs.odeint_adjoint, few),
        'ours, "auto"': (ours.odeint, {"method": "auto"}),
        'ours, "rodas5p"': (ours.odeint, {"method": "rodas5p"}),
        'ours, "kvaerno5"': (ours.odeint, {"method": "kvaerno5"}),
        'ours, "rodas5p", mode "kernel"': (ours.odeint_adjoint, {"method": "rodas5p", **kernel}),
        'ours, "rodas5p", solved backwards': (ours.odeint_adjoint, {"method": "rodas5p", **back}),
    }
    if quick:
        ways = {name: ways[name] for name in list(ways)[:4:3]}
    fine = {"method": "rodas5p", "rtol": 1e-9, "atol": 1e-12}
    exact = _both(ours.odeint, net, y0, fine)
    lines = []
    for name, (odeint, given) in ways.items():
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            before = time.process_time()
            try:
                found = _both(odeint, net, y0, LOOSE | given)
            except AssertionError as error:
                spent = time.process_time() - before
                lines.append([name, page.number(spent), "", "", _short(str(error))])
                continue
        spent = _again(lambda o=odeint, g=given: _both(o, net, y0, LOOSE | g))  # type: ignore[misc]
        errors = [float((x - y).norm() / y.norm()) for x, y in zip(found, exact, strict=True)]
        said = next((str(w.message) for w in heard if w.category is sg.StiffguideWarning), "")
        lines.append([name, page.number(spent), *(f"{e:.0e}" for e in errors), _short(said)])
    return page.table(["", "CPU s", "error", "of the gradient", "what it said"], lines)


def _both(odeint: Any, net: nn.Module, y0: Tensor, given: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """The end, and the gradient of its square by the weights."""
    y = odeint(net, y0, ENDS, **given)[-1]
    found = torch.autograd.grad(y.square().sum(), tuple(net.parameters()))
    return y.detach(), torch.cat([g.reshape(-1) for g in found])


def _again(run: Callable[[], Any]) -> float:
    """CPU seconds of a second run: builds are over."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = time.process_time()
        run()
    return time.process_time() - before


def _short(said: str) -> str:
    """The first clause of a sentence, for a table."""
    first = said.split(";")[0].split("(dt")[0].strip()
    return first if len(first) < 160 else first[:157] + "..."


def kernels(rounds: int, *, quick: bool) -> str:
    """The table of kernels beside the loop, by rodas5p."""
    net, lines = Relaxing(), []
    cases: dict[str, tuple[Any, Tensor, Tensor, Any]] = {
        "the neural ODE": (net, torch.tensor([1.0, 0.5, -0.5], dtype=F64), ENDS, 1e-8)
    }
    for name in () if quick else ("robertson", "hires", "van_der_pol"):
        p = get(name)
        ends = torch.tensor([p.t0, p.t1], dtype=F64)
        cases[name] = (p.f, p.y0, ends, p.atol_for(1e-5))
    for name, (f, y0, ends, atol) in cases.items():
        runs: dict[str, Callable[[], Any]] = {}
        for backend in ("eager", "kernel"):
            given = {"rtol": 1e-5, "atol": atol, "options": {"backend": backend}}
            runs[backend] = _plain(f, y0, ends, {"method": "rodas5p", **given})
        apart = float((runs["eager"]() - runs["kernel"]()).abs().max())
        found = medians(runs, rounds)
        eager, kernel = found.values()
        cells = (page.number(eager * 1e3), page.number(kernel * 1e3), f"{eager / kernel:.0f}")
        lines.append([name, str(y0.numel()), *cells, f"{apart:.0e}"])
    head = ["problem", "components", "eager", "kernel", "times as fast", "difference"]
    return page.table(head, lines)


def _plain(f: Any, y0: Tensor, ends: Tensor, given: dict[str, Any]) -> Callable[[], Tensor]:
    def run() -> Tensor:
        with torch.no_grad():
            return ours.odeint(f, y0, ends, **given)[-1]  # type: ignore[no-any-return]

    return run
