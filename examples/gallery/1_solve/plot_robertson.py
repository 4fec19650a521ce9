r"""
Robertson's reaction over fifteen decades of time
=================================================

Three species and three reactions, with rates from 0.04 to 3e7: Robertson's reaction (1966) is the
best known stiff problem. The second species never exceeds 4e-5 and settles within milliseconds,
while the first is still being used up after 1e11 seconds. An explicit method, held to the fastest
scale to the end, would need some 1e14 steps.

The picture has every step as a dot. Their lengths grow with the time scale of what is left to
happen, from microseconds to centuries: on a logarithmic axis they are nearly evenly spaced. Since
the second species is small, its absolute tolerance is, too: ``atol`` takes one value for each
component, the size below which a component does not matter to you.
"""

import matplotlib.pyplot as plt
import torch

import stiffguide as sg


def robertson(t, y):
    a, b, c = y.unbind(-1)
    slow, fast, back = 0.04 * a, 3e7 * b * b, 1e4 * b * c
    return torch.stack((back - slow, slow - back - fast, fast), -1)


start = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
solution = sg.solve(
    robertson,
    start,
    0.0,
    1e11,
    rtol=1e-6,
    atol=torch.tensor([1e-10, 1e-14, 1e-10]),
    save_at=sg.EveryStep(),
)
print(solution.stats)

# %%
# No method was named. An explicit one tried the start, and handed over when it met its limit of
# stability:

for t, name in solution.stats.methods:
    print(f"from t = {t:.3g} s by {name}")

# %%
# Nothing is added or lost in the reaction, so the three must sum to one. No step was told so; a
# method that takes linear combinations of ``f`` keeps linear sums to rounding.

lost = float((solution.y.sum(-1) - 1).abs().max())
print(f"the sum of the species is off by at most {lost:.1e}")

# %%
# The second species is drawn ten thousand times as large as it is.

t = solution.t[1:]
steps = solution.t.diff()
figure, (above, below) = plt.subplots(
    2, sharex=True, figsize=(5.4, 5), height_ratios=(3, 2)
)
for values, label in zip(
    (solution.y[1:] * torch.tensor([1.0, 1e4, 1.0])).T,
    ("A", "10,000 B", "C"),
    strict=True,
):
    above.semilogx(t, values, "o-", markersize=2.5, label=label)
above.set(ylabel="fraction of all", title="Robertson's reaction, every step a dot")
above.legend()
below.loglog(t, steps, "o", color="0.35", markersize=2.5)
below.set(xlabel="time, s", ylabel="step, s")
below.set_xticks([1e-4, 1e-1, 1e2, 1e5, 1e8, 1e11])

# beside a reference of thirteen digits
exact = torch.tensor(sg.problems.get("robertson").reference, dtype=torch.float64)
error = float(((solution.y[-1] - exact) / exact).abs().max())
print(f"at t = 1e11 s the largest relative error of a species is {error:.1e}")

assert error < 1e-4
assert lost < 1e-12
assert solution.stats.methods[-1][1] == "rodas5p"
