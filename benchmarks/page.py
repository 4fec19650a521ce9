"""Tables and pictures of measurements, for the manual."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from work_precision import Curve, Matched, front, geometric_mean, matched

COLOURS = ("tab:blue", "tab:cyan", "navy", "tab:gray")  # ours
OTHERS = ("tab:orange", "tab:red", "tab:green", "tab:brown", "tab:pink", "tab:olive", "black")


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def number(value: float) -> str:
    """Three digits, without an exponent."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def cell(found: Matched | None, unit: float = 1e3) -> str:
    """A time, marked where it is not between two runs."""
    return "" if found is None else number(found.seconds * unit) + "*" * found.beyond


Studies = Mapping[str, Sequence[Curve]]


def names(studies: Studies) -> list[str]:
    """The contenders, in their order."""
    return list(dict.fromkeys(c.name for curves in studies.values() for c in curves))


def at_error(studies: Studies, errors: Mapping[str, float]) -> str:
    """CPU milliseconds of every contender at the common error of each problem."""
    lines = [["error", *(f"{errors[case]:.0e}" for case in studies)]]
    for who in names(studies):
        lines.append([who, *(cell(_of(studies[case], who, errors[case])) for case in studies)])
    return table(["CPU ms", *studies], lines)


def _of(curves: Sequence[Curve], who: str, error: float) -> Matched | None:
    curve = next((c for c in curves if c.name == who), None)
    return None if curve is None else matched(curve.good(), error)


def quotients(
    studies: Studies, errors: Mapping[str, float], groups: Mapping[str, Sequence[str]], own: str
) -> dict[str, dict[str, Matched]]:
    """The time of the fastest contender of each group over that of `own`, by group and problem."""
    found: dict[str, dict[str, Matched]] = {}
    for group, members in groups.items():
        for case, curves in studies.items():
            times = [_of(curves, who, errors[case]) for who in members]
            known = [t for t in times if t is not None]
            base = _of(curves, own, errors[case])
            if known and base is not None:
                best = min(known)
                ratio = Matched(best.seconds / base.seconds, best.beyond or base.beyond)
                found.setdefault(group, {})[case] = ratio
    return found


def quotient_table(found: Mapping[str, Mapping[str, Matched]], cases: Sequence[str]) -> str:
    """The quotients, with their geometric mean and the smallest of them."""
    lines = []
    for group, values in found.items():
        cells = [cell(values.get(case), 1.0) for case in cases]
        all_of = [v.seconds for v in values.values()]
        lines.append([group, *cells, number(geometric_mean(all_of)), number(min(all_of))])
    return table(["time / ours", *cases, "mean", "least"], lines)


def at_rtol(studies: Studies, rtol: float) -> str:
    """CPU milliseconds and error of every contender at one tolerance, or its failure."""
    lines = []
    for who in names(studies):
        row = [who]
        for curves in studies.values():
            curve = next((c for c in curves if c.name == who), None)
            point = None if curve is None else (curve.at(rtol) or curve.points[-1])
            if point is None:
                row.append("")
            elif point.failure:
                row.append("fails")
            else:
                row.append(f"{number(point.seconds * 1e3)} ({point.error:.0e})")
        lines.append(row)
    return table([f"CPU ms (error), rtol {rtol:g}", *studies], lines)


def failures(studies: Studies) -> str:
    """What failed, where, at which tolerances, and what was said."""
    lines = []
    for case, curves in studies.items():
        for curve in curves:
            grouped: dict[str, list[str]] = {}
            for p in curve.points:
                if p.failure:
                    size = "" if math.isnan(p.error) else f" (error {p.error:.0e})"
                    grouped.setdefault(p.failure, []).append(f"{p.rtol:.0e}{size}")
            lines += [[case, curve.name, ", ".join(r), f] for f, r in grouped.items()]
    return table(["problem", "contender", "rtol", "what it said"], lines) if lines else "None."


def first_runs(studies: Studies) -> str:
    """Seconds from nothing to the first result, with what is compiled on the way."""
    lines = []
    for who in names(studies):
        row = [who]
        for curves in studies.values():
            curve = next((c for c in curves if c.name == who), None)
            row.append("" if curve is None else f"{curve.first:.2f}")
        lines.append(row)
    return table(["first run, s", *studies], lines)


def picture(studies: Studies, errors: Mapping[str, float], where: Path) -> None:
    """Time over error for every problem, one panel each; ours in blue."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns = min(len(studies), 4)
    rows = -(-len(studies) // columns)
    figure, axes = pyplot.subplots(
        *(rows, columns), figsize=(3.3 * columns, 2.9 * rows + 0.8), squeeze=False
    )
    looks = _looks(studies)
    for axis in axes.flat[len(studies) :]:
        axis.axis("off")
    for axis, (case, curves) in zip(axes.flat, studies.items(), strict=False):
        for curve in curves:
            points = front(curve.good())
            if not points:
                continue
            x, y = [p.error for p in points], [p.seconds * 1e3 for p in points]
            axis.loglog(x, y, label=curve.name, **looks[curve.name])
        axis.axvline(errors[case], color="lightgray", zorder=0)
        axis.minorticks_off()
        axis.set_title(case, fontsize=9)
        axis.tick_params(labelsize=7)
        axis.invert_xaxis()
    axes[0][0].set_ylabel("CPU ms", fontsize=8)
    axes[-1][0].set_xlabel("error", fontsize=8)
    found = dict(zip(*reversed(axes[0][0].get_legend_handles_labels()), strict=True))
    figure.legend(
        *(found.values(), found.keys()), loc="lower center", ncols=4, fontsize=7, frameon=False
    )
    figure.tight_layout(rect=(0, 0.16 if rows == 1 else 0.1, 1, 1))
    save(figure, where)


def save(figure: Any, where: Path) -> None:
    """A small PNG: lines on white need few colours."""
    from matplotlib import pyplot
    from PIL import Image  # matplotlib needs it too

    where.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(where, dpi=90)
    pyplot.close(figure)
    Image.open(where).convert("RGB").quantize(48).save(where, optimize=True)


def _looks(studies: Studies) -> dict[str, dict[str, Any]]:
    looks: dict[str, dict[str, Any]] = {}
    all_of = {c.name: c.ours for curves in studies.values() for c in curves}
    for i, who in enumerate(w for w, ours in all_of.items() if ours):
        looks[who] = {"color": COLOURS[i % 4], "marker": "o", "markersize": 3, "linewidth": 1.8}
    for i, who in enumerate(w for w, ours in all_of.items() if not ours):
        style = ("-", "--", ":")[i // len(OTHERS) % 3]
        looks[who] = {"color": OTHERS[i % len(OTHERS)], "linestyle": style, "linewidth": 1}
        looks[who] |= {"marker": ".", "markersize": 3}
    return looks


def left_out(missing: Sequence[str]) -> str:
    """A sentence that names the packages that are not there."""
    return f"Left out: {', '.join(missing)}." if missing else "Nobody was left out."
