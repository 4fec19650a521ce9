"""Systems M y' = f(t, y) of index 1: equations that hold no derivative beside those that do."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stiffguide.problems.problem import Problem
from stiffguide.problems.robertson import RATES, REFERENCES, robertson, robertson_field

TEST_SET = "test set for IVP solvers, release 2.4 (Bari, 2008)"


Entries = dict[tuple[int, int], Tensor | float]


def _filled(y: Tensor, entries: Entries) -> Tensor:
    """The matrices (..., F, F) with these entries."""
    jac = y.new_zeros(*y.shape, y.shape[-1])
    for (i, j), value in entries.items():
        jac[..., i, j] += value
    return jac


def _conserved_field(t: Tensor, y: Tensor) -> Tensor:
    return torch.cat((robertson_field(t, y)[..., :2], y.sum(-1, keepdim=True) - 1), -1)


def _conserved_jac(t: Tensor, y: Tensor) -> Tensor:
    k1, k2, k3 = RATES
    _, b, c = y.unbind(-1)
    back = {(0, 1): k3 * c, (0, 2): k3 * b, (1, 1): -k3 * c - 2 * k2 * b, (1, 2): -k3 * b}
    return _filled(y, {(0, 0): -k1, (1, 0): k1, (2, 0): 1, (2, 1): 1, (2, 2): 1, **back})


def robertson_conserved(t1: float = 1e4) -> Problem:
    """Robertson's reaction with the sum of all species in the place of the third rate."""
    plain = robertson(t1)
    return Problem(
        name="robertson_conserved",
        title="Robertson's reaction, the sum as an equation",
        f=_conserved_field,
        jac=_conserved_jac,
        mass=torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64),
        y0=plain.y0,
        t0=0.0,
        t1=t1,
        atol=(1e-12, 1e-16, 1e-12),
        stiff=True,
        source=plain.source,
        reference=REFERENCES.get(t1),
        digits=plain.digits,
        params={"t1": t1},
    )


SUPPLY, EQUILIBRIUM, COMPLEX = 0.9 / 737, 34.4, 115.83
SPEEDS = (18.7, 0.58, 0.09, 0.42, 3.3)  # of four reactions, and of the gas


def _akzo_field(t: Tensor, y: Tensor) -> Tensor:
    a, b, c, d, e, g = y.unbind(-1)
    k1, k2, k3, k4, inflow = SPEEDS
    root = torch.sqrt(b)
    r1, r2, r3 = k1 * a**4 * root, k2 * c * d, k2 / EQUILIBRIUM * a * e
    r4, r5 = k3 * a * d * d, k4 * g * g * root
    rates = (
        -2 * r1 + r2 - r3 - r4,
        -0.5 * r1 - r4 - 0.5 * r5 + inflow * (SUPPLY - b),
        r1 - r2 + r3,
        -r2 + r3 - 2 * r4,
        r2 - r3 + r5,
        COMPLEX * a * d - g,
    )
    return torch.stack(rates, -1)


def _akzo_jac(t: Tensor, y: Tensor) -> Tensor:
    a, b, c, d, e, g = y.unbind(-1)
    k1, k2, k3, k4, inflow = SPEEDS
    root, zero = torch.sqrt(b), torch.zeros_like(a)
    back = k2 / EQUILIBRIUM
    # the slopes of r1 ... r5 by a, b, c, d, e, g
    r1 = torch.stack((4 * k1 * a**3 * root, k1 * a**4 / (2 * root), zero, zero, zero, zero), -1)
    r2 = torch.stack((zero, zero, k2 * d, k2 * c, zero, zero), -1)
    r3 = torch.stack((back * e, zero, zero, zero, back * a, zero), -1)
    r4 = torch.stack((k3 * d * d, zero, zero, 2 * k3 * a * d, zero, zero), -1)
    r5 = torch.stack((zero, k4 * g * g / (2 * root), zero, zero, zero, 2 * k4 * g * root), -1)
    rows = (
        -2 * r1 + r2 - r3 - r4,
        -0.5 * r1 - r4 - 0.5 * r5,
        r1 - r2 + r3,
        -r2 + r3 - 2 * r4,
        r2 - r3 + r5,
        torch.zeros_like(r1),
    )
    held: Entries = {(1, 1): -inflow, (5, 0): COMPLEX * d, (5, 3): COMPLEX * a, (5, 5): -1.0}
    return torch.stack(rows, -2) + _filled(y, held)


