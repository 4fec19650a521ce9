"""What a stranger meets: the README in an environment of its own, and old stumbles, answered."""

from __future__ import annotations

import io
import json
import math
import os
import pickle
import re
import resource
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from fractions import Fraction as F
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from hatchling.builders.wheel import WheelBuilder
from torch import Tensor, nn

import stiffguide as sg
from stiffguide.adapters.diffusers import StiffguideMultistepScheduler
from stiffguide.guidance import ErrorDirection
from stiffguide.stepping.contracts import Method, Move

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
F64 = torch.float64
MOST_CPU = 300  # seconds, for what hangs: the README takes a small part of it

READER = """
import json, resource, sys
import stiffguide
print("from", stiffguide.__file__)
names = {"__name__": "__main__"}
for number, block in enumerate(json.load(open(sys.argv[1]))):
    print("block", number, flush=True)
    exec(compile(block, f"README, block {number}", "exec"), names)
spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print("spent", round(sum(x.ru_utime + x.ru_stime for x in spent), 1))
"""


class Visit(NamedTuple):
    """What a newcomer has in the end."""

    place: Path
    said: str


@pytest.fixture(scope="module")
def visit(tmp_path_factory: pytest.TempPathFactory) -> Visit:
    """The blocks of the README in order, with the wheel, in an empty folder with an empty home."""
    place = tmp_path_factory.mktemp("newcomer")
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(place), versions=["standard"])
    venv, work, home = place / "venv", place / "work", place / "home"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    python = venv / "bin" / "python"
    # what the wheel needs is that of the tests, but for ours, which a .pth file there would name
    inside = next(venv.glob("lib/python*/site-packages"))
    (inside / "needs.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", wheel], check=True)
    work.mkdir()
    home.mkdir()
    (place / "blocks.json").write_text(json.dumps(BLOCK.findall(README)))
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG", "CXX")}
    own = {"HOME": str(home), "STIFFGUIDE_WEIGHTS": str(ROOT / "weights"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [python, "-W", "error::DeprecationWarning", "-c", READER, place / "blocks.json"],
        cwd=work,
        env=kept | own,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (MOST_CPU, MOST_CPU)),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout.splitlines()[-1], "CPU seconds")
    return Visit(place, done.stdout)


@pytest.mark.slow
def test_the_readme_runs_from_the_wheel(visit: Visit) -> None:
    assert f"from {visit.place / 'venv'}" in visit.said
    assert f"block {len(BLOCK.findall(README)) - 1}\n" in visit.said


@pytest.mark.slow
def test_there_is_a_picture_in_the_end(visit: Visit) -> None:
    picture = visit.place / "work" / "robertson.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 5000


@pytest.mark.slow
def test_nothing_is_left_but_what_the_readme_makes(visit: Visit) -> None:
    made = {path.name for path in (visit.place / "work").iterdir()}
    assert made == {"robertson.png", "study"}
    assert {path.name for path in (visit.place / "home").iterdir()} <= {".cache", ".config"}


@pytest.mark.slow
def test_the_digits_of_the_readme_are_those_that_it_prints(visit: Visit) -> None:
    """To one part in twenty: networks round otherwise elsewhere, and nobody reads more."""
    (line,) = re.findall(r"^The last lines print .*$", README, re.MULTILINE)
    told = dict(re.findall(r"([A-Za-z][\w, ]*?): (0\.\d+)", line.partition("trajectory: ")[2]))
    assert len(told) == 3
    for name, value in told.items():
        (found,) = re.findall(rf"^{name}: (\S+)$", visit.said, re.MULTILINE)
        assert float(found) == pytest.approx(float(value), rel=0.05, abs=6e-4)


# stumbles: what was done, and what has to come back -----------------------------------------------

Stumble = Callable[[], Any]
ANSWERS: dict[str, tuple[Stumble, type[BaseException], str]] = {}


def answered(kind: type[BaseException], words: str) -> Callable[[Stumble], Stumble]:
    """A call that ends in such an exception."""

    def note(stumble: Stumble) -> Stumble:
        ANSWERS[stumble.__name__] = stumble, kind, words
        return stumble

    return note


def solve(f: Any, y0: Tensor | None = None, t1: float = 1.0, **settings: Any) -> sg.Solution:
    start = torch.ones(2, dtype=F64) if y0 is None else y0
    return sg.solve(f, start, 0.0, t1, backend="eager", **settings)


