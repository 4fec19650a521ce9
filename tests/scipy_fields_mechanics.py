"""Drugs, populations and mechanics, as users of scipy write them."""

# ruff: noqa: RUF059

from __future__ import annotations

import math
from dataclasses import dataclass, field
from math import cos, sin
from typing import Any

import numpy as np
import numpy.linalg as la
from numpy import exp
from scipy.interpolate import interp1d
from scipy_cases import add, case

# pharmacokinetics, epidemics, ecology -------------------------------------------------------------


@case([100.0, 0.0, 0.0], 1.2, 0.1, 8.0, 3.0)
def compartments(t, y, ka, ke, vmax, km):
    depot, central, per = y
    el = vmax * central / (km + central)
    return (
        -ka * depot,
        ka * depot - ke * central - el - 0.5 * central + 0.3 * per,
        (0.5 * central - 0.3 * per),
    )


@case([10.0, 0.0])
def infusion(t, y):
    rate = 5.0 if 0.1 <= t <= 2.0 else 0.0
    return [rate - 0.3 * y[0], 0.3 * y[0] - 0.1 * y[1]]


@case([10.0, 1.0])
def doses(t, y):
    dose = 0.0
    for start in [0.0, 8.0, 16.0]:
        if start <= t < start + 0.5:
            dose += 20.0
    return [dose - y[0], y[0] - 0.2 * y[1]]


@case([0.99, 0.01, 0.0], {"beta": 0.4, "gamma": 0.1})
def sir(t, y, p):
    S, I, R = y
    new = p["beta"] * S * I
    return [-new, new - p["gamma"] * I, p["gamma"] * I]


@dataclass(frozen=True)
class Epidemic:
    beta: float = 0.5
    sigma: float = 0.2
    gamma: float = 0.1
    contacts: Any = field(default_factory=lambda: np.array([[2.0, 0.5], [0.5, 1.0]]))

    def rhs(self, t, y):
        S, E, I, R = np.reshape(y, (4, 2))
        force = self.beta * self.contacts @ I
        return np.concatenate(
            [
                -force * S,
                force * S - self.sigma * E,
                self.sigma * E - self.gamma * I,
                self.gamma * I,
            ]
        )


add("seir_by_age", Epidemic().rhs, [0.9, 0.8, 0.0, 0.1, 0.05, 0.02, 0.0, 0.0])


@case([10.0, 5.0], 1.1, 0.4, 0.1, 0.4)
def lotka_volterra(t, z, a, b, c, d):
    x, y = z
    return [a * x - b * x * y, -d * y + c * x * y]


@case([0.5, 0.3, 0.2])
def competition(t, n):
    r = np.array([1.0, 0.7, 1.5])
    alpha = np.array([[1, 1.1, 1.5], [0, 1, 1.2], [1.5, 0, 1]])
    return r * n * (1 - np.einsum("ij,j->i", alpha, n))


@case([0.8, 0.4])
def rosenzweig(t, u):
    prey, predator = max(u[0], 0), max(u[1], 0)
    eaten = prey * predator / (1 + prey)
    return [prey * (1 - prey / 3) - eaten, 0.6 * eaten - 0.2 * predator]


@case([0.4])
def logistic(t, y):
    return 0.5 * y * (1 - y / 10)


@case([0.4])
def of_one_number(t, y):
    return -2.0 * float(y[0]) + sin(t)


@case(np.array([1.5, 0.4]))
def allee(t, y):
    growth = lambda n: n * (n - 0.1) * (1 - n)  # noqa: E731
    return np.fromiter((growth(v) for v in y), float) if False else np.array([growth(v) for v in y])


@case([5.0, 2.0, 1.0])
def chemostat(t, y):
    S, X1, X2 = y
    mu = lambda s, m, k: m * s / (k + s)  # noqa: E731
    D = 0.3 * (1 + 0.2 * np.sin(2 * np.pi * t / 5))
    growth = [mu(S, 0.5, 0.2) * X1, mu(S, 0.6, 0.4) * X2]
    return [D * (10 - S) - sum(growth) / 0.4, growth[0] - D * X1, growth[1] - D * X2]


# mechanics ----------------------------------------------------------------------------------------


@case([0.5, 0.0], 9.81, 1.2)
def pendulum(t, y, g, l):
    theta, omega = y
    dydt = [omega, -g / l * np.sin(theta) - 0.1 * omega]
    return dydt


@case([1.0, 0.3])
def friction(t, y):
    return [y[1], -y[0] - (0.3 if y[1] > 0 else -0.3) + 1.5 * math.sin(t)]


@case([1.0, 0.3])
def friction_of_sign(t, y):
    x, v = y
    return np.array([v, -x - 0.3 * np.sign(v) - 0.05 * v * abs(v)])


@case([0.5, 0.4, 0.1, -0.2])
def double_pendulum(t, s):
    a, b, p, q = s
    M = np.array([[2.0, cos(a - b)], [cos(a - b), 1.0]])
    force = np.array([-(q**2) * sin(a - b) - 2 * 9.81 * sin(a), p**2 * sin(a - b) - 9.81 * sin(b)])
    return np.r_[p, q, np.linalg.solve(M, force)]


