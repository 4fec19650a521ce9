"""Run the first python block of a Markdown file, so that what the README shows is true."""

from __future__ import annotations

import re
import sys
from pathlib import Path

FENCE = re.compile(r"^```python[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def first_block(path: Path) -> str:
    """The code of the first block, padded with blank lines so that tracebacks name true lines."""
    text = path.read_text(encoding="utf-8")
    match = FENCE.search(text)
    if match is None:
        raise SystemExit(f"{path} has no ```python block")
    return "\n" * text.count("\n", 0, match.start(1)) + match[1]


def main() -> None:
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "README.md")
    exec(compile(first_block(path), str(path), "exec"), {"__name__": "__main__"})


if __name__ == "__main__":
    main()
