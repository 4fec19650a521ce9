"""Whether a func does more than to give a value, such as to count how often it is called.

A kernel calls func a few times only, when it is made; who comes with a counter in func reads it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from stiffguide.fronts.torchdiffeq.state import Function

SIZED = (list, dict, set, bytearray)
DEPTH = 3  # objects within objects
_known: dict[Any, bool] = {}  # by the code of func, of which the number is bounded by the program


def affects(func: Function, t: Tensor, y: Any) -> bool:
    """Whether a call changes a number, or the length of a list, that func can reach.

    The first func of a code is called once for that.
    """
    key = _code(func)
    if key is None:
        return True  # nobody can look into it
    if key not in _known:
        before = list(_reached(func, DEPTH))
        func(t, y)
        _known[key] = before != list(_reached(func, DEPTH))
    return _known[key]


def _code(func: Any) -> Any:
    """What tells functions apart that do different things."""
    if isinstance(func, functools.partial):
        return _code(func.func)
    if inspect.ismethod(func):
        return func.__func__.__code__
    if inspect.isfunction(func):
        return func.__code__
    if isinstance(func, nn.Module):
        return tuple(type(module) for module in func.modules())
    return type(func) if hasattr(type(func), "__dict__") else None


def _reached(value: Any, depth: int) -> Iterator[Any]:
    """Numbers, and the lengths of containers."""
    if isinstance(value, (int, float, str)):
        yield value
    elif isinstance(value, SIZED):
        yield len(value)
    elif isinstance(value, Tensor):
        yield value._version if not value.is_inference() else 0
    elif depth:
        for inner in _inside(value):
            yield from _reached(inner, depth - 1)


def _inside(value: Any) -> list[Any]:
    """What a function or an object holds."""
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if inspect.ismethod(value):
        return [value.__func__, value.__self__]
    if inspect.isfunction(value):
        cells = [cell.cell_contents for cell in value.__closure__ or () if _full(cell)]
        names = [value.__globals__.get(name) for name in value.__code__.co_names]
        plain = (int, float, *SIZED)
        return [*cells, *vars(value).values(), *(x for x in names if isinstance(x, plain))]
    if isinstance(value, nn.Module):
        held = (vars(module).values() for module in value.modules())
        return [*value.buffers(), *(x for values in held for x in values)]
    return list(vars(value).values()) if hasattr(value, "__dict__") else []


def _full(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # of a name that has no value yet
        return False
