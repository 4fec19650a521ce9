"""Under `python -W error` nothing is raised that f did not ask for, and what f warns of is seen."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import textwrap
import threading
import warnings
from pathlib import Path

import pytest
from torch.autograd import forward_ad

import stiffguide as sg
from stiffguide import forward_mode

HOME = Path(sg.__file__).parents[2]
METHODS = (
    *("tsit5", "heun", "rodas5p", "rosenbrock23", "kvaerno5", "sdirk2", "bdf", "radau5"),
    *("rkc2", "secant_heun", "auto"),
)
F = "f = lambda t, y: torch.stack((-50 * (y[..., 0] - torch.cos(t)), y[..., 0] - y[..., 1]), -1)"
Y0 = "y0 = torch.ones(2, dtype=torch.float64)"
SOLVE = "sg.solve(f, y0, 0.0, 1.0, {}).raise_if_failed()"
ROWS = """
assert sg.solve(lambda t, y: f(t, y), y0.expand(3, 2), 0.0, 1.0, batched=True).success.all()
"""
GRADIENT = (
    "sg.solve(f, y0.requires_grad_(), 0.0, 1.0, method={!r}, gradient={!r}).y.sum().backward()"
)
USES = {
    **{f"{m}, eager": SOLVE.format(f"method={m!r}, backend='eager'") for m in METHODS},
    **{
        f"{m}, kernel": SOLVE.format(f"method={m!r}, backend='kernel'") for m in ("rodas5p", "auto")
    },
    "rows": ROWS,
    "numpy": "sg.solve(lambda t, y: np.array([-y[0], y[0]]), y0, 0.0, 1.0, method='rodas5p')",
    "events": SOLVE.format("events=lambda t, y: y[0] - 0.99, dense=True") + ".at(0.5)",
    "mass": SOLVE.format("mass=[1.0, 0.0], method='rodas5p'"),
    "sensitivities": SOLVE.format("sensitivities=['y0'], method='rodas5p'"),
    **{
        f"gradient, {m}, {way}": GRADIENT.format(m, way)
        for m, way in (("rodas5p", "direct"), ("kvaerno5", "checkpoint"), ("rodas5p", "kernel"))
    },
    "forward mode": """
        forward = lambda x: sg.solve(f, x, 0.0, 1.0, method="rodas5p").y
        forward_mode.load()
        torch.func.jvp(forward, (y0,), (y0,))
    """,
    "large": """
        def heat(t, u):
            return 1e3 * torch.nn.functional.pad(u, (1, 1)).diff().diff() - u**3 * torch.cos(t)
        for method in ("rodas5p", "kvaerno5", "bdf"):
            sg.solve(heat, torch.rand(100, dtype=torch.float64), 0.0, 0.1, method=method)
    """,
    "fit": """
        times = torch.linspace(0.1, 1.0, 5)
        data = torch.exp(-2 * times).unsqueeze(-1).double()
        sg.fit(lambda t, y, p: -p["k"] * y, y0[:1], times, data, {"k": 1.0})
    """,
    "scipy's front": """
        from stiffguide.fronts.scipy import solve_ivp
        for method in ("RK45", "BDF", "Radau", "LSODA", "rodas5p"):
            assert solve_ivp(lambda t, y: [-y[0]], (0, 1), [1.0], method).success
    """,
    "torchdiffeq's front": """
        from stiffguide.fronts.torchdiffeq import odeint, odeint_adjoint
        model, t = torch.nn.Linear(2, 2).double(), torch.linspace(0, 1, 3)
        field = lambda t, y: model(y)
        odeint(field, y0, t, method="rodas5p")
        odeint_adjoint(field, y0, t, adjoint_params=tuple(model.parameters())).sum().backward()
    """,
    "samplers": """
        from stiffguide.adapters.diffusion import grid, noise_like, problems, sample
        denoiser = problems.tree2d().mixture
        noise = noise_like((4, 2), seeds=range(4))
        for method in ("heun", "emg", "dpmpp_2m"):
            sample(denoiser, noise, grid.karras(4), method=method)
    """,
    "adaptive sampling": """
        from stiffguide.adapters.diffusion import noise_like, problems, sample_adaptive
        sample_adaptive(problems.tree2d().mixture, noise_like((4, 2), seeds=range(4)))
    """,
    "k-diffusion": "import stiffguide.adapters.kdiffusion",
    "sweep": """
        design = sg.designs.sobol(4, k=(0.1, 1.0))
        field = lambda t, y, p: -p["k"].unsqueeze(-1) * y
        assert sg.sweep(field, y0, 0.0, 1.0, design, out="study").open()["y"].shape[0] == 4
    """,
    "checkpoint": SOLVE.format("checkpoint='run.ckpt', every=5, method='rodas5p'"),
    "explain": "sg.explain(f, y0)",
    "verify": "from stiffguide.verification import observed_order; observed_order('rodas3')",
    **{
        f"stiffguide {line}": f"""
            sys.argv[1:] = {line.split()}
            from stiffguide.cli import main
            main()
        """
        for line in (
            "methods",
            "info",
            "explain brusselator",
            "solve robertson --method rodas5p --t1 1 --backend eager --plot picture.png",
            "sample --seeds 0-3 --nfe 8 --png picture.png",
        )
    },
}
SERVER = """
import contextlib, io, os, sys, tempfile, traceback
import numpy as np
import torch
import stiffguide as sg
from stiffguide import forward_mode
torch.set_num_threads(1)
failed = {{}}
for name, text in {uses}.items():
    reading, writing = os.pipe()
    if not os.fork():
        os.chdir(tempfile.mkdtemp(dir={place!r}))
        said = ""
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                exec(text, {{"__name__": "__main__", **globals()}})
        except SystemExit as error:
            said = str(error.code or "")
        except BaseException:
            said = traceback.format_exc()
        os.write(writing, said.encode()[-3000:])
        os._exit(0)
    os.close(writing)
    said = os.fdopen(reading).read()
    if os.wait()[1]:
        said += "ended by a signal"
    if said:
        failed[name] = said