def akzo_nobel() -> Problem:
    """Two species and carbon dioxide under pressure; the last component is an equilibrium."""
    start = (0.444, 0.00123, 0.0, 0.007, 0.0, COMPLEX * 0.444 * 0.007)
    return Problem(
        name="akzo_nobel",
        title="Chemical Akzo Nobel",
        f=_akzo_field,
        jac=_akzo_jac,
        mass=torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, 0.0], dtype=torch.float64),
        y0=torch.tensor(start, dtype=torch.float64),
        t0=0.0,
        t1=180.0,
        atol=1e-11,
        stiff=True,
        source=f"{TEST_SET}, problem CHEMAKZO; its reference again without the last component, by "
        "an explicit method of order 8 in 13 digits",
        reference=(
            *(0.1150794920661702, 0.1203831471567715e-2, 0.1611562887407974),
            *(0.3656156421249283e-3, 0.1708010885264404e-1, 0.4873531310307455e-2),
        ),
        digits=13,
    )


SOURCE, SUPPLY_VOLTS, THERMAL, GAIN, LEAK = 0.1, 6.0, 0.026, 0.99, 1e-6
R0, R = 1000.0, 9000.0  # ohms, all but the first alike


def _junction(v: Tensor) -> tuple[Tensor, Tensor]:
    """The current through a diode, and its slope."""
    grown = torch.exp(v / THERMAL)
    return LEAK * (grown - 1), LEAK / THERMAL * grown


def _amplifier_field(t: Tensor, y: Tensor) -> Tensor:
    v1, v2, v3, v4, v5, v6, v7, v8 = y.unbind(-1)
    first, second = _junction(v2 - v3)[0], _junction(v5 - v6)[0]
    signal = SOURCE * torch.sin(200 * math.pi * t)
    currents = (
        (v1 - signal) / R0,
        (2 * v2 - SUPPLY_VOLTS) / R + (1 - GAIN) * first,
        v3 / R - first,
        (v4 - SUPPLY_VOLTS) / R + GAIN * first,
        (2 * v5 - SUPPLY_VOLTS) / R + (1 - GAIN) * second,
        v6 / R - second,
        (v7 - SUPPLY_VOLTS) / R + GAIN * second,
        v8 / R,
    )
    return torch.stack(currents, -1)


def _amplifier_jac(t: Tensor, y: Tensor) -> Tensor:
    entries: Entries = {(0, 0): 1 / R0, (7, 7): 1 / R}
    for base in (1, 4):  # of both transistors
        slope = _junction(y[..., base] - y[..., base + 1])[1]
        shares = ((2 / R, 1 - GAIN), (0.0, -1.0), (0.0, GAIN))
        for i, (leak, share) in enumerate(shares, base):
            entries[i, base] = leak + share * slope
            entries[i, base + 1] = -share * slope
        entries[base + 1, base + 1] = entries[base + 1, base + 1] + 1 / R
        entries[base + 2, base + 2] = 1 / R
    return _filled(y, entries)


# y(t1); at 0.2 it is that of the test set
AMPLIFIED = {
    0.2: (
        *(-0.5562145012262709e-2, 0.3006522471903042e1, 0.2849958788608128e1),
        *(0.2926422536206241e1, 0.2704617865010554e1, 0.2761837778393145e1),
        *(0.4770927631616772e1, 0.1236995868091548e1),
    ),
    0.01: (
        *(-0.00528376926421, 3.00525535260984, 2.8486714564188, 4.4019279697872),
        *(1.965441715909, 2.2702874338480, 6.0049060145515, 0.00400391336335),
    ),
}


def transistor_amplifier(t1: float = 0.2) -> Problem:
    """Two transistors and five capacitors between eight nodes: a mass of rank 5 without zero rows.

    No node has a capacitor to the ground alone, and those that one ties together have one current.
    """
    mass = torch.zeros(8, 8, dtype=torch.float64)
    for k, nodes in enumerate(((0, 1), (2,), (3, 4), (5,), (6, 7)), 1):
        block = [[-1.0, 1.0], [1.0, -1.0]] if len(nodes) == 2 else [[-1.0]]
        first, last = nodes[0], nodes[-1] + 1
        mass[first:last, first:last] = k * 1e-6 * torch.tensor(block, dtype=torch.float64)
    return Problem(
        name="transistor_amplifier",
        title="Transistor amplifier",
        f=_amplifier_field,
        jac=_amplifier_jac,
        mass=mass,
        y0=torch.tensor([0.0, 3.0, 3.0, 6.0, 3.0, 3.0, 6.0, 0.0], dtype=torch.float64),
        t0=0.0,
        t1=t1,
        atol=1e-8,
        stiff=True,
        source=f"Hairer and Wanner II, VI.1; {TEST_SET}, problem TRANSAMP; its reference again "
        "from the voltages of the capacitors, with the others found from them, in 12 digits",
        reference=AMPLIFIED.get(t1),
        digits=12 if t1 in AMPLIFIED else 0,
        params={"t1": t1},
    )


