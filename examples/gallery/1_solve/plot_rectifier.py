r"""
A circuit as it is drawn: a bridge rectifier
============================================

Four diodes turn an alternating voltage into a direct one, and a capacitor smooths it. Kirchhoff's
laws give one equation for each node, and only the node with the capacitor has a derivative in it:
the others are algebraic. Together they are M y' = f(t, y) with a singular ``mass``, and are
solved as they stand, with no need to solve for the voltages by hand.

The start may be a guess. What the capacitor holds is kept; the other unknowns are moved to where
the laws hold, and a warning says how far. In the picture the diodes conduct in short pulses only,
several times as large as the current through the load.
"""

import math

import matplotlib.pyplot as plt
import torch

import stiffguide as sg

VOLTS, HERTZ = 10.0, 50.0  # of the source
INSIDE, LOAD, FARAD = 0.5, 100.0, 1e-3  # its resistance and that of the load in ohm
LEAK, THERMAL, MEGOHM = 1e-9, 0.045, 1e6  # of the diodes, ampere, volt and ohm


def diode(v):
    """Its current: exponential, and beyond 1.35 V straight, so that no trial step overflows."""
    x = v / THERMAL
    below = x.clamp(max=30.0)
    return LEAK * (torch.exp(below) * (1 + x - below) - 1) + v / MEGOHM


def source(t):
    return VOLTS * torch.sin(2 * math.pi * HERTZ * t + 1.0)


# %%
# The unknowns are the voltages at both ends of the source and at the capacitor, and the current
# of the source. The other end of the capacitor is the ground.


def bridge(t, y):
    left, right, out, current = y.unbind(-1)
    up_left, up_right = diode(left - out), diode(right - out)
    down_left, down_right = diode(-left), diode(-right)
    equations = (
        current + down_left - up_left,  # what flows into the left node
        -current + down_right - up_right,  # into the right one
        up_left + up_right - out / LOAD,  # into the capacitor: C times a derivative
        left - right + INSIDE * current - source(t),
    )
    return torch.stack(equations)


# %%
# All zero is what was meant, and not consistent: the source begins with 8.4 V.

guess = torch.zeros(4, dtype=torch.float64)
mass = [0.0, 0.0, FARAD, 0.0]
solution = sg.solve(
    bridge,
    guess,
    0.0,
    0.06,
    mass=mass,
    rtol=1e-5,
    atol=1e-7,
    save_at=sg.EveryStep(),
)
print(solution)

# %%
# The algebraic equations hold at every step. The voltage falls between the pulses by about what
# the load takes in half a period.

steps = zip(solution.t, solution.y, strict=True)
left_over = max(float(bridge(t, y)[[0, 1, 3]].abs().max()) for t, y in steps)
out, current, late = solution.y[:, 2], solution.y[:, 3], solution.t > 0.04
ripple = float(out[late].max() - out[late].min())
print(
    f"laws hold to {left_over:.0e} A and V; ripple {ripple:.2f} V of {float(out[-1]):.1f} V"
)

ms = 1e3 * solution.t
figure, (above, below) = plt.subplots(2, sharex=True, figsize=(5.4, 5))
fine = torch.linspace(0.0, 0.06, 600, dtype=torch.float64)
above.plot(
    1e3 * fine,
    source(fine).abs(),
    color="0.6",
    linewidth=1,
    label="source, absolute",
)
above.plot(ms, out, color="C0", label="capacitor")
above.set(
    ylabel="voltage, V",
    title="A bridge rectifier, switched on in mid-wave",
    ylim=(0, 12.5),
)
above.legend(ncols=2, loc="upper right")
below.plot(ms, current, color="C1")
below.annotate(
    f"{float(current[0]):.1f} A at the start", (1.5, 1.2), (4.0, 1.2), va="center"
)
below.set(xlabel="time, ms", ylabel="current of the source, A", ylim=(-1.0, 1.5))

assert solution.success
assert left_over < 1e-4
assert (
    abs(ripple / (float(out[late].mean()) / (2 * HERTZ * LOAD * FARAD)) - 1) < 0.3
)
