"""`stiffguide sweep`: a field of a Python file for all rows of a file of parameters."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from stiffguide import documents
from stiffguide.cli import models
from stiffguide.cli.tables import console, wrote
from stiffguide.errors import InputError
from stiffguide.studies import designs
from stiffguide.studies.sweep import sweep as run

SHOWN = 10  # failures that are named
KINDS = {"sobol": designs.sobol, "latin_hypercube": designs.latin_hypercube}
OF_FILE = ("t1", "save_at", "reduce")  # names beside those of `models`
FORM = (
    'a design is {"design": "grid", "axes": {"k": [1, 2]}}, or {"design": "sobol" or '
    '"latin_hypercube", "rows": 4096, "bounds": {"k": [0.1, 10]}, "log": ["k"], "seed": 0}'
)


def sweep(
    model: str, params: Path, out: Path, t1: float | None, progress: bool | None, **asked: Any
) -> None:
    """Solve every row; exit code 1 if one failed."""
    found = models.asked(model, None, None, OF_FILE)
    if t1 is not None:
        found["t1"] = t1
    if "t1" not in found:
        raise InputError(f"{model} has no t1: define it, or give --t1")
    given = {name: value for name, value in asked.items() if value is not None}
    found.pop("batched", None)
    show = sys.stderr.isatty() if progress is None else progress
    start = {"t0": 0.0, **found, **given}
    study = run(params=design(params), out=out, progress=show, **start)
    page = console()
    failures = list(islice(study.failures(), SHOWN + 1))
    page.print(f"{study.rows:,} rows in {study.shards:,} shards", markup=False)
    for _, sentence in failures[:SHOWN]:
        page.print(sentence, style="red", markup=False)
    wrote(page, out)
    if failures:
        more = ", and more of them" if len(failures) > SHOWN else ""
        page.print(f"Some rows failed{more}; see `Study.failures`.", style="red", markup=False)
        sys.exit(1)


def design(path: Path) -> Any:
    """Parameters of an npy, npz or csv file, or a design of a JSON or TOML one."""
    if path.suffix == ".npy":
        return documents.array(path)
    if path.suffix == ".npz":
        return documents.arrays(path, documents.entries(path))
    if path.suffix == ".csv":
        return documents.columns(path)
    if path.suffix not in documents.READERS:
        raise InputError(f"{documents.shown(path)}: give .npy, .npz, .csv, .json or .toml")
    return _made(documents.fields(path), documents.shown(path))


def _made(fields: Mapping[str, Any], name: str) -> designs.Design:
    """The design that the fields of a file describe."""
    kind = fields.get("design")
    if kind == "grid" and set(fields) == {"design", "axes"}:
        return designs.grid(**_numbers(fields["axes"], name))
    if kind not in KINDS or not {"rows", "bounds"} < set(fields) <= {
        *("design", "rows", "bounds", "log", "seed")
    }:
        raise InputError(f"{name}: {FORM}")
    rows = documents.whole(fields["rows"], f"{name}: rows", 1, 10**12)
    seed = documents.whole(fields.get("seed", 0), f"{name}: seed", 0, 2**63 - 1)
    log = fields.get("log", [])
    if not isinstance(log, list):
        raise InputError(f"{name}: {FORM}")
    box: dict[str, Any] = _numbers(fields["bounds"], name)
    return KINDS[str(kind)](rows, seed=seed, log=[str(word) for word in log], **box)


def _numbers(table: Any, name: str) -> dict[str, tuple[float, ...]]:
    if not isinstance(table, Mapping) or not all(isinstance(v, list) for v in table.values()):
        raise InputError(f"{name}: {FORM}")
    return {
        str(key): tuple(float(documents.number(v, f"{name}: {key}")) for v in values)
        for key, values in table.items()
    }
