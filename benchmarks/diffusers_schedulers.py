"""Schedulers of diffusers and of this package on models whose flow is known exactly.

    python benchmarks/diffusers_schedulers.py              # three minutes on one core
    python benchmarks/diffusers_schedulers.py --quick      # less than one

Six analytic mixtures, wrapped as networks that predict noise on the schedule of latent diffusion
(scaled_linear, 1000 steps) or the velocity of a flow. A cell is the median distance of the end
points to the exact flow's, divided by the first row's at the same number of model calls, as a
geometric mean over problems and seeds. No network, decoder or image is in it.
"""

from __future__ import annotations

import argparse
import math
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import diffusers
import torch
from torch import Tensor

from stiffguide.adapters.diffusers import (
    StiffguideFlowMatchHeunScheduler,
    StiffguideHeunScheduler,
    StiffguideMultistepScheduler,
)
from stiffguide.adapters.diffusion import SAMPLERS, DDPMTable, as_network, problems

Net = Callable[[Tensor, Tensor], Tensor]

END = 1e-3  # where the exact flow is stopped: an eighth of the thinnest data
PURE = 1e6  # the level that stands in for pure noise in the reference
NFE = (8, 12, 16, 24, 32)
SAMPLES = 64
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}
KARRAS = {"use_karras_sigmas": True}
TRAILING = {"timestep_spacing": "trailing"}
RANGE = {"sigma_min": 0.01, "sigma_max": 100.0}  # of one grid for both, as sigma/alpha


