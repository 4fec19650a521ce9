r"""
Van der Pol: where it is stiff, and which method is at work
===========================================================

Van der Pol's oscillator creeps along two slow branches and jumps from one to the other. Along the
branches neighbouring solutions are drawn together at a rate of about ``mu``, a hundred times
faster than anything happens: the problem is stiff there, and an explicit method is held to tiny
steps. In the jumps it is not stiff at all, and an explicit method is the cheaper one.

``solve`` was told nothing of this. Its default, ``"auto"``, lets ``tsit5`` and ``rodas5p`` share
the solve and tells afterwards who worked when. The picture shows it in Liénard's plane, where the
slow branches lie on a cubic.
"""

import math

import matplotlib.pyplot as plt
import torch

import stiffguide as sg

MU = 100.0


def van_der_pol(t, s):
    y, v = s.unbind(-1)
    return torch.stack((v, MU * (1 - y * y) * v - y), -1)


# %%
# The end of every step is kept. An event marks the maxima of y, whose distance is the period.

start = torch.tensor([2.0, 0.0], dtype=torch.float64)
top = sg.Event(lambda t, s: s[1], direction=-1)
solution = sg.solve(
    van_der_pol,
    start,
    0.0,
    4 * MU,
    rtol=1e-6,
    atol=1e-8,
    save_at=sg.EveryStep(),
    events=top,
)
maxima = solution.events[0].t
period = float(maxima[-1] - maxima[-2])
asymptotic = (3 - 2 * math.log(2)) * MU + 3 * 2.338107 * MU ** (-1 / 3)
print(
    f"period {period:.4f}, by the asymptotic expansion for large mu {asymptotic:.4f}"
)

# %%
# Who did what? ``stats.methods`` lists every change: the time, and who goes on from there.

changes = torch.tensor([t for t, _ in solution.stats.methods], dtype=torch.float64)
names = [name for _, name in solution.stats.methods]
who = (
    torch.searchsorted(changes, solution.t[1:], right=False) - 1
)  # of each step, by its end
step = solution.t.diff()
explicit = torch.tensor([name == "tsit5" for name in names])[who]
for name, mine in (("tsit5", explicit), ("rodas5p", ~explicit)):
    share = float(step[mine].sum() / step.sum())
    print(
        f"{name:8s} {int(mine.sum()):4d} steps for {share:7.2%} of the time",
        end=", ",
    )
    print(
        f"the longest {step[mine].max():.2g}, the median {step[mine].median():.2g}"
    )

# %%
# Liénard's coordinate is w = v / mu - y + y³ / 3, which changes slowly everywhere. The explicit
# method has the jumps, level lines in this plane; the stiff one follows the cubic.

y, v = solution.y.unbind(-1)
w = v / MU - y + y**3 / 3
cubic = torch.linspace(-2.15, 2.15, 200, dtype=torch.float64)

figure, axis = plt.subplots()
axis.plot(
    cubic, cubic**3 / 3 - cubic, color="0.75", label="slow branches and the fold"
)
axis.plot(y, w, color="0.35", linewidth=0.8)
axis.plot(y[1:][explicit], w[1:][explicit], "o", color="C1", label="steps of tsit5")
axis.plot(
    y[1:][~explicit], w[1:][~explicit], "o", color="C0", label="steps of rodas5p"
)
axis.set(
    xlabel="y",
    ylabel="w",
    ylim=(-1.05, 1.35),
    title="Two turns of the oscillator, mu = 100",
)
axis.legend(loc="upper center", ncols=2)

assert solution.success
assert abs(period - asymptotic) < 1e-3 * period
assert step[explicit].sum() < 0.1 * step.sum()
