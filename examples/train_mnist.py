"""Train the U-Net and the classifier for MNIST digits: some 25 minutes on one CPU core.

    OMP_NUM_THREADS=1 python examples/train_mnist.py --out weights

The loss of the U-Net is EDM's: E over sigma of |D(x0 + sigma eps; sigma) - x0|^2 / c_out^2, log
sigma normal. One image in seven loses its label, which trains the unconditional branch. What is
kept is an exponential moving average of the weights, rounded to float16. A checkpoint is left
every few minutes: the same command goes on from it. The last 2,000 digits are held out.
"""

from __future__ import annotations

import argparse
import json
import time
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from stiffguide.adapters.diffusion.class_denoiser import SIGMA_DATA, ClassDenoiser
from stiffguide.adapters.diffusion.mnist import NULL, DigitClassifier, mnist_data
from stiffguide.adapters.diffusion.unet import UNet
from stiffguide.tensors import rows

LOG_SIGMA = (-0.6, 1.6)  # mean and spread: digits of 784 pixels take shape at sigma 1 to 4
DROP_LABEL = 0.15


@dataclass(frozen=True)
class Recipe:
    widths: tuple[int, int, int] = (16, 48, 96)
    told: int = 96
    steps: int = 4500
    batch: int = 128
    rate: float = 1.5e-3  # at its highest, in one cycle over `cycle` steps
    cycle: int = 10_000
    cooling: int = 1000  # the last steps, in which the rate falls to 0
    decay: float = 0.999  # of the moving average
    every: int = 500  # steps between checkpoints
    epochs: int = 12  # of the classifier
    few: int = 64  # its batch
    half: bool = True  # convolutions in bfloat16, where float32 is much slower


TINY = Recipe(widths=(8, 8, 8), told=8, steps=2, batch=4, every=2, epochs=1, few=1000)


