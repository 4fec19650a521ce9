"""Every extra in a clean environment: the wheel is installed with it, and used for what it is for.

Nothing of the checkout is imported there: the working folder is empty, and so are home and cache.
Options of pip (where packages come from) are those of the environment that calls this. The results
are printed as a table, with the versions that pip chose; the exit code is 1 where one failed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
SOLVE = """
import torch, stiffguide as sg
assert "site-packages" in sg.__file__, sg.__file__
found = sg.solve(lambda t, y: -1e3 * (y - t), torch.ones(2, dtype=torch.float64), 0.0, 1.0)
assert found.success, found.message
"""
USES = {
    "": SOLVE,
    "cli": """
import subprocess, sys
command = [sys.executable, "-m", "stiffguide", "solve", "robertson", "--t1", "1"]
assert "rodas5p" in subprocess.run(command, check=True, capture_output=True, text=True).stdout
""",
    "plot": """
import matplotlib
matplotlib.use("agg")
from matplotlib import pyplot as plt
import torch, stiffguide as sg
ts = torch.linspace(0.0, 1.0, 20)
found = sg.solve(lambda t, y: -y, torch.ones(2, dtype=torch.float64), 0.0, 1.0, save_at=ts)
plt.plot(found.t, found.y)
plt.savefig("picture.png")
""",
    "diffusers": """
from stiffguide.adapters.diffusers import StiffguideMultistepScheduler
scheduler = StiffguideMultistepScheduler()
scheduler.set_timesteps(4)
assert len(scheduler.timesteps) == 4
""",
    "digits": """
from stiffguide.adapters.diffusion import grid, noise_like, sample
from stiffguide.adapters.diffusion.digits import load_digits_denoiser
from sklearn.datasets import load_digits
assert len(load_digits().data) > 1000
noise = noise_like((2, 8, 8), seeds=range(2))
assert sample(load_digits_denoiser(), noise, grid.karras(4), method="emg").x.isfinite().all()
""",
    "metrics": """
import torch
from stiffguide.adapters.diffusion import image_scores
images = torch.rand(8, 3, 8, 8)
network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 4))
assert image_scores.fid(images, images.flip(0), network) < 1e-3
""",
    "combustion": """
import cantera, yaml
gas = cantera.Solution("h2o2.yaml")
assert gas.n_species > 5 and yaml.safe_load("a: 1") == {"a": 1}
""",
    "sweep": """
import torch, stiffguide as sg
design = sg.designs.sobol(4, k=(0.1, 1.0))
field = lambda t, y, p: -p["k"].unsqueeze(-1) * y
study = sg.sweep(field, torch.ones(1, dtype=torch.float64), 0.0, 1.0, design, out="study")
assert study.open()["y"].shape[0] == 4
""",
    "test": "import pytest, hypothesis, torchdiffeq, xdist, hatchling, transformers, sksundae",
    "docs": """
import subprocess, sys
from pathlib import Path
Path("conf.py").write_text('extensions = ["myst_parser"]\\nhtml_theme = "furo"\\n')
Path("index.md").write_text("# A page\\n")
subprocess.run([sys.executable, "-m", "sphinx", "-W", "-q", ".", "html"], check=True)
assert Path("html/index.html").exists()
""",
    "bench": "import torchdiffeq, torchode, diffrax, sksundae, numba, diffusers, pytest_benchmark",
    "dev": """
import subprocess, sys
from pathlib import Path
Path("a.py").write_text("x: int = 1\\n")
for words in (["ruff", "check"], ["mypy", "--strict"]):
    subprocess.run([sys.executable, "-m", *words, "a.py"], check=True)
import pre_commit
""",
}
VERSIONS = """
from importlib.metadata import version
print(*(f"{name} {version(name)}" for name in ("torch", "numpy", "scipy")))
"""


class Result(NamedTuple):
    """How an extra fared."""

    extra: str
    why: str  # it failed, or ""
    versions: str


def extras() -> list[str]:
    """The names in pyproject.toml, and "" for none."""
    found = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return ["", *found["project"]["optional-dependencies"]]


def wheel(place: Path) -> Path:
    """The wheel of this checkout, built without an environment of its own."""
    build = f"from hatchling.build import build_wheel as build; print(build({str(place)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", build], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return place / done.stdout.split()[-1]


def tried(extra: str, built: Path, constraints: Path) -> Result:
    """An environment with the extra, and what it is for."""
    with tempfile.TemporaryDirectory() as folder:
        home, work = Path(folder, "home"), Path(folder, "work")
        home.mkdir()
        work.mkdir()
        subprocess.run([sys.executable, "-m", "venv", f"{folder}/venv"], check=True)
        python = f"{folder}/venv/bin/python"
        what = f"stiffguide[{extra}] @ {built.as_uri()}" if extra else str(built)
        pip = [python, "-m", "pip", "install", "--quiet", "--constraint", str(constraints), what]
        env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "STIFFGUIDE"))}
        said = last_line(pip, env, work)
        if not said:
            own = {"HOME": str(home), "STIFFGUIDE_WEIGHTS": str(ROOT / "weights")}
            said = last_line([python, "-c", SOLVE + USES[extra]], env | own, work)
        told = subprocess.run([python, "-c", VERSIONS], capture_output=True, text=True, check=False)
        return Result(extra or "(none)", said, told.stdout.strip())


def last_line(command: Sequence[str], env: dict[str, str], cwd: Path) -> str:
    """What a command that failed said last, or ""."""
    done = subprocess.run(
        command, env=env, cwd=cwd, capture_output=True, text=True, check=False, timeout=1800
    )
    said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    return said[-1] if done.returncode else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("extras", nargs="*", help="all by default; none is ''")
    parser.add_argument("--constraint", type=Path, default=ROOT / "constraints.txt")
    given = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory() as place:
        built = wheel(Path(place))
        print(f"{built.name}: {built.stat().st_size:,} bytes")
        print("| extra | result | versions |\n| :--- | :--- | :--- |", flush=True)
        for extra in given.extras or extras():
            result = tried(extra, built, given.constraint)
            print(f"| {result.extra} | {result.why or 'ok'} | {result.versions} |", flush=True)
            failed |= bool(result.why)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