@dataclass(frozen=True)
class Entry:
    """A scheduler and its configuration."""

    cls: Any
    words: dict[str, Any]
    method: str | None = None  # another sampler of this package, driven by the same scheduler

    @property
    def label(self) -> str:
        """The class, and the words that are not the same for all."""
        own = {k: v for k, v in self.words.items() if k not in {*BETAS, *FLOW, *RANGE, "shift"}}
        words = [f"{key}={value!r}" for key, value in own.items() if key != "flow_shift"]
        words += [] if self.method is None else [f"driving {self.method!r}"]
        return f"`{self.cls.__name__}`" + (f", {', '.join(words)}" if words else "")

    def run(self, net: Net, noise: Tensor, nfe: int) -> Tensor:
        """Where it takes unit noise (B, F) with so many calls."""
        scheduler = self.cls(**self.words)
        if self.method is not None:
            scheduler.use(SAMPLERS[self.method])
        scheduler.set_timesteps((nfe + 1) // 2 if scheduler.order == 2 else nfe)
        x = noise
        for t in scheduler.timesteps:
            told = scheduler.scale_model_input(x, t) if hasattr(scheduler, "betas") else x
            out = net(told, t.to(torch.float64))
            x = scheduler.step(out, t, x, return_dict=False)[0].to(torch.float64)
        return x


D = diffusers
NOISE = (
    *(
        Entry(cls, {**BETAS, **grid})
        for grid in (KARRAS, TRAILING)
        for cls in (
            D.DPMSolverMultistepScheduler,
            D.UniPCMultistepScheduler,
            StiffguideMultistepScheduler,
        )
    ),
    Entry(StiffguideMultistepScheduler, {**BETAS, "sigma_grid": "mix", "center": 0.25}),
    *(
        Entry(StiffguideMultistepScheduler, {**BETAS, **KARRAS}, method)
        for method in ("dpmpp_2m", "unipc2")
    ),
    Entry(D.HeunDiscreteScheduler, {**BETAS, **KARRAS}),
    Entry(StiffguideHeunScheduler, {**BETAS, **KARRAS}),
    Entry(StiffguideHeunScheduler, {**BETAS, **KARRAS, "guidance_order": 3}),
    Entry(StiffguideHeunScheduler, {**BETAS, **KARRAS, "guidance": "erk_guid"}),
)
FLOWS = (
    Entry(D.FlowMatchEulerDiscreteScheduler, {"shift": 3.0}),
    Entry(D.UniPCMultistepScheduler, {**FLOW, "flow_shift": 3.0}),
    Entry(StiffguideMultistepScheduler, {**FLOW, "flow_shift": 3.0}),
    Entry(D.UniPCMultistepScheduler, {**FLOW, **KARRAS, **RANGE}),
    Entry(StiffguideMultistepScheduler, {**FLOW, **KARRAS, **RANGE}),
    Entry(StiffguideMultistepScheduler, {**FLOW, "sigma_grid": "mix", "center": 0.25}),
    Entry(D.FlowMatchHeunDiscreteScheduler, {"shift": 3.0}),
    Entry(StiffguideFlowMatchHeunScheduler, {"shift": 3.0}),
    Entry(StiffguideFlowMatchHeunScheduler, {"shift": 3.0, "guidance_order": 3}),
)


@dataclass(frozen=True)
class Case:
    """A network, unit noise (B, F), and where the exact flow takes what a pipeline makes of it."""

    net: Net
    start: Callable[[Any], Tensor]  # of an entry
    end: Tensor

    @classmethod
    def of_noise(cls, name: str, seed: int) -> Case:
        """A model that predicts noise, on the schedule of latent diffusion."""
        mixture, noise = _problem(name, seed)
        table = DDPMTable.scaled_linear()
        top = float(table.levels[-1])
        told = as_network(mixture, "epsilon", table)
        unit = noise * (math.hypot(1.0, top) / top)  # a pipeline takes noise for the noised image

        def start(entry: Entry) -> Tensor:
            return top * unit if entry.cls.order == 2 else noise

        end = problems.reference_end(mixture, unit, top, END)
        return cls(lambda x, t: told(x, t.expand(len(x))), start, end)

    @classmethod
    def of_flow(cls, name: str, seed: int) -> Case:
        """A model that predicts a flow's velocity."""
        mixture, noise = _problem(name, seed)

        def net(x: Tensor, t: Tensor) -> Tensor:
            s = min(float(t) / 1000, PURE / (1 + PURE))
            level = s / (1 - s)
            x0 = mixture(x * (1 + level), torch.full((len(x),), level, dtype=torch.float64))
            return (x - x0) / s

        end = problems.reference_end(mixture, noise, PURE, END, steps=400)
        return cls(net, lambda entry: noise, end)

    def error(self, entry: Entry, nfe: int) -> float:
        """Median distance to the flow."""
        found = entry.run(self.net, self.start(entry), nfe)
        return float((found - self.end).norm(dim=-1).median())


def _problem(name: str, seed: int) -> tuple[Any, Tensor]:
    problem = problems.get(name, seed)
    return problem.folded(problem.noise(seed + 100, count=SAMPLES))


def table(title: str, entries: Sequence[Entry], cases: Sequence[Case]) -> str:
    """Markdown: a row an entry, a column a number of calls."""
    logs = torch.tensor(
        [[[case.error(e, n) for n in NFE] for case in cases] for e in entries]
    ).log()
    ratios = (logs - logs[:1]).mean(1).exp().tolist()
    lines = [f"| {title} | " + " | ".join(map(str, NFE)) + " |", "|---|" + "---|" * len(NFE)]
    for entry, row in zip(entries, ratios, strict=True):
        lines.append(f"| {entry.label} | " + " | ".join(f"{r:.2f}" for r in row) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one seed and three problems")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    if not sys.warnoptions:  # diffusers passes tensors through numpy in a way that numpy dislikes
        warnings.simplefilter("ignore", DeprecationWarning)
    names = problems.NAMES[:3] if quick else problems.NAMES
    seeds = (0,) if quick else (0, 1)
    for title, entries, make in (
        ("noise prediction, model calls", NOISE, Case.of_noise),
        ("flow matching, model calls", FLOWS, Case.of_flow),
    ):
        print(table(title, entries, [make(name, seed) for name in names for seed in seeds]))
        print()


if __name__ == "__main__":
    main()
