"""Random tableaux, sound and broken, and files: taken exactly if they are what they say.

What they are say `order_conditions`, which knows nothing of the package.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from fractions import Fraction as F
from pathlib import Path
from typing import Any

import torch
from hostile_files import CONTENTS, FIELDS, NUMBERS

import stiffguide as sg
from campaign.cases import Refused, Unknown, Wrong, check_sentence, refusal
from campaign.choices import Choices
from campaign.order_conditions import (
    Matrix,
    Row,
    at_the_border,
    response,
    rosenbrock,
    runge_kutta,
    solved,
    times,
    true_order,
)
from stiffguide.errors import InputError, StiffguideError, TableauError
from stiffguide.tableaux import file, stability
from stiffguide.tableaux.order import embedded_weights, main_weights, prove
from stiffguide.tableaux.rosenbrock import RosenbrockTableau
from stiffguide.tableaux.tableau import Tableau

HIGHEST = 5  # order whose conditions are written out here
# --- what is drawn


def fraction(dice: Choices, low: int = -2, high: int = 2) -> F:
    """A small one."""
    below = dice.randint(1, 12)
    return F(dice.randint(low * below, high * below), below)


def node(dice: Choices, but: Sequence[F] = ()) -> F:
    """In (0, 1], none of those."""
    found = F(dice.randint(1, 12), 12)
    while found in but:
        found = found / 2
    return found


def explicit(dice: Choices, order: int) -> tuple[Matrix, Row]:
    """The families of order 2, 3 and 4 with as many stages, whose nodes are free."""
    u = node(dice, (F(1, 2), F(2, 3), F(1)))
    if order == 2:
        return [[F(0)] * 2, [u, F(0)]], [1 - 1 / (2 * u), 1 / (2 * u)]
    v = node(dice, (u, F(1), F(2, 3)))
    if order == 3:
        b2, b3 = (3 * v - 2) / (6 * u * (v - u)), (2 - 3 * u) / (6 * v * (v - u))
        a32 = v * (v - u) / (u * (2 - 3 * u))
        return [[F(0)] * 3, [u, F(0), F(0)], [v - a32, a32, F(0)]], [1 - b2 - b3, b2, b3]
    size = 6 * u * v - 4 * (u + v) + 3
    if size == 0:
        return explicit(dice, 3)
    b = [
        F(1, 2) + (1 - 2 * (u + v)) / (12 * u * v),
        (2 * v - 1) / (12 * u * (v - u) * (1 - u)),
        (1 - 2 * u) / (12 * v * (v - u) * (1 - v)),
        F(1, 2) + (2 * (u + v) - 3) / (12 * (1 - u) * (1 - v)),
    ]
    a32 = v * (v - u) / (2 * u * (1 - 2 * u))
    a42 = (1 - u) * (u + v - 1 - (2 * v - 1) ** 2) / (2 * u * (v - u) * size)
    a43 = (1 - 2 * u) * (1 - u) * (1 - v) / (v * (v - u) * size)
    rows = [[F(0)] * 4, [u, F(0), F(0), F(0)], [v - a32, a32, F(0), F(0)]]
    return [*rows, [1 - a42 - a43, a42, a43, F(0)]], b


def collocation(dice: Choices) -> tuple[Matrix, Row]:
    """Of one to three nodes: full matrices."""
    nodes: Row = []
    for _ in range(dice.randint(1, 3)):
        nodes.append(node(dice, nodes))
    a, b = [], []
    powers = [[c**k for c in nodes] for k in range(len(nodes))]
    for end in (*nodes, F(1)):
        row = solved(powers, [end ** (k + 1) / (k + 1) for k in range(len(nodes))])
        a.append(row)
        b = row
    return a[:-1], b


def diagonal(dice: Choices) -> tuple[Matrix, Row]:
    """Two stages with one gamma, of order 2, or anything with a lower triangle."""
    if dice.chance(0.5):
        g, c = fraction(dice, 0, 1) + F(1, 7), node(dice)
        b2 = (F(1, 2) - g) / c
        return [[g, F(0)], [c, g]], [1 - b2, b2]
    s = dice.randint(1, 4)
    a = [[fraction(dice) if j <= i else F(0) for j in range(s)] for i in range(s)]
    return a, [fraction(dice) for _ in range(s)]


def changed(dice: Choices, numbers: Row) -> Row:
    """One of them off by a little, or by more; sometimes with another one to balance it."""
    size = F(dice.choice([1, -1, 3]), 10 ** dice.randint(0, 30))
    moved = list(numbers)
    moved[dice.below(len(moved))] += size
    if dice.chance(0.6):
        moved[dice.below(len(moved))] -= size
    return moved


def case(dice: Choices) -> None:
    """One of three questions."""
    kind = dice.choice([butcher, linearly_implicit, hostile])
    kind(dice)


def butcher(dice: Choices) -> None:
    """A Runge-Kutta tableau with a claim."""
    make = dice.choice([2, 3, 4, collocation, diagonal])
    a, b = make(dice) if callable(make) else explicit(dice, make)
    if dice.chance(0.4):
        b = changed(dice, b)
    if dice.chance(0.3):
        i = dice.below(len(a))
        a = [*a[:i], changed(dice, a[i]), *a[i + 1 :]]
    c = [sum(row, F(0)) for row in a]
    claimed_c = changed(dice, c) if dice.chance(0.15) else c
    one = [F(1)] * len(b)
    conditions = runge_kutta(a, one)
    digits = dice.choice([48, 48, 16])
    tolerance = F(1, 10 ** (digits - 2))
    if at_the_border(conditions, b, tolerance):
        raise Unknown("the digits do not tell whether it is sound")
    true = true_order(conditions, b, tolerance)
    claim = max(1, true + dice.choice([0, 0, 0, 1, -1]))
    sound = true == claim and all(
        abs(x - y) <= tolerance for x, y in zip(c, claimed_c, strict=True)
    )
    words: dict[str, Any] = {"a": a, "b": b, "c": claimed_c, "order": claim}
    if dice.chance(0.4):
        hat = changed(dice, b) if dice.chance(0.5) else [F(1), *[F(0)] * (len(b) - 1)]
        if at_the_border(conditions, hat, tolerance):
            raise Unknown("the digits do not tell whether it is sound")
        error = true_order(conditions, hat, tolerance)
        said = max(1, error + dice.choice([0, 0, 1]))
        same = all(x == y for x, y in zip(hat, b, strict=True))
        sound = sound and error == said and not same
        words |= {"b_error": [x - y for x, y in zip(b, hat, strict=True)], "error_order": said}
    dice.say(shown("Tableau", words, digits))
    if true >= HIGHEST:
        raise Refused("more than order 5, whose conditions are not written out here")
    tableau = taken(dice, lambda: Tableau("drawn", source="drawn", digits=digits, **words), sound)
    if dice.chance(0.3):
        by_file(dice, words, digits, sound)
    if tableau is not None:
        matrix = [list(row) for row in tableau.a]
        check_stability(dice, tableau, matrix)
        check_step(dice, tableau, matrix)


def linearly_implicit(dice: Choices) -> None:
    """A Rosenbrock tableau with a claim: two stages, with what is free chosen at random."""
    gamma = fraction(dice, 0, 1) + F(1, 9)
    s = dice.randint(1, 3)
    alpha = [[fraction(dice, 0, 1) if j < i else F(0) for j in range(s)] for i in range(s)]
    low = [[fraction(dice) if j < i else F(0) for j in range(s)] for i in range(s)]
    big = [[gamma if i == j else low[i][j] for j in range(s)] for i in range(s)]
    beta = [[x + y for x, y in zip(p, q, strict=True)] for p, q in zip(alpha, big, strict=True)]
    one = [F(1)] * s
    weights = [*(fraction(dice, 0, 1) for _ in range(s - 1))]
    weights.append(1 - sum(weights, F(0)))
    conditions = rosenbrock(alpha, beta, one)
    slopes = times(beta, one)
    if s > 1 and slopes[-1] != slopes[0] and dice.chance(0.7):  # order 2
        inner = sum((w * x for w, x in zip(weights[1:-1], slopes[1:-1], strict=True)), F(0))
        left = 1 - sum(weights[1:-1], F(0))
        last = (F(1, 2) - inner - left * slopes[0]) / (slopes[-1] - slopes[0])
        weights = [left - last, *weights[1:-1], last]
    if dice.chance(0.3):
        weights = changed(dice, weights)
    tolerance = F(1, 10**46)
    true = true_order(conditions, weights, tolerance)
    claim = max(1, true + dice.choice([0, 0, 1, -1]))
    words: dict[str, Any] = {"alpha": alpha, "big_gamma": big, "weights": weights, "order": claim}
    dice.say(shown("RosenbrockTableau.from_textbook", words, 48))
    make = lambda: RosenbrockTableau.from_textbook(name="drawn", source="drawn", **words)  # noqa: E731
    tableau = taken(dice, make, true == claim)
    if tableau is not None:
        check_stability(dice, tableau, beta)
        check_step(dice, tableau, beta)


def taken(dice: Choices, make: Any, sound: bool) -> Any:
    """The tableau if it is sound, or nothing; that it is taken or refused as it should."""
    try:
        tableau = make()
        prove(tableau)
    except TableauError as error:
        check_sentence(str(error))
        if sound:
            raise Wrong("wrong", f"a sound tableau is refused: {error}") from error
        return None
    if not sound:
        raise Wrong("wrong", "a tableau is taken whose claims do not hold")
    return tableau


def check_stability(dice: Choices, tableau: Any, matrix: Matrix) -> None:
    """R(z) at some points, and what is said of where it is small."""
    for weights in (main_weights(tableau), embedded_weights(tableau)):
        if weights is None:
            continue
        p, q = stability.stability_function(tableau, weights)
        for _ in range(3):
            z = F(dice.randint(-40, 40), 7)
            due = response(matrix, weights, z)
            below = sum((x * z**k for k, x in enumerate(q)), F(0))
            if due is None or below == 0:
                continue
            found = sum((x * z**k for k, x in enumerate(p)), F(0)) / below
            if abs(found - due) > F(1, 10**10) * (1 + abs(due)):
                raise Wrong("wrong", f"R({float(z):.4g}) is {float(due)}, not {float(found)}")
    limit = stability.negative_real_stability_limit(tableau)
    for share in (0.3, 0.9, 1.02):
        x = share * min(limit, 1e6)
        due = response(matrix, main_weights(tableau), -F(x))
        inside = share < 1 or limit > 1e6
        if due is not None and inside and abs(due) > 1 + 1e-6:
            raise Wrong("wrong", f"|R(-{x:.6g})| is {abs(float(due))}, and the limit {limit}")
    if stability.is_a_stable(tableau) and limit < 1e300:
        raise Wrong("wrong", f"A-stable, and yet the limit on the negative axis is {limit}")


def check_step(dice: Choices, tableau: Any, matrix: Matrix) -> None:
    """One step of y' = lambda y is R(dt lambda)."""
    z = F(dice.randint(-16, 16), 8)
    due = response(matrix, main_weights(tableau), z)
    if due is None or abs(due) > 1e3 or largest(matrix) > 20:
        return
    field = lambda t, y: float(z) * y  # noqa: E731
    settings = {"controller": sg.Fixed(1.0), "rtol": 1e-11, "atol": 1e-11, "backend": "eager"}
    y0 = torch.ones(1, dtype=torch.float64)
    try:
        solution = sg.solve(field, y0, 0.0, 1.0, method=tableau, **settings)
    except InputError as error:
        raise refusal(error) from error
    if not bool(solution.success.all()):
        check_sentence(solution.message if isinstance(solution.message, str) else "none")
        return
    found = float(solution.y[-1])
    if abs(found - float(due)) > 1e-7 * (1 + abs(float(due))):
        raise Wrong("wrong", f"a step of z = {float(z)} gives {found}, R(z) is {float(due)}")


