"""Does the error of a step lie along the dominant eigenvector? The claim of ERK-Guid, measured.

    python benchmarks/alignment.py                # about half a minute on one core
    python benchmarks/alignment.py --quick
    python benchmarks/alignment.py --out docs/alignment.md
    python benchmarks/alignment.py --model FILE.py    # a network of your own, beside the others

"Error as Signal" (arXiv 2603.03692) guides Heun's method along an estimate of the eigenvector of
the Jacobian with the largest eigenvalue, because in stiff regions the local error should lie along
it. Here every step of a grid starts at a state of the exact flow; its error is the end of Heun's
step less that of a fine flow from the same state, and J = (I - D')/sigma is that of dx/dsigma. A
FILE.py has denoiser(x, sigma) -> x0 and shape, that of one sample, as for `stiffguide roughness`.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import page
import torch
from guidance_entries import paper_settings
from numpy.typing import NDArray
from scipy.stats import beta
from torch import Tensor

from stiffguide.adapters.diffusion import grid, noise_like, problems, sample
from stiffguide.adapters.diffusion.digits import load_digits_denoiser
from stiffguide.adapters.diffusion.mnist import load_mnist_denoiser
from stiffguide.adapters.diffusion.prediction import Denoiser
from stiffguide.cli import models
from stiffguide.guidance import ErrorDirection
from stiffguide.stepping.contracts import Guidance

Array = NDArray[np.float64]
STEPS = 16
FINE = 24  # steps of RK4 in one of the grid
DENSE = 128  # dimensions up to which the whole Jacobian is taken
FEW = 8  # samples beyond
POWERS = 100  # of the Jacobian, beyond
NEAR = 0.9  # of the largest modulus: eigenvalues that count as dominant, too
CASES = ("tree2d", "spiral2d", "aniso2d", "lr64", "digits", "mnist")
SHOWN = ("v", "E", "dF", "e and E")
TEXT = """\
# Does the error of a step lie along the dominant eigenvector?

ERK-Guid (*Error as Signal*, arXiv 2603.03692) guides Heun's method along an estimate of the
dominant eigenvector of the Jacobian, that of the eigenvalue of the largest modulus, because in
stiff regions the error of a step should lie along it. This page tests that, with what can be known
exactly: data whose denoiser has a closed form; and two small trained networks.

Written by `{command}`: {samples} samples, {steps} steps on the Karras grid from sigma 80 to 0.002.
Every step starts at a state of the exact flow. `e` is the end of Heun's step less that of a fine
flow from the same state; `v` the dominant eigenvector of J = (I - D')/sigma there, with the
eigenvalue lambda; `E` the embedded error, Heun's step less Euler's; `dF` the difference of slopes
at the ends of these two, which is J E to first order, and along which ERK-Guid moves. A state is
*expanding* where the flow, going down, stretches along v, which is where branches part.

![Alignment, stiffness and error along sigma](images/{picture}.png)

Medians over the samples, with quartiles.

## What was found

- **Almost everywhere there is no dominant eigenvector.** In contracting states, 98 to 100 % of all,
  J is I/sigma but for the few directions in which the data spread: most eigenvalues lie within
  {near} % of the largest modulus, and which of their vectors is called v is an accident. Where the
  data spread in few directions of many (lr64), the error lies in those, and they have the
  *smallest* eigenvalues: it is all but orthogonal to v. On the networks it is as far from v as a
  random direction. In the plane it is nearer at low sigma only, where one direction is left, that
  across a curve or a stroke; and a random direction has a median of 0.71 there, so that 0.6 or
  0.7 means nothing.
- **In expanding states there is one, and the error does lie along it.** These are 1 to 2 % of the
  states, with 3 to 10 % of the error; the network of the 8x8 digits has none at these levels. In 64
  dimensions the alignment is far above that of a random direction, on the network of MNIST (784
  dimensions) above it, though the error there has most of its length elsewhere, in the plane hardly
  so on the tree.
- **Nearly everywhere the error lies along E**, the embedded error, which costs nothing.
- **When guidance helps follows from that.** `ErrorDirection` (EDG) moves along E, and takes off
  nearly half of the error of a step where e lies along E, whatever the angle between e and v; it
  gains nothing where e lies across E. ERK-Guid with the settings of its paper hardly moves most
  steps, and gains where h lambda is above 0.5. Its gain has a weak correlation with |cos(e, v)|
  only.

So the claim holds in the rare states for which it is made, and is no reason for a gain in all
others. Nothing here is about distance to data, or about large networks.

## Alignment

Medians. *Dominant*: eigenvalues within {near} % of the largest modulus, itself counted; *e in their
span*: the length of the part of e in the span of their vectors, over that of e; *error*: the share
of the errors of all steps that these states have; *rest*: |J v - lambda v| over |J v|, 0 where v is
an eigenvector. Above {dense} dimensions there are {few} samples, v is what {powers} powers of J
make of a random vector, and the rest says how far they have come.

{summary}

## When guidance helps

The error of a guided step over that of Heun's, medians over all steps of all data, and how often it
is smaller. EDG corrects a step after its end: its cell is that of the step itself. ERK-Guid, with
the settings of the paper for this number of steps, reads the pair of the step before: its cell is
the end of two steps from a state of the flow, the second guided.

By |cos(e, v)|:

{by_v}

By |cos(e, E)|:

{by_pair}

By h lambda, which is negative in expanding states:

{by_stiffness}

By data: the median, and Spearman's correlation of the ratio with either alignment (negative:
guidance helps more where the alignment is larger).

