"""
Point clouds by a trained network
=================================

A cloud of 64 points on a sphere, a torus, a box or a cylinder is one state of 192 numbers, and its
points have no order. The network is a small transformer without positions, so that points that
change places in the noise change places in the cloud; the samplers keep that. It trains on the spot
for a minute, which is why this page is not run whenever the manual is built; what follows was kept
by the command that stands over it.

How good is a sampler? The same noise is followed with a thousand evaluations and with eight, and
the distance between the two is the sampler's own. What it means is told by the distance of the
points to the surface that fits a cloud best, which the network never saw: in eight evaluations
Heun's method is still far off every surface, and EMG is as near as the flow itself, which is as
near as the network comes.

.. literalinclude:: ../../../examples/gallery/4_sample/output/long_point_clouds.txt
   :language: none

.. image:: ../../../examples/gallery/4_sample/output/long_point_clouds.png
   :alt: Clouds of four kinds by Heun's method, by EMG, and by the flow itself

The data, the network and the loop that trains it are those of ``examples/point_clouds.py`` and
``examples/small_models.py``.
"""

# sphinx_gallery_thumbnail_path = '../examples/gallery/4_sample/output/long_point_clouds.png'

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import torch

sys.path.append(str(Path(__file__).parents[2]))  # the folder examples/

from mpl_toolkits.mplot3d.art3d import Line3DCollection
from point_clouds import POINTS, Points, clouds, distances, off
from small_models import Denoiser, train

from stiffguide.adapters.diffusion import grid, noise_like, sample
from stiffguide.adapters.diffusion.metrics import end_point_error
from stiffguide.adapters.diffusion.problems import reference_end

KINDS = ("sphere", "torus", "box", "cylinder")
torch.manual_seed(0)
model = train(Denoiser(Points()), clouds, steps=1200, batch=64)
noise = noise_like((32, POINTS, 3), range(32), dtype=torch.float64)
flow = reference_end(model, noise)
EIGHT = {
    "Heun": sample(model, noise, grid.karras(4), "heun").x,
    "DPM++ 2M": sample(model, noise, grid.karras(8), "dpmpp_2m").x,
    "EMG": sample(model, noise, grid.karras(8), "emg").x,
    "EMG, mix grid": sample(model, noise, grid.mix(8), "emg").x,
}
size = flow.square().sum((1, 2)).mean().sqrt().item()
errors = {name: end_point_error(x, flow).median / size for name, x in EIGHT.items()}
print(
    "8 evaluations: distance to the flow, relative; and of points to the nearest surface"
)
for name, x in EIGHT.items():
    print(f"{name:14} {errors[name]:8.4f} {off(x):8.4f}")
print(f"{'the flow':14} {0:8.4f} {off(flow):8.4f}")
assert errors["EMG, mix grid"] < errors["DPM++ 2M"] < errors["Heun"]
assert off(EIGHT["EMG, mix grid"]) < 1.1 * off(flow)

# %%
# A cloud of each kind that there is, as told by the surface that fits the flow's best. Its points
# are joined to their neighbours.

kinds = distances(flow).square().mean(-1)  # (4, B)
shown = {
    KINDS[k]: int(kinds[k].argmin()) for k in sorted(set(kinds.argmin(0).tolist()))
}
rows = {"Heun": EIGHT["Heun"], "EMG": EIGHT["EMG, mix grid"], "the flow": flow}
figure, axes = plt.subplots(
    3,
    len(shown),
    figsize=(5.4, 4.6),
    subplot_kw={"projection": "3d"},
    squeeze=False,
)
for line, (name, drawn) in zip(axes, rows.items(), strict=True):
    for axis, (kind, i) in zip(line, shown.items(), strict=True):
        cloud = drawn[i]
        near = torch.cdist(cloud, cloud).topk(5, largest=False).indices[:, 1:]
        pairs = torch.stack(
            (cloud.unsqueeze(1).expand(-1, 4, -1), cloud[near]), 2
        ).flatten(0, 1)
        axis.add_collection3d(
            Line3DCollection(pairs.numpy(), colors="0.75", linewidths=0.7)
        )
        depth = cloud @ torch.tensor([0.5, -0.5, 0.7], dtype=cloud.dtype)
        axis.scatter(*cloud.T, c=depth, s=6, depthshade=False)
        axis.set(xlim=(-0.9, 0.9), ylim=(-0.9, 0.9), zlim=(-0.9, 0.9))
        axis.set_box_aspect((1, 1, 1), zoom=1.3)
        axis.set_axis_off()
        axis.set_title(kind if name == "Heun" else "")
    line[0].text2D(
        -0.1, 0.5, name, transform=line[0].transAxes, rotation=90, va="center"
    )
