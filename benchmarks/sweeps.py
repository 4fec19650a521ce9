"""Sweeps: what keeping the rows costs, how memory grows, how processes share; Robertson's problem.

    python benchmarks/sweeps.py --out docs/sweeps_benchmark.md      # two minutes on two cores
    python benchmarks/sweeps.py --rows 2000000 --processes 1

CPU seconds of one process beside a plain batched solve of the same rows in the same run; peak
memory of processes of their own; rows per second of the shards between the first and the last.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor

from stiffguide import Study, designs, solve, sweep
from stiffguide.adapters.diffusion.curves import markdown

Y0 = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
END = 1e4
OPTIONS = {"method": "rodas5p", "rtol": 1e-6, "atol": 1e-10, "backend": "kernel"}


def robertson(t: Tensor, y: Tensor, p: dict[str, Tensor]) -> Tensor:
    a, b, c = y.unbind(-1)
    slow, back, fast = p["slow"] * a, p["back"] * b * c, p["fast"] * b * b
    return torch.stack((back - slow, slow - back - fast, fast), -1)


def rates(rows: int) -> designs.Spread:
    box = {"slow": (0.01, 0.1), "back": (1e3, 1e5), "fast": (1e6, 1e8)}
    return designs.sobol(rows, log=list(box), **box)


def run(rows: int, out: str, size: int) -> Study:
    return sweep(robertson, Y0, 0.0, END, rates(rows), out=out, rows_per_shard=size, **OPTIONS)


def plain(rows: int, size: int) -> float:
    """CPU seconds of batched solves of the same rows."""
    design, start = rates(rows), time.process_time()
    for first in range(0, rows, size):
        told = {
            k: torch.from_numpy(v) for k, v in design.part(first, min(rows, first + size)).items()
        }
        y0 = Y0.expand(len(told["slow"]), 3)
        solve(robertson, y0, 0.0, END, args=(told,), batched=True, checks=False, **OPTIONS)
    return time.process_time() - start


def overheads(rows: int, size: int, folder: Path, times: int = 3) -> list[list[str]]:
    """CPU time of a sweep over that of the plain solves, by kinds of store."""
    lines = []
    for kind in ("npz", "zarr"):
        ratios = []
        for i in range(times):
            base = plain(rows, size)
            start = time.process_time()
            run(rows, str(folder / f"{kind}-{i}{'.zarr' if kind == 'zarr' else ''}"), size)
            ratios.append((time.process_time() - start) / base)
        ratios.sort()
        lines.append([kind, f"{rows:,}", f"{size:,}", f"{base:.2f}", f"{ratios[times // 2]:.3f}"])
    return lines


def child(words: list[str], processes: int) -> dict[str, float]:
    """A sweep in processes of its own: its peak memory, and the rate between its shards."""
    start = [sys.executable]
    if processes > 1:
        start += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    ran = subprocess.run([*start, __file__, *words], env=env, capture_output=True, text=True)
    if ran.returncode:
        sys.exit(ran.stderr)
    said = [json.loads(found) for found in re.findall(r"\{.*?\}", ran.stdout)]
    return {"peak": max(one["peak"] for one in said), "rate": max(one["rate"] for one in said)}


def alone(rows: int, size: int, out: str) -> None:
    """What `child` runs."""
    study = run(rows, out, size)
    if int(os.environ.get("RANK", 0)) == 0:
        written = sorted(study.kept.files.path(i).stat().st_mtime for i in study.done())
        rate = size * (len(written) - 1) / max(written[-1] - written[0], 1e-9)
    else:
        rate = 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"peak": peak, "rate": rate}), flush=True)


def report(rows: int, size: int, processes: int, folder: Path) -> str:
    run(8, str(folder / "first"), 8)  # which builds the kernel
    cost = overheads(size * 16, size, folder)
    lines = []
    for many, of in ((rows // 10, 1), (rows, 1), (rows, processes)):
        out = folder / f"study-{many}-{of}"
        found = child(["--alone", str(out), "--rows", str(many), "--size", str(size)], of)
        bytes_of = sum(path.stat().st_size for path in out.iterdir())
        cells = (f"{many:,}", str(of), f"{found['peak']:.0f}", f"{found['rate']:,.0f}")
        lines.append([*cells, f"{bytes_of / many:.0f}"])
        shutil.rmtree(out)
    head = ["rows", "processes", "peak memory, MiB", "rows a second", "bytes a row"]
    return "\n\n".join(
        [
            "# Sweeps, measured",
            "Written by `python benchmarks/sweeps.py --out docs/sweeps_benchmark.md`: Robertson's "
            f"problem to t = {END:g} by a kernel of rodas5p at rtol 1e-6, rates of a Sobol design, "
            "one thread a process.",
            "CPU time of a sweep over that of the same batched solves, whose results nobody keeps "
            "(median of three), what the first shard takes to start included:",
            markdown(["kept as", "rows", "rows a shard", "plain, CPU s", "ratio"], cost),
            "Memory and rate, kept as npz; the rate is that between the first shard and the last:",
            markdown(head, lines),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--size", type=int, default=65_536)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.alone:
        alone(args.rows, args.size, args.alone)
        return
    with tempfile.TemporaryDirectory() as folder:
        text = report(args.rows, args.size, args.processes, Path(folder))
    print(text)
    if args.out:
        args.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
