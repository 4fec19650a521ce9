"""What the ufuncs of numpy and scipy mean for numbers, by their names."""

from __future__ import annotations

import math
from collections.abc import Callable

from stiffguide.graphs.scalars import Scalar
from stiffguide.tracing import pointwise

Formula = Callable[..., Scalar]

SAME = (  # numpy's name is torch's
    *("add", "floor_divide", "remainder", "float_power", "fmin", "fmax", "square", "reciprocal"),
    *("exp2", "log2", "log10", "positive", "deg2rad", "rad2deg", "logaddexp", "hypot", "copysign"),
    *("heaviside", "xlogy", "isnan", "isinf", "isfinite", "signbit", "logical_and", "logical_or"),
    *("logical_not", "logical_xor", "sin", "cos", "tan", "sinh", "cosh", "tanh", "sqrt", "exp"),
    *("expm1", "log", "log1p", "sign", "floor", "ceil", "trunc", "erf", "erfc", "fmod"),
    *("maximum", "minimum", "logit"),
)
RENAMED = {
    "subtract": "sub", "multiply": "mul", "divide": "div", "true_divide": "div", "power": "pow",
    "negative": "neg", "absolute": "abs", "fabs": "abs", "arcsin": "asin", "arccos": "acos",
    "arctan": "atan", "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh",
    "arctan2": "atan2", "rint": "round", "degrees": "rad2deg", "radians": "deg2rad",
    "less": "lt", "less_equal": "le", "greater": "gt", "greater_equal": "ge", "equal": "eq",
    "not_equal": "ne", "expit": "sigmoid", "xlog1py": "special_xlog1py", "sinc": "sinc",
}  # fmt: skip
# their values are truths
TRUTHS = frozenset(
    {
        *("less", "less_equal", "greater", "greater_equal", "equal", "not_equal", "isnan"),
        *("isinf", "isfinite", "signbit", "logical_and", "logical_or", "logical_not"),
        "logical_xor",
    }
)
# the same for truths, of which numpy makes truths
OF_TRUTHS = {
    "add": "logical_or", "multiply": "logical_and", "maximum": "logical_or",
    "minimum": "logical_and", "bitwise_or": "logical_or", "bitwise_and": "logical_and",
    "bitwise_xor": "logical_xor", "invert": "logical_not",
}  # fmt: skip


def _cbrt(x: Scalar) -> Scalar:
    root = x.apply("abs").apply("pow", 1 / 3)
    return (x < 0).where(-root, root)


def _clip(x: Scalar, low: Scalar, high: Scalar) -> Scalar:
    x = (x < low).where(low, x)  # as pointwise has it
    return (x > high).where(high, x)


def _exprel(x: Scalar) -> Scalar:
    return x.equals(0.0).where(1.0, x.apply("expm1") / x)


def _entr(x: Scalar) -> Scalar:
    return -pointwise.FORMULAS["xlogy"](x, x)


def _ndtr(x: Scalar) -> Scalar:
    return 0.5 * (-x * math.sqrt(0.5)).apply("erfc")


def _logaddexp2(x: Scalar, y: Scalar) -> Scalar:
    return pointwise.logaddexp(x * math.log(2), y * math.log(2)) / math.log(2)


FORMULAS: dict[str, Formula] = {
    **{name: pointwise.FORMULAS[name] for name in SAME},
    **{name: pointwise.FORMULAS[other] for name, other in RENAMED.items()},
    "cbrt": _cbrt,
    "clip": _clip,
    "conjugate": lambda x: x,
    "exprel": _exprel,
    "entr": _entr,
    "ndtr": _ndtr,
    "logaddexp2": _logaddexp2,
    "where": lambda c, a, b: c.where(a, b),
}
# several values
SEVERAL = {"divmod": ("floor_divide", "remainder"), "modf": ("frac", "trunc")}
FORMULAS["frac"] = pointwise.FORMULAS["frac"]
