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
import typing_report

import stiffguide as sg
from stiffguide.options import Again, Options
from stiffguide.studies.sweep import REFUSED

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
    own = {
        name: kind for name, kind in expected.items() if name not in {"y0", "t0", "t1", *REFUSED}
    }
    assert typing.get_type_hints(Options) == own


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


def symbol(name, *messages, known=True, exported=True):
    """As pyright reports it."""
    told = [{"message": message} for message in messages]
    both = {"isTypeKnown": known, "isTypeAmbiguous": known and bool(told)}
    return {"name": name, "isExported": exported, "diagnostics": told, **both}


def test_the_report_names_what_is_unknown_by_itself():
    missing, made = "Type is missing type annotation\n  Inferred type is", "is partially unknown"
    cause, other = symbol("a.b", missing), symbol("a.c", f"Return type {made}\n  it", known=False)
    fine, own = symbol("a.d"), symbol("a._e", missing, exported=False)
    for symbols, expected in (
        ([cause, other, fine, own], ["a.b: Type is missing type annotation"]),
        ([other, fine, own], [f"a.c: Return type {made}"]),
        ([symbol("a.f", known=False)], ["a.f: "]),
        ([fine, own], []),
    ):
        assert typing_report.unknown({"typeCompleteness": {"symbols": symbols}}) == expected


def test_the_report_names_lines_that_are_judged_otherwise():
    lines = USES.read_text().splitlines()
    refused = [n for n, line in enumerate(lines) if line.endswith(typing_report.MARK)]
    kinds = dict.fromkeys(refused, "error") | {0: "warning"}

    def report(kinds):
        return {
            "generalDiagnostics": [
                {"severity": kind, "range": {"start": {"line": n}}} for n, kind in kinds.items()
            ]
        }

    assert typing_report.misjudged(report(kinds)) == []
    last = refused[-1]
    found = typing_report.misjudged(report(kinds | {1: "error", last: "information"}))
    assert found == [
        f"uses.py:2 is refused: {lines[1]}",
        f"uses.py:{last + 1} is taken: {lines[last]}",
    ]
