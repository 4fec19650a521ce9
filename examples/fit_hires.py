"""The fifteen rates of HIRES, with their intervals, from noisy data of two experiments.

    python examples/fit_hires.py --out out/examples

HIRES is a scheme of plant physiology: 8 species, 15 reactions, times from milliseconds to minutes.
The data are made of it, 40 times in each of two experiments, with noise of 1 % of the largest value
of a species. All rates are sought at once, by their logarithms, from hundreds of starts that lie a
decade around a guess; the guess itself is off by factors of up to three.
"""

from __future__ import annotations

import csv
import time
from pathlib import Path

import click
import torch
from matplotlib.figure import Figure
from torch import Tensor

import stiffguide as sg
from stiffguide.problems.kinetics import HIRES

NAMES = [
    *("-> 1", "1 -> 2", "2 -> 1", "2 -> 4", "3 -> 1", "3 -> 4", "4 -> 3", "4 -> 6", "5 -> 3"),
    *("5 -> 6", "6 -> 5", "6+8 -> 7", "7 -> 5+8", "7 -> 6+8", "7 -> 8"),
]
SCHEME, TRUE = HIRES.field_of_rates(), HIRES.rates
STATES = torch.tensor(
    [[1, 0, 0, 0, 0, 0, 0, 0.0057], [0, 0, 0.5, 0, 0.5, 0.3, 0.003, 0.0027]], dtype=torch.float64
)
TIMES = torch.logspace(-2, 2.5, 40, dtype=torch.float64)
NOISE = 0.01
FEW, MANY = 20, 300  # starts


def field(t: Tensor, y: Tensor, k: dict[str, Tensor]) -> Tensor:
    """Mass action of all reactions at rates k."""
    return SCHEME(t, y, torch.stack(list(k.values())))


def measured() -> list[sg.Experiment]:
    """Two experiments, with noise."""
    draw = torch.Generator().manual_seed(0)
    rates = dict(zip(NAMES, TRUE, strict=True))
    found = []
    for y0 in STATES:
        span = (0.0, float(TIMES[-1]))
        y = sg.solve(field, y0, *span, args=(rates,), save_at=TIMES, rtol=1e-9, atol=1e-13).y
        sigma = NOISE * y.amax(0)
        data = y + sigma * torch.randn(y.shape, generator=draw, dtype=y.dtype)
        found.append(sg.Experiment(y0, TIMES, data, sigma))
    return found


def picture(fit: sg.Fit, where: Path) -> None:
    """Every rate over its true value, and all the costs."""
    figure = Figure(figsize=(7, 3.4), layout="constrained")
    rates, costs = figure.subplots(1, 2, width_ratios=(2, 1))
    low, high = (fit.intervals.T / TRUE).numpy()
    middle = (fit.values / TRUE).numpy()
    look = {"fmt": "o", "markersize": 3, "capsize": 2}
    rates.errorbar(range(len(TRUE)), middle, (middle - low, high - middle), **look)
    rates.axhline(1.0, color="gray", linewidth=0.8)
    rates.set_yscale("log")
    rates.set_xticks(range(len(TRUE)), NAMES, rotation=90, fontsize=7)
    rates.set_title("rate found / true rate, 95 % intervals", fontsize=9)
    costs.semilogy(fit.all.cost.sort().values.numpy(), ".", markersize=3)
    costs.set_title("cost by start", fontsize=9)
    figure.savefig(where, dpi=100)


@click.command(help=__doc__)
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/examples"))
@click.option("--fast", is_flag=True, help="a few starts")
def main(out: Path, fast: bool) -> None:
    data = measured()
    draw = torch.Generator().manual_seed(1)
    off = 3 ** (2 * torch.rand(len(TRUE), generator=draw, dtype=torch.float64) - 1)
    guess = dict(zip(NAMES, (TRUE * off).tolist(), strict=True))
    began = time.process_time()
    count = FEW if fast else MANY
    fit = sg.fit(field, params=guess, experiments=data, restarts=count, atol=1e-11)
    click.echo(f"{fit}\n{time.process_time() - began:.1f} s of CPU, the build included")
    out.mkdir(parents=True, exist_ok=True)
    with (out / "fit_hires.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("reaction", "true rate", "found", "from", "to"))
        rows = zip(NAMES, TRUE.tolist(), fit.values.tolist(), fit.intervals.tolist(), strict=True)
        table.writerows((name, true, found, *ends) for name, true, found, ends in rows)
    picture(fit, out / "fit_hires.png")


if __name__ == "__main__":
    main()
