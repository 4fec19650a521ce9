"""What a piece of code reads by name, and which of it can be told from the names alone."""

from __future__ import annotations

import dis
import functools
import types
from typing import NamedTuple

# What they return depends on more than their arguments.
OPAQUE = frozenset(
    {
        *("__import__", "compile", "eval", "exec", "getattr", "globals", "input", "locals"),
        *("open", "setattr", "vars"),
    }
)


class Reads(NamedTuple):
    """Names in a piece of code and in the functions inside it."""

    globals: tuple[str, ...]
    imports: tuple[str, ...]  # modules that it imports when it runs
    attributes: tuple[str, ...]  # whatever stands behind a dot, and more


@functools.cache
def reads(code: types.CodeType) -> Reads:
    """The names that a piece of code looks up."""
    looked: dict[str, None] = {}
    imported: dict[str, None] = {}
    attributes = dict.fromkeys(code.co_names)
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"):
            looked[step.argval] = None
        elif step.opname == "IMPORT_NAME":
            imported[step.argval] = None
    for value in code.co_consts:
        if isinstance(value, types.CodeType):
            inner = reads(value)
            looked.update(dict.fromkeys(inner.globals))
            imported.update(dict.fromkeys(inner.imports))
            attributes.update(dict.fromkeys(inner.attributes))
    return Reads(tuple(looked), tuple(imported), tuple(attributes))
