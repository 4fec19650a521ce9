"""`stiffguide build`: the kernel of a model, ahead of its first solve, where others find it."""

from __future__ import annotations

import os
import runpy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stiffguide import problems
from stiffguide.cli import runs
from stiffguide.cli.tables import console
from stiffguide.errors import InputError, StiffguideError, UnsupportedError
from stiffguide.kernels import compile
from stiffguide.kernels.running import store, upkeep

NEEDED, WANTED = ("f", "y0"), ("args", "t0", "batched", "method")  # names in a file


def build(*, model: str, method: str | None, rows: int | None, folder: Path | None) -> None:
    """Build what a solve of the model by this method would."""
    asked = _problem(model, rows) if not model.endswith(".py") else _file(Path(model), rows)
    if method is not None:
        asked["method"] = method
    with _kept_in(folder):
        made, folders = compile(**asked), store.folders()
    if not any(map(upkeep.kept, folders)):
        raise UnsupportedError("the kernel can be built, but not kept: see `stiffguide info`")
    where = os.pathsep.join(map(str, folders))
    how = "was there already" if made.cached else f"built in {made.seconds:.1f} s"
    console().print(
        f"{made.method}, {made.features} components: {how}, kept in {where}",
        markup=False,
        soft_wrap=True,
    )


def _problem(name: str, rows: int | None) -> dict[str, Any]:
    """The arguments of `compile` for a problem of the test set, or a batch of it."""
    chosen = problems.get(name)
    if rows is not None:
        chosen = runs.perturbed(chosen, rows, 0)
    return {"f": chosen.f, "like": chosen.y0, "t0": chosen.t0, "batched": rows is not None}


def _file(path: Path, rows: int | None) -> dict[str, Any]:
    """The arguments of `compile` that a Python file has by their names."""
    if rows is not None:
        raise InputError("--batch is for problems of the test set: a file says `batched = True`")
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    try:
        found = runpy.run_path(str(path))
    except StiffguideError:
        raise
    except Exception as error:
        raise InputError(f"{path} does not run: {type(error).__name__}: {error}") from error
    if missing := [name for name in NEEDED if name not in found]:
        raise InputError(f"{path} has no {' and no '.join(missing)}: define f(t, y) and y0")
    asked = {name: found[name] for name in WANTED if name in found}
    return {"f": found["f"], "like": found["y0"], **asked}


@contextmanager
def _kept_in(folder: Path | None) -> Iterator[None]:
    """Have kernels kept in that folder, which others may read; raises InputError."""
    if folder is None:
        yield
        return
    folder = folder.absolute()
    if os.pathsep in str(folder):
        raise InputError(f"--out {folder}: a folder in STIFFGUIDE_CACHE has no {os.pathsep!r}")
    try:
        store.share(folder)
    except OSError as error:
        raise InputError(f"--out {folder} cannot be used: {error}") from error
    before = os.environ.get("STIFFGUIDE_CACHE")
    os.environ["STIFFGUIDE_CACHE"] = str(folder)
    try:
        yield
    finally:
        os.environ.pop("STIFFGUIDE_CACHE")
        if before is not None:
            os.environ["STIFFGUIDE_CACHE"] = before
