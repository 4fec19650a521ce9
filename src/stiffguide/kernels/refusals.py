"""Fields that cannot be traced, remembered by their code, so that they are tried once."""

from __future__ import annotations

import types
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

from stiffguide.tracing.fingerprint import fingerprint
from stiffguide.tracing.together import written
from stiffguide.tracing.tracer import anchor

REMEMBERED = 256

# by the code of f and what is asked of it: the code that f reaches, and the reason
_REASONS: OrderedDict[Hashable, tuple[tuple[Any, ...], str]] = OrderedDict()


def known(f: Callable[..., Any], asked: Hashable) -> str | None:
    """Why this code was refused before, or None."""
    found = _REASONS.get((anchor(f), asked))
    if found is None:
        return None
    code, reason = found
    now = _code(f)
    same = len(code) == len(now) and all(a is b for a, b in zip(code, now, strict=True))
    return reason if same else None


def remember(f: Callable[..., Any], asked: Hashable, reason: str) -> None:
    """Keep a reason, and the code, for what is gone may have its address taken."""
    _REASONS[anchor(f), asked] = (_code(f), reason)
    if len(_REASONS) > REMEMBERED:
        _REASONS.popitem(last=False)


def forget() -> None:
    """Drop all reasons."""
    _REASONS.clear()


def _code(f: Callable[..., Any]) -> tuple[Any, ...]:
    """The code and the classes that a function reaches: a wrapper alone tells nothing."""
    kinds = (types.CodeType, type)
    return tuple(value for value in fingerprint(written(f)).alive if isinstance(value, kinds))
