"""`explain` says of a field what a kernel would be, or which line is in the way."""

from __future__ import annotations

import math
import shutil
from dataclasses import FrozenInstanceError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from commands import good, refused
from torch import Tensor, nn

import stiffguide as sg
from stiffguide import explanation, problems
from stiffguide.explanation import Size

needs_compiler = pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="needs a C++ compiler"
)
D = torch.float64
Y = torch.tensor([0.5, 1.0, 2.0], dtype=D)
MODEL = """
import math
import torch

def f(t, y, k):
    return -k * y

def read(t, y, k):
    return -k * y * math.exp(y[0])

y0 = torch.ones(2, dtype=torch.float64)
args = (torch.rand(2, dtype=torch.float64),)
method = "bosh3"
"""


def reading(t: Tensor, y: Tensor) -> Tensor:
    return y * float(y[0])


def choosing(t: Tensor, y: Tensor, k: float) -> Tensor:
    return k * y if y[0] > t else -y


@needs_compiler
def test_what_a_kernel_would_be_is_said_before_and_after_it_is_built(cache: Path) -> None:
    robertson = problems.get("robertson")
    before = sg.explain(robertson.f, robertson.y0)
    assert before.refusal == ""
    assert not before.ready
    assert not cache.exists()  # nothing was built
    assert before.size == Size(0, 14, 1, True, 7, 21)
    sg.compile(robertson.f, like=robertson.y0)
    after = sg.explain(robertson.f, robertson.y0)
    assert after.ready
    assert after.size == before.size
    for found in (before, after):
        assert 0 <= found.eager_attempt < math.inf
        assert 0 <= found.kernel_attempt < math.inf


@needs_compiler
def test_branches_parameters_and_time_are_counted() -> None:
    found = sg.explain(choosing, Y, args=(2.0,), method="tsit5")
    assert found.size is not None
    assert found.size.paths == 2
    assert found.size.parameters == 1
    assert not found.size.autonomous
    assert found.size.entries is None  # an explicit method needs no Jacobian
    rows = sg.explain(lambda t, y: -y, Y.repeat(9, 1), batched=True)
    assert (rows.rows, rows.features, rows.refusal) == (9, 3, "")


def test_the_line_in_the_way_is_said() -> None:
    found = sg.explain(reading, Y)
    line = reading.__code__.co_firstlineno + 1
    assert "reads the value of a tensor, by float()" in found.refusal
    assert f"(line {line} of test_explain.py)" in found.refusal
    assert found.size is None
    assert math.isnan(found.kernel_attempt)


def test_a_jacobian_that_is_too_large_is_in_the_way_of_methods_that_need_it() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(24, 96), nn.Tanh(), nn.Linear(96, 24)).double()
    y = torch.ones(24, dtype=D)
    found = sg.explain(lambda t, y: net(y), y)
    assert "the Jacobian of f takes more than" in found.refusal
    assert found.size is not None
    assert found.size.parameters == sum(p.numel() for p in net.parameters())
    assert "Jacobian" not in sg.explain(lambda t, y: net(y), y, method="tsit5").refusal


def test_a_missing_compiler_is_in_the_way_of_what_is_not_built(cache: Path, monkeypatch) -> None:
    monkeypatch.setenv("CXX", "/no/such/compiler")
    assert "/no/such/compiler" in sg.explain(lambda t, y: -y * 1.25, Y).refusal


def failing(t: Tensor, y: Tensor) -> Tensor:
    raise ZeroDivisionError("by nothing")


