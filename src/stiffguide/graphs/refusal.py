"""The one exception of tracing."""

from __future__ import annotations

from stiffguide.errors import UnsupportedError


class UntraceableError(UnsupportedError):
    """A field that cannot become a scalar graph; the sentence names the operation or the cause."""
