"""
An image model in eight calls
=============================

The network here is a U-Net of 0.9 million weights for handwritten digits of 28 x 28 pixels, in the
folder ``weights/`` of the repository: small, but built and trained as image models are. Eight calls
of it are few. What a sampler makes of them shows at a glance, and a classifier that was trained on
other digits says in numbers whether the one that was asked for can still be read.

The second lesson is where to spend the eight. ``grid.mix`` puts more noise levels where a digit
takes shape, and wants to know where that is: 0.375 principal deviations of the data, which
``grid.principal_deviation`` measures on two hundred images.

One glance is not a measurement. That is made in :doc:`/image_model`, over 96 digits and with
fourteen samplers.
"""

import matplotlib.pyplot as plt
import torch

from stiffguide.adapters.diffusion import grid, noise_like, sample
from stiffguide.adapters.diffusion.metrics import end_point_error
from stiffguide.adapters.diffusion.mnist import (
    load_mnist_classifier,
    load_mnist_denoiser,
    mnist_data,
)
from stiffguide.guidance import ErrorDirection

classes = torch.arange(10)
denoiser = load_mnist_denoiser(classes)
noise = noise_like((10, 1, 28, 28), range(10))
center = 0.375 * grid.principal_deviation(mnist_data()[0][:200])
print(f"center {center:.2f}")

usual, better = grid.karras(8), grid.mix(8, center=center)
WAYS = {
    "Heun": sample(denoiser, noise, grid.karras(4), "heun"),
    "guided Heun": sample(
        denoiser, noise, grid.karras(4), "heun", ErrorDirection()
    ),
    "DPM++ 2M": sample(denoiser, noise, usual, "dpmpp_2m"),
    "EMG": sample(denoiser, noise, usual, "emg"),
    "EMG, mix": sample(denoiser, noise, better, "emg"),
}
flow = sample(denoiser, noise, grid.mix(64, center=center), "emg")

# %%
# Distances to a run of 64 calls, which is within a few hundredths of a percent of the flow, and
# how sure the classifier is, on average, of the digit that was asked for.

classifier = load_mnist_classifier()
size = flow.x.flatten(1).norm(dim=1).mean().item()
distance = {}
for name, found in {**WAYS, "64 calls": flow}.items():
    sure = classifier(found.x).softmax(1)[classes, classes]
    distance[name] = 100 * end_point_error(found.x, flow.x).median / size
    print(
        f"{name:12} {found.nfe:3} calls, {distance[name]:6.2f} % off, sure {sure.mean():.2f}"
    )

heun, guided, _, emg, mix, _ = distance.values()
assert heun > 2 * guided > 3 * emg > 4 * mix

# %%

rows = [found.x.squeeze(1) for found in (*WAYS.values(), flow)]
names = [f"{name}\n8 calls" for name in WAYS] + ["EMG, mix\n64 calls"]
picture = torch.cat([torch.cat(list(digits), 1) for digits in rows])
figure, axis = plt.subplots(figsize=(5.4, 3.4))
axis.imshow(picture.numpy(), cmap="gray_r", vmin=-1, vmax=1)
for i, name in enumerate(names):
    axis.text(-6, 28 * i + 14, name, ha="right", va="center", fontsize=9)
axis.set(title="the ten digits, from the same noise")
axis.set_axis_off()
