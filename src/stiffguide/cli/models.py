"""A model that a command is given: a problem of the test set, or what a Python file defines."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

from stiffguide import problems
from stiffguide.cli import runs
from stiffguide.errors import InputError, StiffguideError

WANTED = ("args", "t0", "batched", "method")  # names in a file, beside those of f and y0
PLACE = re.compile(r"(.+\.py)(?::([^:/\\]*))?", re.DOTALL)  # FILE, or FILE:f


def asked(
    model: str, method: str | None, rows: int | None, more: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The arguments f, y0, t0, batched, and where they are there args, method, and `more`."""
    if PLACE.fullmatch(model):
        found = _file(*place(model, "f"), rows, more)
    else:
        found = _problem(model, rows)
    return found if method is None else {**found, "method": method}


def place(model: str, name: str) -> tuple[Path, str]:
    """The file of FILE or FILE:NAME, and the name, `name` where none is told."""
    found = PLACE.fullmatch(model)
    assert found is not None
    return Path(found[1]), found[2] or name


def ran(path: Path) -> dict[str, Any]:
    """What a Python file defines; raises InputError if it does not run."""
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    try:
        return runpy.run_path(str(path))
    except StiffguideError:
        raise
    except Exception as error:
        raise InputError(f"{path} does not run: {type(error).__name__}: {error}") from error


def _problem(name: str, rows: int | None) -> dict[str, Any]:
    """The arguments for a problem of the test set, or a batch of it."""
    chosen = problems.get(name)
    if rows is not None:
        chosen = runs.perturbed(chosen, rows, 0)
    return {"f": chosen.f, "y0": chosen.y0, "t0": chosen.t0, "batched": rows is not None}


def _file(path: Path, name: str, rows: int | None, more: tuple[str, ...]) -> dict[str, Any]:
    """The arguments that a Python file has by their names; `name` is that of f."""
    if rows is not None:
        raise InputError("--batch is for problems of the test set: a file says `batched = True`")
    found = ran(path)
    if missing := [needed for needed in (name, "y0") if needed not in found]:
        raise InputError(f"{path} has no {' and no '.join(missing)}: define {name}(t, y) and y0")
    wanted = {key: found[key] for key in (*WANTED, *more) if key in found}
    return {"f": found[name], "y0": found["y0"], **wanted}
