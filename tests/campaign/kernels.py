"""Random fields of torch operations: the graph, its derivatives and its kernel are the field.

Or there is a refusal in one sentence. A field is a few lines of torch, drawn from
`torch_operations`; it is traced at one point, and compared at others, far away. Where derivatives
differ, a difference quotient tells who is right: both may be at a kink.
"""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import torch
from torch import Tensor
from traces import traced, values

import stiffguide as sg
from campaign.cases import Refused, Unknown, Wrong, check_sentence, refusal
from campaign.choices import Choices
from campaign.fields import as_arrays
from campaign.judge import Reference
from campaign.programs import Slots, program
from campaign.torch_operations import OPERATIONS, STATEMENTS
from stiffguide.errors import StiffguideError, UnsupportedError
from stiffguide.tracing.tracer import UntraceableError

HEAD = "import torch\nimport torch.nn.functional as F\n\n\ndef f(t, y):"
FAR = [1.0, 0.3, 3.0, 30.0, 0.01]
BUILT = ["rodas4", "tsit5", "kvaerno3", "rosenbrock23", "dop853", "rodas5p", "bosh3"]


class Torch(Slots):
    """What torch fields take."""

    waves = ("torch.cos(t)", "(t > 1)", "t")

    def matrix(self, *shape: int) -> str:
        """Numbers of that shape."""
        return f"torch.tensor({self.numbers(*shape)}, dtype=torch.float64)"

    def indices(self) -> str:
        """N of them."""
        return f"torch.tensor({[self.dice.below(self.n) for _ in range(self.n)]})"


def case(dice: Choices) -> None:
    """Draw a field, trace it, compare; once in a while, build it, too."""
    n = dice.randint(2, 6)
    body = program(dice, Torch(dice, n), OPERATIONS, STATEMENTS)
    damped = dice.chance(0.7)
    end = f"torch.tanh({body.last}) - {dice.power(-1, 3)} * y" if damped else body.last
    text = "\n".join([HEAD, *(f"    {line}" for line in body.lines), f"    return {end}"])
    y0 = torch.tensor([dice.uniform(-1.5, 1.5) for _ in range(n)], dtype=torch.float64)
    dice.say(text + f"\n\n\ny0 = torch.tensor({y0.tolist()}, dtype=torch.float64)")
    space: dict[str, Any] = {}
    exec(text, space)
    f = space["f"]
    graph = followed(f, y0)
    for far in FAR:
        at = torch.tensor([dice.uniform(-1, 1) * far for _ in range(n)], dtype=torch.float64)
        compare(f, graph, torch.tensor(dice.uniform(-2, 5), dtype=torch.float64), at)
    if dice.chance(0.12) and shutil.which("g++"):
        built(dice, f, y0)


def followed(f: Any, y0: Tensor) -> Any:
    """The graph of f."""
    t0 = torch.tensor(0.1, dtype=torch.float64)
    try:
        if f(t0, y0).shape != y0.shape:
            raise Unknown("the field has another shape")
    except (RuntimeError, IndexError, ValueError, NotImplementedError, TypeError) as error:
        raise Unknown(f"torch refuses the field: {str(error)[:100]}") from error
    try:
        return traced(f, y0)
    except (UnsupportedError, UntraceableError) as error:
        check_sentence(str(error))
        raise Refused(str(error)) from error


def near(x: Tensor, y: Tensor, size: Tensor, rtol: float) -> Tensor:
    """Where two agree, to rounding of terms of that size."""
    same = (x == y) | (x.isnan() & y.isnan())
    return same | ((x - y).abs() <= rtol * (y.abs() + size) + 1e-12)


