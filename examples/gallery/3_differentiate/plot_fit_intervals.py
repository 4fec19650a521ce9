"""
How certain is a fitted parameter?
==================================

An enzyme uses up a substrate, and 18 noisy measurements of it are all there is. Two numbers are
wanted: the highest rate, and the concentration at which half of it is reached. ``stiffguide.fit``
finds both from a hundred starts at once and says how certain each of them is.

Its intervals are those of the model *linearised* at the best fit: in the logarithms of the
parameters, the region that the data allow is taken for an ellipse. Whether that will do can be
looked at. With two parameters the misfit of ninety thousand pairs is one batched solve, and the
intervals of the likelihood profile can be read off it. The measurements end while there is plenty
of substrate left, so that a higher rate and a higher constant look nearly alike: what the data
allow is a bent valley, and the ellipse is too short at one end of it and too long at the other.
"""

# %%
# The model is written for one state and a dict of parameters. The data are made from it, with a
# standard deviation of 0.04 mmol/l, which the fit is told.

import matplotlib.pyplot as plt
import torch
from scipy.stats import t as student

import stiffguide as sg

F64 = torch.float64
SIGMA = 0.04  # mmol/l


def enzyme(t, y, k):
    return -k["rate"] * y / (k["half"] + y)  # Michaelis and Menten


y0 = torch.tensor([2.0], dtype=F64)
times = torch.linspace(0.1, 1.8, 18, dtype=F64)  # minutes
truth = {"rate": 1.5, "half": 1.0}
exact = sg.solve(enzyme, y0, 0.0, 1.8, args=(truth,), save_at=times).y
noise = torch.randn(
    exact.shape, generator=torch.Generator().manual_seed(5), dtype=F64
)
data = exact + SIGMA * noise

fit = sg.fit(
    enzyme, y0, times, data, {"rate": 1.0, "half": 0.3}, sigma=SIGMA, restarts=100
)
print(fit)

# %%
# The landscape: how much larger than at the best fit the sum of squared residuals is, for 300 x 300
# pairs of parameters. A parameter's *profile* is the best that the other one can still do; where it
# has risen by the square of the quantile that ``fit`` uses, too, its interval ends.

rates = torch.logspace(-0.08, 0.5, 300, dtype=F64)
halves = torch.logspace(-0.8, 0.7, 300, dtype=F64)
pairs = torch.cartesian_prod(rates, halves)
given = {"rate": pairs[:, :1], "half": pairs[:, 1:]}
start = y0.expand(len(pairs), 1)
runs = sg.solve(enzyme, start, 0.0, 1.8, args=(given,), save_at=times, batched=True)
squares = ((runs.raise_if_failed().y - data) / SIGMA).square().sum((1, 2))
misfit = squares.reshape(300, 300) - fit.cost

allowed = float(student.ppf(0.975, len(times) - 2)) ** 2
profiles = {"rate": (rates, misfit.amin(1)), "half": (halves, misfit.amin(0))}
ends = {}
for (name, (values, best)), line in zip(
    profiles.items(), fit.intervals.tolist(), strict=True
):
    inside = values[best <= allowed]
    ends[name] = float(inside[0]), float(inside[-1])
    low, high = ends[name]
    print(
        f"{name}: linearised {line[0]:.2f} to {line[1]:.2f}, profile {low:.2f} to {high:.2f}"
    )
    assert low < truth[name] < high
    assert line[0] < truth[name] < line[1]

# The valley leans: the rate may be higher than the ellipse says, and cannot be as low.
assert all(ends["rate"][i] > float(fit.intervals[0, i]) for i in (0, 1))

# %%
# The valley in blue, and the ellipse that the linearised model takes it for. Their shadows on the
# axes are the two intervals of each parameter. (``fit.plot()`` draws the data and the model.)

angle = torch.linspace(0, 2 * torch.pi, 200, dtype=F64)
circle = torch.stack((angle.cos(), angle.sin()))
relative = fit.covariance / torch.outer(
    fit.values, fit.values
)  # that of the logarithms
ellipse = (
    allowed**0.5 * torch.linalg.cholesky(relative) @ circle
).exp() * fit.values[:, None]

figure, axis = plt.subplots(figsize=(5.4, 4.2))
axis.contourf(rates, halves, misfit.T, [0, allowed], colors=["C0"], alpha=0.4)
axis.plot(*ellipse, color="C1", label="linearised")
axis.plot((), (), color="C0", linewidth=6, alpha=0.4, label="by the misfit itself")
axis.plot(*fit.values, "k+", markersize=10, label="best fit")
axis.plot(truth["rate"], truth["half"], "k*", markersize=7, label="truth")
for along, name, place in ((0, "rate", 0.18), (1, "half", 0.87)):
    for ends_of, look in (
        (ends[name], {"color": "C0", "linewidth": 6, "alpha": 0.4}),
        (fit.intervals[along], {"color": "C1"}),
    ):
        line = (ends_of, (place, place))
        axis.plot(
            *(line if along == 0 else line[::-1]), solid_capstyle="butt", **look
        )
axis.set(
    xscale="log", yscale="log", title="what the data allow, and 95 % intervals"
)
axis.set(xlabel="highest rate (mmol/l/min)", ylabel="half of it at (mmol/l)")
axis.set_xticks([1, 1.5, 2, 3], ["1", "1.5", "2", "3"])
axis.set_yticks([0.3, 1, 3], ["0.3", "1", "3"])
axis.minorticks_off()
axis.legend(loc="lower right", bbox_to_anchor=(1.0, 0.1))
