r"""
A million kinetics problems
===========================

The problem of :doc:`plot_kinetics`, Robertson's reaction with rates of its own for every row, for
a thousand, ten thousand, a hundred thousand and a million rows. A row costs the same from some
thousand rows on, and each has an answer with a controlled error of its own.

The picture has one point for each of a million solves: the slow rate decides how much of the
third species there is after ten thousand seconds, and the two fast ones spread it.

.. literalinclude:: ../../../examples/gallery/1_solve/output/long_kinetics.txt
   :language: none

.. image:: ../../../examples/gallery/1_solve/output/long_kinetics.png
   :alt: A million answers over the slow rate
"""

# sphinx_gallery_thumbnail_path = '../examples/gallery/1_solve/output/long_kinetics.png'

import time

import matplotlib.pyplot as plt
import torch

import stiffguide as sg


def robertson(t, y, k):
    a, b, c = y.unbind(-1)
    slow, fast, back = k[:, 0] * a, k[:, 1] * b * b, k[:, 2] * b * c
    return torch.stack((back - slow, slow - back - fast, fast), -1)


def population(rows):
    draw = torch.Generator().manual_seed(0)
    spread = torch.exp(
        0.3 * torch.randn(rows, 3, dtype=torch.float64, generator=draw)
    )
    start = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64).expand(rows, 3)
    return start, torch.tensor([0.04, 3e7, 1e4], dtype=torch.float64) * spread


# %%
# The kernel is built and loaded before the clock starts; a next run would find it in the cache.

settings = {"batched": True, "method": "rodas5p", "rtol": 1e-6, "atol": 1e-12}
start, rates = population(1000)
prepared = sg.prepare(robertson, like=start, args=(rates,), **settings)
prepared(start, 0.0, 1e4, rates)

for rows in (1_000, 10_000, 100_000, 1_000_000):
    start, rates = population(rows)
    began = time.process_time()
    solution = prepared(start, 0.0, 1e4, rates)
    seconds = time.process_time() - began
    steps = int(solution.stats.accepted.sum())
    print(
        f"{rows:9,} rows in {seconds:6.3f} s of CPU time: {rows / seconds:9,.0f} rows/s, "
        f"{steps / seconds:12,.0f} steps/s"
    )

# %%
# What a million answers look like.

figure, axis = plt.subplots()
made = solution.y[:, -1, 2]
shown = axis.hexbin(
    rates[:, 0], made, gridsize=90, bins="log", xscale="log", linewidths=0.1
)
axis.set(
    xlabel="slow rate, 1/s",
    ylabel="third species at 10,000 s",
    title="A million solves",
)
figure.colorbar(shown, label="solves in a cell")

assert solution.success.all()
assert (solution.y.sum(-1) - 1).abs().max() < 1e-9
