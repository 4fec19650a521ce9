"""What a case is drawn from: a list of small numbers, that can be kept, cut and made smaller.

hypothesis shrinks inside the process that it tests, and its examples are bound to its version and
to no seed. Here a case that hangs or dies has to be made smaller, too, and a file of last year has
to mean the same; a list of numbers, of which 0 is always the simplest, is enough for both.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

FINE = 1 << 16  # into how many parts a range of floats is cut
MOST = 20_000  # choices of one case


class Choices:
    """Draws by a seed, or again those that are given; beyond their end, the simplest.

    It has the names of `random.Random`, so that generators written for that take it as dice.
    """

    def __init__(
        self,
        seed: str = "",
        given: Sequence[int] | None = None,
        journal: Callable[[int], object] | None = None,
    ) -> None:
        self._random = random.Random(seed)
        self._given = given
        self._journal = journal
        self.drawn: list[int] = []
        self.story: list[str] = []  # the case as a program that a person can run

    def below(self, n: int) -> int:
        """One of 0 ... n - 1."""
        if len(self.drawn) >= MOST:
            raise RecursionError("a case draws without end")
        if self._given is None:
            value = int(self._random.random() * n)
        else:
            at = len(self.drawn)
            value = min(max(self._given[at], 0), n - 1) if at < len(self._given) else 0
        self.drawn.append(value)
        if self._journal is not None:
            self._journal(value)
        return value

    def say(self, text: str) -> None:
        """Add to the program that shows the case."""
        self.story.append(text)

    def choice(self, of: Sequence[T]) -> T:
        return of[self.below(len(of))]

    def randrange(self, start: int, stop: int | None = None) -> int:
        return self.below(start) if stop is None else start + self.below(stop - start)

    def randint(self, low: int, high: int) -> int:
        return low + self.below(high - low + 1)

    def random(self) -> float:
        return self.below(FINE) / FINE

    def uniform(self, low: float, high: float) -> float:
        """From low on, in steps that leave few digits."""
        return float(f"{low + (high - low) * self.random():.4g}")

    def power(self, low: float, high: float) -> float:
        """10^low ... 10^high."""
        return float(f"{10 ** (low + (high - low) * self.random()):.3g}")

    def chance(self, p: float) -> bool:
        """True once in 1/p; the simplest is no."""
        return self.below(FINE) >= FINE * (1 - p)

    def sample(self, of: Sequence[T], k: int) -> list[T]:
        left = list(of)
        return [left.pop(self.below(len(left))) for _ in range(k)]

    def some(self, make: Callable[[], Any], least: int, most: int) -> list[Any]:
        """A list of things that are drawn one after the other."""
        return [make() for _ in range(self.randint(least, most))]
