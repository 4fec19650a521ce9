"""The counts of a campaign as a table, and its place in the manual."""

from __future__ import annotations

import datetime
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

BETWEEN = re.compile(r"(<!-- counts -->\n).*?(<!-- end of counts -->)", re.DOTALL)


def table(counts: Mapping[str, Counter[str]], seconds: Mapping[str, float]) -> str:
    """A line for each target, in Markdown."""
    lines = [
        "| target | cases | passed | refused, unknown | failed |",
        "| :--- | ---: | ---: | ---: | ---: |",
    ]
    for name, found in counts.items():
        others = f"{found['refused']:,}, {found['unknown']:,}"
        row = (f"`{name}`", f"{found.total():,}", f"{found['passed']:,}", others, found["failed"])
        lines.append(f"| {' | '.join(map(str, row))} |")
    spent = sum(seconds.values())
    total = sum(found.total() for found in counts.values())
    return (
        "\n".join([*lines, "", f"{total:,} cases in {spent / 3600:.1f} hours of worker time."])
        + "\n"
    )


def write(path: Path, counted: str, words: list[str]) -> None:
    """Put the table between its marks, with the day and the command."""
    day = datetime.date.today().isoformat()
    command = f'`make fuzz ARGS="{" ".join(words)}"`, {day}:'
    text = path.read_text(encoding="utf-8")
    new, times = BETWEEN.subn(lambda m: f"{m[1]}{command}\n\n{counted}{m[2]}", text)
    if times != 1:
        raise SystemExit(f"{path} has no place for the counts")
    path.write_text(new, encoding="utf-8")
