"""A few lines of a program: each an operation on what the lines before have given."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from campaign.choices import Choices


class Body(NamedTuple):
    """Lines, and the name of the last value."""

    lines: list[str]
    last: str


class Slots:
    """What is put into the braces of an operation; `matrix` and `indices` are a language's own."""

    waves = ("t",)  # numbers that depend on t

    def __init__(self, dice: Choices, n: int) -> None:
        self.dice, self.n = dice, n

    def matrix(self, *shape: int) -> str:
        """Numbers of that shape."""
        raise NotImplementedError

    def indices(self) -> str:
        """N of them."""
        raise NotImplementedError

    def numbers(self, *shape: int) -> object:
        """Nested lists, a third of them zeros."""
        if not shape:
            return self.dice.choice([0.5, 1.0, 0.0]) * self.dice.uniform(-2, 2)
        return [self.numbers(*shape[1:]) for _ in range(shape[0])]

    def fill(self, operation: str, names: Sequence[str]) -> str:
        """The operation on some of these names."""
        return re.sub(r"\{(\w+)\}", lambda found: self._slot(found[1], names), operation)

    def _slot(self, name: str, names: Sequence[str]) -> str:
        dice, n = self.dice, self.n
        if name in ("x", "z"):
            return names[-1 - dice.below(len(names))]
        made = {
            "n": lambda: str(n),
            "k": lambda: str(dice.choice([2, 1, 3, 0])),
            "c": lambda: str(dice.choice([0.5, 1.5, 2.0, -0.7, 0.3, 1.0])),
            "cut": lambda: str(1 + dice.below(n - 1)),
            "norm": lambda: dice.choice(["2", "1", "3", "float('inf')", "0.5"]),
            "v": lambda: self.matrix(n),
            "w": lambda: self.matrix(n),
            "m": lambda: self.matrix(n, n),
            "w3": lambda: self.matrix(1, 1, 3),
            "table": lambda: self.matrix(5),
            "edges": lambda: "torch.tensor([-1.0, 0.0, 0.5, 2.0], dtype=torch.float64)",
            "i": self.indices,
        }
        return made[name]()


def program(
    dice: Choices, slots: Slots, operations: Sequence[str], statements: Sequence[str], most: int = 4
) -> Body:
    """From one to `most` lines; what they read comes from y and from each other."""
    names, lines = ["y"], []
    for at in range(dice.randint(1, most)):
        name = f"x{at}"
        if statements and dice.chance(0.15):
            lines.append(slots.fill(dice.choice(statements).replace("{o}", name), names))
        else:
            lines.append(f"{name} = {slots.fill(dice.choice(operations), names)}")
        if dice.chance(0.15):
            lines.append(f"{name} = {name} * {dice.choice(slots.waves)}")
        names.append(name)
    return Body(lines, names[-1])
