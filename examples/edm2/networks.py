"""EDM's networks: what a snapshot holds, the noise and labels of a seed, and the denoiser.

The interface is `net(x, sigma, class_labels=None) -> x0` with `img_channels`, `img_resolution` and
`label_dim`; EDM's networks also have `sigma_min`, `sigma_max` and `round_sigma`. An encoder turns
x0 into bytes: a decoder of latents in EDM2's snapshots, plain pixels where there is none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from edm2 import files
from stiffguide.adapters.diffusion import autoguidance, classifier_free
from stiffguide.adapters.diffusion.prediction import Denoiser
from stiffguide.errors import InputError

NEEDED = ("__call__", "img_channels", "img_resolution", "label_dim")


class Pixels:
    """The encoder of networks that work on pixels in [-1, 1]."""

    def init(self, device: torch.device) -> None:
        """Nothing to load."""

    def decode(self, x: Tensor) -> Tensor:
        """Bytes (B, C, H, W)."""
        return (x.to(torch.float32) * 127.5 + 128).clip(0, 255).to(torch.uint8)


@dataclass(frozen=True)
class Network:
    """A network on its device, with the encoder of its snapshot."""

    source: str
    net: Any
    encoder: Any
    device: torch.device

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of what it denoises."""
        return self.net.img_channels, self.net.img_resolution, self.net.img_resolution

    def span(self, low: float, high: float) -> tuple[float, float]:
        """The part of [low, high] that the network was trained for."""
        known = getattr(self.net, "sigma_min", 0.0), getattr(self.net, "sigma_max", math.inf)
        return max(low, float(known[0])), min(high, float(known[1]))

    def rounded(self, sigmas: Tensor) -> Tensor:
        """Noise levels (N + 1,) that the network knows; a last 0 stays 0."""
        rounding = getattr(self.net, "round_sigma", None)
        if rounding is None:
            return sigmas
        known = torch.as_tensor(rounding(sigmas)).to(sigmas)
        return torch.where(sigmas == 0, sigmas, known)

    def denoiser(self, labels: Tensor | None) -> Denoiser:
        """D(x, sigma) with the labels (B, L) bound; a network without classes ignores them."""
        bound = labels if self.net.label_dim else None

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            denoised: Tensor = self.net(x, sigma, bound).to(x.dtype)
            return denoised

        return denoise

    def decode(self, x: Tensor) -> Tensor:
        """RGB bytes (B, 3, H, W) on the network's device."""
        images: Tensor = self.encoder.decode(torch.nan_to_num(x))
        return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images


class Draw(NamedTuple):
    """What the seeds of a batch say."""

    noise: Tensor  # (B, C, H, W), unit variance
    labels: Tensor | None  # (B, L), one-hot


def load(
    source: str, device: torch.device, *, download: bool = False, decoder: bool = True
) -> Network:
    """The averaged network of a snapshot: the pickle is executed, so it must be trusted."""
    data = files.unpickle(source, download)
    if not isinstance(data, Mapping) or "ema" not in data:
        found = ", ".join(map(str, data)) if isinstance(data, Mapping) else type(data).__name__
        raise InputError(f"{source} holds {found}: a network snapshot has 'ema'")
    net = data["ema"]
    lacking = [name for name in NEEDED if not hasattr(net, name)]
    if lacking:
        raise InputError(f"'ema' of {source} is no EDM network: it lacks {', '.join(lacking)}")
    found = data.get("encoder")
    encoder = Pixels() if found is None else found
    if decoder:
        if found is None and net.img_channels not in (1, 3):
            raise InputError(
                f"{source} has {net.img_channels} channels, which are no colours, and no 'encoder' "
                "that turns them into an image"
            )
        _ready(encoder, device, source, download)
    return Network(source, net.eval().requires_grad_(False).to(device), encoder, device)


def guided(strong: Network, weak: Network | None, labels: Tensor | None, scale: float) -> Denoiser:
    """D = D_weak + scale (D_strong - D_weak); a weak network without classes makes it CFG."""
    main = strong.denoiser(labels)
    if weak is None or scale == 1.0:
        return main
    if weak.shape != strong.shape:
        raise InputError(f"{weak.source} denoises {weak.shape}, {strong.source} {strong.shape}")
    if weak.net.label_dim not in (0, strong.net.label_dim):
        raise InputError(
            f"{weak.source} knows {weak.net.label_dim} classes, {strong.source} "
            f"{strong.net.label_dim}"
        )
    make = autoguidance if weak.net.label_dim else classifier_free
    return make(main, weak.denoiser(labels), scale)


def draw(network: Network, seeds: Sequence[int], classes: Sequence[int] | None) -> Draw:
    """Noise and class of every seed as EDM draws them: one stream each, on the network's device.

    The stream of a seed gives the noise first and the class next, so that it gives the same image
    in any batch. `classes` replaces the class drawn, image by image.
    """
    device, count = network.device, network.net.label_dim
    streams = [torch.Generator(device).manual_seed(seed % 2**32) for seed in seeds]
    noise = [torch.randn(network.shape, generator=s, device=device) for s in streams]
    if not count:
        if classes is not None:
            raise InputError(f"{network.source} has no classes: leave --classes out")
        return Draw(torch.stack(noise), None)
    drawn = [torch.randint(count, (), generator=s, device=device) for s in streams]
    index = torch.stack(drawn) if classes is None else torch.tensor(classes, device=device)
    if bool(((index < 0) | (index >= count)).any()):
        raise InputError(f"{network.source} has classes 0 to {count - 1}")
    return Draw(torch.stack(noise), torch.nn.functional.one_hot(index, count).to(noise[0]))


def _ready(encoder: Any, device: torch.device, source: str, download: bool) -> None:
    """Load the decoder's own weights, from the cache unless downloads are allowed."""
    if not download:
        files.stay_offline()
    try:
        encoder.init(device)
    except ModuleNotFoundError as error:
        raise InputError(
            f"the decoder of {source} needs the module {error.name}; for the one of EDM2: "
            "pip install 'stiffguide[diffusers]'"
        ) from error
    except OSError as error:
        raise InputError(
            f"the decoder of {source} is not in the cache: allow fetching it with --download"
        ) from error
