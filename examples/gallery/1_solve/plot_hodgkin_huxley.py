r"""
A neuron written in numpy, with a branch
========================================

Hodgkin and Huxley's model of a nerve (1952) as one would write it for SciPy: a function of numpy
arrays, with an ``if`` in it, because two of its rates are 0/0 at a voltage of their own.
``solve_ivp`` of ``stiffguide.fronts.scipy`` takes the same call as SciPy's, and makes a native
kernel of such a function: every path through its branches is followed, and each step takes its
own.

A hundred currents are a hundred calls. The rate of spikes jumps from nothing to some fifty a
second: near the threshold the nerve cannot fire slowly.
"""

import time

import matplotlib.pyplot as plt
import numpy as np
import scipy.integrate

from stiffguide.fronts.scipy import solve_ivp

# %%
# Voltage in mV, time in ms, currents in microamperes per square centimetre.


def ratio(x, scale):
    """x / (1 - exp(-x / scale)), which is 0 / 0 at 0."""
    if abs(x) < 1e-6:
        return scale + x / 2
    return x / (1 - np.exp(-x / scale))


def nerve(t, y, current):
    v, m, h, n = y
    am, bm = 0.1 * ratio(v + 40, 10.0), 4 * np.exp(-(v + 65) / 18)
    ah, bh = 0.07 * np.exp(-(v + 65) / 20), 1 / (1 + np.exp(-(v + 35) / 10))
    an, bn = 0.01 * ratio(v + 55, 10.0), 0.125 * np.exp(-(v + 65) / 80)
    sodium, potassium = 120 * m**3 * h * (v - 50), 36 * n**4 * (v + 77)
    dv = current - sodium - potassium - 0.3 * (v + 54.4)
    return [dv, am * (1 - m) - bm * m, ah * (1 - h) - bh * h, an * (1 - n) - bn * n]


def spike(t, y, current):
    return y[0]


spike.direction = 1

# %%
# One current by both: the same call, the same spikes.

rest = [-65.0, 0.0529, 0.5961, 0.3177]
call = {"events": spike, "args": (10.0,), "rtol": 1e-6, "atol": 1e-8}
for name, solve in (
    ("scipy", scipy.integrate.solve_ivp),
    ("stiffguide", solve_ivp),
):
    solve(
        nerve, (0.0, 200.0), rest, "LSODA", **call
    )  # builds the kernel, of the second
    began = time.process_time()
    trace = solve(nerve, (0.0, 200.0), rest, "LSODA", **call)
    seconds = time.process_time() - began
    print(
        f"{name:10s} {len(trace.t_events[0])} spikes, {1e3 * seconds:.1f} ms of CPU time"
    )
    if name == "scipy":
        spikes = trace.t_events[0]
print(f"spikes differ by at most {np.abs(trace.t_events[0] - spikes).max():.1e} ms")

# %%
# A hundred currents. The first fifth of a second is left out of the rate.

currents = np.linspace(4.0, 14.0, 100)
began, rates = time.process_time(), []
for current in currents:
    found = solve_ivp(
        nerve, (0.0, 1000.0), rest, "LSODA", **(call | {"args": (current,)})
    )
    assert found.success
    late = found.t_events[0][found.t_events[0] > 200]
    rates.append(1000 / np.diff(late).mean() if len(late) > 2 else 0.0)
seconds = time.process_time() - began
print(f"100 currents, each for a second: {seconds:.2f} s of CPU time")

figure, (above, below) = plt.subplots(2, figsize=(5.4, 5))
above.plot(trace.t, trace.y[0], linewidth=1.2)
above.plot(
    trace.t_events[0], 0 * trace.t_events[0], "o", color="C1", label="spikes"
)
above.set(
    xlabel="time, ms",
    ylabel="voltage, mV",
    xlim=(0, 100),
    ylim=(-80, 75),
    title="At a current of 10 µA/cm²",
)
above.legend(loc="upper right")
below.plot(currents, rates, "o", markersize=3)
below.set(
    xlabel="current, µA/cm²", ylabel="spikes a second", title="Rates of 100 solves"
)

assert np.abs(trace.t_events[0] - spikes).max() < 1e-2
assert rates[0] == 0
assert 50 < min(rate for rate in rates if rate) < 60