@case([0.5, 0.4, 0.1, -0.2])
def inverted_mass_matrix(t, s):
    q, v = s[:2], s[2:]
    M = np.array([[2.0, np.cos(q[0])], [np.cos(q[0]), 1.5]])
    return np.concatenate([v, la.inv(M) @ (-q - 0.1 * v) * la.det(M)])


@case([0.0, 0.6, 1.2, 1.0, 0.0, -1.0])
def contact(t, y):
    x, v = y[:3], y[3:]
    F = np.zeros(3)
    for i in range(2):
        gap = x[i + 1] - x[i]
        if gap < 0.5:
            F[i] -= 1e4 * (0.5 - gap)
            F[i + 1] += 1e4 * (0.5 - gap)
    return np.concatenate([v, F - 0.1 * v])


@case([1.0, -2.0])
def bouncing(t, y):
    z, v = y
    force = -9.81
    if z < 0:
        force += -1e3 * z - 5 * v if v < 0 else -1e3 * z
    return [v, force]


@case(np.array([0.994, 0, 0, -2.0015851063790825]))
def arenstorf(t, y):
    mu = 0.012277471
    mu1 = 1 - mu
    d1 = ((y[0] + mu) ** 2 + y[1] ** 2) ** 1.5
    d2 = ((y[0] - mu1) ** 2 + y[1] ** 2) ** 1.5
    dy = np.empty(4)
    dy[:2] = y[2:]
    dy[2] = y[0] + 2 * y[3] - mu1 * (y[0] + mu) / d1 - mu * (y[0] - mu1) / d2
    dy[3] = y[1] - 2 * y[2] - mu1 * y[1] / d1 - mu * y[1] / d2
    return dy


@case(np.array([1.0, 0, 0, 0, 1.0, 0.2]))
def kepler(t, y):
    r, v = y[:3], y[3:]
    return np.hstack((v, -r / np.linalg.norm(r) ** 3))


@case(np.concatenate([np.arange(9.0) ** 2 / 7, np.linspace(-1, 1, 9)]))
def n_bodies(t, y):
    n = 3
    pos, vel = y.reshape(2, n, 3)
    masses = np.array([1.0, 0.5, 2.0])
    acc = np.zeros((n, 3))
    for i in range(n):
        for j in range(n):
            if i != j:
                d = pos[j] - pos[i]
                acc[i] += masses[j] * d / (np.dot(d, d) + 0.01) ** 1.5
    return np.vstack([vel, acc]).ravel()


@case([1.0, 0.0, 0.0, 0.1, 0.2, 0.3, 0.1])
def rigid_body(t, s):
    q, w = s[:4], s[4:]
    J = np.diag([1.0, 2.0, 3.0])
    Omega = np.array(
        [
            [0, -w[0], -w[1], -w[2]],
            [w[0], 0, w[2], -w[1]],
            [w[1], -w[2], 0, w[0]],
            [w[2], w[1], -w[0], 0],
        ]
    )
    dw = np.linalg.inv(J) @ (np.array([0, 0, 0.1]) - np.cross(w, J @ w))
    return np.concatenate((0.5 * Omega.dot(q), dw))


@case([0.0, 0.0, 20.0, 10.0])
def projectile(t, y):
    v = y[2:]
    speed = np.sqrt(v @ v)
    drag = 0.01 * speed * v
    return np.array([*v, *(-drag - np.array([0, 9.81]))])


@case([0.1, 0.2, 0.0, 0.1])
def spring_chain(t, z):
    x, v = np.array_split(z, 2)
    ext = np.diff(np.concatenate(([0.0], x, [0.3])))
    return np.append(v, 50 * np.diff(ext) - 0.5 * v)


@case([0.1, 0.0, 0.0])
def stick_slip(t, y):
    x, v, z = y
    slip = v - 0.1
    g = 0.4 + 0.2 * exp(-((slip / 0.05) ** 2))
    dz = slip - abs(slip) / g * z
    return [v, -10 * x - z - 0.1 * dz, dz]


@case([0.1, 0.0])
def hysteresis(t, y):
    x, z = y
    v = math.cos(t)
    return [v, v - 0.5 * abs(v) * abs(z) * z - 0.5 * v * z**2]


class Body:
    gravity = 9.81

    def __init__(self, mass):
        self.mass = mass

    @property
    def weight(self):
        return self.mass * self.gravity


class Rocket(Body):
    burn = 5.0

    def __init__(self, mass):
        super().__init__(mass)
        self.thrust = interp1d([0, 1, 5], [30.0, 40.0, 35.0], fill_value=0.0, bounds_error=False)

    def __call__(self, t, y):
        h, v = y
        T = self.thrust(t) if t < self.burn else 0.0
        return [v, (T - self.weight - self.drag(v)) / self.mass]

    @staticmethod
    def drag(v):
        return 0.01 * v * np.abs(v)


add("rocket", Rocket(2.0), [0.0, 1.0])
