"""Ignition delays of fuel and air over temperature, for thousands of conditions in one solve.

    python examples/ignition.py --out out/examples
    python examples/ignition.py --mechanism gri30.yaml --fuel CH4 --hottest 2000 --until 0.02

Reads a mechanism in Cantera's YAML format (`mechanism.py` says which reactions it knows), makes a
field of plain tensor operations of it, and burns every mixture in an adiabatic reactor at constant
pressure, or at constant volume. The mechanism of hydrogen comes along; Cantera is not needed. The
delay (`delay.py`) is the time at which a gas is 400 K hotter than at the start.
"""

from __future__ import annotations

import csv
import time
from pathlib import Path

import click
import torch
from delay import delays
from matplotlib.figure import Figure
from mechanism import HYDROGEN, read
from torch import Tensor

RATIOS = torch.tensor((0.5, 1.0, 2.0), dtype=torch.float64)  # of fuel to what the air can burn
FEW, MANY = 12, 1000  # temperatures for each ratio


def picture(found: dict[float, tuple[Tensor, Tensor]], title: str, where: Path) -> None:
    """Delays in microseconds over 1000 K / T, as chemists draw them."""
    figure = Figure(figsize=(5, 3.4))
    axis = figure.add_subplot()
    for ratio, (T, delay) in found.items():
        axis.semilogy(1000 / T, 1e6 * delay, label=f"{ratio:g} times the fuel")
    axis.set_xlabel("1000 K / T")
    axis.set_ylabel("delay, microseconds")
    axis.set_title(title, fontsize=9)
    axis.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(where, dpi=100)


@click.command(help=__doc__)
@click.option("--mechanism", type=click.Path(path_type=Path), default=HYDROGEN, help="YAML file")
@click.option("--fuel", default="H2", help="a species of it")
@click.option("--pressure", default=101325.0, help="Pa, at the start")
@click.option("--at", type=click.Choice(["pressure", "volume"]), default="pressure")
@click.option("--coldest", default=1000.0, help="K")
@click.option("--hottest", default=1400.0, help="K")
@click.option("--until", default=2e-3, help="s")
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/examples"))
@click.option("--fast", is_flag=True, help="a few temperatures")
def main(
    mechanism: Path,
    fuel: str,
    pressure: float,
    at: str,
    coldest: float,
    hottest: float,
    until: float,
    out: Path,
    fast: bool,
) -> None:
    gas = read(mechanism)
    temperatures = torch.linspace(coldest, hottest, FEW if fast else MANY, dtype=torch.float64)
    T, phi = (x.flatten() for x in torch.meshgrid(temperatures, RATIOS, indexing="ij"))
    began = time.perf_counter()
    found = delays(gas, gas.mixture(fuel, phi, T), pressure, until, at)
    click.echo(f"{len(T)} ignitions in {time.perf_counter() - began:.1f} s, the build included")
    out.mkdir(parents=True, exist_ok=True)
    with (out / "ignition.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("temperature, K", "equivalence ratio", "delay, s"))
        table.writerows(zip(T.tolist(), phi.tolist(), found.tolist(), strict=True))
    by_ratio = {r: (T[phi == r], found[phi == r]) for r in RATIOS.tolist()}
    title = f"{fuel} and air, {pressure:g} Pa, constant {at}"
    picture(by_ratio, title, out / "ignition.png")


if __name__ == "__main__":
    main()
