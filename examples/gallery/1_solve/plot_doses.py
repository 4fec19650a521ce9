r"""
Weekly doses, each patient on days of their own
===============================================

A drug binds to its target within minutes and leaves the body within weeks: a stiff problem, which
is disturbed every week by the next dose. Nobody takes a dose on the minute, and some forget one.
Here 1,000 patients, each with rates of their own, take twelve weekly doses, each on a day of
their own.

``tstops`` are times that a step must end on, in a batch a line of them for every row; ``jump_at``
says what happens to the state there. So a schedule is a matrix of times, and a dose that was
forgotten one that lies beyond the end. Nothing is solved piece by piece, and the whole cohort is
one kernel.
"""

import matplotlib.pyplot as plt
import torch

import stiffguide as sg

PATIENTS, WEEKS, END = 1000, 12, 120.0  # days
F64 = torch.float64


def binding(t, y, rates, dose):
    """Free drug, free target, and the complex of both, which is taken up at 0.04 a day."""
    drug, target, both = y.unbind(-1)
    kel, kon, koff, ksyn, kdeg = rates.unbind(-1)
    bind = kon * drug * target - koff * both
    return torch.stack(
        (-kel * drug - bind, ksyn - kdeg * target - bind, bind - 0.04 * both), -1
    )


def given(t, y, rates, dose):
    return torch.stack((y[:, 0] + dose, y[:, 1], y[:, 2]), -1)


# %%
# The cohort: rates and doses spread by 30 %, times by three days, one dose in ten forgotten.

draw = torch.Generator().manual_seed(1)
typical = torch.tensor([0.05, 200.0, 0.02, 0.05, 0.1], dtype=F64)  # a day
rates = typical * torch.exp(
    0.3 * torch.randn(PATIENTS, 5, dtype=F64, generator=draw)
)
dose = torch.exp(0.3 * torch.randn(PATIENTS, dtype=F64, generator=draw))
late = 3.0 * torch.rand(PATIENTS, WEEKS, dtype=F64, generator=draw)
days = 7.0 * torch.arange(WEEKS) + 0.5 + late
days[torch.rand(PATIENTS, WEEKS, generator=draw) < 0.1] = 1000.0  # never

start = torch.zeros(PATIENTS, 3, dtype=F64)
start[:, 1] = rates[:, 3] / rates[:, 4]  # the target at rest
times = torch.linspace(0.0, END, 481, dtype=F64)
settings = {"method": "rodas5p", "rtol": 1e-6, "atol": 1e-9, "batched": True}
cohort = sg.solve(
    binding,
    start,
    0.0,
    END,
    args=(rates, dose),
    tstops=days,
    jump_at=given,
    save_at=times,
    backend="kernel",
    **settings,
)
print(cohort)

# %%
# The same for one patient by hand: from dose to dose, in solves of their own.

one, y, now = slice(7, 8), start[7:8], 0.0
for day in [*days[7][days[7] < END].tolist(), END]:
    own = (rates[one], dose[one])
    y = sg.solve(binding, y, now, day, args=own, **settings).y[:, -1]
    y, now = (given(day, y, *own), day) if day < END else (y, now)
apart = float((y[0] - cohort.y[7, -1]).abs().max())
print(f"patient 7 by hand and in the batch differ by {apart:.1e}")

# %%
# Three patients, and what the cohort sees: the free target comes back once the doses stop, in
# some patients in between.

figure, (above, below) = plt.subplots(2, sharex=True, figsize=(5.4, 5))
for k in range(3):
    above.semilogy(times, cohort.y[k, :, 0], linewidth=1.2, color=f"C{k}")
    own = days[k][days[k] < END]
    above.plot(
        own, torch.full_like(own, 2.5e-5 * 2.2**k), "|", color=f"C{k}", markersize=7
    )
above.set(
    ylabel="free drug, in doses",
    ylim=(1e-5, 20),
    title="Three patients, and their doses as ticks",
)
left = cohort.y[:, :, 1] / start[:, 1:2]
low, middle, high = torch.quantile(
    left, torch.tensor([0.05, 0.5, 0.95], dtype=F64), dim=0
)
below.fill_between(
    times, low, high, color="C5", alpha=0.35, label="90 % of 1,000 patients"
)
below.plot(times, middle, color="C0", label="median")
below.set(xlabel="days", ylabel="free target, of that at rest")
below.legend()

assert cohort.success.all()
assert apart < 1e-6
