"""`stiffguide build`: the kernel of a model, ahead of its first solve, where others find it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stiffguide.cli import models
from stiffguide.cli.tables import console
from stiffguide.errors import InputError, UnsupportedError
from stiffguide.kernels import compile
from stiffguide.kernels.running import store, upkeep


def build(*, model: str, method: str | None, rows: int | None, folder: Path | None) -> None:
    """Build what a solve of the model by this method would."""
    asked = models.asked(model, method, rows)
    with _kept_in(folder):
        made, folders = compile(like=asked.pop("y0"), **asked), store.folders()
    if not any(map(upkeep.kept, folders)):
        raise UnsupportedError("the kernel can be built, but not kept: see `stiffguide info`")
    where = os.pathsep.join(map(str, folders))
    how = "was there already" if made.cached else f"built in {made.seconds:.1f} s"
    console().print(
        f"{made.method}, {made.features} components: {how}, kept in {where}",
        markup=False,
        soft_wrap=True,
    )


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
