"""One case: what became of it, and what every case has to obey."""

from __future__ import annotations

import importlib
import re
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from campaign.choices import Choices
from stiffguide.errors import StiffguideError

# a file each; with the CPU seconds that a case may take
TARGETS: dict[str, float] = {
    "fields": 120.0,
    "kernels": 120.0,
    "numpy_fields": 120.0,
    "tableaux": 60.0,
    "schedules": 60.0,
    "options": 120.0,
}
LONGEST = 600  # characters of a sentence


class Wrong(Exception):
    """What must hold does not."""

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind


class Refused(Exception):
    """The package says that it does not do this, in a sentence that is one."""


class Unknown(Exception):
    """The case asks nothing: the field is not defined, or there is no answer to compare with."""


@dataclass(frozen=True)
class Outcome:
    """What became of a case."""

    result: str  # "passed", "refused", "unknown" or "failed"
    kind: str  # of a failure: "wrong", "foreign", "sentence", "hang", ...
    sentence: str
    choices: tuple[int, ...]
    story: str = ""

    @property
    def signature(self) -> str:
        """Equal for failures that are probably one: kind and sentence, without numbers."""
        return f"{self.kind}: {re.sub(r'[0-9.e+-]*[0-9][0-9.e+-]*', '#', self.sentence)[:120]}"

    def data(self) -> dict[str, Any]:
        return {**asdict(self), "choices": list(self.choices)}

    @classmethod
    def of(cls, data: dict[str, Any]) -> Outcome:
        return cls(**{**data, "choices": tuple(data["choices"])})


def check_sentence(text: str) -> None:
    """One line that can be printed, says something, and is no list of complaints."""
    faults = {
        "is empty": not text.strip(),
        "has several lines": "\n" in text.strip(),
        "cannot be printed": not text.replace("\n", " ").isprintable(),
        f"has over {LONGEST} characters": len(text) > LONGEST,
        "shows a traceback": "Traceback" in text,
    }
    for fault, found in faults.items():
        if found:
            raise Wrong("sentence", f"a sentence {fault}: {text[:200]!r}")


def refusal(error: StiffguideError) -> Refused:
    """To be raised from an error of the package."""
    check_sentence(str(error))
    return Refused(str(error))


def asked(case: Callable[[Choices], None], dice: Choices) -> Outcome:
    """Ask one case, and say what became of it; nothing escapes but the end of the process."""
    result, kind, sentence = "passed", "", ""
    try:
        case(dice)
    except Refused as found:
        result, sentence = "refused", str(found)
    except Unknown as found:
        result, sentence = "unknown", str(found)
    except Wrong as found:
        result, kind, sentence = "failed", found.kind, str(found)
    except StiffguideError as found:
        result, kind, sentence = "failed", "refused", f"an error where none is due: {found}"
    except Exception as found:
        result, kind, sentence = "failed", "foreign", foreign(found)
    story = "\n".join(dice.story)
    return Outcome(result, kind, sentence, tuple(dice.drawn), story)


def foreign(error: BaseException) -> str:
    """An exception that is not of this package, and where in it it came from."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "stiffguide" in f.filename] or list(frames)
    at = f" at {ours[-1].filename.rsplit('/', 1)[-1]}, {ours[-1].name}" if ours else ""
    return f"{type(error).__name__}{at}: {str(error).splitlines()[0][:200] if str(error) else ''}"


def target(name: str) -> Callable[[Choices], None]:
    """The function that makes and checks a case."""
    case: Callable[[Choices], None] = importlib.import_module(f"campaign.{name}").case
    return case


def by_seed(name: str, seed: int, journal: Callable[[int], object] | None = None) -> Outcome:
    """The case of a seed."""
    return asked(target(name), Choices(f"{name} {seed}", journal=journal))


def by_choices(
    name: str, choices: Sequence[int], journal: Callable[[int], object] | None = None
) -> Outcome:
    """The case of a list of choices."""
    return asked(target(name), Choices(given=choices, journal=journal))
