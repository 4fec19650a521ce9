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


def _isclose(a: Any, b: Any, *, rel_tol: float = 1e-9, abs_tol: float = 0.0) -> Any:
    size = evaluated("maximum", (abs(a), abs(b))) * rel_tol
    return abs(a - b) <= evaluated("maximum", (size, abs_tol))


def _remainder(x: Any, y: Any) -> Any:
    return x - y * evaluated("rint", (x / y,), np.rint)


def _softmax(x: Any, axis: Any = None) -> Any:
    powers = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return powers / np.sum(powers, axis=axis, keepdims=True)


def _logsumexp(a: Any, axis: Any = None) -> Any:
    high = np.max(a, axis=axis, keepdims=True)
    inside = np.sum(np.exp(a - high), axis=axis)
    return np.log(inside) + (high.reshape(np.shape(inside)) if np.ndim(inside) else high.item())


def _running_trapezoids(y: Any, x: Any = None, dx: float = 1.0, axis: int = -1,
                        initial: Any = None) -> Any:  # fmt: skip
    y = np.moveaxis(y, axis, -1)
    widths = dx if x is None else np.diff(x)
    found = np.cumsum(widths * (y[..., 1:] + y[..., :-1]) / 2.0, axis=-1)
    if initial is not None:
        found = np.concatenate([np.zeros_like(y[..., :1]) + initial, found], axis=-1)
    return np.moveaxis(found, -1, axis)


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
        math.isclose: _isclose,
        math.remainder: _remainder,
        math.modf: lambda x: (evaluated("frac", (x,)), evaluated("trunc", (x,))),
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
OF_SCIPY: dict[str, Callable[..., Any]] = {
    "softmax": _softmax,
    "logsumexp": _logsumexp,
    "trapezoid": getattr(np, "trapezoid", None) or getattr(np, "trapz"),  # noqa: B009 - by version
    "cumulative_trapezoid": _running_trapezoids,
}


def elsewhere(f: Any) -> Callable[..., Any] | None:
    """The rule for a function that numpy knows nothing of."""
    module, name = str(getattr(f, "__module__", "")), getattr(f, "__name__", "")
    if module.startswith("scipy.linalg"):
        return functions.RULES.get(getattr(np.linalg, name, None))
    if module.startswith("scipy."):
        return OF_SCIPY.get(name)
    return OF_MATH.get(f) if type(f).__hash__ is not None else None
