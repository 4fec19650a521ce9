"""What guidance and EMG cost beyond the network: CPU time a step, side by side in one run.

    python benchmarks/overhead.py

Three tables: the rules on Heun's method beside one call of a convolutional network of about 20 ms,
EMG beside UniPC-2 at a state of 32 x 64 with a network that costs nothing, and EMG beside
k-diffusion's `sample_dpmpp_2m`, where that is installed, at two latents, with none at all.
"""

from __future__ import annotations

import importlib
import importlib.util
import statistics
import sys
import time
import types
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from stiffguide.adapters.diffusion import grid, sample
from stiffguide.adapters.diffusion.curves import markdown
from stiffguide.adapters.kdiffusion import sample_stiffguide_emg
from stiffguide.guidance import ErkGuid, ErrorDirection
from stiffguide.stepping.contracts import Guidance

STEPS, ROUNDS = 16, 15
LATENTS = ((1, 4, 64, 64), (4, 16, 128, 128))
RULES: dict[str, Guidance | None] = {
    "none": None,
    "ErkGuid": ErkGuid(0.75, 0.3),
    "ErrorDirection": ErrorDirection(),
    "ErrorDirection(order=3)": ErrorDirection(order=3),
}


def free(x: Tensor, sigma: Tensor) -> Tensor:
    """A network that costs next to nothing, and is not linear."""
    return torch.tanh(x)


def convolutional() -> Callable[[Tensor], Tensor]:
    """About 20 ms on one core for one image of 64 x 64."""
    torch.manual_seed(0)
    layers: list[torch.nn.Module] = [torch.nn.Conv2d(3, 64, 3, padding=1)]
    for _ in range(4):
        layers += [torch.nn.SiLU(), torch.nn.Conv2d(64, 64, 3, padding=1)]
    return torch.nn.Sequential(*layers, torch.nn.Conv2d(64, 3, 3, padding=1))


def seconds(run: Callable[[], object]) -> float:
    """CPU seconds of one run."""
    before = time.process_time()
    run()
    return time.process_time() - before


def medians(runs: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Each in turn, so that a change of the machine's speed meets all of them."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(ROUNDS):
        for name, run in runs.items():
            found[name].append(seconds(run))
    return {name: statistics.median(values) for name, values in found.items()}


def rules() -> str:
    """Guidance on Heun's method for an image of 3 x 64 x 64."""
    noise, levels = torch.randn(1, 3, 64, 64), grid.karras(STEPS)
    runs: dict[str, Callable[[], object]] = {
        name: lambda rule=rule: sample(free, noise, levels, "heun", rule)  # type: ignore[misc]
        for name, rule in RULES.items()
    }
    net = convolutional()
    with torch.no_grad():
        runs["network"] = lambda: net(noise)
        found = medians(runs)
    call = found.pop("network")
    lines = [
        [name, f"{value / STEPS * 1e6:.0f}", f"{(value - found['none']) / STEPS / call:.2%}"]
        for name, value in found.items()
    ]
    head = ["rule", "us a step", f"rule alone, of a network call of {call * 1e3:.1f} ms"]
    return markdown(head, lines)


def multistep() -> str:
    """EMG beside UniPC-2 at 32 x 64."""
    noise, levels = torch.randn(32, 64), grid.karras(STEPS)
    names = ("dpmpp_2m", "unipc2", "emg")
    found = medians({n: lambda n=n: sample(free, noise, levels, n) for n in names})  # type: ignore[misc]
    lines = [
        [
            name,
            f"{found[name] / STEPS * 1e6:.0f}",
            f"{(found[name] - found['unipc2']) / STEPS * 1e6:+.0f}",
        ]
        for name in names
    ]
    return markdown(["sampler", "us a step", "beyond UniPC-2, us"], lines)


def k_sampling() -> Any:
    """k_diffusion.sampling without what only its training code wants; None if not installed."""
    found = importlib.util.find_spec("k_diffusion")
    if found is None or found.submodule_search_locations is None:
        return None
    bare: Any = types.ModuleType("k_diffusion")
    bare.__path__, bare.utils = list(found.submodule_search_locations), None
    sys.modules["k_diffusion"] = bare
    return importlib.import_module("k_diffusion.sampling")


def beside_k_diffusion(shapes: tuple[tuple[int, ...], ...] = LATENTS) -> str:
    """EMG beside DPM-Solver++(2M) with a model that returns one constant tensor."""
    sampling, lines = k_sampling(), []
    if sampling is None:
        return "k-diffusion is not installed"
    sigmas = grid.karras(STEPS, 0.03, 14.6).float()
    for shape in shapes:
        x, denoised = 14.6 * torch.randn(shape), 0.5 * torch.randn(shape)
        names = {"dpmpp_2m": sampling.sample_dpmpp_2m, "emg": sample_stiffguide_emg}
        runs: dict[str, Callable[[], object]] = {
            name: lambda run=run: run(lambda x, sigma: denoised, x, sigmas, disable=True)  # type: ignore[misc]  # noqa: B023
            for name, run in names.items()
        }
        with torch.no_grad():
            found = medians(runs)
        times = [f"{value / STEPS * 1e6:.0f}" for value in found.values()]
        lines.append([str(shape), *times, f"{found['emg'] / found['dpmpp_2m']:.1f}"])
    return markdown(["latent", "dpmpp_2m, us a step", "EMG, us a step", "ratio"], lines)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(rules(), multistep(), beside_k_diffusion(), sep="\n\n")
