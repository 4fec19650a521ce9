"""Styles of programs, as users of scipy write them."""

# ruff: noqa: C408, C417, RUF005, RUF007

from __future__ import annotations

import functools
import types
from collections import namedtuple
from math import sqrt

import numpy as np
import numpy.linalg as la
from numpy import tanh
from scipy import linalg
from scipy_cases import case

# styles -------------------------------------------------------------------------------------------

A = np.array([[0.0, 1.0], [-2.0, -0.5]])
PARAMS = dict(k1=0.3, k2=[0.1, 0.2], deep=dict(n=2))
SETTINGS = types.SimpleNamespace(gain=2.0, matrix=np.eye(2) * 3)
Rates = namedtuple("Rates", "up down")
RATES = Rates(up=0.4, down=np.array([0.1, 0.3]))


@case([0.5, 0.3])
def parameters_in_dicts(t, y):
    p = PARAMS
    return [-p["k1"] * y[0] ** p["deep"]["n"], sum(k * y[0] for k in p["k2"]) - y[1]]


@case([0.5, 0.3])
def namespaces(t, y):
    return SETTINGS.gain * y - SETTINGS.matrix @ y * RATES.up + RATES.down


@case([0.5, 0.3])
def local_import(t, y):
    from math import atan2

    import numpy as xp

    return [xp.exp(-y[0]), atan2(y[1], y[0])]


@case([0.5, 0.3])
def helpers(t, y):
    return _first(y) + [_second(y, t=t)]


def _first(y):
    return [-_rate(y[0]) * y[1]]


def _second(y, *, t):
    return _rate(y[0]) * y[1] - 0.1 * tanh(t)


def _rate(x, k=0.7):
    return k * sqrt(abs(x) + 0.1)


@case([0.5, 0.3])
def recursion(t, y):
    def power(x, n):
        return 1 if n == 0 else x * power(x, n - 1)

    return [-power(y[0], 3), power(y[1], 2)]


@case([0.5, 0.3, 0.1])
def loops(t, y):
    n = len(y)
    out = [0.0] * n
    for i, (left, right) in enumerate(zip(y[:-1], y[1:], strict=True)):
        out[i] += right - left
    for i in reversed(range(n)):
        out[i] -= 0.1 * y[i]
    k = 0
    while k < 2:
        out[k] *= 2
        k += 1
    return out


@case([0.5, 0.3, 0.1])
def while_on_a_number(t, y):
    x, k = y[0], 0
    while x > 0.2 and k < 5:
        x, k = x / 2, k + 1
    return [x - y[0], k * y[1], -y[2]]


@case([0.5, 0.3, 0.1])
def chained(t, y):
    inside = 0.2 < y[1] < 0.6 or not y[0] > 0.1
    return np.array([1.0 if inside else -1.0, 0.5 if y[0] and y[2] else 0.0, any(y > 0.4)]) - y


@case([0.5, 0.3, 0.1])
def conditions_on_arrays(t, y):
    if (np.any(y < 0.2) and not np.all(y > 0)) or (y > 10).any():
        return -y
    return -2 * y if np.isclose(y[0], 0.5, atol=0.2) else y


@case([0.5, 0.3, 0.1])
def masked(t, y):
    dy = -y.copy()
    dy[y < 0.2] = 0
    big = y > 0.4
    dy[big] = dy[big] * 3
    return dy


@case([0.5, 0.3, 0.1])
def extremes_by_place(t, y):
    k = np.argmax(y)
    dy = np.zeros(3)
    dy[k] = -1
    dy[y.argmin()] += 1
    return dy + sorted(y)[1] + np.sort(y)


@case([0.5, 0.3, 0.1])
def truths_added(t, y):
    return [(y[0] > 0) + (y[1] > 0), ((y > 0) * 1.0).sum() + np.sum(y > 0.2), (y[0] > 0) * y[2]]


@case([0.5, 0.3, 0.1])
def guarded(t, y):
    root = np.sqrt(y[0]) if y[0] > 0 else 0.0
    safe = np.log(y[1]) if y[1] > 1e-9 else -20.0
    ratio = y[0] / y[2] if y[2] != 0 else 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        third = np.where(y[2] > 0, 1 / y[2], 0.0)
    return root, safe, ratio - third