def compare(f: Any, graph: Any, t: Tensor, y: Tensor) -> None:
    """The graph at another point."""
    due = f(t, y)
    found, jac, _ = values(graph, t[None], y[None])
    size = due.nan_to_num(0.0, 0.0, 0.0).abs().max() + y.abs().max() ** 2
    bad = ~near(found[0], due, 1e-3 * size, 1e-9)
    if bad.any() and not rounding(f, t, y, found[0], due):
        raise Wrong("wrong", f"at t = {t.item()}, y = {y.tolist()} f is {due.tolist()}, "
                    f"its graph {found[0].tolist()}")  # fmt: skip
    if not due.isfinite().all():
        return
    try:
        theirs = torch.autograd.functional.jacobian(lambda x: f(t, x), y)
    except (RuntimeError, NotImplementedError):
        return
    if not theirs.isfinite().all():  # at the border of a domain
        return
    size = theirs.abs().max()
    if not near(jac[0], theirs, 1e-2 * size, 1e-6).all():
        quotient(f, t, y, jac[0], theirs, size)


def rounding(f: Any, t: Tensor, y: Tensor, found: Tensor, due: Tensor) -> bool:
    """Whether a last bit of y changes f as much: at a jump, or where digits cancel."""
    off = (found - due).abs().nan_to_num(torch.inf).max()
    nudged = [f(t, y * (1 + s)) for s in (1e-13, -1e-13, 1e-15, -1e-15)]
    return any((x - due).abs().nan_to_num(torch.inf).max() >= 1e-2 * off for x in nudged)


def quotient(f: Any, t: Tensor, y: Tensor, ours: Tensor, theirs: Tensor, size: Tensor) -> None:
    """Who of two is right; at a kink nobody is."""
    quotients = []
    for step in (1e-6, 1e-5):
        h = step * (1 + y.abs().max())
        sides = [torch.stack([f(t, y + s * h * e) for e in torch.eye(len(y), dtype=y.dtype)], -1)
                 for s in (1, -1)]  # fmt: skip
        quotients.append((sides[0] - sides[1]) / (2 * h))
    due = quotients[0]
    smooth = near(due, quotients[1], size, 1e-3)
    bad = ~near(ours, due, size, 1e-2) & near(theirs, due, size, 1e-3) & smooth
    if bad.any():
        raise Wrong("wrong", f"at t = {t.item()}, y = {y.tolist()} df/dy is {theirs.tolist()}, "
                    f"that of the graph {ours.tolist()}")  # fmt: skip


def built(dice: Choices, f: Any, y0: Tensor) -> None:
    """A kernel solves as the eager loop does."""
    method = dice.choice(BUILT)
    batched = dice.chance(0.3)
    rtol, atol = dice.choice([1e-5, 1e-3]), 1e-7
    settings = {"method": method, "rtol": rtol, "atol": atol, "max_attempts": 1000}
    dice.say(f"import stiffguide as sg\n\nfor backend in ('kernel', 'eager'):\n"
             f"    print(sg.solve(f, y0, 0.0, 1.0, backend=backend, **{settings}))")  # fmt: skip
    g, start = f, y0
    if batched:
        g, start = torch.func.vmap(f), torch.stack((y0, 0.5 * y0, -y0))
    found = {}
    for backend in ("kernel", "eager"):
        try:
            found[backend] = sg.solve(
                g, start, 0.0, 1.0, backend=backend, batched=batched, **settings
            )
        except StiffguideError as error:
            raise refusal(error) from error
    rows = start.reshape(-1, len(y0))
    for row, first in enumerate(rows):
        ends = {who: s.y.reshape(len(rows), -1, len(y0))[row, -1] for who, s in found.items()}
        fine = {who: bool(s.success.reshape(-1)[row]) for who, s in found.items()}
        kernel, eager = ends["kernel"], ends["eager"]
        tolerance = atol + rtol * eager.abs()
        if all(fine.values()) and ((kernel - eager).abs() <= 10 * tolerance).all():
            continue
        if any(fine.values()):  # one of them may be wrong within what is allowed, or fail
            judged = Reference(as_arrays(f), first.numpy(), 0.0, 1.0, rtol, atol)
            for who, good in fine.items():
                if good:
                    judged.judge(ends[who].numpy().astype(np.float64), f"{who} {method}")