GRAVITY = 9.81


def _pendulum_field(t: Tensor, y: Tensor) -> Tensor:
    x, z, u, v, tension = y.unbind(-1)
    bound = u * u + v * v - tension * (x * x + z * z) - GRAVITY * z
    return torch.stack((u, v, -tension * x, -tension * z - GRAVITY, bound), -1)


def _pendulum_jac(t: Tensor, y: Tensor) -> Tensor:
    x, z, u, v, tension = y.unbind(-1)
    bound = {(4, 0): -2 * tension * x, (4, 1): -2 * tension * z - GRAVITY}
    bound |= {(4, 2): 2 * u, (4, 3): 2 * v, (4, 4): -(x * x + z * z)}
    pull = {(2, 0): -tension, (2, 4): -x, (3, 1): -tension, (3, 4): -z}
    return _filled(y, {(0, 2): 1.0, (1, 3): 1.0, **pull, **bound})


def pendulum() -> Problem:
    """A mass on a rod of length 1, in Cartesian coordinates, let go where the rod is level.

    The rod's length, differentiated twice, determines its tension: index 1.
    """
    return Problem(
        name="pendulum",
        title="Pendulum in Cartesian coordinates",
        f=_pendulum_field,
        jac=_pendulum_jac,
        mass=torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0], dtype=torch.float64),
        y0=torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0], dtype=torch.float64),
        t0=0.0,
        t1=2.0,
        atol=1e-9,
        stiff=False,
        source="Hairer and Wanner II, VII.1; the reference is the angle of the swing, in Jacobi's "
        "elliptic functions",
        reference=(
            *(0.793566195343323, -0.6084839304437899),
            *(2.102437874436117, 2.7419353930105093, 17.907682072960732),
        ),
        digits=12,
    )


def _rod_field(t: Tensor, y: Tensor) -> Tensor:
    n = y.shape[-1] - 1
    outside = (1 + 0.5 * torch.sin(5 * t)) ** 4
    inner = n * n * (y[..., :-2] - 2 * y[..., 1:-1] + y[..., 2:])
    warmed = y[..., 0] ** 4 - outside - n / 4 * (4 * y[..., 1] - y[..., 2] - 3 * y[..., 0])
    closed = 3 * y[..., -1] - 4 * y[..., -2] + y[..., -3]
    return torch.cat((warmed.unsqueeze(-1), inner, closed.unsqueeze(-1)), -1)


def _rod_jac(t: Tensor, y: Tensor) -> Tensor:
    n = y.shape[-1] - 1
    line = torch.zeros(n + 1, n + 1, dtype=y.dtype, device=y.device)
    places = torch.arange(1, n)
    for by, value in ((-1, 1.0), (0, -2.0), (1, 1.0)):
        line[places, places + by] = n * n * value
    line[0, :3] = torch.tensor([0.75 * n, -float(n), 0.25 * n], dtype=y.dtype)
    line[n, n - 2 :] = torch.tensor([1.0, -4.0, 3.0], dtype=y.dtype)
    return line + _filled(y, {(0, 0): 4 * y[..., 0] ** 3})


def heated_rod(n: int = 40) -> Problem:
    """Heat on a line of n cells; one end meets radiation from outside, the other is closed."""
    mass = torch.ones(n + 1, dtype=torch.float64)
    mass[[0, n]] = 0.0
    known = n == 40
    return Problem(
        name="heated_rod",
        title=f"Heated rod, {n} cells",
        f=_rod_field,
        jac=_rod_jac,
        mass=mass,
        y0=torch.ones(n + 1, dtype=torch.float64),
        t0=0.0,
        t1=1.0,
        atol=1e-9,
        stiff=True,
        source="the heat equation with boundary conditions as equations of one-sided differences; "
        "the reference without the ends, which are solved for in f, in 12 digits",
        reference=(0.761636601451606, 0.884757094851085, 0.9814563889460518, 1.063107338361569)
        if known
        else None,
        probes=(0, 10, 20, 40) if known else (),
        digits=12 if known else 0,
        params={"n": n},
    )
