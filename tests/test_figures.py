"""Figures in the manual are those that the command beside them prints, where that is quick.

What takes longer than a minute, or is a time, is not run here; its page names its command.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
MEASURED = [page.name for page in PAGES if page.stem.endswith("_benchmark")]
NUMBER = re.compile(r"(?<![\w.`=])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w`])")
ROUNDING = 0.06  # of two digits, and what another CPU makes of a median
QUICK = {  # a command, the page, and the words after which its tables stand there
    "diffusers_schedulers": ("diffusers.md", "`python benchmarks/diffusers_schedulers.py` prints"),
    "noisy_samplers": ("diffusion.md", "`python benchmarks/noisy_samplers.py`"),
    "adaptive_sampling": ("diffusion.md", "`python benchmarks/adaptive_sampling.py`, the six"),
}

Rows = list[tuple[str, list[float]]]


def rows(text: str) -> Rows:
    """The last name in the first cell of every row of every table, and the numbers behind it.

    Not of the rows at the top of tables, which a rule follows.
    """
    found = []
    for line, below in pairwise([*text.splitlines(), ""]):
        if re.match(r"\|[\s:|-]*-", below):
            continue
        first, _, rest = line.strip().strip("|").partition("|")
        numbers = [float(x) for x in NUMBER.findall(rest)]
        if line.startswith("|") and numbers:
            found.append((first.strip().split(": ")[-1].strip("` "), numbers))
    return found


def tables(page: str, words: str) -> str:
    """What follows the words, up to the next heading."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.split(r"^#", text[text.index(words) :], maxsplit=1, flags=re.MULTILINE)[0]


def close(told: list[float], printed: list[float]) -> bool:
    """Whether numbers of a row agree, one by one, to what two digits and a CPU leave open."""
    if len(told) != len(printed):
        return False
    pairs = zip(told, printed, strict=True)
    return all(abs(a - b) <= ROUNDING * max(abs(a), abs(b)) for a, b in pairs)


def untrue(told: Rows, printed: Rows) -> Rows:
    """What the page says and the command does not."""
    return [
        (name, numbers)
        for name, numbers in told
        if not any(name == other and close(numbers, found) for other, found in printed)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("script", QUICK)
def test_a_quick_command_prints_what_its_page_says(script: str, tmp_path: Path) -> None:
    told = rows(tables(*QUICK[script]))
    assert len(told) > 5
    ended = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / f"{script}.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert untrue(told, rows(ended.stdout)) == []


def test_a_number_that_is_off_is_seen() -> None:
    page = "| law | 8 | 12 |\n| --- | --- | --- |\n| `eta=1`: `emg` | 0.52 | 1e+02 |\n"
    assert rows(page) == [("emg", [0.52, 100])]
    printed = [("emg", [0.52, 101.0]), ("heun", [0.6, 100.0])]
    assert untrue(rows(page), printed) == []
    assert untrue(rows(page.replace("0.52", "0.6")), printed) == [("emg", [0.6, 100])]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_beside_figures_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"\b(?:benchmarks|examples|tools)/[\w/]+\.py\b", text):
        assert (ROOT / name).exists()
    if page.name in MEASURED:
        assert f"benchmarks/{page.stem.removesuffix('_benchmark')}.py" in text