{cells}
"""


@dataclass(frozen=True)
class Case:
    """A denoiser and unit-variance start states (B, F)."""

    name: str
    denoiser: Denoiser
    noise: Tensor
    high: float = 80.0

    @property
    def size(self) -> int:
        return self.noise.shape[1]

    def at(self, x: Tensor, sigma: float) -> Tensor:
        return self.denoiser(x, x.new_full((len(x),), sigma))


def analytic(name: str, samples: int) -> Case:
    if name == "digits":
        denoiser = load_digits_denoiser(torch.arange(samples) % 10, torch.float64)
        noise = noise_like((samples, 64), range(samples), dtype=torch.float64)
        return Case(name, denoiser, noise)
    if name == "mnist":
        net = load_mnist_denoiser(torch.arange(fewer(784, samples)) % 10)
        return flattened(name, net, (1, 28, 28), torch.float32, samples, 80.0)
    problem = problems.get(name)
    return Case(name, problem.mixture, problem.noise(1, samples))


def fewer(size: int, samples: int) -> int:
    """How many samples of so many numbers there is time for."""
    return samples if size <= DENSE else min(samples, FEW)


def flattened(
    name: str,
    net: Denoiser,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    samples: int,
    high: float,
) -> Case:
    """A network of states of a shape, as a denoiser of flat ones."""

    def denoiser(x: Tensor, sigma: Tensor) -> Tensor:
        return net(x.reshape(-1, *shape).to(dtype), sigma.to(dtype)).flatten(1).to(x.dtype)

    count = fewer(math.prod(shape), samples)
    noise = noise_like((count, *shape), range(count)).flatten(1).double()
    return Case(name, denoiser, noise, high)


def own(text: str, samples: int) -> Case:
    """What a file defines, as a denoiser of flat states."""
    path, name = models.place(text, "denoiser")
    found = models.ran(path)
    dtype = found.get("dtype", torch.float32)
    high = found.get("high", 80.0)
    return flattened(path.stem, found[name], found["shape"], dtype, samples, high)


class Dominant:
    """The eigenvalue of J of the largest modulus at states (B, F), and a unit vector for it."""

    value: Tensor  # (B,) v J v, its real part
    vector: Tensor  # (B, F)
    rest: Tensor  # (B,) |J v - (v J v) v| over |J v|: 0 where v is an eigenvector
    others: Tensor  # (B,) eigenvalues within NEAR of it, itself counted; nan where unknown

    def __init__(self, case: Case, x: Tensor, sigma: float) -> None:
        self.product = lambda v: (
            (v - torch.func.jvp(lambda y: case.at(y, sigma), (x,), (v,))[1]) / sigma
        )
        dense = case.size <= DENSE
        self.vector = self._dense(x) if dense else self._powers(x)
        image = self.product(self.vector)
        self.value = (image * self.vector).sum(-1)
        off = image - self.value[:, None] * self.vector
        self.rest = off.norm(dim=-1) / image.norm(dim=-1)

    def _dense(self, x: Tensor) -> Tensor:
        units = torch.eye(x.shape[1], dtype=x.dtype).unsqueeze(1).expand(-1, len(x), -1)
        jacobian = torch.stack([self.product(unit.contiguous()) for unit in units], -1)
        values, vectors = torch.linalg.eig(jacobian)
        modulus = values.abs()
        self.basis = [v[:, m >= NEAR * m.max()] for v, m in zip(vectors, modulus, strict=True)]
        self.others = torch.tensor([float(b.shape[1]) for b in self.basis])
        first = modulus.argmax(-1)
        vector = vectors.real[torch.arange(len(x)), :, first]
        return vector / vector.norm(dim=-1, keepdim=True)

    def _powers(self, x: Tensor) -> Tensor:
        vector = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype)
        for _ in range(POWERS):
            vector = self.product(vector / vector.norm(dim=-1, keepdim=True))
        self.basis, self.others = [], torch.full((len(x),), torch.nan)
        return vector / vector.norm(dim=-1, keepdim=True)

    def share(self, e: Tensor) -> Tensor:
        """How much (B,) of e (B, F) lies in the span of all that count as dominant."""
        if not self.basis:
            return torch.full((len(e),), torch.nan)
        found = []
        for row, vectors in zip(e, self.basis, strict=True):
            q, sizes, _ = torch.linalg.svd(torch.cat((vectors.real, vectors.imag), 1))
            q = q[:, : len(sizes)][:, sizes > 1e-8 * sizes[0]]
            found.append((row @ q).norm() / row.norm())
        return torch.stack(found)


def cosine(x: Tensor, y: Tensor) -> Tensor:
    return (x * y).sum(-1).abs() / (x.norm(dim=-1) * y.norm(dim=-1))


def random_cosine(size: int) -> float:
    """The median |cos| of a random direction with a given one."""
    return float(beta(0.5, (size - 1) / 2).median() ** 0.5)


def flow(case: Case, x: Tensor, a: float, b: float) -> Tensor:
    """The end (B, F) at b of the flow from x at a."""
    return problems.reference_end(case.denoiser, x / a, a, b, FINE)


Rows = dict[str, Array]


def end(case: Case, x: Tensor, levels: Sequence[float], rule: Guidance | None) -> Tensor:
    return sample(case.denoiser, x / levels[0], levels, "heun", rule).x


@torch.no_grad()
def measure(case: Case, steps: int = STEPS) -> Rows:
    """Every quantity (states,) at every step from states of the flow."""
    levels = grid.karras(steps, 0.002, case.high).tolist()
    path = [levels[0] * case.noise]
    for a, b in pairwise(levels):
        path.append(flow(case, path[-1], a, b))
    rows: dict[str, list[Tensor]] = {}
    for i in range(steps):
        for name, value in step(case, path, levels, i).items():
            rows.setdefault(name, []).append(value.double())
        rows.setdefault("sigma", []).append(torch.full((len(path[i]),), levels[i]))
    return {name: torch.cat(values).numpy() for name, values in rows.items()}


def step(case: Case, path: list[Tensor], levels: list[float], i: int) -> dict[str, Tensor]:
    """One step of Heun's method from the flow: its error, and what it lies along."""
    x, a, b = path[i], levels[i], levels[i + 1]
    h = b - a
    first = (x - case.at(x, a)) / a
    euler = x + h * first
    heun = x + h / 2 * (first + (euler - case.at(euler, b)) / b)
    error, pair = heun - path[i + 1], heun - euler
    dominant = Dominant(case, x, a)
    # guided: moved after the step by what the next evaluation says, for which there is one
    past = [a, b, b * (1 - 1e-7)]
    plain, guided = (end(case, x, past, rule) - path[i + 1] for rule in (None, ErrorDirection()))
    slopes = (heun - case.at(heun, b)) / b - (euler - case.at(euler, b)) / b
    found = {
        "error": error.norm(dim=-1),
        "h lambda": -h * dominant.value,
        "v": cosine(error, dominant.vector),
        "E": cosine(pair, dominant.vector),
        "dF": cosine(slopes, dominant.vector),
        "e and E": cosine(error, pair),
        "share": dominant.share(error),
        "others": dominant.others,
        "rest": dominant.rest,
        "edg": guided.norm(dim=-1) / plain.norm(dim=-1),
        "erk": torch.full((len(x),), torch.nan),
    }
    if i:  # ERK-Guid reads the pair of the step before
        rule = paper_settings(len(levels) - 1)
        plain, guided = (
            end(case, path[i - 1], levels[i - 1 : i + 2], r) - path[i + 1] for r in (None, rule)
        )
        found["erk"] = guided.norm(dim=-1) / plain.norm(dim=-1)
    return found


