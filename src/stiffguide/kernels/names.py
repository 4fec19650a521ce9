"""The backends that a solve may be asked for, by name."""

from __future__ import annotations

from typing import Literal, get_args

from stiffguide.errors import InputError

Backend = Literal["eager", "kernel", "auto"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)


def check(backend: str) -> None:
    """Raise InputError for a name that is none."""
    if backend not in BACKENDS:
        raise InputError(f"backend: {backend!r} is unknown; give 'eager', 'kernel' or 'auto'")
