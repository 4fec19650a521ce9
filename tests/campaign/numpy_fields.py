"""Random right-hand sides in plain numpy: their graphs and the solves of the front are right.

A field is a few lines of numpy with loops, branches and arrays that are written to, around
expressions that `numpy_expressions` lists; where it is followed, its graph has its values at points
far from where it was followed, and `stiffguide.fronts.scipy` solves it as SciPy does.
"""

from __future__ import annotations

import itertools
import shutil
from typing import Any

import numpy as np
import torch
from numpy_expressions import FOLLOWED
from test_numpy_functions import NAMES

from campaign.cases import Refused, Unknown, Wrong, check_sentence, refusal
from campaign.choices import Choices
from campaign.judge import Reference
from campaign.programs import Slots, program
from stiffguide.errors import StiffguideError, UnsupportedError
from stiffguide.fields.array_function import ArrayFunction
from stiffguide.fields.layout import Layout
from stiffguide.fronts.scipy import solve_ivp
from stiffguide.tracing import tracer
from stiffguide.tracing.tracer import UntraceableError

N = 6
CALLS = 20_000  # of a field, by one solve: at a wall it would take all attempts there are
OPERATIONS = """
np.sin({x})
{x} * {z}
{x} - {c} * {z}
{x} / (2 + {z} ** 2)
np.exp(-{x} ** 2)
np.tanh({x}) + {z}
np.sqrt(np.abs({x}))
np.maximum({x}, {z})
np.minimum({x}, {c})
np.where({x} > {c}, {x}, {z})
np.where(({x} > {z}) & ({x} < 1), {x} ** 2, {z})
np.clip({x}, -0.5, 0.7)
np.roll({x}, {k})
np.dot({m}, {x})
{m} @ {z}
np.cumsum({x})
np.concatenate(({x}[1:], {z}[:1]))
np.append(np.diff({x}), {z}[0])
np.gradient({x}, 0.5)
np.outer({x}, {z}).sum(axis=0)
np.einsum("i,j,ij->i", {x}, {z}, {m})
{x}[::-1]
{x}[{i}]
{x} - {x}.mean()
{x} / (1 + np.linalg.norm({z}))
np.sort({x})
{x} * np.argmax({z})
np.sign({x}) * {z}
np.floor({x}) * {c}
np.mod({x}, 0.7)
{x} % {c}
np.interp({x}, [-1, 0, 2], [0.3, 1.0, -1.0])
np.arctan2({x} + 0.3, {z})
np.hypot({x}, {z})
np.log1p({x} ** 2)
np.heaviside({x}, 0.5) * {z}
np.array([math.sin(v) for v in {x}])
np.array([max(v, w) for v, w in zip({x}, {z})])
np.array([v if v > {c} else -v for v in {x}])
np.array([{c} * v + sum({z}) for v in {x}])
scipy.special.expit({x})
np.linalg.solve(4 * np.eye(6) + 0.1 * {m}, {x})
np.convolve({x}, [0.2, 0.5, 0.3], "same")
np.select([{x} > {c}, {x} < -1], [{z}, 2 * {x}], 0.5)
np.piecewise({x}, [{x} < 0, {x} >= 0], [lambda v: v ** 2, lambda v: -v])
np.polyval([0.1, -0.3, 1.0], {x})
np.fmin({x}, {z}) - np.fmax({x}, {c})
({x} > {z}).astype(float) * {x}
{x} * np.any({z} > {c})
np.maximum.accumulate({x})
np.repeat({x}[:3], 2)
np.tile({x}[:2], 3)
np.pad({x}[1:-1], 1, mode="edge")
{x}.reshape(2, 3).T.ravel()
({x}.reshape(2, 3) @ {z}.reshape(3, 2)).ravel().repeat(2)[:6]
np.nan_to_num({x})
np.round({x}, 1)
""".strip().splitlines()
STATEMENTS = """
{o} = np.zeros(6); {o}[0] = {x}[-1]; {o}[1:] = {z}[:-1]
{o} = {x}.copy(); {o}[{o} > {c}] = 0.5
{o} = np.empty_like({x}); np.multiply({x}, {z}, out={o})
{o} = {x} * 1; {o} += {c}; {o} *= {z}
{o} = {x}.copy(); {o}[{i}] += {z}
{o} = np.array({x}); {o}[0], {o}[-1] = {z}[-1], {z}[0]
{o} = np.zeros(6); np.add.at({o}, [0, 0, 3], {x}[:3])
""".strip().splitlines()
BLOCKS = """
{o} = np.zeros(6)|for j in range(6):|    {o}[j] = {x}[j] * {z}[j - 1] - {c}
{o} = np.zeros(6)|for j in range(1, 5):|    {o}[j] = {x}[j - 1] - 2 * {x}[j] + {x}[j + 1]
if {x}[0] > {c}:|    {o} = {x} + {z}|else:|    {o} = {x} - {z}
{o} = list({x})|for j in range(3):|    {o}[j] += {z}[j] if {z}[j] > 0 else 0.1|{o} = np.array({o})
{o} = {x}.copy()|while len({o}) > 6:|    {o} = {o}[:-1]
if t > 1:|    {o} = np.cos({x})|elif {z}.sum() > 0:|    {o} = {x} * {c}|else:|    {o} = {z} * 1
""".strip().splitlines()
ALONE = [line for line in FOLLOWED.strip().splitlines() if "Z" not in line]