@case([0.5, 0.3, 0.1])
def printing(t, y):
    print(f"t = {t:.3f}", y, y[0])
    return -y


LOG = []


@case([0.5, 0.3, 0.1])
def logging(t, y):
    LOG.append((t, y.copy()))
    return -y


@case([0.5, 0.3, 0.1])
def types_asked(t, y):
    y = np.asarray(y, dtype=float)
    assert isinstance(y, np.ndarray)
    assert isinstance(y[0], float)
    assert y.ndim == 1
    assert y.shape == (3,)
    assert y.dtype == float
    factor = 2.0 if isinstance(t, (int, float)) else 1.0
    return (-factor * y.astype(float)).tolist()


@case([0.5, 0.3, 0.1])
def deep_copies(t, y):
    import copy

    z = copy.deepcopy(y)
    z[0] = 0.0
    return copy.copy(z) - y


@case([0.5, 0.3, 0.1])
def vectorized_function(t, y):
    step = np.vectorize(lambda v: v if v > 0.2 else 0.0)
    return step(y) - y


@case([0.5, 0.3], column=True)
def columns(t, y):
    return np.array([y[1], -y[0] * np.ones(y.shape[1])])


@case([0.5, 0.3], column=True)
def matrix_of_columns(t, y):
    return A @ y


@case([0.5, 0.3])
def counter(t, y):
    global evaluations
    evaluations += 1
    return -y


evaluations = 0


@case([0.5, 0.3], 3.0)
def length_of_a_loop(t, y, n):
    total = y.copy()
    for k in range(int(n)):
        total -= 0.1 * k * y
    return total


@case([0.5, 0.3], 0.7, 0.2)
def branch_on_an_argument(t, y, k, c):
    return -k * y if k > 0.5 else c * y


@case([0.5, 0.3])
def inner_class(t, y):
    class Pair:
        def __init__(self, a, b):
            self.a, self.b = a, b

        def __add__(self, other):
            return Pair(self.a + other.a, self.b + other.b)

        def __iter__(self):
            return iter((self.a, self.b))

    return list(Pair(-y[0], y[1]) + Pair(np.sin(y[1]), 0.1))


class Vec:
    def __init__(self, *v):
        self.v = np.array(v)

    def __mul__(self, k):
        return Vec(*(self.v * k))

    __rmul__ = __mul__

    def __len__(self):
        return len(self.v)

    def __getitem__(self, i):
        return self.v[i]


@case([0.5, 0.3])
def vectors(t, y):
    v = 2 * Vec(y[1], -np.exp(y[0]))
    return [v[i] for i in range(len(v))]


@case([0.5, 0.3])
def linear_algebra(t, y):
    M = np.array([[2.0, 0.3], [0.1, 1.0]])
    return linalg.solve(M, y) + linalg.expm(0.1 * M) @ y + la.matrix_power(M, 2) @ y


@case([0.5, 0.3])
def meshes(t, y):
    X, Y = np.meshgrid(y, np.arange(2))
    D = X - y[:, np.newaxis] + Y
    return np.tril(D).sum(axis=1) + np.trace(D) + D.T.max(axis=0) + np.flip(D, 1)[0]


@case([0.5, 0.3, 0.2, 0.1])
def complex_by_hand(t, y):
    re, im = y[::2], y[1::2]
    out = np.zeros(4)
    out[0::2] = -im * (re**2 + im**2)
    out[1::2] = re * (re**2 + im**2)
    return out


@case([0.3, 0.2])
def caught(t, y):
    try:
        return [1 / y[0], np.log(y[1])]
    except ZeroDivisionError:
        return [0.0, 0.0]


@case([0.3, 0.2])
def generator_expressions(t, y):
    return np.array(list(map(lambda v: -(v**2), y))) + max(v for v in y) - min(y)


@functools.lru_cache
def gains(n):
    return np.linspace(1, 2, n)


@case([0.3, 0.2])
def cached_constants(t, y):
    return -gains(2) * y


@case(np.full((2, 2), 0.3) + np.eye(2))
def matrix_state(t, Y):
    return A @ Y + Y @ A.T - Y @ Y
