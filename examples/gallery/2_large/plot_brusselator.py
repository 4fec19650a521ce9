r"""
Spirals of the Brusselator, animated
====================================

The Brusselator is a reaction of two substances that goes round and round. Where it also diffuses,
it can be in another phase at every place; and around a point where all phases meet, a wave turns
for ever. The start below has four such points on a torus.

The grid has 64 x 64 points: 8,192 unknowns, whose Jacobian would take half a gigabyte as a full
matrix. Nothing is said about that. The field is written with tensors and their shifts; ``solve``
watches it run once, finds which unknown depends on which, and uses sparse factors.
"""

import time

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.animation import FuncAnimation

import stiffguide as sg

N, DIFFUSION = 64, 4e-4


def brusselator(t, y):
    w = y.reshape(2, N, N)
    u, v = w
    around = w.roll(1, -1) + w.roll(-1, -1) + w.roll(1, -2) + w.roll(-1, -2)
    made = u * (3.4 - u * v)
    return (
        torch.stack((1 - u - made, made)) + DIFFUSION * N * N * (around - 4 * w)
    ).flatten()


# %%
# The first substance varies along one axis, the second along the other: both pass through their
# values at rest, 1 and 3.4, at four points.

wave = torch.sin(2 * torch.pi * torch.arange(N, dtype=torch.float64) / N)
u, v = torch.meshgrid(1 + 0.9 * wave, 3.4 + 2 * wave, indexing="xy")
start = torch.stack((u, v)).flatten()
times = torch.linspace(4.0, 20.0, 41, dtype=torch.float64)

began = time.process_time()
solution = sg.solve(
    brusselator, start, 0.0, 20.0, method="bdf", rtol=1e-4, atol=1e-6, save_at=times
)
seconds = time.process_time() - began
steps, jacobians = int(solution.stats.accepted), int(solution.stats.njac)
print(f"{steps} steps, {jacobians} Jacobians, {seconds:.1f} s of CPU time")
print(solution.stats.linear_solver)

# %%
# A wave that meets another disappears with it, which is why each spiral keeps to its quarter.

frames = solution.y.reshape(-1, 2, N, N)[:, 0].numpy()
figure, axis = plt.subplots(figsize=(3.4, 3.4), dpi=100)
picture = axis.imshow(
    frames[-1], vmin=0, vmax=4, origin="lower", extent=(0, 1, 0, 1)
)
axis.set(xlabel="x", ylabel="y")
axis.grid(False)
plt.rcParams["savefig.dpi"] = 90  # forty-one pictures stand in this page


def draw(k):
    picture.set_data(frames[k])
    axis.set_title(f"first substance, t = {float(times[k]):.1f}")


animation = FuncAnimation(figure, draw, frames=len(frames), interval=120)

# the start is symmetric about x = 1/4, and so are the equations
mirrored = np.roll(frames[:, :, ::-1], N // 2 + 1, -1)
print(f"the mirror image is off by {np.abs(frames - mirrored).max():.0e}")
assert np.abs(frames - mirrored).max() < 0.05
assert "sparse" in solution.stats.linear_solver
