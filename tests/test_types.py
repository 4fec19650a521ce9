"""What a type checker says of right and wrong uses, and of a signature that is written twice."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest
import torch

import stiffguide as sg
from stiffguide.resume import Again

USES = Path(__file__).parent / "uses.py"


@pytest.mark.slow
def test_mypy_refuses_the_wrong_uses_and_no_other(tmp_path):
    lines = USES.read_text().splitlines()
    (tmp_path / USES.name).write_text("\n".join(lines))
    config = f"--config-file={USES.parents[1] / 'pyproject.toml'}"  # which leaves out what is large
    settings = ("--strict", "--follow-imports=silent", config, f"--cache-dir={tmp_path}")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *settings, USES.name],
        cwd=tmp_path,
        env=os.environ | {"MYPYPATH": str(Path(sg.__file__).parent.parent)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert "checked 1 source file" in done.stdout, done.stdout + done.stderr
    refused = {int(n) for n in re.findall(rf"^{USES.name}:(\d+): error", done.stdout, re.M)}
    assert refused == {n for n, line in enumerate(lines, 1) if line.endswith("# refused")}


def test_every_overload_of_solve_has_the_whole_signature():
    whole = inspect.signature(sg.solve, eval_str=True).parameters
    states = []
    for overload in typing.get_overloads(sg.solve):
        own = inspect.signature(overload, eval_str=True).parameters
        assert {**own, "y0": None} == {**whole, "y0": None}
        assert list(own) == list(whole)
        states += typing.get_args(own["y0"].annotation)
    assert set(states) == set(typing.get_args(whole["y0"].annotation))


def test_all_that_solve_is_given_may_be_given_again():
    known = inspect.signature(sg.solve, eval_str=True).parameters
    apart = {"f", "args", "checkpoint", "every", "progress"}
    expected = {name: p.annotation for name, p in known.items() if name not in apart}
    assert typing.get_type_hints(Again) == expected


def names(argument):
    """The names that the signature of solve tells of."""
    told = inspect.signature(sg.solve, eval_str=True).parameters[argument].annotation
    parts = (told, *typing.get_args(told))
    return [n for p in parts if typing.get_origin(p) is typing.Literal for n in typing.get_args(p)]


@pytest.mark.parametrize("name", names("backend"))
def test_a_backend_that_is_told_of_is_taken(name):
    assert sg.kernels.way(name)


@pytest.mark.parametrize("name", names("jac"))
def test_a_jacobian_that_is_told_of_is_taken(name):
    y0 = torch.ones(1, dtype=torch.float64)
    assert sg.solve(lambda t, y: -y, y0, 0.0, 1.0, jac=name).success


def test_names_are_told_of():
    assert names("backend") == ["eager", "kernel", "auto"]
    assert names("gradient") == ["auto", "direct", "checkpoint", "kernel"]
    assert names("jac") == ["autograd", "differences"]
