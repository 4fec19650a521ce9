"""Two to six options of a solve at once, in any family: the exact solution, or a refusal by name.

The tests try each option with each (`test_combinations`); here are the threes and more, with the
length of the solve, its direction, its tolerance and a file that keeps it drawn as well.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

from combinations import (
    BY_NAME,
    FAMILIES,
    OPTIONS,
    Option,
    build,
    close,
    suit,
)
from combinations import refusal as words_of

from campaign.cases import Wrong, refusal
from campaign.choices import Choices
from stiffguide.errors import StiffguideError, UnsupportedError
from stiffguide.sharing import pair

PROBE = 0.1  # rows change over within a short solve, too


def chosen(dice: Choices) -> tuple[Option, ...]:
    """Options that can be written in one call, none of them twice."""
    found: list[Option] = []
    for _ in range(dice.randint(1, 5)):
        option = dice.choice(OPTIONS)
        for one in (*(BY_NAME[name] for name in option.needs), option):
            taken = {o.argument for o in found if o.argument}
            if one not in found and one.argument not in taken:
                found.append(one)
    return tuple(o for o in OPTIONS if o in found)


def case(dice: Choices) -> None:
    """Draw a family and options, solve, and compare."""
    family, options = dice.choice([*FAMILIES]), chosen(dice)
    rtol, kept = dice.choice([1e-3, 1e-5, 1e-2]), dice.chance(0.15)
    names = [o.name for o in options]
    dice.say("# in tests/, as test_combinations.py does it")
    dice.say("from combinations import BY_NAME, FAMILIES, build, suit\n")
    dice.say(f"call, options = build(tuple(BY_NAME[name] for name in {names}))")
    dice.say(f'suit(call, "{family}")')
    dice.say(f"# rtol {rtol}, checkpoint {kept}")
    dice.say(f'solution = call.solve(FAMILIES["{family}"])\nprint(solution)')
    dice.say("for option in options:\n    option.check(call, solution)")
    call, every = build(options)
    suit(call, family)
    if "`rtol`, `atol` per row" not in names and "controller" not in call.settings:
        call.settings["rtol"] = min(rtol, 1e-3)
    with tempfile.TemporaryDirectory() as folder:
        if kept:
            call.settings |= {"checkpoint": Path(folder) / "kept", "every": 3}
        with patch.object(pair, "PROBE", PROBE):
            compared(call, every, family, words_of(family, tuple(every)), kept)


def compared(call: Any, options: list[Option], family: str, words: str, kept: bool) -> None:
    """Solve, and ask every option what it promises."""
    try:
        solution = call.solve(FAMILIES[family])
        solution.raise_if_failed()
    except UnsupportedError as error:
        said = refusal(error)
        if "; " not in str(error):
            raise Wrong("sentence", f"a refusal without a way out: {error}") from error
        raise said from error
    except StiffguideError as error:
        raise Wrong("wrong", f"neither solved nor refused: {error}") from error
    if words:
        raise Wrong("wrong", f"solved, and it is to be refused: {words}")
    try:
        close(call.real(solution.y).detach(), call.flow(solution.t).detach(), 1e-2)
        for option in options:
            option.check(call, solution)
    except AssertionError as error:
        raise Wrong("wrong", " ".join(f"{call_name(error)}: {error}".split())[:400]) from error


def call_name(error: BaseException) -> str:
    """The check that failed."""
    frame, names = error.__traceback__, []
    while frame is not None:
        names.append(frame.tb_frame.f_code.co_name)
        frame = frame.tb_next
    return next((name for name in reversed(names) if name not in ("close", "assert_close")), "")
