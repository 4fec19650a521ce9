"""The command line: what it prints, writes and refuses, and with which exit code."""

from __future__ import annotations

import importlib
import inspect
import json
import sys

import numpy as np
import pytest
from commands import call, good, refused

from stiffguide import cli, methods, problems
from stiffguide.adapters.diffusion.sample import SAMPLERS
from stiffguide.catalogue import TABLEAUX
from stiffguide.cli import options
from stiffguide.cli.app import app
from stiffguide.cli.catalogue import method_table
from stiffguide.cli.work_precision import tolerances

# solve ------------------------------------------------------------------------------------------


def test_solve_prints_statistics_digits_and_status():
    text = good("solve", "robertson", "--t1", 40)
    for word in ("accepted", "rejected", "nfe", "njac", "nlu", "correct digits"):
        assert word in text
    assert "reached the end of the interval" in text


@pytest.mark.parametrize("name", ["hires", "van_der_pol_scaled", "brusselator"])
def test_solve_reports_the_digits_that_it_reached(name):
    lines = [x for x in good("solve", name, "--rtol", 1e-4).splitlines() if "correct digits" in x]
    assert 2 < float(lines[0].split()[-1]) < 9


@pytest.mark.parametrize("name", ["robertson", "van_der_pol", "pollu", "lotka_volterra"])
def test_solve_a_batch(name):
    shorter = ("--t1", 10) if name != "van_der_pol" else ("--t1", 100)
    text = good("solve", name, "--batch", 5, "--rtol", 1e-3, *shorter)
    assert "5 of 5" in text
    assert "every row reached the end" in text
    assert "rows per second" in text


def test_rows_of_a_batch_follow_from_the_seed(tmp_path):
    ends = []
    for seed in (0, 0, 1):
        path = tmp_path / f"{len(ends)}.npz"
        good("solve", "robertson", "--t1", 1, "--batch", 3, "--seed", seed, "--save", path)
        ends.append(np.load(path)["y"][:, -1])
    assert (ends[0] == ends[1]).all()
    assert (ends[0][0] == ends[2][0]).all()  # row 0 is the problem itself
    assert (ends[0][1:] != ends[2][1:]).any()


def test_solve_saves_and_plots(tmp_path):
    picture, data = tmp_path / "out.png", tmp_path / "out.npz"
    good("solve", "brusselator", "--plot", picture, "--save", data)
    assert picture.read_bytes().startswith(b"\x89PNG")
    with np.load(data) as saved:
        assert saved["t"].shape == (400,)
        assert saved["y"].shape == (400, 2)
        assert saved["t"][-1] == 20.0
        assert saved["status"] == 0
        stats = dict(zip(saved["stats_names"].tolist(), saved["stats"].tolist(), strict=True))
    assert set(stats) == {"accepted", "rejected", "nfe", "njac", "nlu"}
    assert stats["accepted"] > 50
    reference = problems.brusselator().reference
    assert np.load(data)["y"][-1] == pytest.approx(reference, rel=1e-4)


def test_a_batch_is_plotted_and_saved(tmp_path):
    picture, data = tmp_path / "out.png", tmp_path / "out.npz"
    good("solve", "robertson", "--batch", 4, "--t1", 40, "--plot", picture, "--save", data)
    assert picture.stat().st_size > 10_000
    assert np.load(data)["y"].shape == (4, 400, 3)
    assert np.load(data)["stats"].shape == (4, 5)


def test_a_failed_row_ends_with_its_sentence_and_code_1():
    text = refused("solve", "robertson", "--method", "tsit5", "--max-attempts", 300)
    assert "max_attempts was used up" in text
    assert "the problem is stiff" in text
    text = refused("solve", "robertson", "-m", "tsit5", "--max-attempts", 300, "--batch", 2)
    assert "0 of 2" in text
    assert "row 0: max_attempts was used up" in text


def test_backward_and_unknown_ends():
    assert "no reference" in good("solve", "lotka_volterra", "--t1", 1)
    good("solve", "lotka_volterra", "--t1", -1)
    assert "correct digits" in good("solve", "prothero_robinson", "--t1", 2)
    assert "where robertson starts" in refused("solve", "robertson", "--t1", 0, code=2)


