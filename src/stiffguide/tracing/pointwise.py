"""What the pointwise operations of ATen are in terms of scalars.

A formula takes the arguments of the operator's schema in their order: `Scalar`s for tensors and
numbers, and what was given for the rest. Where there is a choice of subgradient (relu, clamp), the
formula is written so that its derivative is the one that torch takes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from stiffguide.graphs.scalars import Scalar

Formula = Callable[..., Scalar]
Bound = Scalar | None


def _unary(op: str) -> Formula:
    return lambda x: x.apply(op)


def _binary(op: str) -> Formula:
    return lambda x, y: x.apply(op, y)


def _add(x: Scalar, y: Scalar, alpha: Scalar | float = 1.0) -> Scalar:
    return x + alpha * y


def _sub(x: Scalar, y: Scalar, alpha: Scalar | float = 1.0) -> Scalar:
    return x - alpha * y


def _rsub(x: Scalar, y: Scalar, alpha: Scalar) -> Scalar:
    return y - alpha * x


def remainder(x: Scalar, y: Scalar) -> Scalar:
    """The remainder with the sign of y, as Python's %."""
    r = x.apply("fmod", y)
    return (r.differs(0) & (r < 0).differs(y < 0)).where(r + y, r)


def _divide(x: Scalar, y: Scalar, rounding_mode: str | None = None) -> Scalar:
    if rounding_mode == "trunc":
        return (x / y).apply("trunc")
    if rounding_mode == "floor":
        whole = ((x - remainder(x, y)) / y).apply("round")
        return y.differs(0).where(whole, x / y)  # by zero it is infinite, as in torch
    return x / y


def _pow(x: Scalar, y: Scalar) -> Scalar:
    return x.power(y)


def _clamp(x: Scalar, low: Bound = None, high: Bound = None) -> Scalar:
    # comparisons, not max and min: the derivative at a bound is 1, and nan stays
    if low is not None:
        x = (x < low).where(low, x)
    if high is not None:
        x = (x > high).where(high, x)
    return x


def _sigmoid(x: Scalar) -> Scalar:
    # nothing overflows on either side, so that the derivative of a steep switch is no 0 inf
    e = (x < 0).where(x, -x).apply("exp")
    r = 1.0 / (1.0 + e)
    return (x < 0).where(e * r, r)


def _logical_xor(x: Scalar, y: Scalar) -> Scalar:
    return x.differs(0).differs(y.differs(0))


def _gelu(x: Scalar, approximate: str = "none") -> Scalar:
    if approximate == "tanh":
        inner = math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x))
        return 0.5 * x * (1.0 + inner.apply("tanh"))
    return x * 0.5 * (1.0 + (x * math.sqrt(0.5)).apply("erf"))


def _softplus(x: Scalar, beta: Scalar, threshold: Scalar) -> Scalar:
    z = x * beta
    return (z > threshold).where(x, z.apply("exp").apply("log1p") / beta)


def logaddexp(x: Scalar, y: Scalar) -> Scalar:
    """The logarithm of exp x + exp y."""
    high = x.apply("max", y)
    return high + (-(x - y).apply("abs")).apply("exp").apply("log1p")


def _hypot(x: Scalar, y: Scalar) -> Scalar:
    square = x * x + y * y
    return square.equals(0).where(0.0, square.apply("sqrt"))  # the derivative at 0 is 0


def _leaky_relu(x: Scalar, slope: Scalar) -> Scalar:
    return (x > 0).where(x, x * slope)


def _elu(x: Scalar, alpha: Scalar, scale: Scalar, input_scale: Scalar) -> Scalar:
    return (x > 0).where(x * scale, (x * input_scale).apply("expm1") * (alpha * scale))


def _round(x: Scalar, decimals: Scalar | None = None) -> Scalar:
    digits = None if decimals is None else decimals.constant
    scale: float = 10.0 ** (digits or 0.0)
    return (x * scale).apply("round") / scale


def _isfinite(x: Scalar) -> Scalar:
    return x.apply("abs") < math.inf


def _where(c: Scalar, a: Scalar, b: Scalar) -> Scalar:
    return c.where(a, b)


def _copysign(x: Scalar, y: Scalar) -> Scalar:
    size = x.apply("abs")
    return _signbit(y).where(-size, size)


def _signbit(x: Scalar) -> Scalar:
    return (x < 0) | (x.equals(0) & (1.0 / x < 0))  # which -0.0 has


def _heaviside(x: Scalar, y: Scalar) -> Scalar:
    return x.equals(0).where(y, (x < 0).where(0.0, 1.0))


def _xlogy(x: Scalar, y: Scalar) -> Scalar:
    # 0 log 0 alone is a case of its own: elsewhere the derivative at x = 0 is log y
    return (x.equals(0) & ((y <= 0) | y.equals(math.inf))).where(0.0, x * y.apply("log"))


def _xlog1py(x: Scalar, y: Scalar) -> Scalar:
    return (x.equals(0) & ((y <= -1) | y.equals(math.inf))).where(0.0, x * y.apply("log1p"))


def _sinc(x: Scalar) -> Scalar:
    z = x * math.pi
    return x.equals(0).where(1.0, z.apply("sin") / z)


def _logit(x: Scalar, eps: Bound = None) -> Scalar:
    if eps is not None:
        x = _clamp(x, eps, 1.0 - eps)
    return (x / (1.0 - x)).apply("log")


