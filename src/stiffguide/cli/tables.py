"""Tables that a terminal shows and that files keep, and the console they are printed on."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from stiffguide.errors import printable

PIPED_WIDTH = 140  # columns where nobody tells how wide the output is
GAP = 2  # between columns
PROSE = 24  # a wider column may wrap


def console() -> Console:
    """Where the commands print; wide enough for the tables when piped into a file."""
    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if known else PIPED_WIDTH, highlight=False)


def wrote(page: Console, path: Path) -> None:
    """Say which file there is now, whatever its name does to a terminal."""
    page.print(f"wrote {printable(str(path))}", markup=False)


@dataclass
class Table:
    """A title, columns and rows of text; columns named in `left` are not right-justified."""

    title: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    left: Sequence[str] = ()

    def add(self, *cells: object) -> None:
        """Append a row."""
        self.rows.append(tuple(printable(str(cell)) for cell in cells))

    def show(self, page: Console) -> None:
        """Print it; where a last column of prose does not fit, it follows line by line."""
        widths = [max(map(len, column)) for column in zip(self.columns, *self.rows, strict=True)]
        room = page.width - sum(widths[:-1]) - GAP * len(widths)
        apart = widths[-1] > PROSE and room < PROSE
        fits = room >= min(widths[-1], PROSE)
        table = RichTable(box=box.SIMPLE_HEAD, padding=(0, GAP - 1, 0, 0), show_edge=False)
        for i, name in enumerate(self.columns[:-1] if apart else self.columns):
            justify: Literal["left", "right"] = "left" if name in self.left else "right"
            whole = (fits or apart) and widths[i] <= PROSE
            table.add_column(name, justify=justify, no_wrap=whole, overflow="fold")
        for row in self.rows:
            table.add_row(*map(Text, row[:-1] if apart else row))
        page.print(Text(self.title, style="bold"))
        page.print(table)
        if apart:
            for row in self.rows:
                page.print(Text(f"{row[0]}: {row[-1]}"))
        page.print()

    def markdown(self) -> str:
        """For a document."""
        rule = [":---" if name in self.left else "---:" for name in self.columns]
        lines = (self.columns, rule, *self.rows)
        return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def write(tables: Iterable[Table], folder: Path, name: str) -> list[Path]:
    """The tables as `name`.txt and .md, and the first of them as .csv; returns the files."""
    tables = list(tables)
    text, document, data = (folder / f"{name}{end}" for end in (".txt", ".md", ".csv"))
    with text.open("w", encoding="utf-8") as file:
        page = Console(file=file, width=PIPED_WIDTH)
        for table in tables:
            table.show(page)
    pages = (f"### {table.title}\n\n{table.markdown()}" for table in tables)
    document.write_text("\n".join(pages), encoding="utf-8")
    with data.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([tables[0].columns, *tables[0].rows])
    return [text, document, data]
