"""Train the two denoisers of 8 x 8 digits: a few minutes on one CPU core.

    python examples/train_digits.py --out weights

The loss is EDM's: E over sigma of |D(x0 + sigma eps; sigma) - x0|^2 / c_out^2, log sigma normal.
One image in five loses its label, which trains the unconditional branch. What is kept is an
exponential moving average of the weights. The same seed on the same machine gives the same file.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from stiffguide.adapters.diffusion.class_denoiser import SIGMA_DATA, ClassDenoiser
from stiffguide.adapters.diffusion.digits import NULL, PIXELS, DigitsNet, digits_data

LOG_SIGMA = (-1.0, 1.4)  # mean and spread
DROP_LABEL = 0.2


@dataclass(frozen=True)
class Recipe:
    width: int
    blocks: int
    steps: int
    batch: int = 256
    rate: float = 2e-3
    decay: float = 0.999  # of the moving average


RECIPES = {
    "digits": Recipe(width=224, blocks=2, steps=4000),
    "digits_weak": Recipe(width=96, blocks=1, steps=1000, decay=0.99),
}


def loss(net: DigitsNet, x0: Tensor, label: Tensor, random: torch.Generator) -> Tensor:
    mean, spread = LOG_SIGMA
    sigma = (mean + spread * torch.randn(len(x0), generator=random)).exp()
    noisy = x0 + sigma.unsqueeze(-1) * torch.randn(x0.shape, generator=random)
    dropped = torch.rand(len(x0), generator=random) < DROP_LABEL
    denoised = ClassDenoiser(net, torch.where(dropped, NULL, label))(noisy, sigma)
    weight = 1 / sigma.square() + 1 / SIGMA_DATA**2
    return (weight.unsqueeze(-1) * (denoised - x0).square()).mean()


def train(recipe: Recipe, seed: int) -> DigitsNet:
    torch.manual_seed(seed)
    random = torch.Generator().manual_seed(seed)
    images, labels = digits_data()
    images = images.reshape(-1, PIXELS)
    net = DigitsNet(recipe.width, recipe.blocks)
    net.mean.copy_(images.mean(0))
    kept = DigitsNet(recipe.width, recipe.blocks).requires_grad_(False)
    kept.load_state_dict(net.state_dict())
    optimiser = torch.optim.AdamW(net.parameters(), lr=recipe.rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, recipe.steps)
    start, running = time.perf_counter(), 0.0
    for step in range(1, recipe.steps + 1):
        rows = torch.randint(len(images), (recipe.batch,), generator=random)
        value = loss(net, images[rows], labels[rows], random)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            pairs = zip(kept.parameters(), net.parameters(), strict=True)
            for average, current in pairs:
                average.lerp_(current, 1 - recipe.decay)
        running += (value.item() - running) / min(step, 200)
        if step % 500 == 0:
            print(f"  step {step:6d}  loss {running:.4f}  {time.perf_counter() - start:5.1f} s")
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of the weights")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    for name, recipe in RECIPES.items():
        print(f"{name}: {recipe}")
        net = train(recipe, args.seed)
        size = sum(p.numel() for p in net.parameters())
        print(f"  {size} parameters")
        shape = json.dumps({"width": recipe.width, "blocks": recipe.blocks})
        save_file(net.state_dict(), args.out / f"{name}.safetensors", metadata={"net": shape})


if __name__ == "__main__":
    main()