def _softplus_of(x: Scalar) -> Scalar:
    return (x < 0).where(0.0, x) + (x < 0).where(x, -x).apply("exp").apply("log1p")


def _hardtanh(x: Scalar, low: Scalar | float, high: Scalar | float) -> Scalar:
    return (x <= low).where(low, (x >= high).where(high, x))  # at a bound the derivative is 0


def _hardswish(x: Scalar) -> Scalar:
    return (x <= -3).where(0.0, (x >= 3).where(x, x * (x + 3.0) / 6.0))


def _celu(x: Scalar, alpha: Scalar) -> Scalar:
    return (x > 0).where(x, (x / alpha).apply("expm1") * alpha)


def _threshold(x: Scalar, threshold: Scalar, value: Scalar) -> Scalar:
    return (x <= threshold).where(value, x)


def _fmin(x: Scalar, y: Scalar) -> Scalar:
    return ((x <= y) | y.differs(y)).where(x, y)


def _fmax(x: Scalar, y: Scalar) -> Scalar:
    return ((x >= y) | y.differs(y)).where(x, y)


def _same(x: Scalar, *_: Any) -> Scalar:
    return x


def _named() -> dict[str, Formula]:
    table = {op: _unary(op) for op in ("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh")}
    for op in ("tanh", "asinh", "acosh", "atanh", "sqrt", "exp", "expm1", "log", "log1p", "abs"):
        table[op] = _unary(op)
    for op in ("erf", "erfc", "floor", "ceil", "trunc", "neg", "sign"):
        table[op] = _unary(op)
    for name, op in (("atan2", "atan2"), ("fmod", "fmod"), ("minimum", "min"), ("maximum", "max")):
        table[name] = _binary(op)
    for op in ("mul", "lt", "le", "eq", "ne"):
        table[op] = _binary(op)
    return table


FORMULAS: dict[str, Formula] = {
    **_named(),
    "add": _add,
    "sub": _sub,
    "rsub": _rsub,
    "div": _divide,
    "floor_divide": lambda x, y: _divide(x, y, "floor"),
    "remainder": remainder,
    "pow": _pow,
    "float_power": _pow,
    "gt": lambda x, y: x > y,
    "ge": lambda x, y: x >= y,
    "fmin": _fmin,
    "fmax": _fmax,
    "clamp": _clamp,
    "clamp_min": lambda x, low: _clamp(x, low),
    "clamp_max": lambda x, high: _clamp(x, None, high),
    "hardtanh": _hardtanh,
    "square": lambda x: x * x,
    "rsqrt": lambda x: 1.0 / x.apply("sqrt"),
    "reciprocal": lambda x: 1.0 / x,
    "exp2": lambda x: x.const(2.0).apply("pow", x),
    "log2": lambda x: x.apply("log") * (1 / math.log(2)),
    "log10": lambda x: x.apply("log") * (1 / math.log(10)),
    "sgn": _unary("sign"),
    "positive": _same,
    "frac": lambda x: x - x.apply("trunc"),
    "round": _round,
    "sigmoid": _sigmoid,
    "relu": lambda x: (x <= 0).where(0.0, x),
    "silu": lambda x: x * _sigmoid(x),
    "gelu": _gelu,
    "softplus": _softplus,
    "elu": _elu,
    "leaky_relu": _leaky_relu,
    "threshold": _threshold,
    "logit": _logit,
    "mish": lambda x: x * _softplus_of(x).apply("tanh"),
    "hardsigmoid": lambda x: _hardtanh(x + 3.0, 0.0, 6.0) / 6.0,
    "hardswish": _hardswish,
    "celu": _celu,
    "_prelu_kernel": lambda x, slope: (x > 0).where(x, slope * x),
    "deg2rad": lambda x: x * (math.pi / 180),
    "rad2deg": lambda x: x * (180 / math.pi),
    "tanh_backward": lambda g, v: g * (1.0 - v * v),
    "sigmoid_backward": lambda g, v: g * ((1.0 - v) * v),
    "logaddexp": logaddexp,
    "hypot": _hypot,
    "copysign": _copysign,
    "heaviside": _heaviside,
    "xlogy": _xlogy,
    "special_xlog1py": _xlog1py,
    "sinc": _sinc,
    "lerp": lambda x, y, w: x + w * (y - x),
    "addcmul": lambda x, a, b, value: x + value * a * b,
    "addcdiv": lambda x, a, b, value: x + value * a / b,
    "where": _where,
    "masked_fill": lambda x, mask, value: mask.where(value, x),
    "fill": lambda x, value: value,
    "isnan": lambda x: x.differs(x),
    "isinf": lambda x: x.apply("abs").equals(math.inf),
    "isfinite": _isfinite,
    "signbit": _signbit,
    "logical_and": lambda x, y: x & y,
    "logical_or": lambda x, y: x | y,
    "logical_not": lambda x: ~x,
    "logical_xor": _logical_xor,
}

# Of truth values only; of integers they would need bits.
TRUTHS: dict[str, Formula] = {
    "bitwise_and": lambda x, y: x & y,
    "bitwise_or": lambda x, y: x | y,
    "bitwise_xor": _logical_xor,
    "bitwise_not": lambda x: ~x,
    "__and__": lambda x, y: x & y,
    "__or__": lambda x, y: x | y,
    "__xor__": _logical_xor,
}
