"""
A tableau of your own, proved
=============================

A Runge-Kutta method is a table of numbers, and one wrong digit among them still gives curves that
look right: the method has merely lost its order. So a tableau here has to prove itself. Its rows
have to add up when it is made; for the orders that it claims there is one algebraic condition for
every rooted tree, checked in exact fractions; whether it is L-stable is computed, too.

The example is the SDIRK method of order 4 of Hairer and Wanner (Solving Ordinary Differential
Equations II, IV.6), which is not in the catalogue. With the proof behind it, it is a method like
any other: ``solve`` takes it as it is, with error control, on a stiff problem.
"""

import math
from dataclasses import replace
from fractions import Fraction as F

import matplotlib.pyplot as plt
import torch

import stiffguide as sg
from stiffguide.tableaux.order import prove
from stiffguide.verification import orbit, orbit_field

B = (F(25, 24), F(-49, 48), F(125, 16), F(-85, 12), F(1, 4))
B_HAT = (F(59, 48), F(-17, 96), F(225, 32), F(-85, 12), F(0))

sdirk4 = sg.Tableau(
    name="sdirk4",
    a=(
        (F(1, 4),),
        (F(1, 2), F(1, 4)),
        (F(17, 50), F(-1, 25), F(1, 4)),
        (F(371, 1360), F(-137, 2720), F(15, 544), F(1, 4)),
        B,
    ),
    b=B,
    c=(F(1, 4), F(3, 4), F(11, 20), F(1, 2), F(1)),
    b_error=tuple(b - b_hat for b, b_hat in zip(B, B_HAT, strict=True)),
    order=4,
    error_order=3,
    source="Hairer and Wanner, Solving Ordinary Differential Equations II, IV.6",
)

# %%
# One call proves what can be proved, and measures the rest on solves: the order, the error
# estimate, the interpolant, that a batch is what its rows are alone, and gradients.

report = sg.verify(sdirk4)
print(report)
assert report.ok

# %%
# Two slips of the pen. The first breaks a row sum, and is refused at once; the second keeps every
# sum, and it takes the trees to find it.


def refused(attempt):
    try:
        attempt()
    except sg.TableauError as error:
        return str(error)
    raise AssertionError("a slip of the pen went through")


def with_row(first, second, name):
    """The tableau with other numbers in the fourth row."""
    row = (first, second, *sdirk4.a[3][2:])
    return replace(sdirk4, name=name, a=(*sdirk4.a[:3], row, sdirk4.a[4]))


slip = F(1, 100)
wrong = with_row(F(371, 1360) - slip, F(-137, 2720) + slip, "wrong")
sentence = refused(lambda: with_row(F(371, 1360), F(-173, 2720), "typo"))
print(sentence)
assert "row 3" in sentence
sentence = refused(lambda: prove(wrong))
print(sentence)
assert "order 3" in sentence

# %%
# What a slip does, on a coupled, nonlinear, non-autonomous field with a known solution: the order
# is 2, and no single solve would tell.

start = torch.zeros(1, dtype=torch.float64)
lengths = [3.0 / n for n in (8, 12, 16, 24, 32, 48, 64, 96)]
errors = {}
for method in (sdirk4, wrong):
    given = {"method": method, "batched": True, "rtol": 1e-13, "atol": 1e-13}
    finals = [
        sg.solve(
            orbit_field, orbit(start), 0.0, 3.0, controller=sg.Fixed(dt), **given
        )
        .raise_if_failed()
        .y[0, -1]
        for dt in lengths
    ]
    exact = orbit(torch.tensor(3.0, dtype=torch.float64))
    errors[method.name] = [(y - exact).norm().item() for y in finals]

fall = math.log(errors["wrong"][-3] / errors["wrong"][-1]) / math.log(
    lengths[-3] / lengths[-1]
)
print(f"with the slip the error falls like dt^{fall:.2f}")
assert abs(fall - 2) < 0.15

# %%
# In use: van der Pol's oscillator with mu = 1000, where an explicit method would need hundreds of
# thousands of steps.


def van_der_pol(t, y):
    x, v = y
    return torch.stack((v, 1000 * (1 - x * x) * v - x))


y0 = torch.tensor([2.0, 0.0], dtype=torch.float64)
for method in (sdirk4, "kvaerno4"):
    found = sg.solve(
        van_der_pol, y0, 0.0, 2000.0, method=method, rtol=1e-5, atol=1e-7
    )
    found.raise_if_failed()
    print(
        f"{found.method:9} {found.stats.accepted.item()} steps, y = {found.y[-1, 0]:.5f}"
    )

# %%

figure, axis = plt.subplots()
for (name, line), look in zip(errors.items(), ("o-", "s-"), strict=True):
    axis.loglog(lengths, line, look, label=name)
for power, name in ((4, "sdirk4"), (2, "wrong")):
    ideal = [errors[name][-1] * (dt / lengths[-1]) ** power for dt in lengths]
    axis.loglog(lengths, ideal, color="0.6", linestyle="--", linewidth=1)
    axis.text(lengths[4], ideal[4] * 0.4, f"dt^{power}", color="0.4", va="top")
axis.set(xlabel="step length dt", ylabel="error at t = 3")
axis.set_title("a slip of 1/100 that keeps all sums")
ticks = [0.03, 0.1, 0.3]
axis.set_xticks(ticks, [str(dt) for dt in ticks])
axis.minorticks_off()
axis.legend()