def largest(matrix: Matrix) -> F:
    return max(abs(x) for row in matrix for x in row)


def written(dice: Choices, words: dict[str, Any], digits: int, suffix: str) -> str:
    """The text of a file with this tableau."""
    form = dice.choice([str, quoted])
    fields: dict[str, Any] = {"name": '"drawn"', "digits": str(digits)}
    for name, value in words.items():
        if isinstance(value, int):
            fields[name] = str(value)
        else:
            rows = value if isinstance(value[0], list) else None
            as_list = lambda row: f"[{', '.join(form(x) for x in row)}]"  # noqa: E731
            fields[name] = as_list(value) if rows is None else f"[{', '.join(map(as_list, rows))}]"
    if form is str:  # a fraction is text
        fields = {k: v if k in ("name",) else fractions_quoted(v) for k, v in fields.items()}
    if suffix == ".toml":
        return "\n".join(f"{name} = {value}" for name, value in fields.items())
    return "{" + ", ".join(f'"{name}": {value}' for name, value in fields.items()) + "}"


def quoted(x: F) -> str:
    return f'"{x}"'


def fractions_quoted(text: str) -> str:
    import re

    return re.sub(r"-?\d+/\d+", lambda m: f'"{m[0]}"', text)


def loaded(text: bytes, suffix: str) -> Any:
    """What a file with this content holds, or the error that refuses it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"drawn{suffix}"
        path.write_bytes(text)
        try:
            return file.load(path)
        except StiffguideError as error:
            check_sentence(str(error))
            return error


def by_file(dice: Choices, words: dict[str, Any], digits: int, sound: bool) -> None:
    """The same tableau in a file is judged alike."""
    suffix = dice.choice([".json", ".toml"])
    text = written(dice, words, digits, suffix)
    found = loaded(text.encode(), suffix)
    if sound and isinstance(found, StiffguideError):
        coupled = isinstance(found, InputError) and not isinstance(found, TableauError)
        if not coupled:
            raise Wrong("wrong", f"a sound tableau is refused in a file: {found}")
    if not sound and not isinstance(found, StiffguideError):
        raise Wrong("wrong", "a tableau is taken from a file whose claims do not hold")


def hostile(dice: Choices) -> None:
    """A file with something in it that means harm: a tableau that is proved, or a sentence."""
    suffix = dice.choice([".json", ".toml"])
    a, b = explicit(dice, dice.choice([2, 3]))
    words = {"a": a, "b": b, "c": [sum(row, F(0)) for row in a], "order": len(b)}
    text = written(dice, words, 48, suffix)
    for _ in range(dice.randint(0, 3)):
        text = spoiled(dice, text)
    content = text.encode("utf-8", "surrogatepass")
    if dice.chance(0.1):
        content = CONTENTS[dice.choice(sorted(CONTENTS))]
    if dice.chance(0.3) and content:
        at = dice.below(min(len(content), 500))
        content = content[:at] + bytes([dice.below(256)]) + content[at + dice.below(3) :]
    dice.say(f"content = {content[:2000]!r}  # of a file{suffix}")
    found = loaded(content, suffix)
    if isinstance(found, StiffguideError):
        raise Refused(str(found))
    matrix = [list(row) for row in found.a]
    tolerance = found.tolerance
    true = true_order(runge_kutta(matrix, [F(1)] * found.stages), found.b, tolerance)
    if true != found.order and min(true, found.order) < HIGHEST:
        raise Wrong("wrong", f"a file is taken that says order {found.order}, and has {true}")


def spoiled(dice: Choices, text: str) -> str:
    """With a number, a field or a letter put in, taken out or replaced."""
    kind = dice.below(4)
    at = dice.below(max(1, min(len(text), 800)))
    if kind == 0:
        digits = [i for i, x in enumerate(text[:800]) if x.isdigit()]
        at = dice.choice(digits) if digits else 0
        return text[:at] + NUMBERS[dice.choice(sorted(NUMBERS))] + text[at + 1 :]
    if kind == 1:
        return text.replace("{", "{" + FIELDS[dice.choice(sorted(FIELDS))] + ", ", 1)
    if kind == 2:
        return text[:at] + text[at + dice.randint(1, 20) :]
    return (
        text[:at]
        + dice.choice(['"', "[", "]", "{", "}", ",", "\\", "\x00", "é", "\u202e", "e"])
        + (text[at:])
    )


def shown(name: str, words: dict[str, Any], digits: int) -> str:
    """The program that makes and proves it."""

    def text(value: Any) -> str:
        if isinstance(value, list):
            return f"[{', '.join(map(text, value))}]"
        return f"F({value.numerator}, {value.denominator})" if isinstance(value, F) else repr(value)

    given = ", ".join(f"{key}={text(value)}" for key, value in words.items())
    return (
        "from fractions import Fraction as F\n\n"
        "from stiffguide.tableaux.order import prove\n"
        "from stiffguide.tableaux.rosenbrock import RosenbrockTableau\n"
        "from stiffguide.tableaux.tableau import Tableau\n\n"
        f'prove({name}(name="drawn", source="drawn", digits={digits}, {given}))'
    )
