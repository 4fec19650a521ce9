"""What a solve was asked for: as data, or by name where it has to be given again.

Numbers, texts, tensors and arrays in lists, tuples and dictionaries are data; so are the sparse
matrices of scipy, and the controllers, outputs and iterations that are made of such.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from stiffguide.algebra.krylov import Krylov
from stiffguide.packing import NoData, Packed
from stiffguide.stepping.controllers import PID, Fixed, Grid
from stiffguide.stepping.output import AtTimes, Chords, Dense, End, EveryStep, SteadyState

RECORDS: tuple[Any, ...] = (PID, Fixed, Krylov)
ATTRIBUTES: dict[type, tuple[str, ...]] = {  # of which values of these types are made
    **{kind: tuple(x.name for x in fields(kind)) for kind in RECORDS},
    **dict.fromkeys((End, EveryStep, Dense), ()),
    **dict.fromkeys((Grid, AtTimes, Chords), ("times",)),
    SteadyState: ("rtol", "atol"),
}
MAKERS: dict[str, Any] = {kind.__name__: kind for kind in ATTRIBUTES}
MATRIX = "matrix"
FORMATS = ("csr", "csc", "coo", "bsr", "dia", "lil", "dok")


def written(value: Any) -> tuple[str, Any] | None:
    """The value as data, and what it is to become; None where it has to be given again."""
    data: tuple[str, Any]
    names = ATTRIBUTES.get(type(value))
    if names is not None:
        data = type(value).__name__, {name: getattr(value, name) for name in names}
    elif hasattr(value, "tocoo") and getattr(value, "format", "") in FORMATS:
        coo = value.tocoo()
        data = MATRIX, (coo.shape, coo.row, coo.col, coo.data, value.format)
    else:
        data = "", value
    try:
        Packed(data)
    except NoData:
        return None
    return None if _named(data) else data


def made(data: tuple[str, Any]) -> Any:
    """The value again; raises ValueError, KeyError or TypeError where there can be none."""
    kind, value = data
    if not kind:
        return value
    if kind == MATRIX:
        from scipy.sparse import coo_matrix

        shape, row, column, entries, form = value
        if form not in FORMATS:
            raise ValueError(form)
        return coo_matrix((entries, (row, column)), shape=shape).asformat(form)
    return MAKERS[kind](**value)


def _named(value: Any) -> bool:
    """Whether it holds a NamedTuple, whose name would be lost."""
    if isinstance(value, Mapping):
        return any(map(_named, value.values()))
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return True
    return isinstance(value, (list, tuple)) and any(map(_named, value))


def digest(value: Any) -> str:
    """What tells an argument from others: its contents where it is data, else its type."""
    data = written(value)
    return Packed(data).digest() if data is not None else f"a {type(value).__qualname__}"


def told(value: Any) -> str:
    """A value in a sentence."""
    if getattr(value, "shape", ()) != ():
        return f"a {type(value).__name__} of shape {tuple(value.shape)}"
    if isinstance(getattr(value, "family", None), str):  # a method, known by its name
        return repr(value.name)
    if hasattr(value, "__qualname__"):
        return f"the {type(value).__name__} {value.__qualname__}"
    return reprlib.repr(value)
