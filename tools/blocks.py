"""The fenced blocks of a Markdown page, for all who run what README and manual show.

As a command it runs the first python block of a page: `python tools/blocks.py README.md`.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FENCE = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(text: str, language: str) -> Iterator[str]:
    """The blocks of a language, padded with blank lines so that tracebacks name true lines."""
    for match in FENCE.finditer(text):
        if match[1] == language:
            yield "\n" * text.count("\n", 0, match.start(2)) + match[2]


def run(code: str, page: Path | str, names: dict[str, Any]) -> object:
    """Run a block among the names of those before it; the value of the expression it ends with."""
    tree = ast.parse(code, str(page))
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, str(page), "exec"), names)
    if last is None:
        return None
    return eval(compile(ast.Expression(last.value), str(page), "eval"), names)


def main() -> None:
    page = Path(sys.argv[1] if len(sys.argv) > 1 else "README.md")
    first = next(blocks(page.read_text(encoding="utf-8"), "python"), None)
    if first is None:
        raise SystemExit(f"{page} has no ```python block")
    run(first, page, {"__name__": "__main__"})


if __name__ == "__main__":
    main()
