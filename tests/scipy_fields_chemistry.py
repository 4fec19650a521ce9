"""Chemistry and neurons, as users of scipy write them."""

from __future__ import annotations

import math

import numpy as np
import scipy.special
from scipy.special import expit, xlogy
from scipy_cases import add, case

# chemistry ----------------------------------------------------------------------------------------


@case([1.0, 0.0, 0.0])
def robertson(t, y):
    x, yy, z = y
    dx = -0.04 * x + 1e4 * yy * z
    dz = 3e7 * yy**2
    return [dx, -dx - dz, dz]


@case([1.0, 0, 0, 0, 0, 0, 0, 0.0057])
def hires(t, y):
    dy = np.zeros(8)
    dy[0] = -1.71 * y[0] + 0.43 * y[1] + 8.32 * y[2] + 0.0007
    dy[1] = 1.71 * y[0] - 8.75 * y[1]
    dy[2] = -10.03 * y[2] + 0.43 * y[3] + 0.035 * y[4]
    dy[3] = 8.32 * y[1] + 1.71 * y[2] - 1.12 * y[3]
    dy[4] = -1.745 * y[4] + 0.43 * (y[5] + y[6])
    dy[5] = -280 * y[5] * y[7] + 0.69 * y[3] + 1.71 * y[4] - 0.43 * y[5] + 0.69 * y[6]
    dy[6] = 280 * y[5] * y[7] - 1.81 * y[6]
    dy[7] = -dy[6]
    return dy


@case(np.array([2.0, 0.0]), 1000.0)
def van_der_pol(t, y, mu):
    return np.array([y[1], mu * (1 - y[0] ** 2) * y[1] - y[0]])


@case([488.68, 1.0, 0.4])
def oregonator(t, c):
    s, w, q = 77.27, 0.161, 8.375e-6
    return (
        s * (c[1] - c[0] * c[1] + c[0] - q * c[0] ** 2),
        1 / s * (-c[1] - c[0] * c[1] + c[2]),
        w * (c[0] - c[2]),
    )


class Reactor:
    """A stirred tank with Arrhenius kinetics."""

    def __init__(self):
        self.nu = np.array([[-1.0, 0], [1, -1], [0, 1]])
        self.k0, self.E = np.array([7.2e10, 2e8]), np.array([8750.0, 7000.0])

    def rates(self, c, T):
        return self.k0 * np.exp(-self.E / T) * c[:2]

    def rhs(self, t, y):
        c, T = y[:3], y[3]
        r = self.rates(c, T)
        dc = self.nu @ r + 1.0 * (np.array([1.0, 0, 0]) - c)
        dT = (350 - T) + 209.2 * r[0] + 2.09 * (np.maximum(300.0, 0) - T)
        return np.hstack([dc, dT])


reactor = Reactor()
add("stirred_tank", reactor.rhs, [0.5, 0.1, 0.1, 350.0])


@case([0.5, 0.1, 0.1, 350.0])
def tank_of_a_global(t, y):
    return reactor.rhs(t, y)


@case([1.0, 0.5, 0.2, 0.0])
def reactions_in_a_loop(t, y):
    reactions = [(2.0, (0,), (1,)), (1.5, (0, 1), (2,)), (0.7, (2,), (3, 0))]
    dydt = np.zeros_like(y)
    for k, reactants, products in reactions:
        rate = k
        for i in reactants:
            rate *= y[i]
        for i in reactants:
            dydt[i] -= rate
        for i in products:
            dydt[i] += rate
    return dydt


STOICHIOMETRY = np.array([[-1, 1, 0], [1, -1, -1], [0, 0, 1]])
ORDERS = np.array([[1, 0, 0], [0, 1, 0], [0, 2, 0]])


@case([1.0, 0.4, 0.2], np.array([0.3, 0.1, 2.0]))
def mass_action(t, c, k):
    return STOICHIOMETRY @ (k * np.prod(c**ORDERS, axis=1))


@case([1.0, 0.4, 0.2], np.array([0.3, 0.1, 2.0]))
def scattered_mass_action(t, c, k):
    dc = np.zeros(3)
    rates = k * c[[0, 1, 1]] * c[[0, 0, 2]]
    np.add.at(dc, [0, 1, 2], rates)
    np.subtract.at(dc, np.array([0, 0, 1]), rates)
    return dc


@case([0.9, 0.1, 0.02])
def michaelis_menten(t, y):
    S, P, E = y
    Vmax, Km, Ki = 1.2, 0.3, 0.5
    v = Vmax * S / (Km * (1 + P / Ki) + S)
    return np.array([-v, v, -0.01 * E]).T