print(repr(failed))
"""


def fresh(text, place, *options):
    """What a program prints, which has an interpreter and a cache of its own."""
    env = os.environ | {
        **{"PYTHONPATH": str(HOME / "src"), "STIFFGUIDE_CACHE": str(place / "cache")},
        **{"STIFFGUIDE_CXXFLAGS": "-O0", "MPLBACKEND": "agg"},
    }
    env.pop("STIFFGUIDE_BACKEND", None)
    done = subprocess.run(
        [sys.executable, *options, "-c", text],
        **{"cwd": place, "env": env, "capture_output": True, "text": True, "timeout": 900},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@functools.cache
def failures(place):
    """What was raised by which use; torch is loaded once, and every use has a fork of its own."""
    uses = {name: "\n".join((F, Y0, textwrap.dedent(text))) for name, text in USES.items()}
    text = SERVER.format(uses=uses, place=str(place))
    return eval(fresh(text, place, "-W", "error").splitlines()[-1])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("warnings")


@pytest.mark.slow
@pytest.mark.parametrize("use", USES)
def test_nothing_is_raised_under_w_error(use, place):
    assert failures(place).get(use, "") == ""


WARNS = """
import warnings
import torch, stiffguide as sg
from torch.autograd import forward_ad
{y0}

def f(t, y):
    if forward_ad._current_level >= 0:
        warnings.warn("f is old", DeprecationWarning)
    return -torch.cos(t) * y

with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    jac = lambda t, y: -torch.cos(t) * torch.eye(2, dtype=torch.float64)
    sg.solve(f, y0, 0.0, 1.0, method="rodas5p", backend="eager", jac=jac)
print({{str(w.message) for w in seen}})
"""
TOGETHER = """
import sys, threading, time, warnings
import torch
from stiffguide import forward_mode
sys.setswitchinterval(1e-6)
script, failed, ending = sys.modules[forward_mode.SAYS], [], False

def restores():
    while not ending:
        with warnings.catch_warnings():
            time.sleep(1e-4)

def loads():
    try:
        forward_mode.load()
    except BaseException as error:
        failed.append(error)

others = [threading.Thread(target=restores) for _ in range(2)]
loading = [threading.Thread(target=loads) for _ in range(4)]
for thread in (*others, *loading):
    thread.start()
for thread in loading:
    thread.join()
ending = True
for thread in others:
    thread.join()
print(failed, "torch._decomp.decompositions_for_jvp" in sys.modules, script.warnings is warnings)
try:
    torch.jit.script(lambda x: x)
except Warning:
    print("seen")
"""


@pytest.mark.slow
def test_a_warning_of_f_is_seen_where_torch_would_warn(place):
    assert fresh(WARNS.format(y0=Y0), place).splitlines()[0] == "{'f is old'}"


@pytest.mark.slow
def test_rules_are_loaded_by_many_threads_at_once(place):
    assert fresh(TOGETHER, place, "-W", "error").splitlines() == ["[] True True", "seen"]


SENTENCE = "`torch.jit.script` is deprecated. Please switch"


@pytest.fixture
def said(monkeypatch):
    """Which sentences come through while rules are loaded, here and in another thread."""
    found, script = [], sys.modules[forward_mode.SAYS]

    def tried(text):
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            script.warnings.warn(text, DeprecationWarning)
        found.extend((str(w.message), w.filename) for w in seen)

    def loading():
        for text in (SENTENCE, "f is old"):
            tried(text)
        other = threading.Thread(target=tried, args=(SENTENCE,))
        other.start()
        other.join()
        assert script.warnings.filters is warnings.filters

    monkeypatch.setattr(forward_ad, "_maybe_load_decompositions", loading)
    forward_mode.load.__wrapped__()
    assert script.warnings is warnings
    return found


def test_one_sentence_of_one_thread_is_not_said(said):
    assert said == [("f is old", __file__), (SENTENCE, __file__)]


def test_what_fails_leaves_nothing_muted(monkeypatch):
    def loading():
        raise ImportError("broken")

    monkeypatch.setattr(forward_ad, "_maybe_load_decompositions", loading)
    with pytest.raises(ImportError, match="broken"):
        forward_mode.load.__wrapped__()
    assert sys.modules[forward_mode.SAYS].warnings is warnings
