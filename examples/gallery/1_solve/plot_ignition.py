r"""
Ignition delays of hydrogen and air
===================================

Hot hydrogen and air do nothing that could be seen, for a while; radicals multiply from next to
nothing, and then everything burns within microseconds. How long that while is, over temperature
and mixture, is what mechanisms of combustion are judged by. Here are 525 mixtures, each in an
adiabatic reactor at one atmosphere.

The delay is found by an *event*: the time at which a gas is 400 K hotter than at its start,
located to the accuracy of the solve, in every row at a time of its own. The radicals begin at
zero and decide all, so the absolute tolerance of the species is 1e-17: what counts as nothing
must be smaller than what the fire begins with.
"""

import matplotlib.pyplot as plt
import torch

import stiffguide as sg
from stiffguide.problems import hydrogen_air, hydrogen_ignition

RATIOS = torch.tensor(
    [0.5, 1.0, 2.0], dtype=torch.float64
)  # of fuel to what the air can burn

# %%
# All mixtures are rows of one batch. ``hydrogen_ignition`` has the field: the temperature and the
# mass fractions of the species, by the thermodynamics and the rates of GRI-Mech 3.0.

temperatures = torch.linspace(965.0, 1400.0, 175, dtype=torch.float64)  # K
T, phi = (x.flatten() for x in torch.meshgrid(temperatures, RATIOS, indexing="ij"))
problem = hydrogen_ignition()
hot = sg.Event(lambda t, y, T0: y[:, 0] - T0 - 400.0, direction=1, terminal=True)

solution = sg.solve(
    lambda t, y, T0: problem.f(t, y),
    hydrogen_air(T, phi),
    0.0,
    5e-3,
    args=(T,),
    batched=True,
    method="rodas5p",
    backend="kernel",  # built at once, and kept: a solve by torch would take minutes
    atol=torch.tensor(problem.atol, dtype=torch.float64),
    events=hot,
)
delay = solution.events[0].t  # sorted by row; every row has ended with one
print(
    f"{len(delay)} ignitions of {len(T)} mixtures, solved by the {solution.stats.backend}"
)
print(
    f"{int(solution.stats.accepted.min())} to {int(solution.stats.accepted.max())} steps each"
)

# %%
# Three of them were also computed by Cantera 3.2 with the same mechanism, at a relative tolerance
# of 1e-13.

cantera = {1000.0: 311.13776212e-6, 1200.0: 46.70193765e-6, 1400.0: 22.015112154e-6}
for kelvin, known in cantera.items():
    found = float(delay[(kelvin == T) & (phi == 1.0)])
    print(
        f"{kelvin:.0f} K: {1e6 * found:.4f} microseconds, off by {found / known - 1:+.0e}"
    )
    assert abs(found / known - 1) < 1e-4

# %%
# Chemists draw the logarithm of the delay over the inverse temperature, where a single reaction
# would give a straight line. Towards the cold end the curves turn up: radicals are then caught by
# collisions before they can branch.

figure, axis = plt.subplots()
for ratio in RATIOS.tolist():
    chosen = phi == ratio
    axis.semilogy(
        1000 / T[chosen], 1e6 * delay[chosen], label=f"fuel times {ratio:g}"
    )
inverse = [1000 / kelvin for kelvin in cantera]
values = [1e6 * known for known in cantera.values()]
axis.semilogy(
    inverse, values, "ko", markersize=6, fillstyle="none", label="Cantera"
)
axis.set(
    xlabel="1000 K / T",
    ylabel="delay, microseconds",
    title="Hydrogen and air at 1 atm",
)
axis.legend()

assert len(delay) == len(T)