@answered(sg.InputError, r"row 1 of f depends on row 0 of y.*unpack y.unbind\(-1\), not `a, b = y`")
def a_batch_unpacked_as_one_row() -> None:
    def chain(t, y):
        a, b = y
        return torch.stack((-a, a - b))

    solve(chain, torch.ones(2, 2, dtype=F64), batched=True)


@answered(KeyboardInterrupt, "the solve was interrupted at t = ")
def ctrl_c_in_a_training_loop() -> None:
    calls = []

    def field(t, y):
        calls.append(t)
        if len(calls) == 40:
            raise KeyboardInterrupt
        return -y

    solve(field, t1=100.0)


@answered(sg.InputError, r"two values for one input.*call model.eval\(\)")
def dropout_in_training_mode() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 16), nn.Dropout(0.5), nn.Linear(16, 2)).double()
    solve(lambda t, y: net(y), torch.ones(4, 2, dtype=F64), batched=True)


@answered(sg.InputError, "BatchNorm in training mode couples rows")
def batch_norm_in_training_mode() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 16), nn.BatchNorm1d(16), nn.Linear(16, 2)).double()
    solve(lambda t, y: net(y), torch.randn(4, 2, dtype=F64), batched=True)


@answered(TypeError, "sigma_gird")
def a_misspelled_option_of_a_scheduler() -> None:
    StiffguideMultistepScheduler(sigma_gird="mix")


@answered(sg.InputError, "sigma_grid = 'mix' and use_karras_sigmas = True name two grids")
def two_grids_for_a_scheduler() -> None:
    StiffguideMultistepScheduler(sigma_grid="mix", use_karras_sigmas=True)


@answered(sg.InputError, r"ode15s' is a name of MATLAB; here it is method='bdf'")
def a_method_of_another_library() -> None:
    solve(lambda t, y: -y, method="ode15s")


@answered(AttributeError, "from stiffguide.fronts.torchdiffeq import odeint")
def a_function_of_another_library() -> None:
    sg.odeint  # noqa: B018


@answered(TypeError, "'t_eval' is a name of SciPy; here it is save_at=")
def an_argument_of_another_library() -> None:
    solve(lambda t, y: -y, t_eval=[0.5])


@answered(TypeError, r"the order of SciPy, .* here it is solve\(f, y0, t0, t1\)")
def the_order_of_another_library() -> None:
    sg.solve(lambda t, y: -y, (0, 3600), torch.ones(2))


@answered(sg.InputError, r"f mixes dtypes .* such as model.double\(\)")
def a_state_and_a_module_of_two_dtypes() -> None:
    net = nn.Linear(2, 2)
    solve(lambda t, y: net(y), torch.ones(2, dtype=F64))


@answered(RuntimeError, r"Use tensor.detach\(\).numpy\(\)")
def a_result_with_a_history_as_an_array() -> None:
    net = nn.Linear(2, 2).double()
    solve(lambda t, y: net(y)).y.numpy()


@answered(sg.InputError, r"atol has shape \(2,\); give a number, the shape of y0 \(3,\)")
def tolerances_of_another_length() -> None:
    solve(lambda t, y: -y, torch.ones(3, dtype=F64), atol=torch.ones(2))


@answered(TypeError, "Move.__new__.* unexpected keyword argument 'y1'")
def the_old_names_of_a_move() -> None:
    Move(y1=torch.ones(1), f1=torch.ones(1), state=())


@pytest.mark.parametrize("name", ANSWERS)
def test_a_stumble_is_answered_where_it_happens(name: str) -> None:
    stumble, kind, words = ANSWERS[name]
    with pytest.raises(kind, match=words) as said:
        stumble()
    if issubclass(kind, sg.InputError):
        assert "\n" not in str(said.value)


SOLVES: dict[str, tuple[Stumble, str]] = {}


def told(words: str) -> Callable[[Stumble], Stumble]:
    """A call that works, and says something of it."""

    def note(stumble: Stumble) -> Stumble:
        SOLVES[stumble.__name__] = stumble, words
        return stumble

    return note


@told("success")
def a_field_of_which_a_part_is_detached() -> str:
    """Once it took 15 times the steps, in silence."""

    def field(t, y, keep):
        a, b = y.unbind(-1)
        return torch.stack((-1e3 * (a - (b if keep else b.detach()) ** 3), -b), -1)

    whole, part = (solve(field, args=(keep,), method="rodas5p") for keep in (True, False))
    assert part.stats.accepted < 2 * whole.stats.accepted
    return repr(part)


