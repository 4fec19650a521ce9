"""Control, circuits, diffusion by lines, and tables, as users of scipy write them."""

from __future__ import annotations

import functools
import math
from math import cos, pi

import numpy as np
import scipy.sparse as sparse
from scipy import interpolate
from scipy.interpolate import CubicSpline, interp1d
from scipy_cases import add, case

# control and circuits -----------------------------------------------------------------------------


@case([0.0, 0.0, 0.0])
def pid(t, y):
    x, v, e = y
    error = (1.0 if t > 0.3 else 0.0) - x
    u = np.clip(10 * error + 2 * e - 3 * v, -5, 5)
    return [v, u - x, error]


A = np.array([[0.0, 1.0], [-2.0, -0.5]])
B = np.array([[0.0], [1.0]])
K = np.array([[1.5, 0.7]])


@case([1.0, 0.0])
def state_feedback(t, x):
    u = -K @ x
    return A @ x + B @ u


@case([1.0, 0.0])
def column_vectors(t, x):
    x = x.reshape(-1, 1)
    u = np.matmul(-K, x)
    return (A.dot(x) + B.dot(u)).flatten()


@case([1.0, 0.2, 0.3])
def saturated(t, x):
    u = min(max(-2 * x[0] - x[1], -1.0), 1.0)
    return [x[1], u, abs(u) - x[2]]


@case([20.0, 18.0])
def thermostat(t, y):
    T, W = y
    heat = 0.0
    if t % 24 < 8 and T < 20:
        heat = 1.5
    elif T < 16:
        heat = 1.0
    return np.array([heat - 0.2 * (T - 10), 40 * (T - W)])


@case([1.0, 0.2], 0.3)
def pump(t, y, rate):
    level = max(y[0], 0.0)
    out = 0.4 * np.sqrt(level) if level > 0.1 else 4 * 0.4 * level
    return [rate - out, min(out, 0.2) - 30 * y[1]]


@case([0.1, 0.2, 0.3])
def chua(t, u):
    x, y, z = u
    m0, m1 = -1.143, -0.714
    h = m1 * x + 0.5 * (m0 - m1) * (np.fabs(x + 1) - np.fabs(x - 1))
    return [15.6 * (y - x - h), x - y + z, -28 * y]


@case([0.1, 0.0])
def diode(t, y):
    v, i = y
    current = 1e-12 * (np.expm1(v / 0.025) if v < 0.6 else np.expm1(24.0) * (1 + (v - 0.6) / 0.025))
    source = 0.4 * np.sin(2 * pi * 50 * t)
    return [(i - current) / 1e-3, (source - v - 10 * i) / 1e-2]


@case([0.0, 0.0])
def square_wave(t, y):
    drive = 1.0 if math.fmod(t, 2.0) < 1.0 else -1.0
    saw = t - np.floor(t)
    return np.array([drive - y[0], saw - y[1]])


def low_pass(tau):
    def rhs(t, y):
        u = np.sin(3 * t) + np.cos(t) ** 2
        return (u - y) / tau

    return rhs


add("closure", low_pass(0.1), [0.2])
add("lambda", lambda t, y: [y[1], -(y[0] ** 3) + cos(t)], [1.0, 0.1])
add("partial", functools.partial(lambda k, t, y, n: -k * y**n, 2.0, n=2), [1.0, 0.5])


@case([1.0, 0.1], (0.3, [1.0, 2.0]), np.array([[1.0, 0.2], [0.1, 2.0]]))
def nested_arguments(t, y, pair, M):
    k, (a, b) = pair
    return -k * (M @ y) + np.array([a, b]) * t


# partial differential equations by lines ----------------------------------------------------------


@case(1 + np.sin(2 * np.pi * np.arange(1, 9) / 9))
def heat(t, u):
    n = len(u)
    dx = 1 / (n + 1)
    d = np.empty_like(u)
    d[0] = (u[1] - 2 * u[0]) / dx**2
    d[1:-1] = (u[2:] - 2 * u[1:-1] + u[:-2]) / dx**2
    d[-1] = (u[-2] - 2 * u[-1]) / dx**2
    return d


@case(np.linspace(0.1, 1.0, 16))
def brusselator_on_a_line(t, y, n=8):
    u, v = y[:n], y[n:]
    c = 0.02 * (n + 1) ** 2
    lap = lambda w, b: np.concatenate(([b], w[:-1])) - 2 * w + np.concatenate((w[1:], [b]))  # noqa: E731
    return np.concatenate(
        (1 + u * u * v - 4 * u + c * lap(u, 1.0), 3 * u - u * u * v + c * lap(v, 3.0))
    )


