"""Random fields, by every method of the eager loop, against references.

A success may not be wrong (see `judge`), no state of one may be nan, every failure is a sentence,
and none takes more attempts than it was given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import stiffguide as sg
from campaign.cases import Refused, Unknown, Wrong, check_sentence
from campaign.choices import Choices
from campaign.judge import Array, Reference
from stiffguide import methods
from stiffguide.errors import SolveFailed

LETTERS = "abcde"
ATTEMPTS = 1500
PAIRED = [name for name in methods.names() if methods.get(name).error_order is not None]
METHODS = ["rodas5p", "auto", *(name for name in PAIRED if name != "rodas5p")]
Lines = list[str]


def linear(dice: Choices, n: int) -> Lines:
    """Rates over many decades, coupled, driven."""
    rows = []
    for i in range(n):
        row = [dice.uniform(0, 2) * dice.choice([0, 1, -1]) for _ in range(n)]
        row[i] = -dice.power(0, 7) if dice.chance(0.8) else dice.uniform(0, 2)
        rows.append(row)
    drive = f" + {dice.uniform(0, 5)} * torch.cos({dice.power(-1, 1.5)} * t)"
    return [
        f"    A = torch.tensor({rows}, dtype=torch.float64)",
        f"    return A @ y{drive if dice.chance(0.5) else ''}",
    ]


def kinetics(dice: Choices, n: int) -> Lines:
    """Reactions of one or two molecules, whose rates differ by many orders."""
    names = LETTERS[:n]
    lines, sums = [], dict.fromkeys(names, "0 * a")
    for r in range(dice.randint(1, 2 * n)):
        left = [dice.choice(names) for _ in range(dice.randint(1, 2))]
        right = [dice.choice(names) for _ in range(dice.randint(1, 2))]
        lines.append(f"    r{r} = {dice.power(-2, 7)} * {' * '.join(left)}")
        for name in left:
            sums[name] += f" - r{r}"
        for name in right:
            sums[name] += f" + r{r}"
    return [*lines, stacked(sums.values())]


def tracking(dice: Choices, n: int) -> Lines:
    """Stiff pulls towards curves that move, with nonlinear couplings that vanish on them."""
    lines, sums = [], []
    for i, name in enumerate(LETTERS[:n]):
        w, p = dice.power(-0.5, 1.3), dice.uniform(0, 3)
        lines.append(f"    g{i}, v{i} = torch.sin({w} * t + {p}), {w} * torch.cos({w} * t + {p})")
        other = dice.below(n)
        pull = dice.choice(["{x}", "{x} + {x}**3", "torch.tanh({x})", "torch.sinh(0.1 * {x})"])
        pull = pull.format(x=f"({name} - g{i})")
        coupled = f" + {dice.uniform(0, 3)} * ({LETTERS[other]} - g{other})**2"
        sums.append(f"v{i} - {dice.power(0, 7)} * ({pull}){coupled if dice.chance(0.5) else ''}")
    return [*lines, stacked(sums)]


def grown(dice: Choices, n: int) -> Lines:
    """Bounded rates of random expressions, pulled back."""
    sums = []
    for name in LETTERS[:n]:
        pull = dice.power(-1, 4)
        sums.append(
            f"torch.tanh({expression(dice, n, 3)}) * {dice.uniform(1, 5)} - {pull} * {name}"
        )
    return [stacked(sums)]


def expression(dice: Choices, n: int, depth: int) -> str:
    """Of t and the components."""
    if depth == 0 or dice.chance(0.2):
        return dice.choice([*LETTERS[:n], "t", str(dice.uniform(-2, 2))]) + " + 0 * a"
    x, z = expression(dice, n, depth - 1), expression(dice, n, depth - 1)
    forms = (
        *("({x}) * ({z})", "({x}) + ({z})", "({x}) - ({z})", "({x}) / (2 + torch.cos({z}))"),
        *("torch.sin({x})", "torch.exp(-({x})**2)", "torch.abs({x})", "torch.sqrt(1 + ({x})**2)"),
        *("torch.where({x} > {z}, {x}, {z})", "torch.atan2({x}, 2 + ({z})**2)"),
        *("torch.relu({x})", "({x})**3", "torch.log1p(({x})**2)", "torch.sigmoid({x})"),
    )
    return dice.choice(forms).format(x=x, z=z)


def oscillators(dice: Choices, n: int) -> Lines:
    """Of van der Pol, in pairs that push each other; a single one is pulled along."""
    sums = []
    for i in range(0, n - 1, 2):
        x, v, pushed = LETTERS[i], LETTERS[i + 1], LETTERS[(i + 2) % n]
        mu, push = dice.power(-1, 3), dice.uniform(0, 0.5)
        sums += [v, f"{mu} * (1 - {x}**2) * {v} - {x} + {push} * {pushed}"]
    if n % 2:
        sums.append(f"{dice.power(0, 4)} * (torch.tanh(a) - {LETTERS[n - 1]})")
    return [stacked(sums)]


def switching(dice: Choices, n: int) -> Lines:
    """Pulls to values that jump with t, or with another component."""
    sums = []
    for name in LETTERS[:n]:
        when = dice.choice([f"t > {dice.uniform(0, 2)}", f"a > {dice.uniform(-1, 1)}"])
        low, high = dice.uniform(-2, 2), dice.uniform(-2, 2)
        sums.append(f"{dice.power(0, 5)} * (torch.where({when}, {high}, {low}) - {name})")
    return [stacked(sums)]


def ending(dice: Choices, n: int) -> Lines:
    """What may cease to exist: poles, walls, roots."""
    k = dice.uniform(0.1, 5)
    forms = (
        *("{k} * {x}**2", "{k} * torch.exp({x})", "-{k} * torch.sqrt({x})", "{k} / (3 - {x})"),
        *(
            "torch.where({x} > 3, torch.nan, {k} + 0 * {x})",
            "{k} * torch.log({x})",
            "{k} / (2 - t)",
        ),
        *("-{k} * torch.sign({x} - 0.5)", "{k} * {x} / (1e-3 + (t - 1)**2)", "{x} * t**40"),
    )
    return [stacked(dice.choice(forms).format(k=k, x=x) + f" + 0 * {x}" for x in LETTERS[:n])]


KINDS: list[Callable[[Choices, int], Lines]] = [
    *(linear, kinetics, tracking, grown, oscillators, switching, ending),
]


def stacked(sums: Any) -> str:
    return f"    return torch.stack(({', '.join(sums)},))"


def field(dice: Choices) -> tuple[str, list[float], float]:
    """Text of f(t, y), a start, and the length of an interval."""
    n = dice.randint(1, 5)
    kind = dice.choice(KINDS)
    head = [] if kind is linear else [f"    {', '.join(LETTERS[:n])}, = y"]
    body = kind(dice, n)
    sign = (0.0, 2.0) if kind in (kinetics, ending) else (-2.0, 2.0)
    y0 = [dice.uniform(*sign) for _ in range(n)]
    if dice.chance(0.2):
        y0[dice.below(n)] = 0.0
    return "\n".join(["def f(t, y):", *head, *body]), y0, dice.power(-2, 1.5)


def units(dice: Choices) -> str:
    """Text that turns f around, or puts it into other units."""
    turns = {"time": 0.0, "back": 0.0, "size": 0.0}
    lines = ["def g(t, y):", "    return f(t, y)", "", "C, S = 1.0, 1.0"]
    if not dice.chance(0.3):
        return "\n".join(lines)
    turns["size"], turns["time"] = dice.choice([1.0, 1e-6, 1e5]), dice.choice([1.0, 1e-8, 1e6])
    back = -1.0 if dice.chance(0.4) else 1.0
    lines = ["def g(t, y):", "    return C / S * f(t / S, y / C)"]
    return "\n".join([*lines, "", f"C, S = {turns['size']}, {turns['time'] * back}"])


def made(text: str) -> dict[str, Any]:
    """What a program defines."""
    space: dict[str, Any] = {"torch": torch}
    exec(text, space)
    return space


def case(dice: Choices) -> None:
    """Draw a field, solve it, judge the end."""
    text, y0, length = field(dice)
    turned = units(dice)
    method = dice.choice(METHODS)
    rtol = dice.choice([1e-4, 1e-2, 1e-3, 1e-6, 1e-8])
    order = 5 if method == "auto" else methods.get(method).order
    rtol = max(rtol, 1e-4) if order < 3 else rtol
    atol = rtol * dice.choice([1e-3, 1.0, 1e-6])
    rows = 3 if dice.chance(0.1) else 0
    call = (
        f"solution = sg.solve(g, C * torch.tensor({y0}, dtype=torch.float64), 0.0, S * {length}, "
        f'method="{method}", rtol={rtol}, atol={atol:.3g} * C, max_attempts={ATTEMPTS}, '
        'backend="eager")'
    )
    dice.say("import torch\n\nimport stiffguide as sg\n\n")
    dice.say(f"{text}\n\n\n{turned}\n{call}\nprint(solution, solution.y[-1])")
    space = made(f"{text}\n{turned}")
    start = space["C"] * torch.tensor(y0, dtype=torch.float64)
    if not torch.isfinite(space["g"](torch.tensor(0.0, dtype=torch.float64), start)).all():
        raise Unknown("the field is not finite at its start")
    t1, atol = space["S"] * length, float(f"{atol:.3g}") * space["C"]
    settings = {"method": method, "rtol": rtol, "atol": atol, "max_attempts": ATTEMPTS}
    f, begin = space["g"], start
    if rows:  # the same in a batch
        f = torch.func.vmap(space["g"])
        begin = start.expand(rows, -1).clone()
    solution = sg.solve(f, begin, 0.0, t1, backend="eager", batched=rows > 0, **settings)
    checked(solution, ATTEMPTS)
    reference = Reference(as_arrays(space["g"]), start.numpy(), 0.0, t1, rtol, atol)
    reference.judge(solution.y.reshape(-1, len(y0))[-1].numpy(), method)


def checked(solution: sg.Solution[Any], attempts: int) -> None:
    """What holds of every solve; raise `Refused` for one that failed as it may."""
    stats = solution.stats
    if int((stats.accepted + stats.rejected).max()) > attempts:
        raise Wrong("wrong", f"more than {attempts} attempts")
    try:
        solution.raise_if_failed()
    except SolveFailed as error:
        check_sentence(str(error))
        raise Refused(str(error)) from error
    if not bool(torch.isfinite(solution.y).all()):
        raise Wrong("wrong", f"a success that is not finite: {solution.y.tolist()}")


def as_arrays(f: Any) -> Callable[[float, Array], Array]:
    """A torch field as scipy wants it."""

    def called(t: float, y: Array) -> Array:
        with torch.no_grad():
            found = f(torch.tensor(t, dtype=torch.float64), torch.from_numpy(np.array(y)))
        return np.asarray(found.numpy(), dtype=float)

    return called
