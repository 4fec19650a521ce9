"""Pages as they come out: under every python block what it prints, and the pictures that it draws.

A Sphinx extension. The blocks of a page run in order in one namespace, in a process of its own, as
tests do that run the same pages. What was found is kept beside the generated tables, under a name
made of the page's blocks and of the package's sources: it is never older than either.

With STIFFGUIDE_DOCS=plain in the environment nothing runs, and pages show their code alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.append(str(ROOT / "tools"))

from blocks import FENCE, blocks, run  # noqa: E402

OUTPUTS = HERE / "_generated" / "outputs"
FOUND = "found.json"
LIMIT = 300  # seconds for a page, after which something is wrong with it
MOST_LINES = 60  # of output, beyond which nobody reads on

# the page in its process --------------------------------------------------------------------------


def outputs(page: Path, folder: Path) -> list[dict[str, Any]]:
    """Run a page's blocks; the text and the pictures of each, which lie in the folder then."""
    import matplotlib as mpl
    import torch

    mpl.use("agg")
    mpl.rcParams |= {"figure.dpi": 150, "savefig.bbox": "tight", "figure.figsize": (6.4, 3.6)}
    torch.manual_seed(0)
    names: dict[str, Any] = {"__name__": "__main__"}
    found = []
    for number, code in enumerate(blocks(page.read_text(encoding="utf-8"), "python")):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            last = run(code, page, names)
        found.append({"text": printed.getvalue(), "pictures": drawn(folder, number, last)})
    return found


def drawn(folder: Path, number: int, last: object) -> list[dict[str, str]]:
    """The figures that a block left open, or ends with: files, and words beside them."""
    from matplotlib import pyplot as plt
    from matplotlib.figure import Figure

    figures = [plt.figure(k) for k in plt.get_fignums()]
    if isinstance(last, Figure) and last not in figures:
        figures.append(last)
    made = []
    for k, figure in enumerate(figures):
        name = f"{number}-{k}.png"
        figure.savefig(folder / name)
        words = [w for ax in figure.axes for w in (ax.get_title(), ax.get_ylabel()) if w]
        made.append({"file": name, "words": ", ".join(words) or "what the code above draws"})
    plt.close("all")
    return made


# the build ----------------------------------------------------------------------------------------


def sources() -> bytes:
    """A digest of all that the outputs depend on beside the page itself."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for path in sorted((ROOT / "src").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    return digest.digest()


def place(page: Path, package: bytes) -> Path:
    """The folder of a page's outputs."""
    code = json.dumps(list(blocks(page.read_text(encoding="utf-8"), "python"))).encode()
    return OUTPUTS / f"{page.stem}-{hashlib.sha256(package + code).hexdigest()[:16]}"


def execute(page: Path, folder: Path) -> str:
    """Run a page into its folder where it has none; what went wrong, or ""."""
    if (folder / FOUND).exists():
        return ""
    folder.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {
        "PYTHONPATH": str(ROOT / "src"),
        "STIFFGUIDE_WEIGHTS": str(ROOT / "weights"),
    }
    # torch's own functions of forward mode warn of what they themselves use
    own = ("-Werror", "-Wignore:`torch.jit:DeprecationWarning")
    command = [sys.executable, *own, str(Path(__file__)), str(page), str(folder)]
    with tempfile.TemporaryDirectory() as empty:
        try:
            ended = subprocess.run(
                command, cwd=empty, env=environment, capture_output=True, text=True, timeout=LIMIT
            )
        except subprocess.TimeoutExpired:
            return f"its blocks did not end within {LIMIT} seconds"
    return ended.stderr.strip() if ended.returncode else ""


def execute_all(app: Any) -> None:
    """Run every page with code, as many at once as there are cores; a failure is a warning."""
    from sphinx.util import logging

    pages = [page for page in sorted(Path(app.srcdir).glob("*.md")) if _code(page)]
    package = sources()
    folders = {page: place(page, package) for page in pages}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        failures = dict(zip(pages, pool.map(execute, pages, folders.values()), strict=True))
    for page, sentence in failures.items():
        if sentence:
            logging.getLogger(__name__).warning("%s: %s", page.name, sentence, location=page.stem)
    app.executed = {page.stem: folders[page] for page in pages if not failures[page]}
    for old in {*OUTPUTS.iterdir()} - {*folders.values()}:
        shutil.rmtree(old)


def outdated(app: Any, env: Any, *known: Any) -> list[str]:
    """Pages that are read again although their text is the same: their outputs are not."""
    before, env.outputs = getattr(env, "outputs", {}), {k: str(v) for k, v in app.executed.items()}
    return [name for name, folder in env.outputs.items() if before.get(name) != folder]


def _code(page: Path) -> bool:
    return any(blocks(page.read_text(encoding="utf-8"), "python"))


def show(app: Any, name: str, source: list[str]) -> None:
    """Put under each block of a page what came of it."""
    folder = getattr(app, "executed", {}).get(name)
    if folder is None:
        return
    found = iter(json.loads((folder / FOUND).read_text(encoding="utf-8")))
    source[0] = FENCE.sub(lambda match: match[0] + shown(match[1], found, folder), source[0])


def shown(language: str, found: Any, folder: Path) -> str:
    """The Markdown that follows a block."""
    if language != "python":
        return ""
    output = next(found)
    made = ""
    if text := output["text"].rstrip():
        rows = text.split("\n")
        rows = rows if len(rows) <= MOST_LINES else [*rows[: MOST_LINES - 1], "..."]
        made += "\n\n`````{code-block} none\n:class: output\n\n" + "\n".join(rows) + "\n`````"
    for picture in output["pictures"]:
        path = (folder / picture["file"]).relative_to(HERE).as_posix()
        made += f"\n\n```{{image}} {path}\n:alt: {picture['words']}\n:class: drawn\n```"
    return made


def setup(app: Any) -> dict[str, bool]:
    """Connect it, unless pages are to be plain."""
    if os.environ.get("STIFFGUIDE_DOCS") != "plain":
        app.connect("builder-inited", execute_all)
        app.connect("env-get-outdated", outdated)
        app.connect("source-read", show)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    given, into = map(Path, sys.argv[1:])
    result = outputs(given, into)
    (into / FOUND).write_text(json.dumps(result), encoding="utf-8")