@pytest.mark.parametrize(
    ("f", "y0", "settings", "words"),
    [
        (3, Y, {}, r"f must be a function f\(t, y, \*args\), not int"),
        (failing, Y, {}, "f fails near t0 and y0: ZeroDivisionError: by nothing"),
        (lambda t, y: y[:2], Y, {}, "the value of f has shape"),
        (lambda t, y: y, torch.ones(0, 2, dtype=D), {"batched": True}, "one row at least"),
        (lambda t, y: y, "text", {}, "y0"),
        (lambda t, y: y, Y, {"method": "no_such"}, "no_such"),
        (lambda t, y: y, Y, {"t0": math.nan}, "t0"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(f: Any, y0: Any, settings: Any, words: str) -> None:
    with pytest.raises(sg.InputError, match=words) as caught:
        sg.explain(f, y0, **settings)
    assert "\n" not in str(caught.value)


def test_the_lines_say_what_was_measured_and_what_was_estimated() -> None:
    size = Size(3, 14, 2, False, 7, 21)
    planned = sg.Explanation("rodas5p", 3, 1, "", 1.2e-3, size, False, 4e-7, 0.6)
    assert str(planned).split("\n") == [
        "rodas5p, 3 components: a kernel, which takes about 0.6 s to build (estimated)",
        "f: 14 nodes, 3 parameters, depends on t, 2 paths by branches",
        "Jacobian: 7 of 9 entries, 21 nodes with f",
        "an attempt: 1,200 us by the eager loop (measured), 0.4 us by the kernel (estimated)",
        "the build is worth about 501 attempts",
    ]
    built = sg.Explanation("tsit5", 3, 5, "", 1.2e-3, size._replace(entries=None), True, 4e-7)
    assert str(built).split("\n") == [
        "tsit5, 3 components, 5 rows: a kernel, which is built already",
        "f: 14 nodes, 3 parameters, depends on t, 2 paths by branches",
        "an attempt: 1,200 us by the eager loop (measured), 0.4 us by the kernel (measured)",
    ]
    none = sg.Explanation("tsit5", 3, 1, "f does something (line 3 of a.py)", 5e-3)
    assert str(none).split("\n") == [
        "tsit5, 3 components: no kernel",
        "f does something (line 3 of a.py)",
        "an attempt: 5,000 us by the eager loop (measured)",
    ]
    with pytest.raises(FrozenInstanceError):
        none.rows = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("later", "calls", "expected"), [(1e-3, [1] * 5 + [12] * 3, 1e-3), (3.0, [1, 1], 3.0)]
)
def test_only_what_comes_back_counts(later: float, calls: list[int], expected: float) -> None:
    """The first solve loads something; and one that is slow is not repeated often."""
    clock, asked = [0.0], []

    def solve(*given: Any, max_attempts: int, **more: Any) -> Any:
        asked.append(max_attempts)
        clock[0] += 5.0 if len(asked) == 1 else later * max_attempts
        attempts = torch.tensor(max_attempts)
        return SimpleNamespace(stats=SimpleNamespace(accepted=attempts, rejected=0))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(explanation, "solve", solve)
        patch.setattr(explanation.time, "process_time", lambda: clock[0])
        found = sg.explain(reading, Y)
    assert asked == calls
    assert found.eager_attempt == pytest.approx(expected)


# the command -------------------------------------------------------------------------------------


@needs_compiler
def test_a_file_is_explained(tmp_path: Path, monkeypatch, cache: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(MODEL)
    assert "bosh3, 2 components: a kernel, which takes about" in good("explain", "model.py")
    said = good("explain", "model.py:read", "-m", "tsit5")
    assert "tsit5, 2 components: no kernel" in said
    assert "(line 9 of model.py)" in said
    good("build", "model.py:f")
    assert "a kernel, which is built already" in good("explain", "model.py")


def test_a_problem_is_explained() -> None:
    assert "3 components, 7 rows" in good("explain", "robertson", "--batch", 7, "-m", "tsit5")


def test_models_that_are_none_are_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(MODEL)
    assert "has no g: define g(t, y) and y0" in refused("explain", "model.py:g", code=2)
    assert "no file other.py" in refused("explain", "other.py:f", code=2)
    assert "no problem" in refused("explain", "model.txt:f", code=2)


def test_a_function_of_arrays_is_explained():
    def tank(t, y):
        level = max(y[0], 0.0)
        out = 0.4 * np.sqrt(level) if level > 0.1 else 1.6 * level
        return [1.0 - out, out - 30 * y[1]]

    for y0 in (np.array([1.0, 0.0]), torch.tensor([1.0, 0.0], dtype=torch.float64)):
        found = sg.explain(tank, y0)
        assert found.refusal == ""
        assert found.size.paths > 1
    no_kernel = sg.explain(lambda t, y: np.linalg.eigvals(np.diag(y)).real, np.ones(2))
    assert "line" in no_kernel.refusal
