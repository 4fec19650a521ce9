"""Draw the floors: `docs/images/architecture.dot` from the imports, and the picture from that.

A floor is a rank, a wing a box, and an arrow points to what is imported. A file with a floor of its
own stands apart from its wing if it is imported from there or below; such files of one wing on one
floor share a box. Arrows that others imply are left out, and those to the ground floor, on which
everybody stands.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

from floors import FLOORS, HEIGHT, PUBLIC, ROOT, imports, place, sources

IMAGES = Path(__file__).parents[1] / "docs" / "images"
TEXT, DRAWING = IMAGES / "architecture.dot", IMAGES / "architecture.svg"
CALLED = {PUBLIC: "stiffguide", "__main__": "python -m stiffguide"}
GROUND = ", ".join(FLOORS[0])
FOLDER, FILE, SOIL = "#dbe7f3", "#f7f8fa", "#ece7df"
STYLE = f"""\
  graph [bgcolor=white, pad=0.15, nodesep=0.22, ranksep=0.24, mclimit=20, outputorder=edgesfirst];
  node [shape=box, style="rounded,filled", fillcolor="{FILE}", color="#7c93ab", penwidth=0.8,
        height=0.38, margin="0.14,0.04", fontname="Helvetica", fontsize=14, fontcolor="#1f2d3d"];
  edge [color="#8d9aa8", penwidth=0.9, arrowsize=0.6];
  "{GROUND}" [fillcolor="{SOIL}", color="#b5aa98", width=10];"""
NUMBER = 'shape=plaintext, style="", fontsize=11, fontcolor="#9aa5b1"'
LABEL = '<{0}<br/><font point-size="11" color="#52667a">{1}</font>>'

Arrow = tuple[str, str]  # who imports, what is imported


def needs(files: dict[str, str]) -> set[Arrow]:
    """The imports between names on the floors."""
    pairs = ((path, module) for path, text in files.items() for module, _ in imports(text))
    found = {(place(path), place(module)) for path, module in pairs}
    return {(here, there) for here, there in found if here != there}


def wing(name: str) -> str:
    return name.split("/")[0]


def boxes(arrows: set[Arrow]) -> dict[str, str]:
    """The box of every name on a floor."""
    apart = {
        (wing(there), HEIGHT[there])
        for here, there in arrows
        if wing(here) != wing(there) != there and HEIGHT[here] <= HEIGHT[wing(there)]
    }
    box = {name: wing(name) for name in HEIGHT} | dict.fromkeys(FLOORS[0], GROUND)
    for home, floor in apart:
        names = [name for name in FLOORS[floor] if wing(name) == home]
        files = ", ".join(name.removeprefix(f"{home}/") for name in names)
        box |= dict.fromkeys(names, f"{home}: {files}")
    return box


def reduced(arrows: set[Arrow]) -> set[Arrow]:
    """Without the arrows that a chain of others implies."""
    near: dict[str, set[str]] = {}
    for here, there in arrows:
        near.setdefault(here, set()).add(there)
    far: dict[str, set[str]] = {}  # by two arrows or more
    for _ in near:  # a chain has at most so many
        for here, there in near.items():
            far[here] = {z for y in there for z in near.get(y, set()) | far.get(y, set())}
    return {(here, there) for here, there in arrows if there not in far[here]}


def stacked(box: dict[str, str]) -> list[list[str]]:
    """The boxes of every floor, ground floor first, without the floors that are left empty."""
    floors: list[list[str]] = [[] for _ in FLOORS]
    for name, label in box.items():
        floors[HEIGHT.get(label, HEIGHT[name])].append(label)
    return [sorted(set(labels)) for labels in floors if labels]


def box_line(label: str) -> str:
    """A box: folders in blue, files of a wing in small letters."""
    home, _, files = label.partition(": ")
    text = LABEL.format(home, files) if files else f'"{CALLED.get(label, label)}"'
    color = f', fillcolor="{FOLDER}"' if (ROOT / home).is_dir() else ""
    return f'  "{label}" [label={text}{color}];'


def picture(files: dict[str, str]) -> str:
    """The text for Graphviz."""
    found = needs(files)
    box = boxes(found)
    floors = stacked(box)
    arrows = {(box[here], box[there]) for here, there in found}
    arrows = reduced({(a, b) for a, b in arrows if b not in (a, GROUND)})
    numbers = [f"floor {n}" for n in range(len(floors))]
    lines = ["digraph floors {", STYLE]
    lines += [box_line(label) for labels in floors[1:] for label in labels]
    lines += [f'  "floor {n}" [label="{n}", {NUMBER}];' for n in range(len(floors))]
    for number, labels in zip(numbers, floors, strict=True):
        names = " ".join(f'"{name}";' for name in (number, *labels))
        lines.append(f"  {{ rank=same; {names} }}")
    lowest = sorted({b for _, b in arrows} - {a for a, _ in arrows})
    unseen = [(upper, lower, 9) for lower, upper in pairwise(numbers)]  # one above the other
    unseen += [(name, GROUND, 0) for name in lowest]
    lines += [f'  "{a}" -> "{b}" [style=invis, weight={w}];' for a, b, w in unseen]
    lines += [f'  "{a}" -> "{b}";' for a, b in sorted(arrows)]
    return "\n".join([*lines, "}"]) + "\n"


def signature(text: str) -> str:
    """What a drawing says of the text it was drawn from."""
    return f"<!-- sha256 of architecture.dot: {hashlib.sha256(text.encode()).hexdigest()} -->"


def main() -> None:
    text = picture(sources())
    TEXT.write_text(text, encoding="utf-8")
    if not shutil.which("dot"):
        sys.exit(f"{TEXT.name} is written; to draw it, install Graphviz, whose program is `dot`")
    command = ["dot", "-Tsvg", str(TEXT)]
    svg = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    DRAWING.write_text(f"{svg.rstrip()}\n{signature(text)}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
