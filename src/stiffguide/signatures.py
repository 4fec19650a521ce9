"""Calls that do not fit a signature: Python's TypeError, with what is to be written instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from inspect import Parameter, signature
from typing import Any, TypeVar, cast

from stiffguide import foreign
from stiffguide.errors import CallError

F = TypeVar("F", bound=Callable[..., Any])

NAMED = 3  # wrong arguments that a sentence names
ORDER = "{name}: this is the order of {library}, {theirs}; here it is {ours}"


def answered(f: F) -> F:
    """f, whose callers read what to write where their call does not fit: a CallError."""

    @wraps(f)
    def call(*args: Any, **given: Any) -> Any:
        try:
            return f(*args, **given)
        except TypeError as error:
            trace = error.__traceback__
            if trace is None or trace.tb_next is not None:  # f was entered
                raise
            raise CallError(_sentence(f, args, given, error)) from None

    return cast("F", call)


def _sentence(
    f: Callable[..., Any], args: Sequence[Any], given: Mapping[str, Any], error: TypeError
) -> str:
    known = signature(f).parameters
    unknown = [foreign.argument(name, known) for name in given if name not in known]
    if unknown:
        more = len(unknown) - NAMED
        rest = f" (and {more} more)" if more > 0 else ""
        return f"{f.__name__}: {'; '.join(unknown[:NAMED])}{rest}"
    row = _order(args)
    if row is not None and "t1" in known:
        said = row._asdict()
        return ORDER.format(name=f.__name__, **said)
    return f"{error}; it is called as {_usage(f)}, and the rest by name"


def _usage(f: Callable[..., Any]) -> str:
    """A call of f with what it cannot do without."""
    needed = [p for p in signature(f).parameters.values() if p.default is Parameter.empty]
    words = (p.name + "=..." * (p.kind is Parameter.KEYWORD_ONLY) for p in needed)
    return f"{f.__name__}({', '.join(words)})"


def _order(args: Sequence[Any]) -> foreign.Row | None:
    """Whose order of arguments this is, if that can be seen."""
    scipy, torchdiffeq, diffrax = foreign.CALLS
    second = args[1] if len(args) > 1 else None
    if isinstance(second, (tuple, list)) and [*map(_number, second)] == [True, True]:
        return scipy
    if len(args) == 3 and getattr(args[2], "__len__", None) and getattr(args[2], "ndim", 1):
        return torchdiffeq
    return diffrax if len(args) == 6 else None


def _number(x: Any) -> bool:
    return isinstance(x, (int, float))


def unknown_attribute(self: Any, name: str) -> Any:
    """`__getattr__` of a Solution: what is to be read instead, in an AttributeError."""
    instead = foreign.attribute(name)
    message = f"{type(self).__name__!r} object has no attribute {name!r}"
    raise AttributeError(message + (instead and f": {instead}"), name=name, obj=self)
