r"""
Twenty thousand kinetics problems in one call
=============================================

Rates of reactions are known to some tens of per cent, if at all. What does that leave of a
prediction? Here Robertson's reaction is solved for twenty thousand triples of rates, each drawn
with a spread of 30 %, and the picture shows where the states lie at each time.

With ``batched=True`` the rows are solved together, and each as if it were alone: with its own
steps, its own errors and its own verdict. Since the field is small, it becomes a *kernel*: the
whole adaptive solve as one native function, built once by the system's C++ compiler and kept.
:doc:`long_kinetics` has a million rows.
"""

import time

import matplotlib.pyplot as plt
import torch

import stiffguide as sg

ROWS = 20_000


def robertson(t, y, k):
    a, b, c = y.unbind(-1)
    slow, fast, back = k[:, 0] * a, k[:, 1] * b * b, k[:, 2] * b * c
    return torch.stack((back - slow, slow - back - fast, fast), -1)


# %%
# Rates by row are an argument of the field. ``save_at`` are the times that are kept.

draw = torch.Generator().manual_seed(0)
spread = torch.exp(0.3 * torch.randn(ROWS, 3, dtype=torch.float64, generator=draw))
rates = torch.tensor([0.04, 3e7, 1e4], dtype=torch.float64) * spread
start = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64).expand(ROWS, 3)
times = torch.logspace(-5, 6, 90, dtype=torch.float64)

settings = {"batched": True, "method": "rodas5p", "rtol": 1e-6, "atol": 1e-12}
sg.compile(robertson, like=start, args=(rates,), batched=True, method="rodas5p")

began = time.process_time()
solution = sg.solve(
    robertson, start, 0.0, 1e6, args=(rates,), save_at=times, **settings
)
seconds = time.process_time() - began
steps = solution.stats.accepted
print(
    f"{ROWS:,} rows in {seconds:.2f} s of CPU time by the {solution.stats.backend},"
)
print(f"with {int(steps.min())} to {int(steps.max())} steps each")

# %%
# The band holds 95 % of all rows. The rates move *when* things happen, and the fast ones set the
# level of the second species.

low, middle, high = torch.quantile(
    solution.y, torch.tensor([0.025, 0.5, 0.975], dtype=torch.float64), dim=0
)
scale = (1.0, 1e4, 1.0)
figure, axis = plt.subplots()
for i, label in enumerate(("A", "10,000 B", "C")):
    axis.semilogx(times, scale[i] * middle[:, i], label=label)
    axis.fill_between(
        times, scale[i] * low[:, i], scale[i] * high[:, i], alpha=0.25
    )
axis.set(
    xlabel="time, s",
    ylabel="fraction of all",
    title="Medians, and 95 % of the rows",
)
axis.legend()

# a row of the batch is the row alone, and no row loses matter
alone = sg.solve(
    robertson, start[:1], 0.0, 1e6, args=(rates[:1],), save_at=times, **settings
)
torch.testing.assert_close(solution.y[:1], alone.y, rtol=1e-9, atol=1e-12)
assert solution.success.all()
assert (solution.y.sum(-1) - 1).abs().max() < 1e-9
