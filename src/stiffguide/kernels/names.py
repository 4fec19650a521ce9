"""The backends that a solve may be asked for, by name."""

from __future__ import annotations

import os
from typing import Literal, get_args

from stiffguide.errors import InputError

Backend = Literal["eager", "kernel", "auto"]
Way = Literal["eager", "kernel", "auto", "kernel if possible"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)
# what $STIFFGUIDE_BACKEND makes of "auto"
INSTEAD: dict[str, Way] = {"auto": "auto", "eager": "eager", "kernel": "kernel if possible"}
ASKED = {name: f"backend={name!r} was asked for" for name in BACKENDS}
UNBOUNDED = (
    "kernel: cannot be used here, it does not hold states at zero or above (nonnegative); use "
    "backend='eager'"
)
SWITCHED = "STIFFGUIDE_BACKEND says so"


def way(backend: str) -> Way:
    """What a solve is to do; raises InputError for a name that is none.

    $STIFFGUIDE_BACKEND is heard where nobody asked for a backend by name: "eager", or "kernel" to
    build at once what can be built.
    """
    if backend == "auto":
        found = INSTEAD.get(os.environ.get("STIFFGUIDE_BACKEND", "auto"))
        if found is None:
            raise InputError(
                f"STIFFGUIDE_BACKEND: {os.environ['STIFFGUIDE_BACKEND']!r} is unknown; set it to "
                "'eager', 'kernel' or 'auto', or unset it"
            )
        return found
    if backend == "eager":
        return "eager"
    if backend == "kernel":
        return "kernel"
    raise InputError(f"backend: {backend!r} is unknown; give 'eager', 'kernel' or 'auto'")
