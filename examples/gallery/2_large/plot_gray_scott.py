r"""
Four patterns of Gray and Scott
===============================

One substance feeds another that makes more of itself and decays; both diffuse. What becomes of a
few square specks depends on two numbers only, how fast is fed and how fast is lost: a labyrinth,
dots, holes, or dots that never come to rest (Pearson, Science 261, 1993). Four pairs are four
rows of one batch here, each on a grid of 96 x 96 points.

Diffusion on a fine grid is stiff, but mildly, and its Jacobian is large: this is what ``rkc2`` is
for, an explicit method whose stability grows with the square of its stages. It needs no Jacobian
and no linear system, and takes as many stages as a step needs. :doc:`long_gray_scott` has nine
patterns on a grid of 256 x 256.
"""

import time

import matplotlib.pyplot as plt
import torch

import stiffguide as sg

N, END, SPECKS = 96, 4000.0, 20
PATTERNS = {
    "labyrinth": (0.035, 0.060),
    "dots": (0.030, 0.062),
    "holes": (0.039, 0.058),
    "restless": (0.014, 0.054),
}
numbers = torch.tensor(list(PATTERNS.values()), dtype=torch.float64)


def gray_scott(t, w, numbers):
    """The field of w (B, 2, N, N) on a torus whose points are a unit of length apart."""
    feed, kill = numbers[:, :, None, None].unbind(1)
    around = w.roll(1, -1) + w.roll(-1, -1) + w.roll(1, -2) + w.roll(-1, -2) - 4 * w
    u, v = w.unbind(1)
    eaten = u * v * v
    du = 0.16 * around[:, 0] - eaten + feed * (1 - u)
    return torch.stack((du, 0.08 * around[:, 1] + eaten - (feed + kill) * v), 1)


# %%
# The same specks for all of them.

start = torch.stack((torch.ones(N, N), torch.zeros(N, N))).to(torch.float64)
draw = torch.Generator().manual_seed(0)
for i, j in torch.randint(0, N - 6, (SPECKS, 2), generator=draw).tolist():
    start[:, i : i + 6, j : j + 6] = torch.tensor([0.5, 0.25])[:, None, None]
rows = start.expand(len(numbers), 2, N, N)

settings = {"args": (numbers,), "batched": True, "rtol": 1e-3, "atol": 1e-4}
began = time.process_time()
solution = sg.solve(gray_scott, rows, 0.0, END, method="rkc2", **settings)
print(
    f"{solution.y.numel():,} unknowns to t = {END:g}: {time.process_time() - began:.1f} s of CPU"
)
for name, steps, nfe in zip(
    PATTERNS, solution.stats.accepted, solution.stats.nfe, strict=True
):
    print(f"{name:9s} {int(steps):3d} steps, {int(nfe):4d} evaluations of f")

# %%
# What the stages are worth: the first 500 units of time of all rows, beside an explicit method
# that is held to short steps, at the same tolerances.

for method in ("rkc2", "tsit5"):
    begun = sg.solve(gray_scott, rows, 0.0, 500.0, method=method, **settings)
    print(f"{method:5s} {int(begun.stats.nfe.sum()):5d} evaluations")

# %%
# Where a pattern rests, steps grow; where it does not, they follow it.

figure, axes = plt.subplots(2, 2, figsize=(5.4, 5.8))
for axis, name, y in zip(
    axes.flat, PATTERNS, solution.y[:, -1, 1].numpy(), strict=True
):
    axis.imshow(y, vmin=0, vmax=0.4)
    axis.set(title=name)
    axis.set_axis_off()

speed = gray_scott(None, solution.y[:, -1], numbers).abs().amax((1, 2, 3))
for name, fastest in zip(PATTERNS, speed.tolist(), strict=True):
    print(f"{name:9s} changes by up to {fastest:.0e} in a unit of time at the end")
assert solution.success.all()
assert solution.y.min() > -1e-3
assert solution.y.max() < 1.001
assert speed[3] > 3 * speed[:3].max()
