"""Functions and arrays of numpy, as users of scipy write them."""

from __future__ import annotations

import math

import numpy as np
from scipy_cases import case

# arrays and functions of numpy -------------------------------------------------------------------

BUFFER = np.zeros(3)


@case([0.5, 0.3, 0.1])
def reused_buffer(t, y):
    BUFFER[0] = -y[0]
    BUFFER[1:] = y[:-1] - y[1:]
    return BUFFER


@case([0.5, 0.3, 0.1])
def out_arguments(t, y):
    out = np.empty(3)
    np.multiply(y, -2.0, out=out)
    np.add(out, 1.0, out)
    out *= np.arange(3)
    out[y > 0.2] += 0.5
    out **= 2
    return out


@case([0.5, 0.3, 0.1])
def written_tables(t, y):
    x = np.linspace(0, 1, 3)
    x[1] = y[0]
    z = np.array([1.0, 2.0, 3.0])
    z[0] += y[2]
    w = np.eye(3)
    w[0, 2] = y[1]
    return w @ (x - z)


@case([0.5, 0.3, 0.1])
def reductions(t, y):
    return [
        y.sum() - y.max() + y.mean(),
        np.prod(y) + np.amin(y) * np.std(y),
        np.linalg.norm(y) + np.linalg.norm(y, 1) + np.linalg.norm(y, np.inf) + np.var(y, ddof=1),
    ]


@case([0.5, 0.3, 0.1])
def ufunc_methods(t, y):
    return (
        np.add.reduce(y) * np.multiply.accumulate(y)
        + np.multiply.outer(y, y).sum(axis=0)
        + np.maximum.reduce([y, 0.2 * np.ones(3)])
        + np.cumprod(y)
    )


@case([0.5, 0.3, 0.1])
def products(t, y):
    M = np.arange(9.0).reshape(3, 3)
    a = np.einsum("i,ij,j->", y, M, y) + np.inner(y, M[0]) + np.vdot(y, y)
    b = np.tensordot(M, y, axes=1) + np.outer(y, y) @ y + y @ M + y.dot(M) + np.kron(y, [1.0])
    return b * a


@case([0.5, 0.3, 0.1])
def selections(t, y):
    a = np.select([y < 0.2, y < 0.4], [y**2, 2 * y], default=np.sqrt(y))
    b = np.piecewise(y, [y < 0.2, y >= 0.2], [lambda x: -x, lambda x: x**2])
    c = np.heaviside(y - 0.3, 1.0) + np.nan_to_num(y) + np.round(10 * y) + np.sinc(y)
    return a + b + c * (y > 0.2) + np.logical_and(y > 0.2, t > 0) * (y < 0.9)


@case([-0.5, 0.3, 0.1])
def integer_division(t, y):
    q, r = divmod(y[1] * 10, 3)
    return [
        y[0] // 0.2 + y[0] % 0.7,
        7 % (1 + y[1]) + np.mod(y[0], 0.3) - np.fmod(y[0], 0.3),
        q - r,
    ]


@case([0.5, 0.3, 0.1])
def powers(t, y):
    return [2 ** y[0] + y[0] ** -2 + y[1] ** 0.5, np.power(y[1], 1.5) + y[1] ** y[0], pow(y[2], 3)]


@case([0.5, 0.3, 0.1])
def of_the_math_module(t, y):
    a, b, c = y
    return [
        math.log(a) + math.log(b, 3) + math.log10(c) + math.hypot(a, b, c),
        math.pow(a, 2) + math.fabs(b) + math.tanh(c) + math.erf(a) + math.asin(b) + math.log1p(c),
        math.floor(10 * a) + math.copysign(1, -b) + math.degrees(c) + math.prod([a, b]) + math.e,
    ]


@case([0.5, 0.3, 0.1])
def of_numpy(t, y):
    return (
        np.arctan2(y, 0.3) + np.hypot(y, 2) + np.log2(y) + np.cbrt(y) + np.square(y)
        + np.arcsinh(y) + np.log10(y) + np.exp2(y) + np.deg2rad(y) + np.reciprocal(y)
        + np.logaddexp(y, 0) + np.fmax(y, 0.2) + np.trunc(5 * y) + np.ceil(y) + np.rint(3 * y)
    )  # fmt: skip
