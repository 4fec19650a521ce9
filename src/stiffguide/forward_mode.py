"""Forward mode of torch, without the warning that torch gives its user at the first use.

torch loads rules for forward mode when the first dual number is made, and does so by its own
`torch.jit.script`, of which it warns (a DeprecationWarning, and from torch 2.14 on a FutureWarning,
which everybody sees): whoever runs `python -W error` would have an exception from a solve. So they
are loaded here, once, while that one sentence of that one module is not said in this thread.
Filters of warnings are no way to do it: `catch_warnings` puts back those of all threads.
"""

from __future__ import annotations

import re
import sys
import threading
import warnings
from functools import cache
from typing import Any

from torch.autograd import forward_ad

SAYS = "torch.jit._script"  # the module that warns, by the name `warnings` in it
SENTENCE = re.compile(r"`torch\.jit\.script` is (deprecated|not supported)")


class Muted:
    """The module `warnings`, but for one sentence in the thread that made this."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()

    def __getattr__(self, name: str) -> Any:
        return getattr(warnings, name)

    def warn(
        self, message: Any, category: Any = None, stacklevel: int = 1, source: Any = None
    ) -> None:
        """As `warnings.warn`, for who called this."""
        if threading.get_ident() == self._thread and SENTENCE.match(str(message)):
            return
        warnings.warn(message, category, stacklevel + 1, source)


@cache
def load() -> None:
    """Have torch load its rules before they are asked for."""
    # torch versions without this function have no warning either
    rules = getattr(forward_ad, "_maybe_load_decompositions", lambda: None)
    speaker: Any = sys.modules.get(SAYS)
    if getattr(speaker, "warnings", None) is not warnings:  # torch has changed, or another thread
        rules()  # is at it, for which the import system waits
        return
    speaker.warnings = Muted()
    try:
        rules()
    finally:
        speaker.warnings = warnings
