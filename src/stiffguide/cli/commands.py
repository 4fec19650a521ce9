"""Every command with its options; the file that does the work is loaded when it runs.

So a command explains itself, and refuses a misspelt option, before torch is there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from stiffguide.cli.options import (
    ACTIONS,
    BELOW_ONE,
    COUNT,
    EVALUATIONS,
    FOLDER,
    GUIDANCE,
    LEVEL,
    METRICS,
    POSITIVE,
    READ,
    REAL,
    ROWS,
    SAMPLERS,
    SEED,
    SHARE,
    THREADS,
    WEIGHT,
    WRITTEN,
    seeds,
)
from stiffguide.kernels.names import BACKENDS


@click.command()
@click.argument("problem")
@click.option("--method", "-m", default="auto", show_default=True, help="see `stiffguide methods`")
@click.option("--rtol", type=BELOW_ONE, default=1e-6, show_default=True, help="relative tolerance")
@click.option("--atol", type=POSITIVE, help="absolute tolerance  [default: the problem's own]")
@click.option("--t1", type=REAL, help="end of the interval  [default: the problem's own]")
@click.option("--batch", "rows", type=ROWS, help="solve this many perturbed rows")
@click.option("--seed", type=SEED, default=0, show_default=True, help="of the perturbations")
@click.option("--max-attempts", type=COUNT, default=100_000, show_default=True)
@click.option(
    "--backend",
    type=click.Choice(BACKENDS),
    default="eager",
    show_default=True,
    help="kernel: generated native code",
)
@click.option("--plot", type=WRITTEN, help="picture to write")
@click.option("--save", type=WRITTEN, help="npz to write")
@click.option("--progress/--no-progress", default=None, help="show how far the solve is")
def solve(**asked: Any) -> None:
    """Solve PROBLEM and say how it went; exit code 1 if a row failed, 130 after Ctrl-C."""
    from stiffguide.cli import solve as work

    work.solve(**asked)


@click.command()
@click.option("--family", help="only this family, such as Rosenbrock or ESDIRK")
def methods(**asked: Any) -> None:
    """List the methods, with what their coefficients prove."""
    from stiffguide.cli import catalogue

    catalogue.methods(**asked)


@click.command()
def problems() -> None:
    """List the problems of the test set."""
    from stiffguide.cli import catalogue

    catalogue.problems()


@click.command()
@click.argument("names", metavar="[METHOD]...", nargs=-1)
@click.option("--tableau", "files", multiple=True, type=READ, help="a tableau, in JSON or TOML")
@click.option("--laws", is_flag=True, help="ask the laws of steps, too, and show every check")
@click.option("--progress/--no-progress", default=None, help="show how far the checks are")
def verify(**asked: Any) -> None:
    """Prove the orders and the stability of each METHOD, and measure its order and estimate.

    Without a METHOD or a file: all of them. "order" and "embedded" are proved from the rooted
    trees; "observed" is the order seen with fixed steps on a nonlinear, non-autonomous problem,
    "estimate" the exponent of the error estimate, due to be one more than the lower of the two
    orders. With --laws: polynomials, shifts of time, R(z), batches and gradients as well. Exit code
    1 if a claim is violated.
    """
    from stiffguide.cli import verify as work

    work.verify(**asked)


@click.command("work-precision")
@click.argument("problem")
@click.option(
    "--methods",
    default="rodas5p,rodas4,kvaerno5,kencarp4",
    show_default=True,
    help="names, separated by commas",
)
@click.option(
    "--rtols", default="1e-3:1e-9", show_default=True, help="a range of decades, or a list"
)
@click.option("--max-attempts", type=COUNT, default=20_000, show_default=True)
@click.option("--plot", type=WRITTEN, help="picture to write")
@click.option("--save", type=WRITTEN, help="JSON to write")
@click.option("--progress/--no-progress", default=None, help="show how far the solves are")
def work_precision(**asked: Any) -> None:
    """Solve PROBLEM with several methods at several tolerances; compare error, time and nfe."""
    from stiffguide.cli import work_precision as work

    work.work_precision(**asked)


@click.command()
@click.option("--model", default="digits", show_default=True, help="digits, or an analytic problem")
@click.option("--method", "-m", type=click.Choice(SAMPLERS), default="emg", show_default=True)
@click.option("--guidance", type=click.Choice(GUIDANCE), default="none", show_default=True)
@click.option("--w-stiff", type=WEIGHT, default=0.75, show_default=True, help="of erk-guid")
@click.option("--w-con", type=WEIGHT, default=0.3, show_default=True, help="of erk-guid")
@click.option("--eta", type=WEIGHT, default=0.0, show_default=True, help="noise on the way")
@click.option("--nfe", type=EVALUATIONS, default=16, show_default=True, help="evaluations")
@click.option("--grid", default="karras", show_default=True, help="a name, or a calibrated .json")
@click.option("--center", type=LEVEL, help="sigma of the bump of --grid mix  [default: 0.25]")
@click.option("--sigma-min", type=LEVEL, default=0.002, show_default=True)
@click.option("--sigma-max", type=LEVEL, default=80.0, show_default=True)
@click.option("--seeds", callback=seeds, default="0-63", show_default=True)
@click.option("--classes", help="digits such as 3 or 0,1,2, dealt out in turn  [default: any]")
@click.option("--cfg", type=WEIGHT, default=1.0, show_default=True, help="classifier-free scale")
@click.option("--auto", type=WEIGHT, default=1.0, show_default=True, help="autoguidance scale")
@click.option("--chunk", type=COUNT, default=64, show_default=True, help="batch")
@click.option("--threads", type=THREADS, default=1, show_default=True)
@click.option("--out", type=WRITTEN, default="samples.npz")
@click.option("--png", type=WRITTEN, help="picture to write")
@click.option("--progress/--no-progress", default=None, help="show how far the sampling is")
def sample(**asked: Any) -> None:
    """Sample a model; finished chunks are kept beside OUT, so that a killed run goes on.

    With `torchrun --nproc-per-node=N -m stiffguide sample ...` the chunks are shared out over N
    processes; the samples are bitwise the same for any N.
    """
    from stiffguide.cli import sample as work

    work.sample(**asked)


@click.command()
@click.option("--model", default="digits", show_default=True, help="digits, or an analytic problem")
@click.option(
    "--samplers",
    "names",
    default="heun,heun+erk-guid,heun+error-direction,dpmpp_2m,unipc2,emg",
    show_default=True,
    help="methods, with +guidance where wanted",
)
@click.option("--nfe", default="6,8,12,16,24,32", show_default=True, help="budgets")
@click.option("--metric", type=click.Choice(tuple(METRICS)), default="flow", show_default=True)
@click.option("--grid", default="karras", show_default=True, help="a name, or a calibrated .json")
@click.option("--center", type=LEVEL, help="sigma of the bump of --grid mix  [default: 0.25]")
@click.option("--seeds", callback=seeds, default="0-255", show_default=True)
@click.option("--w-stiff", type=WEIGHT, default=0.75, show_default=True, help="of erk-guid")
@click.option("--w-con", type=WEIGHT, default=0.3, show_default=True, help="of erk-guid")
@click.option("--plot", type=WRITTEN, help="picture to write")
@click.option("--save", type=WRITTEN, help="Markdown to write")
@click.option("--progress/--no-progress", default=None, help="show how far it is")
def curves(**asked: Any) -> None:
    """Measure samplers from the same noise; table and picture."""
    from stiffguide.cli import curves as work

    work.curves(**asked)


@click.command()
@click.option(
    "--model", default="digits", show_default=True, help="digits, an analytic problem, or FILE"
)
@click.option("--method", "-m", type=click.Choice(SAMPLERS), default="emg", show_default=True)
@click.option("--nfe", default="8,12,16,24,32", show_default=True, help="budgets")
@click.option("--grid", default="karras", show_default=True, help="a name, or a calibrated .json")
@click.option("--center", type=LEVEL, help="sigma of the bump of --grid mix  [default: 0.25]")
@click.option("--sigma-min", type=LEVEL, default=0.002, show_default=True)
@click.option("--sigma-max", type=LEVEL, default=80.0, show_default=True)
@click.option("--seeds", callback=seeds, default="0-15", show_default=True)
def roughness(**asked: Any) -> None:
    """Measure how rough a denoiser is in sigma, and say what a better sampler can still gain.

    FILE is a Python file that has denoiser(x, sigma) -> x0 and shape, that of one sample; FILE:NAME
    takes another function.
    """
    from stiffguide.cli import roughness as work

    work.roughness(**asked)


@click.command()
@click.argument("model")
@click.option(
    "--method", "-m", help="see `stiffguide methods`  [default: the model's own, or auto]"
)
@click.option("--batch", "rows", type=ROWS, help="for this many perturbed rows of a problem")
@click.option("--out", "folder", type=FOLDER, help="where it goes  [default: the user's cache]")
def build(**asked: Any) -> None:
    """Build the kernel of MODEL ahead of its first solve.

    MODEL is a problem of the test set, or a Python file that has f and y0 and, where they are
    wanted, args, t0, batched and method: the arguments of `stiffguide.compile`. FILE:NAME takes
    another function for f. The folder of --out can then be one of those in STIFFGUIDE_CACHE.
    """
    from stiffguide.cli import build as work

    work.build(**asked)


@click.command()
@click.argument("model")
@click.argument("params", type=READ)
@click.option("--out", type=FOLDER, required=True, help="folder to write, or arrays: NAME.zarr")
@click.option("--t1", type=REAL, help="end of the interval  [default: the model's own]")
@click.option("--rows-per-shard", type=ROWS, help="that are solved and kept together")
@click.option("--share", type=SHARE, metavar="I/N", help="every N-th shard from the I-th")
@click.option(
    "--method", "-m", help="see `stiffguide methods`  [default: the model's own, or auto]"
)
@click.option("--rtol", type=BELOW_ONE, help="relative tolerance  [default: 1e-6]")
@click.option("--atol", type=POSITIVE, help="absolute tolerance  [default: 1e-9]")
@click.option("--backend", type=click.Choice(BACKENDS), help="[default: auto]")
@click.option("--progress/--no-progress", default=None, help="show how far it is")
def sweep(**asked: Any) -> None:
    """Solve the field of MODEL for all rows of PARAMS; what is done is kept, and not done again.

    MODEL is FILE or FILE:NAME, a Python file with f(t, y, params) and y0. PARAMS is an npy, npz or
    csv file of parameters, or a JSON or TOML file that describes a design.
    """
    from stiffguide.cli import sweep as work

    work.sweep(**asked)


@click.command()
@click.argument("model")
@click.option(
    "--method", "-m", help="see `stiffguide methods`  [default: the model's own, or auto]"
)
@click.option("--batch", "rows", type=ROWS, help="for this many perturbed rows of a problem")
def explain(**asked: Any) -> None:
    """Say whether MODEL gets a kernel, what is in the way if not, and what either way costs.

    MODEL is what `stiffguide build` takes: a problem, FILE or FILE:NAME. No kernel is built.
    """
    from stiffguide.cli import explain as work

    work.explain(**asked)


@click.command()
@click.argument("action", type=click.Choice(ACTIONS), default="list")
def cache(**asked: Any) -> None:
    """List the kernels that are kept, say their size, or clear them away."""
    from stiffguide.cli import cache as work

    work.cache(**asked)


@click.command()
def info() -> None:
    """Show what this installation runs on."""
    from stiffguide.cli import info as work

    work.info()


@click.command()
@click.option(
    "--out",
    "folder",
    type=FOLDER,
    default=Path("out"),
    show_default=True,
    help="where tables and pictures go",
)
@click.option("--rows", type=click.IntRange(2, 1_000_000), default=1000, show_default=True)
@click.option("--quick", is_flag=True, hidden=True, help="one problem, two tolerances")
@click.option("--progress/--no-progress", default=None, help="show how far it is")
def demo(**asked: Any) -> None:
    """Solve the stiff test set and a batch, compare methods, sample digits; about a minute."""
    from stiffguide.cli import demo as work

    work.demo(**asked)


ALL = (
    *(solve, methods, problems, verify, work_precision, sample, curves, roughness, sweep),
    *(build, explain, cache, info, demo),
)
