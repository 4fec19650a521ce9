"""The network of 8x8 digits that comes with the package."""

import torch
from sklearn.datasets import load_digits

from stiffguide.adapters.diffusion.digits import load_digits_denoiser


def network(samples):
    """What `benchmarks/image_networks.py` asks for."""
    images = torch.from_numpy(load_digits().images[:400]) / 8 - 1
    return {
        "denoiser": load_digits_denoiser(torch.arange(samples) % 10),
        "shape": (8, 8),
        "images": images.float(),
    }