def test_progress_is_shown_on_demand():
    assert "%" in call("solve", "brusselator", "--progress").stderr
    assert "%" not in call("solve", "brusselator", "--no-progress").stderr


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("solve", "robertsn"), "did you mean 'robertson'"),
        (("solve", "xyz"), "there are robertson"),
        (("solve", "robertson", "-m", "rodas6"), "did you mean 'rodas"),
        (("solve", "robertson", "-m", "gauss4"), "no embedded pair"),
        (("solve", "robertson", "--plot", "x.nonsense", "--t1", "1"), "x.nonsense"),
        (("methods", "--family", "rosenbrok"), "did you mean 'rosenbrock'"),
        (("methods", "--family", "zzz"), "there are"),
        (("verify", "rodas9"), "did you mean"),
        (("work-precision", "robertson", "--methods", "nope"), "'nope' is unknown"),
        (("work-precision", "robertson", "--rtols", "1e-3;1e-4"), "rtols"),
        (("work-precision", "robertson", "--rtols", "2,3"), "between 0 and 1"),
    ],
)
def test_refusals_are_sentences(args, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert words in refused(*args, code=2)


@pytest.mark.parametrize("option", ["--rtol=-1", "--rtol=2", "--atol=0", "--batch=0", "--rtol=x"])
def test_numbers_out_of_range_are_usage_errors(option):
    assert "Invalid value" in refused("solve", "robertson", option, code=2)


# methods, problems, info --------------------------------------------------------------------------


def test_methods_lists_everything():
    table = method_table()
    names = [row[0] for row in table.rows]
    assert set(names) == {*TABLEAUX, *methods.names()}
    text = good("methods")
    assert all(name in text for name in names)
    cells = {row[0]: row for row in table.rows}
    assert cells["rodas5p"][5] == cells["kvaerno5"][5] == "L-stable"
    assert cells["implicit_midpoint"][5] == "A-stable"
    assert cells["rk4"][5] == "to -2.79"
    assert cells["gauss4"][3:6] == ("-", "2", "A-stable")
    assert cells["radau5"][1:6] == ("Radau", "5", "3", "3", "L-stable")


def test_methods_of_one_family():
    text = good("methods", "--family", "rosenbrock")
    assert "rodas5p" in text
    assert "tsit5" not in text
    assert "sdirk2" not in good("methods", "--family", "ESDIRK")


def test_a_narrow_terminal_gets_its_sources_below(monkeypatch):
    monkeypatch.setenv("WIDTH", "80")
    text = good("methods", "--family", "rosenbrock")
    assert "rodas5p: Steinebach" in text
    assert max(map(len, text.splitlines())) <= 80


def test_problems_lists_everything():
    text = good("problems")
    assert all(name in text for name in problems.names())
    assert "1e+11" in text


def test_info_names_versions_and_devices():
    text = good("info")
    for word in ("stiffguide", "torch", "python", "threads", "compiler", "cache"):
        assert word in text


def test_help_and_version():
    assert "work-precision" in good("--help")
    assert "stiffguide" in good("--version")


def test_a_missing_package_is_named_in_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "click", None)
    monkeypatch.delitem(sys.modules, "stiffguide.cli.app")
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert "pip install 'stiffguide[cli,plot]'" in str(stopped.value)


def test_a_package_that_only_a_command_needs_is_named_too(monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.console", None)
    monkeypatch.setitem(sys.modules, "rich", None)
    monkeypatch.delitem(sys.modules, "stiffguide.cli.tables", raising=False)
    monkeypatch.delitem(sys.modules, "stiffguide.cli.info", raising=False)
    monkeypatch.delattr("stiffguide.cli.info", raising=False)
    monkeypatch.setattr(sys, "argv", ["stiffguide", "info"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert "needs rich: pip install 'stiffguide[cli,plot]'" in str(stopped.value)


def test_missing_matplotlib_is_named_in_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    text = refused("solve", "robertson", "--t1", 1, "--plot", tmp_path / "x.png", code=2)
    assert "pip install 'stiffguide[plot]'" in text


@pytest.mark.parametrize("command", app.commands)
def test_a_command_takes_every_option_that_it_declares(command):
    home = "catalogue" if command in ("methods", "problems") else command.replace("-", "_")
    work = getattr(importlib.import_module(f"stiffguide.cli.{home}"), command.replace("-", "_"))
    inspect.signature(work).bind(**dict.fromkeys(p.name for p in app.commands[command].params))


def test_the_samplers_to_choose_from_are_those_there_are():
    assert tuple(SAMPLERS) == options.SAMPLERS


# work-precision and demo --------------------------------------------------------------------------


def test_ranges_and_lists_of_tolerances():
    assert tolerances("1e-3:1e-6") == [1e-3, 1e-4, 1e-5, 1e-6]
    assert tolerances("1e-2,3e-5") == [1e-2, 3e-5]
    assert tolerances("1e-4") == [1e-4]


def test_work_precision_measures_saves_and_plots(tmp_path):
    picture, data = tmp_path / "out.png", tmp_path / "out.json"
    text = good(
        *("work-precision", "brusselator", "--methods", "tsit5,rodas4", "--rtols", "1e-3,1e-5"),
        *("--plot", picture, "--save", data),
    )
    assert picture.stat().st_size > 10_000
    points = json.loads(data.read_text())["points"]
    assert [p["method"] for p in points] == ["tsit5", "tsit5", "rodas4", "rodas4"]
    for loose, tight in (points[:2], points[2:]):
        assert tight["error"] < loose["error"]
        assert tight["nfe"] > loose["nfe"]
        assert tight["seconds"] > 0
    assert "tsit5" in text


def test_work_precision_says_what_failed():
    text = refused(
        *("work-precision", "robertson", "--methods", "tsit5", "--rtols", "1e-3"),
        *("--max-attempts", 200),
    )
    assert "tsit5 at rtol = 0.001: max_attempts was used up" in text


@pytest.mark.slow
def test_demo_leaves_pictures_and_tables(tmp_path):
    text = good("demo", "--out", tmp_path / "out", "--rows", 20, "--quick")
    assert "the problem is stiff" in text
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"solutions.png", "batch.png", "work_precision.png"} <= left
    assert {"demo.txt", "demo.md", "demo.csv"} <= left
    assert "robertson" in (tmp_path / "out" / "demo.csv").read_text()
    assert "| robertson | rodas5p |" in (tmp_path / "out" / "demo.md").read_text()