def middle(values: Array) -> str:
    return page.number(float(np.median(values))) if len(values) else ""


def summary(found: dict[str, Rows], sizes: dict[str, int]) -> str:
    """Two tables, with a line each for the contracting and the expanding states of every case."""
    angles, values = [], []
    for name, rows in found.items():
        for title, chosen in (
            ("contracting", rows["h lambda"] >= 0),
            ("expanding", rows["h lambda"] < 0),
        ):
            part = {key: values[chosen] for key, values in rows.items()}
            if not len(part["v"]):
                continue
            size = sizes[name]
            known = ~np.isnan(part["others"])
            who = [f"{name} ({size})", title]
            cosines = (middle(part[key]) for key in SHOWN)
            angles.append([*who, page.number(random_cosine(size)), *cosines])
            of_all = (chosen.mean(), part["error"].sum() / rows["error"].sum())
            spans = (part["others"][known], part["share"][known])
            sizes_of_v = (np.abs(part["h lambda"]), part["rest"])
            shares = (f"{100 * share:.1f} %" for share in of_all)
            values.append([*who, *shares, *map(middle, (*spans, *sizes_of_v))])
    who = ["data (dimensions)", "states"]
    cosines = ["random", "e and v", "E and v", "dF and v", "e and E"]
    rest = ["of all", "error", "dominant", "e in their span", "abs(h lambda)", "rest"]
    return "\n".join((page.table([*who, *cosines], angles), page.table([*who, *rest], values)))


