"""Functions that numpy knows nothing of: those of math, and some of scipy.linalg."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from stiffguide.tracing.arrays import functions
from stiffguide.tracing.arrays.symbols import evaluated
from stiffguide.tracing.arrays.ufuncs import total_of


def _log(x: Any, base: Any = None) -> Any:
    top = evaluated("log", (x,), np.log)
    return top if base is None else top / evaluated("log", (base,), np.log)


def _hypot(*values: Any) -> Any:
    return functions.RULES[np.linalg.norm](list(values))


SAME = (
    *("exp", "expm1", "log10", "log2", "log1p", "sqrt", "sin", "cos", "tan", "sinh", "cosh"),
    *("tanh", "fabs", "floor", "ceil", "trunc", "fmod", "copysign", "isnan", "isinf", "isfinite"),
    *("degrees", "radians", "erf", "erfc", "cbrt", "exp2"),
)
RENAMED = {
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2", "asinh": "arcsinh",
    "acosh": "arccosh", "atanh": "arctanh", "pow": "power",
}  # fmt: skip


def _of_math() -> dict[Any, Callable[..., Any]]:
    table: dict[Any, Callable[..., Any]] = {
        math.log: _log,
        math.hypot: _hypot,
        math.fsum: lambda values: total_of(list(values)),
        math.prod: lambda values, start=1: np.prod([start, *values]),
        math.dist: lambda p, q: _hypot(*(a - b for a, b in zip(p, q, strict=True))),
    }
    for name, other in ({name: name for name in SAME} | RENAMED).items():
        f = getattr(math, name, None)  # not all are in all versions
        if f is not None:
            table[f] = lambda *values, other=other: evaluated(other, values)
    return table


OF_MATH = _of_math()


def elsewhere(f: Any) -> Callable[..., Any] | None:
    """The rule for a function that numpy knows nothing of."""
    if str(getattr(f, "__module__", "")).startswith("scipy.linalg"):
        return functions.RULES.get(getattr(np.linalg, getattr(f, "__name__", ""), None))
    return OF_MATH.get(f) if type(f).__hash__ is not None else None