class Numpy(Slots):
    """What numpy fields take."""

    waves = ("math.cos(t)", "(t > 1)", "t")

    def matrix(self, *shape: int) -> str:
        """Numbers of that shape."""
        return f"np.array({self.numbers(*shape)})"

    def indices(self) -> str:
        """N of them."""
        return str([self.dice.below(self.n) for _ in range(self.n)])


def text(dice: Choices) -> str:
    """Of a field f(t, y)."""
    slots = Numpy(dice, N)
    body = program(dice, slots, OPERATIONS, STATEMENTS, 3)
    lines, last = list(body.lines), body.last
    if dice.chance(0.3):
        names = ["y", last]
        lines += slots.fill(dice.choice(BLOCKS).replace("{o}", "x9"), names).split("|")
        last = "x9"
    if dice.chance(0.25):  # one that the tests list, folded into six numbers
        lines += [
            "Y, S = y.reshape(2, 3), np.array([[4.0, y[0]], [y[0], 5.0]])",
            f"some = {dice.choice(ALONE)}",
            "parts = some if isinstance(some, (tuple, list)) else [some]",
            "parts = np.concatenate([np.ravel(np.asarray(p)) * 1.0 for p in parts])",
            f"{last} = {last} + (parts.sum() if len(parts) else 0.0)",
        ]
    end = f"np.tanh({last}) - {dice.power(-1, 3)} * y" if dice.chance(0.7) else last
    form = dice.choice(["{}", "list({})", "tuple({})", "[*{}]"])
    return "\n".join(["def f(t, y):", *(f"    {line}" for line in lines),
                      f"    return {form.format(f'({end})')}"])  # fmt: skip


def case(dice: Choices) -> None:
    """Draw a field, follow it, compare; sometimes solve with it."""
    written = text(dice)
    y0 = np.array([dice.uniform(-1.2, 1.2) for _ in range(N)])
    dice.say("import math\n\nimport numpy as np\nimport scipy.special\n\n")
    dice.say(f"{written}\n\n\ny0 = np.array({y0.tolist()})")
    space: dict[str, Any] = {**NAMES, "__name__": "of_the_user"}
    exec(written, space)
    f = space["f"]
    with np.errstate(all="ignore"):
        evaluated(f, 0.1, y0)
        g = followed(f, y0)
        if g is not None:
            for far in (1.0, 0.1, 5.0, 1.0, 20.0):
                t, y = dice.uniform(-2, 3), [dice.uniform(-1, 1) * far for _ in range(N)]
                compare(f, g, np.float64(t), np.array(y))
        if dice.chance(0.2):
            solved(dice, f, y0)
        if g is None:
            raise Refused("not followed")


