"""
A point cloud in space: from noise to a knot
============================================

Two thousand points of noise become a trefoil knot in space. Each takes the way of the probability
flow of a diffusion model, the deterministic path on which noise turns into data, and its colour is
the place on the knot at which it arrives: so one sees how early that is decided. Where the noise is
still ten times as wide as the knot, the colours lie in sectors already; the flow sorts points by
their direction first, and has them find the strand only at the end.

No network is involved, and none is needed to see that: the knot is a string of a hundred and fifty
short Gaussian strokes, for which the best denoiser is known in closed form. To a sampler it is a
model like any other; put yours in its place. (One that was trained, and makes whole clouds at once,
is in :doc:`the next example <long_point_clouds>`.)
"""

import matplotlib.pyplot as plt
import torch

from stiffguide.adapters.diffusion import grid, noise_like, sample
from stiffguide.adapters.diffusion.metrics import end_point_error
from stiffguide.adapters.diffusion.mixture import GaussianMixture
from stiffguide.adapters.diffusion.problems import reference_end

THICK = 0.02  # of the strand
STROKES = 150


def knot(s):
    """Points (..., 3) of the trefoil for angles s, of a size of about one."""
    wide = 2 + torch.cos(3 * s)
    return 0.35 * torch.stack(
        (wide * torch.cos(2 * s), wide * torch.sin(2 * s), torch.sin(3 * s)), -1
    )


s = torch.arange(STROKES, dtype=torch.float64) * (2 * torch.pi / STROKES)
stroke = (
    (knot(s + 0.01) - knot(s - 0.01)) / 0.02 * (torch.pi / STROKES)
)  # to half way to the next
length = stroke.square().sum(-1, keepdim=True)
data = GaussianMixture(knot(s), THICK, stroke.unsqueeze(1), length)

noise = noise_like((2000, 3), range(2000), dtype=torch.float64)

# %%
# The same points at four levels on their way, and what they miss at the end.

LEVELS = (10.0, 1.0, 0.2, 0.002)
clouds = [
    sample(data, noise, grid.mix(24, level, 80.0), "emg").x for level in LEVELS
]
fine = torch.linspace(0, 2 * torch.pi, 2000, dtype=torch.float64)
place = fine[torch.cdist(clouds[-1], knot(fine)).argmin(-1)]
few = noise[:100]
flow = reference_end(data, few)
off = (clouds[-1] - knot(place)).norm(dim=-1)
print(f"distance to the knot: {off.median():.3f} (median), thickness {THICK}")
errors = {}
for name, steps in (("heun", 12), ("dpmpp_2m", 24), ("emg", 24)):
    errors[name] = end_point_error(
        sample(data, few, grid.mix(steps), name).x, flow
    ).median
    print(f"{name:9} 24 evaluations, {errors[name]:.1e} from the flow (median)")
assert errors["emg"] < 0.1 * errors["heun"]
assert 0.5 * THICK < off.median() < 2 * THICK

# %%

figure, axes = plt.subplots(
    2, 2, figsize=(5.4, 5.4), subplot_kw={"projection": "3d"}
)
for axis, cloud, level in zip(axes.flat, clouds, LEVELS, strict=True):
    half = 1.0 + 1.6 * level
    axis.scatter(*cloud.T, c=place, cmap="twilight", s=2)
    axis.set(xlim=(-half, half), ylim=(-half, half), zlim=(-half, half))
    axis.set_title(f"noise {level:g}")
    axis.view_init(elev=55, azim=-60)
    axis.set_box_aspect(None, zoom=1.3)
    axis.set_axis_off()
