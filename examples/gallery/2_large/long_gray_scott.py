r"""
Nine patterns of Gray and Scott, 256 by 256
===========================================

The field of :doc:`plot_gray_scott` on a finer torus, with nine pairs of numbers in one batch: 1.2
million unknowns by ``rkc2``. Every row takes steps of its own: those that come to rest need far
fewer than those that do not. Above each stand how fast is fed and how fast is lost.

.. literalinclude:: ../../../examples/gallery/2_large/output/long_gray_scott.txt
   :language: none

.. image:: ../../../examples/gallery/2_large/output/long_gray_scott.png
   :alt: Nine patterns, from labyrinths to dots, holes and turbulence
"""

# sphinx_gallery_thumbnail_path = '../examples/gallery/2_large/output/long_gray_scott.png'

import matplotlib.pyplot as plt
import torch

import stiffguide as sg

N, END, SPECKS = 256, 5000.0, 140
PAIRS = [
    *((0.035, 0.060), (0.030, 0.062), (0.0367, 0.0649)),
    *((0.039, 0.058), (0.026, 0.051), (0.014, 0.054)),
    *((0.025, 0.060), (0.018, 0.051), (0.030, 0.055)),
]
numbers = torch.tensor(PAIRS, dtype=torch.float64)


def gray_scott(t, w, numbers):
    """The field of w (B, 2, N, N) on a torus whose points are a unit of length apart."""
    feed, kill = numbers[:, :, None, None].unbind(1)
    around = w.roll(1, -1) + w.roll(-1, -1) + w.roll(1, -2) + w.roll(-1, -2) - 4 * w
    u, v = w.unbind(1)
    eaten = u * v * v
    du = 0.16 * around[:, 0] - eaten + feed * (1 - u)
    return torch.stack((du, 0.08 * around[:, 1] + eaten - (feed + kill) * v), 1)


# %%
# The same specks for all.

start = torch.stack((torch.ones(N, N), torch.zeros(N, N))).to(torch.float64)
draw = torch.Generator().manual_seed(0)
for i, j in torch.randint(0, N - 6, (SPECKS, 2), generator=draw).tolist():
    start[:, i : i + 6, j : j + 6] = torch.tensor([0.5, 0.25])[:, None, None]
rows = start.expand(len(numbers), 2, N, N)

settings = {"args": (numbers,), "batched": True, "rtol": 1e-3, "atol": 1e-4}
solution = sg.solve(gray_scott, rows, 0.0, END, method="rkc2", **settings)
for (feed, kill), steps, nfe in zip(
    PAIRS, solution.stats.accepted, solution.stats.nfe, strict=True
):
    print(
        f"feed {feed:.4f}, loss {kill:.4f}: {int(steps):3d} steps, {int(nfe):4d} evaluations of f"
    )

# %%
# The second substance at the end; the same colours everywhere.

figure, axes = plt.subplots(3, 3, figsize=(5.4, 6))
for axis, (feed, kill), y in zip(
    axes.flat, PAIRS, solution.y[:, -1, 1].numpy(), strict=True
):
    axis.imshow(y, vmin=0, vmax=0.4)
    axis.set_title(f"{feed:g}, {kill:g}", fontsize=9)
    axis.set_axis_off()

assert solution.success.all()
assert solution.y.min() > -1e-3
assert solution.y.max() < 1.001