def evaluated(f: Any, t: float, y: Any) -> Any:
    """F as an array."""
    try:
        found = np.asarray(f(t, y.copy()), dtype=float)
    except (ValueError, IndexError, TypeError, ArithmeticError, np.linalg.LinAlgError) as error:
        raise Unknown(f"numpy refuses the field: {str(error)[:100]}") from error
    if found.shape != y.shape:
        raise Unknown("the field has another shape")
    return found


def followed(f: Any, y0: Any) -> Any:
    """The graph, or nothing where that is refused."""
    start = torch.tensor(y0)
    layout = Layout(start, batched=False)
    t0 = torch.full((1,), 0.1, dtype=torch.float64)
    try:
        return tracer.trace(ArrayFunction(f), (), layout, t0, layout.flatten(start, "y0"))
    except (UntraceableError, UnsupportedError) as error:
        check_sentence(str(error))
        return None


def compare(f: Any, g: Any, t: Any, y: Any) -> None:
    """The graph at another point."""
    due = evaluated(f, t, y)
    found = np.array([float(v) for v in g.plain.evaluate(g.values, t, y)])
    size = np.abs(np.nan_to_num(due, posinf=0, neginf=0)).max() + np.abs(y).max() ** 2
    same = (found == due) | (np.isnan(found) & np.isnan(due))
    same |= np.abs(found - due) <= 1e-9 * (np.abs(due) + 1e-3 * size) + 1e-12
    if same.all():
        return
    off = np.nan_to_num(np.abs(found - due), nan=np.inf).max()
    for nudge in (1e-13, -1e-13, 1e-15, -1e-15):  # a jump, or digits that cancel
        moved = np.nan_to_num(np.abs(evaluated(f, t, y * (1 + nudge)) - due), nan=np.inf).max()
        if moved >= 1e-2 * off:
            return
    raise Wrong("wrong", f"at t = {t}, y = {y.tolist()} f is {due.tolist()}, "
                f"its graph {found.tolist()}")  # fmt: skip


def solved(dice: Choices, f: Any, y0: Any) -> None:
    """The front of SciPy with it."""
    method = dice.choice(["LSODA", "RK45", "BDF", "Radau", "DOP853"])
    rtol, atol = dice.choice([1e-4, 1e-3, 1e-6]), 1e-7
    dense, at = dice.chance(0.3), [0.1, 0.35, 0.9] if dice.chance(0.5) else None
    backend = dice.choice(["eager", "kernel"]) if shutil.which("g++") else "eager"
    given = {"method": method, "rtol": rtol, "atol": atol, "t_eval": at, "dense_output": dense}
    dice.say("from stiffguide.fronts.scipy import solve_ivp\n")
    dice.say(f"print(solve_ivp(f, (0.0, 1.0), y0, backend={backend!r}, "
             f"**{given}))")  # fmt: skip
    calls = itertools.count(1)

    def counted(t: float, y: Any) -> Any:
        if next(calls) > CALLS:
            raise Unknown("too many evaluations")
        return f(t, y)

    g = f if backend == "kernel" else counted
    try:
        found = solve_ivp(g, (0.0, 1.0), y0, **given, backend=backend)
    except StiffguideError as error:
        raise refusal(error) from error
    if not found.success:
        check_sentence(found.message)
        raise Refused(found.message)
    if at is not None and found.t.tolist() != at:
        raise Wrong("wrong", f"t_eval was {at}, and t is {found.t.tolist()}")
    reach = 1.0 if at is None else at[-1]
    reference = Reference(lambda t, y: evaluated(f, t, y), y0, 0.0, reach, rtol, atol)
    reference.judge(found.y[:, -1], f"{method} ({backend})")
    if dense:
        reference.judge(found.sol(reach), f"sol of {method} ({backend})")