@case(np.exp(-(np.linspace(-2, 2, 10) ** 2)))
def burgers(t, u):
    dx = 0.1
    flux = 0.5 * u**2
    return -(flux - np.roll(flux, 1)) / dx + 0.01 * (np.roll(u, -1) - 2 * u + np.roll(u, 1)) / dx**2


@case(np.cos(np.arange(10.0)) + 1.2)
def advection_by_gradient(t, u):
    return -0.5 * np.gradient(u, 0.1) + 0.01 * np.gradient(np.gradient(u, 0.1), 0.1)


@case(np.random.default_rng(0).uniform(size=16))
def gray_scott(t, y):
    u, v = y.reshape(2, 2, 4)

    def laplacian(w):
        return sum(np.roll(w, s, axis) for s in (1, -1) for axis in (0, 1)) - 4 * w

    du = 0.2 * laplacian(u) - u * v**2 + 0.04 * (1 - u)
    dv = 0.1 * laplacian(v) + u * v**2 - 0.1 * v
    return np.stack([du, dv]).ravel()


LAPLACIAN = sparse.diags([1.0, -2.0, 1.0], [-1, 0, 1], shape=(8, 8)).tocsr() * 81


@case(np.linspace(0.2, 0.9, 8))
def sparse_matrix(t, u):
    return LAPLACIAN @ u + u * (1 - u)


@case(np.linspace(0.2, 0.9, 8), sparse.csr_array(LAPLACIAN))
def sparse_argument(t, u, L):
    return L.dot(u) - 0.3 * (L.T @ u)


@case(np.linspace(0.2, 0.9, 8))
def sparse_star(t, u):
    return LAPLACIAN * u


@case(np.linspace(0.1, 0.8, 6))
def upwind(t, c):
    v = np.sin(t)
    left, right = np.r_[1.0, c[:-1]], np.r_[c[1:], c[-1]]
    return np.where(v > 0, -v * (c - left), -v * (right - c)) / 0.1


@case(np.linspace(0.3, 0.8, 6))
def limited(t, u):
    a, b = u - np.roll(u, 1), np.roll(u, -1) - u
    slope = np.where(a * b > 0, np.sign(a) * np.minimum(np.abs(a), np.abs(b)), 0)
    flux = u + 0.5 * slope
    return -(flux - np.roll(flux, 1)) / 0.2


@case(np.linspace(280.0, 300.0, 5))
def wall(t, T):
    T_pad = np.pad(T, 1, mode="edge")
    k = 0.5 + 1e-3 * (T_pad[1:] + T_pad[:-1]) / 2
    q = -k * np.diff(T_pad)
    return -np.diff(q) + 5e-8 * (290**4 - T**4)


@case(np.linspace(0.3, 0.8, 6))
def convolved(t, u):
    return np.convolve(u, [0.25, 0.5, 0.25], mode="same") - u


@case(np.linspace(0.3, 0.8, 5))
def integral_term(t, u):
    x = np.linspace(0, 1, u.size)
    total = np.trapezoid(u, x) if hasattr(np, "trapezoid") else np.trapz(u, x)
    return -u * total + np.cumsum(u) * 0.1


# tables -------------------------------------------------------------------------------------------

TIMES = np.linspace(0, 2, 9)
VALUES = np.sin(3 * TIMES) + 1
SPLINE = CubicSpline(TIMES, VALUES)
CUBIC = interp1d(TIMES, VALUES, kind="cubic", fill_value="extrapolate")


@case([0.3, 0.7])
def table(t, y):
    return [np.interp(t, TIMES, VALUES) - y[0], np.interp(y[0], [0, 0.5, 1], [1, 0, 2], left=-1)]


@case([0.3, 0.7])
def spline(t, y):
    return [SPLINE(t) - y[0], float(CUBIC(t)) * y[1]]


@case([0.3, 0.7])
def splines_of_scipy(t, y):
    one = interpolate.PchipInterpolator(TIMES, VALUES)
    two = interpolate.make_interp_spline(TIMES, VALUES, k=3)
    return np.array([one(y[0]), two(y[1])]) - interpolate.UnivariateSpline(TIMES, VALUES, s=0)(t)


@case([0.3, 0.7])
def searched(t, y):
    i = np.searchsorted(TIMES, t)
    return [VALUES[i] - y[0], VALUES[min(i + 1, 8)] * y[1]]


@case([0.3, 0.7])
def polynomials(t, y):
    p = np.poly1d([1.0, -2.0, 0.5])
    return np.array([np.polyval([0.1, 0.2, 0.3], y[0]), p(y[1])])
