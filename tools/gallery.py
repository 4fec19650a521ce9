"""The scripts of the gallery, run alike by the tests and by `make gallery`.

    python tools/gallery.py                 # every long_*.py of examples/gallery
    python tools/gallery.py long_kinetics   # one of them

A script `plot_*.py` runs whenever the manual is built. A script `long_*.py` does not: what it
prints and its last figure are kept in `output/` beside it, with the command and the date.
"""

from __future__ import annotations

import contextlib
import datetime
import io
import os
import runpy
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.animation import Animation, PillowWriter
from matplotlib.figure import Figure
from PIL import Image

FOLDER = Path(__file__).parents[1] / "examples" / "gallery"
STYLE = FOLDER / "gallery.mplstyle"
FIRST = ("robertson", "van_der_pol", "kinetics", "ignition")  # the others follow by name


class Ran(NamedTuple):
    """What a script left: its text and its figures, which stay open until `styled` is called."""

    text: str
    figures: list[Figure]
    films: list[int]  # bytes of its animations, as pages have them
    seconds: float  # of CPU


def scripts(kind: str) -> list[Path]:
    """Those whose names begin so, "plot" or "long", in the order of the pages."""
    return sorted(FOLDER.glob(f"*/{kind}_*.py"))


def styled(gallery_conf: object = None, script: object = None) -> None:
    """Before a script: the look of the gallery, no figure. Sphinx-Gallery gives two arguments."""
    plt.close("all")
    matplotlib.rcdefaults()
    matplotlib.use("agg")
    plt.style.use(STYLE)


def run(script: Path) -> Ran:
    """A script as `python script` runs it, in an empty folder."""
    styled()
    printed = io.StringIO()
    began = time.process_time()
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as empty, contextlib.redirect_stdout(printed):
        os.chdir(empty)
        try:
            names = runpy.run_path(str(script), run_name="__main__")
        finally:
            os.chdir(here)
    seconds = time.process_time() - began
    figures = [plt.figure(n) for n in plt.get_fignums()]
    with tempfile.TemporaryDirectory() as folder:
        films = [film(x, Path(folder) / "film.gif") for x in animations(names)]
    return Ran(printed.getvalue(), figures, films, seconds)


def animations(names: dict[str, Any]) -> list[Animation]:
    """Those among the names of a script."""
    return [value for value in names.values() if isinstance(value, Animation)]


def film(animation: Animation, where: Path) -> int:
    """Write a GIF, which moves in any page by itself; how many bytes it has."""
    animation.save(where, writer=PillowWriter(fps=8))
    return where.stat().st_size


def films(block: object, names: dict[str, Any], conf: dict[str, Any]) -> str:
    """For Sphinx-Gallery: what stands in a page for the animations of a block."""
    from sphinx_gallery.scrapers import figure_rst

    paths = []
    for animation in animations(names["example_globals"]):
        figure = animation._fig
        if plt.fignum_exists(figure.number):
            still = Path(next(names["image_path_iterator"]))
            film(animation, still.with_suffix(".gif"))
            figure.savefig(still)  # the thumbnail is made of it
            plt.close(figure)
            paths.append(str(still.with_suffix(".gif")))
    return figure_rst(paths, conf["src_dir"])


class Order:
    """For Sphinx-Gallery: where a script stands among those of its folder; long ones come after."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __call__(self, name: str) -> tuple[int, str, bool]:
        kind, _, topic = Path(name).stem.partition("_")
        return FIRST.index(topic) if topic in FIRST else len(FIRST), topic, kind != "plot"


def kept(script: Path, ending: str) -> Path:
    """Where the output of a long script stands."""
    return script.parent / "output" / f"{script.stem}{ending}"


def draw(figure: Figure, where: Path) -> None:
    """A picture of few colours: it stands in the repository, and a third of the size will do."""
    figure.savefig(where)
    with Image.open(where) as picture:
        few = picture.convert("RGB").quantize(96, dither=Image.Dither.NONE)
    few.save(where, optimize=True)


def main(names: list[str]) -> None:
    """Run the long scripts, or those named, and keep what they leave."""
    for script in scripts("long"):
        if names and script.stem not in names:
            continue
        ran = run(script)
        kept(script, ".txt").parent.mkdir(exist_ok=True)
        draw(ran.figures[-1], kept(script, ".png"))
        command = f"python tools/gallery.py {script.stem}"
        head = f"$ {command}    # {datetime.date.today()}, {ran.seconds:.0f} s of CPU time\n"
        kept(script, ".txt").write_text(head + ran.text, encoding="utf-8")
        print(head + ran.text)


if __name__ == "__main__":
    main(sys.argv[1:])
