"""
Guided digits: how near to the flow at the same price
=====================================================

A diffusion model defines an ordinary differential equation whose solutions lead from noise to
images. A call of its network is what costs, so that samplers take few, long steps, and their error
is a blur, or worse: an image that the model never meant. Here twenty 8 x 8 digits are drawn from
the same noise in several ways, by as many calls of the network each.

**Heun** is the method of Karras et al. (2022), of second order. **Heun with error-direction
guidance** moves each result of that method along the error estimate that it makes anyway, and only
as far as that error's eigenvalue tells. **EMG** is a multistep method on the same idea. What they
miss is measured against the flow itself, the same network followed with a thousand calls.

Nearer to the flow is not the same as better looking, and the network is a toy of 8 x 8 pixels that
ships with the repository. The lines below are about solvers: how much of a difference is their own.
"""

import matplotlib.pyplot as plt
import torch

from stiffguide.adapters.diffusion import grid, noise_like, sample
from stiffguide.adapters.diffusion.digits import load_digits_denoiser
from stiffguide.adapters.diffusion.metrics import end_point_error
from stiffguide.adapters.diffusion.problems import reference_end
from stiffguide.guidance import ErrorDirection

classes = torch.arange(20) % 10
denoiser = load_digits_denoiser(classes, torch.float64)
noise = noise_like((20, 8, 8), range(20), dtype=torch.float64)
flow = reference_end(denoiser, noise)
size = flow.square().sum((1, 2)).mean().sqrt().item()

# %%
# A step of Heun's method takes two calls, one of EMG a single one. All are on the usual grid of
# noise levels, ``grid.karras``; the last line shows what a better grid is worth.

WAYS = {
    "Heun": lambda n: sample(denoiser, noise, grid.karras(n // 2), "heun"),
    "guided Heun": lambda n: sample(
        denoiser, noise, grid.karras(n // 2), "heun", ErrorDirection()
    ),
    "EMG": lambda n: sample(denoiser, noise, grid.karras(n), "emg"),
    "EMG, mix grid": lambda n: sample(denoiser, noise, grid.mix(n), "emg"),
}
CALLS = (6, 8, 12, 16, 24, 32)
errors, images = {}, {}
print("distance to the flow, percent of a digit's size (medians)")
print(f"{'calls':14}" + "".join(f"{n:8}" for n in CALLS))
for name, draw in WAYS.items():
    made = [draw(n) for n in CALLS]
    assert [found.nfe for found in made] == list(CALLS)
    errors[name] = [
        100 * end_point_error(found.x, flow).median / size for found in made
    ]
    images[name] = made[1].x
    print(f"{name:14}" + "".join(f"{error:8.3g}" for error in errors[name]))

heun, guided, emg, best = (torch.tensor(line) for line in errors.values())
assert (guided < 0.6 * heun).all()
assert (emg < guided).all()
assert (best < emg).all()

# %%
# Six of the digits at 8 calls, and the errors over the number of calls.

SHOWN = (2, 3, 5, 7, 8, 9)
rows = {name: images[name] for name in ("Heun", "guided Heun", "EMG")} | {
    "the flow": flow
}
figure, (above, below) = plt.subplots(
    2, 1, figsize=(5.4, 6.4), height_ratios=(1, 1.1)
)
framed = [
    torch.nn.functional.pad(x[list(SHOWN)], (2, 2, 1, 1), value=-1)
    for x in rows.values()
]
picture = torch.cat([torch.cat(list(digits), 1) for digits in framed])
above.imshow(picture.numpy(), cmap="gray_r", vmin=-1, vmax=1)
for i, name in enumerate(rows):
    above.text(-1, 10 * i + 4.5, name, ha="right", va="center")
above.set(title="8 calls of the network, from the same noise")
above.set_axis_off()
for (name, line), marker in zip(errors.items(), "osD^", strict=True):
    below.loglog(CALLS, line, marker=marker, label=name)
below.set(xlabel="calls of the network", ylabel="distance to the flow (%)")
below.set_xticks(CALLS, [str(n) for n in CALLS])
below.minorticks_off()
below.legend(loc="lower left")
