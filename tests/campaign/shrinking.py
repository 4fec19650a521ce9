"""Makes a list of choices smaller while it still fails: shorter first, then nearer to zero."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

Drawn = tuple[int, ...]
Try = Callable[[Drawn], Drawn | None]  # what was drawn, if it still fails; else nothing


def size(choices: Sequence[int]) -> tuple[int, Drawn]:
    """By which one list is smaller than another."""
    return len(choices), tuple(choices)


def shrink(choices: Sequence[int], still_fails: Try, tries: int = 300) -> Drawn:
    """The smallest list that was found within so many tries."""
    best, left, seen = tuple(choices), tries, set[Drawn]()
    while True:
        before = best
        for pass_over in (cuts, zeros, lower):
            again = True
            while again:
                again = False
                for candidate in pass_over(best):
                    if candidate in seen or size(candidate) >= size(best):
                        continue
                    if left <= 0:
                        return best
                    seen.add(candidate)
                    left -= 1
                    found = still_fails(candidate)
                    if found is not None and size(found) < size(best):
                        best, again = found, True
                        break
        if best == before:
            return best


def cuts(choices: Drawn) -> Iterator[Drawn]:
    """Without a part; long parts first, the end first."""
    length = len(choices)
    while length:
        for start in range(len(choices) - length, -1, -length):
            yield choices[:start] + choices[start + length :]
        length //= 2


def zeros(choices: Drawn) -> Iterator[Drawn]:
    """With a part set to zero."""
    length = max(1, len(choices) // 2)
    while length:
        for start in range(0, len(choices), length):
            part = choices[start : start + length]
            if any(part):
                yield choices[:start] + (0,) * len(part) + choices[start + length :]
        length //= 2


def lower(choices: Drawn) -> Iterator[Drawn]:
    """With one number halved, or less by one."""
    for i, value in enumerate(choices):
        for less in {value // 2, value - 1} if value > 1 else ():
            yield (*choices[:i], less, *choices[i + 1 :])
