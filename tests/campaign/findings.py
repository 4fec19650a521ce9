"""Failures in files: what was drawn and said, under which versions, and how to see it again."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import scipy
import torch

import stiffguide
from campaign.cases import Outcome

REGRESSIONS = Path(__file__).parent / "regressions"


@dataclass(frozen=True)
class Finding:
    """A failure of a target, as small as it could be made."""

    target: str
    seed: int | None
    outcome: Outcome

    @property
    def name(self) -> str:
        """Of its file: equal choices, equal names."""
        drawn = json.dumps([self.target, list(self.outcome.choices)])
        return f"{self.target}-{hashlib.sha256(drawn.encode()).hexdigest()[:10]}"

    @property
    def story(self) -> str:
        """The program that was drawn, shortened to 16 letters of its digest."""
        return hashlib.sha256(self.outcome.story.encode()).hexdigest()[:16]

    def save(self, folder: Path) -> Path:
        """Write what a machine reads (.json), and what a person runs (.py)."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.json"
        kept: dict[str, Any] = {
            "target": self.target,
            "seed": self.seed,
            "kind": self.outcome.kind,
            "sentence": self.outcome.sentence,
            "choices": list(self.outcome.choices),
            "story": self.story,
            "versions": versions(),
        }
        path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        path.with_suffix(".py").write_text(self.snippet(), encoding="utf-8")
        return path

    def snippet(self) -> str:
        """The case as a program, and below it the same by its choices."""
        again = f"by_choices({self.target!r}, {list(self.outcome.choices)})"
        lines = [
            f"# {self.outcome.kind}: {self.outcome.sentence}",
            "# to ask it again, from the top of the repository:",
            f'#   PYTHONPATH=src:tests python -c "from campaign.cases import by_choices; '
            f'print({again})"',
            "",
            self.outcome.story,
        ]
        return "\n".join(lines).rstrip() + "\n"


def kept(*folders: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The findings of folders, in the order of their names."""
    for folder in folders:
        for path in sorted(folder.glob("*.json")):
            yield path, json.loads(path.read_text(encoding="utf-8"))


def versions() -> dict[str, str]:
    """Of what a finding may depend on."""
    found = {"stiffguide": stiffguide, "torch": torch, "numpy": numpy, "scipy": scipy}
    return {"python": platform.python_version(), **{k: m.__version__ for k, m in found.items()}}