@told("below what float64 resolves")
def a_tolerance_below_rounding() -> str:
    return solve(lambda t, y: -y, rtol=1e-17).message


@told("below what float32 resolves")
def the_same_in_float32() -> str:
    return solve(lambda t, y: -y, torch.ones(2), rtol=1e-8).message


@told("one system of 64")
def rows_without_batched() -> str:
    return repr(solve(lambda t, y: -y, torch.ones(32, 2, dtype=F64)))


@told("32 rows of 2")
def rows_with_batched() -> str:
    return repr(solve(lambda t, y: -y, torch.ones(32, 2, dtype=F64), batched=True))


@told("EVENT")
def an_event() -> str:
    stop = sg.Event(lambda t, y: y[0] - 0.5, terminal=True)
    return sg.Status(int(solve(lambda t, y: -y, events=stop).status)).name


@told("autocast is on, and f computes in bfloat16")
def autocast() -> str:
    torch.manual_seed(0)
    net = nn.Linear(2, 2)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        return solve(lambda t, y: net(y), torch.ones(2), max_attempts=30).message


@told("success")
def a_state_of_inference_mode() -> str:
    with torch.inference_mode():
        y0 = torch.ones(2, dtype=F64)
    return repr(solve(lambda t, y: -y, y0, method="rodas5p"))


@told("success")
def a_solution_that_is_kept() -> str:
    kept = io.BytesIO()
    found = solve(lambda t, y: -y, dense=True)
    torch.save(found, kept)
    kept.seek(0)
    again = torch.load(kept, weights_only=False)  # a Solution is no tensor
    assert torch.equal(again.at(0.5), pickle.loads(pickle.dumps(found)).at(0.5))
    return repr(again)


@pytest.mark.parametrize("name", SOLVES)
def test_what_went_wrong_in_silence_is_right_or_said(name: str) -> None:
    stumble, words = SOLVES[name]
    assert words in stumble()


def test_a_runaway_solve_says_so(caplog: pytest.LogCaptureFixture, monkeypatch: Any) -> None:
    monkeypatch.setattr("stiffguide.progress.LONG", 0.0)
    solve(lambda t, y: torch.cos(1e3 * t) + 0 * y)
    assert "this solve has taken" in caplog.text


def test_a_rule_of_guidance_is_written_as_its_page_says() -> None:
    page = (ROOT / "docs" / "guidance.md").read_text(encoding="utf-8")
    (told,) = re.findall(r"-> Move\((.*?)\)", page)
    assert tuple(told.split(", ")) == Move._fields


def test_a_rule_whose_state_is_none_is_told_of() -> None:
    class Rule:
        order, needs_f1, needs_f_low = 1, True, False

        def bind(self, method):
            return self

        def init(self, t0, y0):
            return None

        def delta(self, step, f1, state):
            return Move(0 * step.y1, 0 * f1, state)

    with pytest.raises((TypeError, sg.InputError)) as said:
        solve(lambda t, y: -y, method="heun", guidance=Rule())
    assert "state" in str(said.value)
    rule = ErrorDirection()
    assert rule.init(torch.zeros(1), torch.ones(1, 2)) == ()


def test_the_verbs_of_a_method_are_those_of_its_protocol() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (told,) = re.findall(
        r"the verbs of\nthe protocol `Method` .*?: ([^.]*?)\. A method", text, re.S
    )
    verbs = set(re.findall(r"`(\w+)`", told))
    assert {"init", "step"} <= verbs
    assert all(callable(getattr(Method, verb)) for verb in verbs)


def test_a_rosenbrock_method_is_made_from_its_textbook_form() -> None:
    made = sg.RosenbrockTableau.from_textbook(
        name="ros2 with gamma = 1/2",
        alpha=((F(0), F(0)), (F(1), F(0))),
        big_gamma=((F(1, 2), F(0)), (F(-1), F(1, 2))),
        weights=(F(1, 2), F(1, 2)),
        order=2,
        source="Hairer and Wanner II, section IV.7",
    )
    y0 = torch.ones(1, dtype=F64)
    found = solve(lambda t, y: -50 * y, y0, 0.1, method=made, controller=sg.Fixed(0.01))
    assert found.y.item() == pytest.approx(math.exp(-5), rel=0.2)
