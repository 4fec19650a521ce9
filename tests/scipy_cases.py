"""A right-hand side as users of scipy write it, and the table of all of them."""

from __future__ import annotations

from typing import Any, NamedTuple


class Case(NamedTuple):
    f: Any
    y0: Any
    args: tuple[Any, ...] = ()
    column: bool = False


FIELDS: dict[str, Case] = {}


def case(y0, *args, column=False):
    def keep(f):
        FIELDS[getattr(f, "__name__", type(f).__name__)] = Case(f, y0, args, column)
        return f

    return keep


def add(name, f, y0, *args):
    FIELDS[name] = Case(f, y0, args)