@case([0.6, 0.3, 298.0])
def arrhenius_of_math(t, y):
    ca, cb, T = y
    k = 1e6 * math.exp(-5e4 / (8.314 * T))
    return [-k * ca, k * ca - 0.1 * cb, 1e3 * k * ca - 0.2 * (T - 298)]


@case([0.2, 0.3])
def brusselator(t, z, A=1.0, B=3.0):
    x, y = z
    return [A + x**2 * y - (B + 1) * x, B * x - x**2 * y]


@case([0.1, 0.2, 0.3, 0.4])
def gibbs(t, x):
    mu = np.log(x / x.sum()) + 0.3 * (1 - x) ** 2
    return -(mu - np.mean(mu)) * x


@case([0.3, 0.5])
def entropic(t, x):
    return -xlogy(x, x) + scipy.special.expit(x[::-1]) - 0.1 * scipy.special.erf(x)


@case([0.4, 0.3, 0.2])
def hill(t, p):
    n, K = 4, 0.5
    repress = 1.0 / (1.0 + (np.roll(p, 1) / K) ** n)
    return 2.0 * repress - p


@case([0.4, 0.3, 0.2, 1.0, 0.2, 0.6], 10.0, 2)
def repressilator(t, y, beta, n):
    m, p = np.split(np.asarray(y), 2)
    dm = [beta / (1 + p[j] ** n) - m[i] for i, j in zip(range(3), (2, 0, 1), strict=True)]
    return np.append(dm, 5 * (m - p))


# neurons ------------------------------------------------------------------------------------------


@case([-65.0, 0.05, 0.6, 0.32])
def hodgkin_huxley(t, y):
    V, m, h, n = y
    am = 0.1 * (V + 40) / (1 - math.exp(-(V + 40) / 10))
    bm = 4 * math.exp(-(V + 65) / 18)
    ah = 0.07 * math.exp(-(V + 65) / 20)
    bh = 1 / (1 + math.exp(-(V + 35) / 10))
    an = 0.01 * (V + 55) / (1 - math.exp(-(V + 55) / 10))
    bn = 0.125 * math.exp(-(V + 65) / 80)
    I = np.interp(t, [0, 5, 5.01, 40, 40.01, 100], [0, 0, 10, 10, 0, 0])
    dV = I - 120 * m**3 * h * (V - 50) - 36 * n**4 * (V + 77) - 0.3 * (V + 54.387)
    return np.array([dV, am * (1 - m) - bm * m, ah * (1 - h) - bh * h, an * (1 - n) - bn * n])


@case([-1.0, 1.0], 0.5)
def fitzhugh_nagumo(t, z, I):
    v, w = z
    return v - v**3 / 3 - w + I, 0.08 * (v + 0.7 - 0.8 * w)


@case([-60.0, 0.1])
def morris_lecar(t, state):
    V, w = state
    m_inf = 0.5 * (1 + np.tanh((V + 1.2) / 18))
    w_inf = 0.5 * (1 + np.tanh((V - 2) / 30))
    tau = 1 / np.cosh((V - 2) / 60)
    dV = (90 if t < 50 else 40) - 4.4 * m_inf * (V - 120) - 8 * w * (V + 84) - 2 * (V + 60)
    return [dV / 20, 0.04 * (w_inf - w) / tau]


class Network:
    def __init__(self, n, seed=3):
        rng = np.random.default_rng(seed)
        self.W = rng.normal(size=(n, n)) / np.sqrt(n)
        self.tau = 0.5

    def __call__(self, t, r):
        drive = np.where(t > 0.2, 1.0, 0.0)
        return (-r + np.tanh(self.W.dot(r) + drive)) / self.tau


add("rate_network", Network(6), np.linspace(-0.5, 0.7, 6))


@case([0.1, -0.2, 0.3])
def hopfield(t, x):
    W = np.array([[0, 1.2, -0.4], [1.2, 0, 0.6], [-0.4, 0.6, 0]])
    return -x + W @ expit(3 * x) + np.heaviside(x, 0.5) * 0.1


@case([-50.0, 0.1])
def leaky(t, y):
    V, s = y
    spike = 1 if V > -52 else 0
    return [(-(V + 65) + 20 * s) / 10, -s / 5 + 0.5 * spike]


@case([0.1, 0.2, 0.3, 1.1])
def kuramoto(t, theta, K=2.0):
    omega = np.array([0.1, 0.3, -0.2, 0.5])
    return omega + K / 4 * np.sin(theta[None, :] - theta[:, None]).sum(axis=1)