def gains(found: dict[str, Rows], key: str, bounds: Sequence[float]) -> str:
    """How guidance changes the error of steps, by a quantity; all cases together."""
    rows = {k: np.concatenate([r[k] for r in found.values()]) for k in next(iter(found.values()))}
    lines = []
    for low, high in pairwise(bounds):
        chosen = (rows[key] >= low) & (rows[key] < high)
        if not chosen.any():
            continue
        line = [_between(low, high), f"{100 * chosen.mean():.1f} %"]
        for rule in ("edg", "erk"):
            ratios = rows[rule][chosen]
            ratios = ratios[~np.isnan(ratios)]
            line += [middle(ratios), f"{100 * (ratios < 1).mean():.0f} %" if len(ratios) else ""]
        lines.append(line)
    label = {"v": "e and v"}.get(key, key)
    return page.table([label, "of all steps", "EDG", "better", "ERK-Guid", "better"], lines)


def _between(low: float, high: float) -> str:
    if np.isinf(low):
        return f"below {high:g}"
    return f"above {low:g}" if np.isinf(high) else f"{low:g} to {min(high, 1.0):g}"


def cells(found: dict[str, Rows]) -> str:
    """The rank correlation of alignment with the gain, by case."""
    lines = []
    for name, rows in found.items():
        line = [name]
        for rule in ("edg", "erk"):
            known = ~np.isnan(rows[rule])
            line += [middle(rows[rule][known])]
            for key in ("v", "e and E"):
                line.append(f"{ranked(rows[key][known], rows[rule][known]):.2f}")
        lines.append(line)
    head = ["data", "EDG", "with e and v", "with e and E", "ERK-Guid", "with e and v"]
    return page.table([*head, "with e and E"], lines)


