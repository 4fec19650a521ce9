"""The tables of "Error as Signal" (ICLR 2026, arXiv 2603.03692) as cells to be measured.

`steps`: Heun at 8, 16 and 32 steps, plain and with ERK-Guid. `guided`: the same on top of
classifier-free guidance and autoguidance. `samplers`: ImageNet 64 at 6 to 10 evaluations, where
grids end at 0.002. Each is followed by this package's samplers at the same number of evaluations.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

from edm2.recipe import Recipe
from stiffguide.errors import InputError

# (w_stiff, w_con) by the number of steps; at 32 the paper reports a range of w_stiff
PLAIN = {8: ((0.5, 0.1),), 16: ((0.75, 0.3),), 32: ((0.5, 0.5), (1.5, 0.5), (2.5, 0.5))}
GUIDED = {16: (0.75, 0.5), 32: (1.0, 0.5)}
FEW = (0.5, 0.1)  # not reported for these solvers: the setting of 8 steps

SCALES = {"none": 1.0, "cfg": 1.9, "auto": 2.45}  # of EDM2-S for FD-DINOv2 (EDM2's presets)

# what the paper reports, "FID / FD-DINOv2" of 50,000 images, by (guidance, steps, with ERK-Guid)
PUBLISHED = {
    ("none", 8, False): "7.06 / 161.2",
    ("none", 8, True): "4.91 / 136.9",
    ("none", 16, False): "2.79 / 97.4",
    ("none", 16, True): "2.68 / 88.9",
    ("none", 32, False): "2.58 / 90.1",
    ("none", 32, True): "2.56 / 82.8 (best w)",
    ("cfg", 32, False): "- / 88.5",
    ("cfg", 32, True): "- / 83.9",
    ("auto", 32, False): "- / 50.4",
    ("auto", 32, True): "- / 47.6",
}
PUBLISHED_64 = {
    ("heun", False): "89.6 / -",
    ("heun", True): "85.2 / -",
    ("dpm2", False): "44.8 / -",
    ("dpm2", True): "31.6 / -",
    ("deis3", False): "12.6 / -",
    ("deis3", True): "9.6 / -",
}


@dataclass(frozen=True)
class Cell:
    """One line of a table: a recipe, under a guidance of the model, and what was reported."""

    table: str
    guidance: str  # of the model: "none", "cfg" or "auto"
    recipe: Recipe
    published: str = ""

    @property
    def name(self) -> str:
        """A folder's name that belongs to these settings alone."""
        text = json.dumps([self.guidance, self.recipe.settings()], sort_keys=True)
        code = hashlib.sha256(text.encode()).hexdigest()[:8]
        return f"{self.table}-{self.guidance}-{self.recipe.method}-{self.recipe.nfe:03d}-{code}"


def steps() -> Iterator[Cell]:
    """Without guidance of the model."""
    for count, settings in PLAIN.items():
        yield from _block("steps", "none", count, settings)


def guided() -> Iterator[Cell]:
    """With classifier-free guidance, and with autoguidance."""
    for guidance in ("cfg", "auto"):
        for count, setting in GUIDED.items():
            yield from _block("guided", guidance, count, (setting,))


def samplers() -> Iterator[Cell]:
    """Three solvers with and without ERK-Guid, and ours, at 6, 8 and 10 evaluations."""
    for nfe in (6, 8, 10):
        for method in ("heun", "dpm2", "deis3"):
            count = nfe if method == "deis3" else nfe // 2
            plain = Recipe(method, count, zero=False)
            guided = replace(plain, rule="erk-guid", w_stiff=FEW[0], w_con=FEW[1])
            for recipe in (plain, guided):
                known = PUBLISHED_64.get((method, recipe is guided), "") if nfe == 6 else ""
                yield Cell("samplers", "none", recipe, known)
        yield Cell("samplers", "none", Recipe("heun", nfe // 2, rule="error-direction", zero=False))
        for method in ("dpmpp_2m", "unipc2", "emg"):
            yield Cell("samplers", "none", Recipe(method, nfe, zero=False))


TABLES = {"steps": steps, "guided": guided, "samplers": samplers}


def cells(names: str, have: set[str]) -> list[Cell]:
    """The cells of tables such as "steps,guided", for the guidances whose networks there are."""
    found: list[Cell] = []
    for name in names.split(","):
        if name not in TABLES:
            raise InputError(f"no table is called {name!r}; there are {', '.join(TABLES)}")
        found += TABLES[name]()
    return [cell for cell in found if cell.guidance in have]


def _block(
    table: str, guidance: str, count: int, settings: tuple[tuple[float, float], ...]
) -> Iterator[Cell]:
    """Heun with EDM's last step to 0, plain and guided; then ours at as many evaluations."""
    plain = Recipe("heun", count, scale=SCALES[guidance])
    yield Cell(table, guidance, plain, PUBLISHED.get((guidance, count, False), ""))
    for w_stiff, w_con in settings:
        recipe = replace(plain, rule="erk-guid", w_stiff=w_stiff, w_con=w_con)
        yield Cell(table, guidance, recipe, PUBLISHED.get((guidance, count, True), ""))
    yield Cell(table, guidance, replace(plain, rule="error-direction"))
    for method, grid in (("dpmpp_2m", "karras"), ("emg", "karras"), ("emg", "mix")):
        recipe = Recipe(method, plain.nfe, grid=grid, scale=plain.scale)
        yield Cell(table, guidance, recipe)
