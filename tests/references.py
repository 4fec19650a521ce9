"""Papers that the source names, and the methods with theirs, for the manual's bibliography."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from stiffguide.cli.catalogue import method_table

ROOT = Path(__file__).parents[1]
YEAR = r"((?:17|18|19|20)\d\d)"
NAMED = (
    re.compile(r"arXiv (\d{4}\.\d{5})"),
    re.compile(rf"\b(\d{{1,3}}) \({YEAR}\)"),  # volume and year
    # Kutta 1901; Griewank and Walther (2008); Ho et al., 2006; Lotka (1925)
    re.compile(
        rf"\b(?!The )([A-Z][a-zéäöüø]{{2,}})(?:, [A-Z][a-z]+)*(?: and [A-Z]\w+| et al\.)?,? "
        rf"\(?{YEAR}\b"
    ),
)


def named(text: str) -> set[tuple[str, ...]]:
    """What a text says of papers: numbers of preprints, volumes with years, authors with years."""
    joined = re.sub(r'["\s]+#?\s*f?"?', " ", text)
    return {match.groups() for pattern in NAMED for match in pattern.finditer(joined)}


def items(page: str) -> list[str]:
    """The entries of a page, each on one line."""
    return [
        re.sub(r"\s+", " ", x) for x in re.findall(r"^- (?:.+\n)(?:  .+\n)*", page, re.MULTILINE)
    ]


def methods() -> str:
    """Every method under its source, in Markdown."""
    found: dict[str, list[str]] = defaultdict(list)
    for row in method_table().rows:
        found[row[-1]].append(row[0])
    lines = [f"- {source}: {', '.join(f'`{x}`' for x in names)}" for source, names in found.items()]
    return "\n".join(lines) + "\n"
