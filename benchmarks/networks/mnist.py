"""The network of 28x28 digits that comes with the repository."""

import torch

from stiffguide.adapters.diffusion.mnist import SIDE, load_mnist_denoiser, mnist_data


def network(samples):
    """What `benchmarks/image_networks.py` asks for."""
    images, _ = mnist_data()
    return {
        "denoiser": load_mnist_denoiser(torch.arange(samples) % 10),
        "shape": (1, SIDE, SIDE),
        "images": images[:400],
    }
