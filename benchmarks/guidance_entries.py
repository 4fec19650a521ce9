"""The samplers that `benchmarks/guidance.py` compares, and where its cells are expected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from stiffguide.adapters.diffusion import grid
from stiffguide.adapters.diffusion.calibrate import CalibratedGrid
from stiffguide.adapters.diffusion.curves import Entry
from stiffguide.adapters.diffusion.exponential import (
    DPMPP_2M,
    DPMPP_3M,
    UNIPC2,
    UNIPC3,
    Multistep,
    Weights,
    slope_weights,
)
from stiffguide.guidance import ErkGuid, ErrorDirection
from stiffguide.stepping.contracts import Guidance

Array = NDArray[np.float64]

HEUN_NFE = (6, 8, 12, 16, 24, 32, 48, 64)
BEST_NFE = (6, 8, 12, 16, 24, 32)
STIFF = (0.25, 0.5, 0.75, 1.0, 1.5)
CONFIDENCE = (0.1, 0.3, 0.5, 1.0, 2.0)
BASELINES = ("DPM++ 2M", "DPM++ 3M", "AB3 in sigma", "UniPC2", "UniPC3", "iPNDM4", "DPM-Solver-2")

EXPECTED_HEUN = {
    "Euler/DDIM": (0.11, 0.18, 0.26, 0.50, 0.91, 1.34, 2.15, 2.95),
    "ERK-Guid, paper": (0.49, 0.70, 1.28, 1.54, 1.74, 1.23, 2.24, 2.03),
    "ERK-Guid, best": (0.37, 0.54, 0.47, 0.43, 0.52, 0.47, 0.45, 0.41),
    "EDG": (0.31, 0.36, 0.24, 0.27, 0.38, 0.47, 0.56, 0.59),
    "EDG3": (0.31, 0.36, 0.23, 0.25, 0.27, 0.24, 0.20, 0.17),
    "DPM-Solver-2": (0.71, 0.44, 0.59, 0.56, 0.58, 0.59, 0.57, 0.56),
    "AB3 in sigma": (0.09, 0.11, 0.12, 0.19, 0.23, 0.23, 0.21, 0.18),
    "DEIS-tab3": (0.044, 0.057, 0.080, 0.128, 0.150, 0.155, 0.139, 0.120),
    "DPM++ 2M": (0.03, 0.05, 0.12, 0.19, 0.19, 0.19, 0.22, 0.23),
    "DPM++ 3M": (0.03, 0.10, 0.20, 0.18, 0.13, 0.11, 0.08, 0.06),
}
EXPECTED_BEST = {
    "Karras: UniPC2": (1.07, 1.07, 2.04, 1.56, 1.26, 1.38),
    "Karras: DPM++ 2M": (1.12, 1.09, 2.19, 2.22, 2.53, 2.96),
    "Karras: EMG": (1.08, 0.69, 0.65, 0.41, 0.38, 0.44),
    "mix: UniPC2": (0.65, 0.66, 0.63, 0.41, 0.42, 0.42),
    "mix: EMG": (0.40, 0.22, 0.18, 0.14, 0.16, 0.16),
    "calibrated: UniPC2": (0.68, 0.42, 0.31, 0.23, 0.22, 0.22),
    "calibrated: EMG": (0.26, 0.14, 0.13, 0.09, 0.10, 0.09),
}


def sigma_clock(sigma: Array) -> Array:
    return sigma


def adams_weights(nodes: tuple[float, ...], a: float, b: float) -> Weights:
    return slope_weights(nodes, a, b, sigma_clock)


def paper_settings(steps: int) -> ErkGuid:
    """What the paper used at 8, 16 and 32 steps, each up to the next."""
    if steps <= 8:
        return ErkGuid(0.5, 0.1)
    return ErkGuid(0.75, 0.3) if steps <= 16 else ErkGuid(1.0, 0.5)


def always(rule: Guidance) -> Callable[[int], Guidance | None]:
    return lambda steps: rule


def unguided(levels: Callable[[int], Tensor] = grid.karras) -> list[Entry]:
    """The unguided samplers; multistep ones lose order towards the end, as their papers advise."""
    ab3 = Multistep("ab3", 3, 3, "slope", adams_weights)
    methods = {
        "DPM-Solver-2": "dpm2",
        "AB3 in sigma": ab3,
        "DEIS-tab3": "deis3",
        "DPM++ 2M": replace(DPMPP_2M, ramp_down=True),
        "DPM++ 3M": replace(DPMPP_3M, ramp_down=True),
        "UniPC2": replace(UNIPC2, ramp_down=True),
        "UniPC3": replace(UNIPC3, ramp_down=True),
        "iPNDM4": "ipndm4",
    }
    return [Entry(name, method, levels) for name, method in methods.items()]


def guided_entries() -> list[Entry]:
    """The lines of the first table, ERK-Guid at every setting included."""
    search = [
        Entry(f"ERK-Guid {w} {c}", guidance=always(ErkGuid(w, c)))
        for w in STIFF
        for c in CONFIDENCE
    ]
    return [
        Entry("Heun"),
        Entry("Euler/DDIM", "euler"),
        Entry("ERK-Guid, paper", guidance=paper_settings),
        Entry("EDG", guidance=always(ErrorDirection())),
        Entry("EDG3", guidance=always(ErrorDirection(order=3))),
        *(e for e in unguided() if e.name in EXPECTED_HEUN),
        *search,
    ]


def best_entries(calibrated: CalibratedGrid) -> list[Entry]:
    """The lines of the second table: every sampler on three grids."""
    found = [Entry("Karras: EMG", "emg")]
    found += [replace(e, name=f"Karras: {e.name}") for e in unguided() if e.name in BASELINES]
    for label, levels in (("mix", grid.mix), ("calibrated", calibrated)):
        found.append(Entry(f"{label}: EMG", "emg", levels))
        found += [
            replace(e, name=f"{label}: {e.name}") for e in unguided(levels) if e.name in BASELINES
        ]
    return found
