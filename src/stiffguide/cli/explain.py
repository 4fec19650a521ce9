"""`stiffguide explain`: whether a model gets a kernel, and what stands in the way."""

from __future__ import annotations

from stiffguide import explanation
from stiffguide.cli import models
from stiffguide.cli.tables import console
from stiffguide.errors import printable


def explain(*, model: str, method: str | None, rows: int | None) -> None:
    """Say it in a few lines."""
    found = explanation.explain(**models.asked(model, method, rows))
    lines = (printable(line) for line in str(found).split("\n"))
    console().print("\n".join(lines), markup=False, soft_wrap=True)