def ranked(x: Array, y: Array) -> float:
    """Spearman's correlation."""
    places = [np.argsort(np.argsort(values)) for values in (x, y)]
    return float(np.corrcoef(places)[0, 1])


def picture(found: dict[str, Rows], sizes: dict[str, int], where: Path) -> None:
    """Alignment, stiffness and error along sigma, a column for each case."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        3, len(found), figsize=(2.7 * len(found) + 0.8, 6.6), sharex=True, sharey="row"
    )
    for (name, rows), column in zip(found.items(), axes.T, strict=True):
        sigmas = np.unique(rows["sigma"])
        along: Callable[[str], list[Any]] = lambda key, r=rows, s=sigmas: [  # noqa: E731
            np.quantile(np.abs(r[key][r["sigma"] == sigma]), (0.25, 0.5, 0.75)) for sigma in s
        ]
        labels = {"v": "e and v", "E": "E and v", "e and E": "e and E"}
        for key, colour in zip(labels, page.COLOURS[:1] + page.OTHERS[:2], strict=True):
            low, mid, high = np.transpose(along(key))
            column[0].semilogx(sigmas, mid, color=colour, label=labels[key])
            column[0].fill_between(sigmas, low, high, color=colour, alpha=0.15, linewidth=0)
        column[0].axhline(random_cosine(sizes[name]), color="gray", ls=":", label="random")
        column[0].set(title=f"{name} ({sizes[name]})", ylim=(0, 1.02))
        for axis, key in ((column[1], "h lambda"), (column[2], "error")):
            low, mid, high = np.transpose(along(key))
            axis.loglog(sigmas, mid, color=page.COLOURS[0])
            axis.fill_between(sigmas, low, high, color=page.COLOURS[0], alpha=0.15, linewidth=0)
        column[2].set(xlabel="sigma")
    for axis, label in zip(axes[:, 0], ("|cos|", "|h lambda|", "error of a step"), strict=True):
        axis.set_ylabel(label)
    axes[0, 0].legend(fontsize=7, frameon=False)
    figure.tight_layout()
    page.save(figure, where)


def report(found: dict[str, Rows], sizes: dict[str, int], **words: Any) -> str:
    angles = (0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 1.01)
    return TEXT.format(
        summary=summary(found, sizes),
        by_v=gains(found, "v", angles),
        by_pair=gains(found, "e and E", angles),
        by_stiffness=gains(found, "h lambda", (-np.inf, -1, 0, 0.2, 0.4, 0.5, 0.6, np.inf)),
        cells=cells(found),
        near=round(100 * (1 - NEAR)),
        powers=POWERS,
        few=FEW,
        dense=DENSE,
        **words,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two problems, eight steps")
    parser.add_argument("--model", help="FILE.py or FILE.py:NAME of a denoiser")
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--out", type=Path, help="write the page and its picture there")
    args = parser.parse_args()
    torch.set_num_threads(1)
    start = time.process_time()
    names, steps = (("tree2d", "lr64"), 8) if args.quick else (CASES, STEPS)
    chosen = [analytic(name, args.samples) for name in names]
    found, sizes = {}, {}
    for case in [*chosen, *([own(args.model, args.samples)] if args.model else [])]:
        found[case.name], sizes[case.name] = measure(case, steps), case.size
        spent = time.process_time() - start
        print(f"[{spent:6.1f} s] {case.name}", file=sys.stderr, flush=True)
    command = " ".join(["python benchmarks/alignment.py", *sys.argv[1:]])
    name = args.out.stem if args.out else "alignment"
    words = {"command": command, "steps": steps, "samples": args.samples, "picture": name}
    text = report(found, sizes, **words)
    print(text)
    if args.out:
        picture(found, sizes, args.out.parent / "images" / f"{name}.png")
        args.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