class Training:
    """What goes on from a checkpoint: network, moving average, optimizer, random numbers."""

    def __init__(self, recipe: Recipe, seed: int, images: Tensor) -> None:
        torch.manual_seed(seed)
        self.recipe, self.random = recipe, torch.Generator().manual_seed(seed)
        self.net = UNet(recipe.widths, recipe.told)
        self.net.mean.copy_(images.mean(0))
        self.kept = deepcopy(self.net).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), recipe.rate, weight_decay=0.01)
        self.rates = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, recipe.rate, recipe.cycle, pct_start=0.1
        )
        self.done, self.seconds = 0, 0.0  # seconds of CPU

    def parts(self) -> dict[str, Any]:
        return {
            name: getattr(self, name).state_dict() for name in ("net", "kept", "optimizer", "rates")
        }

    def save(self, path: Path) -> None:
        """Leave a checkpoint, never half of one."""
        state = self.parts() | {"random": self.random.get_state(), "recipe": asdict(self.recipe)}
        torch.save(state | {"done": self.done, "seconds": self.seconds}, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint of the same recipe."""
        state = torch.load(path, weights_only=True)
        if state["recipe"] != asdict(self.recipe):
            raise SystemExit(f"{path} is of another recipe: delete it to begin anew")
        for name in self.parts():
            getattr(self, name).load_state_dict(state[name])
        self.random.set_state(state["random"])
        self.done, self.seconds = state["done"], state["seconds"]

    def step(self, images: Tensor, labels: Tensor) -> float:
        """One step of AdamW on a batch of (N, 1, 28, 28); the loss."""
        chosen = torch.randint(len(images), (self.recipe.batch,), generator=self.random)
        dropped = torch.rand(len(chosen), generator=self.random) < DROP_LABEL
        labels = torch.where(dropped, NULL, labels[chosen])
        with torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.half):
            value = loss(self.net, images[chosen], labels, self.random)
        self.optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizer.step()
        self.done += 1
        self.rates.step()  # sets the rate anew, whatever it was
        left = (self.recipe.steps - self.done) / self.recipe.cooling
        for group in self.optimizer.param_groups:
            group["lr"] *= min(1.0, left)
        share = max(1 - self.recipe.decay, 1 / (self.done + 1))
        with torch.no_grad():
            pairs = zip(self.kept.parameters(), self.net.parameters(), strict=True)
            for average, current in pairs:
                average.lerp_(current, share)
        return value.item()


def loss(net: nn.Module, x0: Tensor, label: Tensor, random: torch.Generator) -> Tensor:
    mean, spread = LOG_SIGMA
    sigma = (mean + spread * torch.randn(len(x0), generator=random)).exp()
    noisy = x0 + rows(sigma, x0) * torch.randn(x0.shape, generator=random)
    denoised = ClassDenoiser(net, label)(noisy, sigma)
    weight = 1 / sigma.square() + 1 / SIGMA_DATA**2
    return (rows(weight, x0) * (denoised - x0).square()).mean()


@torch.no_grad()
def held_out_loss(net: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The loss of digits that were not trained on, always with the same noise."""
    random = torch.Generator().manual_seed(1)
    parts = zip(images.split(250), labels.split(250), strict=True)
    values = [loss(net, x0, label, random) for x0, label in parts]
    return float(torch.stack(values).mean())


def train_unet(recipe: Recipe, seed: int, checkpoint: Path) -> UNet:
    images, labels = mnist_data("training")
    others = mnist_data("held out")
    training = Training(recipe, seed, images)
    if checkpoint.exists():
        training.load(checkpoint)
        print(f"  goes on after step {training.done}")
    before, spent, running = training.seconds, time.process_time(), 0.0
    for count in range(1, recipe.steps - training.done + 1):
        running += (training.step(images, labels) - running) / min(count, 200)
        if training.done % recipe.every == 0:
            training.seconds = before + time.process_time() - spent
            training.save(checkpoint)
            found = held_out_loss(training.kept, *others)
            print(
                f"  step {training.done:6d}  loss {running:.4f}, of the average on held-out digits "
                f"{found:.4f}  {training.seconds / 60:.1f} CPU minutes",
                flush=True,
            )
    return training.kept


def train_classifier(recipe: Recipe, seed: int) -> DigitClassifier:
    torch.manual_seed(seed)
    random = torch.Generator().manual_seed(seed)
    images, labels = mnist_data("training")
    others, expected = mnist_data("held out")
    net = DigitClassifier()
    steps = len(images) // recipe.few
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.01)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, recipe.epochs * steps)
    for _ in range(recipe.epochs):
        order = torch.randperm(len(images), generator=random)[: steps * recipe.few]
        for chosen in order.split(recipe.few):
            value = F.cross_entropy(net(images[chosen]), labels[chosen])
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            rates.step()
    with torch.no_grad():
        right = (net(others).argmax(-1) == expected).float().mean()
    print(f"  {100 * right:.2f} % of {len(others)} held-out digits are told right", flush=True)
    return net


def write(net: nn.Module, path: Path, shape: dict[str, Any]) -> None:
    """The weights in float16, with what makes the network of them."""
    weights = {name: value.half().contiguous() for name, value in net.state_dict().items()}
    save_file(weights, path, metadata={"net": json.dumps(shape)})
    count = sum(value.numel() for value in weights.values())
    print(f"  {path}: {count} numbers, {path.stat().st_size / 1e6:.2f} MB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of the weights")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--float32", action="store_true", help="for a CPU without bfloat16")
    parser.add_argument("--tiny", action="store_true", help="two steps: to see that it runs")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    recipe = TINY if args.tiny else replace(Recipe(), half=not args.float32)
    print(f"mnist_classifier, then mnist: {recipe}", flush=True)
    write(train_classifier(recipe, args.seed), args.out / "mnist_classifier.safetensors", {})
    checkpoint = args.out / "mnist.checkpoint"
    net = train_unet(recipe, args.seed, checkpoint)
    shape = {"widths": recipe.widths, "told": recipe.told}
    write(net, args.out / "mnist.safetensors", shape)
    checkpoint.unlink()


if __name__ == "__main__":
    main()
