"""The benchmarks run, name who is missing, and compare as they say."""

from __future__ import annotations

import ctypes
import math
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import time
import warnings
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import anchors
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

import stiffguide as sg

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "benchmarks"
PAGES = {
    "stiff": "scipy LSODA",
    "nonstiff": "scipy RK45",
    "batch": "scipy LSODA, loop",
    "ignition": "hydrogen | stiffguide rodas5p",
    "scipy_front": "scipy LSODA",
    "torchdiffeq_front": r"(128, 2) | euler",
    "doses": "scipy LSODA",
    "large_systems": "scipy BDF",
}
FEW_TABLES = {"doses": 2}

if not FOLDER.exists():
    pytest.skip("the benchmarks are not in this copy", allow_module_level=True)
sys.path.insert(0, str(FOLDER))
try:
    contenders, native, numpy_code, page, solvers, systems, wp = map(
        import_module,
        (
            *("contenders", "native", "numpy_code", "page", "solvers", "systems"),
            "work_precision",
        ),
    )
finally:
    sys.path.remove(str(FOLDER))

needs_compiler = pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="needs a C++ compiler"
)
CASES = systems.stiff() | systems.nonstiff()


def power_law(constant, exponent, errors):
    """Runs whose time is constant * error^-exponent."""
    return [wp.Point(math.nan, constant * e**-exponent, e) for e in errors]


ERRORS = [10.0**-k for k in range(2, 10)]
constants = st.floats(1e-5, 1e2)
exponents = st.floats(0.05, 1.0)
errors_between = st.floats(-9, -2).map(lambda x: 10.0**x)


@given(constants, exponents, errors_between, st.permutations(ERRORS))
def test_a_power_law_is_read_exactly_in_any_order(c, p, error, errors):
    found = wp.matched(power_law(c, p, errors), error)
    assert found.seconds == pytest.approx(c * error**-p, rel=1e-9)
    assert not found.beyond


@given(constants, exponents, errors_between)
def test_runs_that_another_beats_change_nothing(c, p, error):
    runs = power_law(c, p, ERRORS)
    worse = [r._replace(seconds=1.5 * r.seconds, error=1.5 * r.error) for r in runs[1:]]
    assert wp.matched(runs + worse, error) == wp.matched(runs, error)


@given(st.lists(st.tuples(st.floats(1e-6, 1e3), st.floats(1e-15, 1)), min_size=1, max_size=20))
def test_no_run_beats_one_of_the_front(pairs):
    runs = [wp.Point(math.nan, *pair) for pair in pairs]
    front = wp.front(runs)
    for kept in front:
        assert not any(
            (r.seconds < kept.seconds and r.error <= kept.error)
            or (r.seconds <= kept.seconds and r.error < kept.error)
            for r in runs
        )
    for run in runs:
        assert any(k.seconds <= run.seconds and k.error <= run.error for k in front)
    falling = [run.error for run in front]
    assert falling == sorted(set(falling), reverse=True)


@given(constants, exponents, st.floats(1.01, 1e3))
def test_outside_the_runs_is_marked(c, p, factor):
    runs = power_law(c, p, ERRORS)
    loose = wp.matched(runs, max(ERRORS) * factor)
    assert loose == wp.Matched(c * max(ERRORS) ** -p, True)  # more accurate than was asked
    tight = wp.matched(runs, min(ERRORS) / factor)
    assert tight.beyond
    assert tight.seconds == pytest.approx(c * (min(ERRORS) / factor) ** -p, rel=1e-9)


def test_nothing_is_read_off_too_few_runs():
    assert wp.matched([], 1e-3) is None
    one = power_law(1.0, 0.2, [1e-4])
    assert wp.matched(one, 1e-6) is None
    assert wp.matched(one, 1e-4) == wp.Matched(one[0].seconds, False)


@given(constants, constants, constants, exponents)
def test_quotients_are_of_the_fastest_of_a_group(own, first, second, p):
    curves = {
        case: [
            wp.Curve("own", power_law(own, p, ERRORS)),
            wp.Curve("first", power_law(first, p, ERRORS)),
            wp.Curve("second", power_law(second, p, ERRORS)),
        ]
        for case in ("a", "b")
    }
    groups = {"both": ("first", "second"), "nobody": ("absent",)}
    found = page.quotients(curves, {"a": 1e-4, "b": 3e-7}, groups, "own")
    assert found.keys() == {"both"}
    for value in found["both"].values():
        assert value.seconds == pytest.approx(min(first, second) / own, rel=1e-9)
        assert not value.beyond


@pytest.mark.parametrize("name", CASES)
def test_the_plain_system_is_the_field_of_the_problem(name):
    case = CASES[name]
    # over many decades, so that no term hides behind another
    states = 10.0 ** np.random.default_rng(0).uniform(-15, 0, (50, len(case.y0)))
    for y in states:
        t = torch.tensor(0.3, dtype=torch.float64)
        plain = np.array(case.system(0.3, y.tolist()))
        for f in (case.problem.f, solvers.torch_field(case.system)):
            np.testing.assert_allclose(f(t, torch.tensor(y)).numpy(), plain, rtol=1e-7)


def decay():
    """y' = -y from 1 over a unit of time."""
    y0, known = torch.ones(1, dtype=torch.float64), (math.exp(-1.0),)
    problem = replace(sg.problems.robertson(), y0=y0, t1=1.0, reference=known, f=lambda t, y: -y)
    return systems.Case("decay", problem, lambda t, y: (-y[0],))


def contender(name, answer, log):
    """One that writes its name down when it runs."""

    def prepared(rtol):
        def run():
            log.append(name)
            return answer(rtol)

        return run

    return contenders.Contender(name, lambda case: prepared)


def test_contenders_are_taken_in_turn_and_failures_are_told():
    exact, log = np.array([math.exp(-1.0)]), []

    def refuses(rtol):
        raise solvers.Failed("no")

    makers = {
        "good": lambda rtol: exact * (1 + rtol),
        "better": lambda rtol: exact * (1 + rtol / 10),
        "wrong": lambda rtol: exact * 3,
        "nan": lambda rtol: exact * math.nan,
        "refuses": refuses,
    }
    several = [contender(name, answer, log) for name, answer in makers.items()]
    curves = {c.name: c for c in wp.measure(decay(), several, (1e-3, 1e-6), rounds=3)}
    for name in ("good", "better"):
        assert [p.failure for p in curves[name].points] == ["", ""]
        assert all(p.seconds > 0 for p in curves[name].points)
    assert curves["good"].at(1e-3).error == pytest.approx(1e-3)
    assert curves["better"].at(1e-6).error == pytest.approx(1e-7)
    for name in ("wrong", "nan"):
        assert all(p.failure == wp.WRONG for p in curves[name].points)
    assert [p.failure for p in curves["refuses"].points] == ["no", "no"]
    for name in ("wrong", "nan", "refuses"):
        assert not curves[name].good()
        assert wp.matched(curves[name].good(), 1e-4) is None
    # three rounds at each of two tolerances, after the runs that are not counted
    alternations = re.findall(r"(?:good )+(?:better )+", " ".join(log) + " ")
    assert len(alternations) >= 6
    table = page.failures({"decay": list(curves.values())})
    assert table.count("\n") == 1 + 3


def test_a_slow_contender_is_asked_for_less(monkeypatch):
    monkeypatch.setattr(wp, "PATIENCE", 0.02)
    exact, rtols = np.array([math.exp(-1.0)]), (1e-3, 1e-4, 1e-5, 1e-6)

    def slow(rtol):
        until = time.process_time() + 0.03 * (rtol < 5e-4)
        while time.process_time() < until:
            pass
        return exact * (1 + rtol)

    several = [contender("slow", slow, []), contender("fast", lambda rtol: exact * (1 + rtol), [])]
    several.append(replace(several[1], name="told", tightest=1e-5))
    found = wp.measure(decay(), several, rtols, rounds=1)
    asked = {c.name: tuple(p.rtol for p in c.points) for c in found}
    assert asked == {"slow": rtols[:2], "fast": rtols, "told": rtols[:3]}


@pytest.mark.parametrize("module", ["diffrax", "sksundae", "numba", "torchdiffeq", "torchode"])
def test_a_missing_peer_is_named_and_left_out(module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    there, missing = contenders.present(contenders.stiff())
    package = {"sksundae": "scikit-sundae"}.get(module, module)
    assert f"{package} (not installed)" in missing
    assert package in page.left_out(missing)
    assert not any(module in c.needs for c in there)
    kept = [c.name for c in contenders.stiff() if not c.needs]
    assert [c.name for c in there if not c.needs] == kept


# solvers in C ------------------------------------------------------------------------------------

# The interface of LSODA with Euler's method behind it, in as many steps as the tolerance wants.
EULER = """
extern "C" void lsoda_wrapper(void (*f)(double, double *, double *, void *), int n, double *y0,
                              void *p, int nt, double *t, double *y, double rtol, double, int,
                              int *success) {
  int steps = 1 / rtol;
  double dt = (t[1] - t[0]) / steps, dy[64];
  for (int i = 0; i < n; i++) y[n + i] = y0[i];
  for (int k = 0; k < steps; k++) {
    f(t[0] + k * dt, y + n, dy, p);
    for (int i = 0; i < n; i++) y[n + i] += dt * dy[i];
  }
  *success = y[n] < 2;
}
"""


@pytest.fixture
def euler(tmp_path, monkeypatch):
    """A package with a solver in C++, built as that of LSODA is."""
    package = tmp_path / "solver-1.0.tar.gz"
    with tarfile.open(package, "w:gz") as archive:
        for name, text in (("wrapper.cpp", EULER), ("LSODA.cpp", ""), ("LICENSE.txt", "free")):
            (tmp_path / name).write_text(text)
            archive.add(tmp_path / name, f"solver-1.0/src/{name}")
    folder = tmp_path / "anchors"
    assert anchors.built(package, folder).is_file()
    assert (folder / "LICENSE.txt").read_text() == "free"
    monkeypatch.setenv(native.WHERE, str(folder))


@needs_compiler
def test_rows_in_c_have_their_own_parameters_and_failures(euler):
    def system(t, y, a, b):
        return b * t - a * y[0], y[0]

    y0, parameters = np.ones((3, 2)), np.array([[1.0, 0.0], [2.0, 1.0], [-3.0, 0.0]])
    solve = native.solver("liblsoda", system, (0.0, 1.0), y0, parameters)
    found, failed = solve(1e-5, 0.0)
    assert failed == 1  # the row that grows beyond 2
    a, b, e = 2.0, 1.0, math.exp(-2.0)
    second = e + b * (a - 1 + e) / a**2
    np.testing.assert_allclose(found[:2, 0], [math.exp(-1.0), second], rtol=1e-4)
    np.testing.assert_allclose(found[0, 1], 2 - math.exp(-1.0), rtol=1e-4)


@needs_compiler
@pytest.mark.parametrize("name", CASES)
def test_the_text_in_c_is_the_system_and_its_jacobian(name, tmp_path):
    case = CASES[name]
    n, found = len(case.y0), native.traced(case.system, len(case.y0), 0)
    both = "void both(double t, double *y, double *dy, double *jac) {"
    (tmp_path / "both.c").write_text(
        f"{native.HEAD}{native.text(found)}{both} field(t, y, dy, 0); jacobian(t, y, jac, 0); }}"
    )
    command = [native.compiler(), *native.FLAGS, "both.c", "-o", "both.so", "-lm"]
    subprocess.run(command, check=True, cwd=tmp_path)
    library = ctypes.CDLL(str(tmp_path / "both.so"))
    y, t = np.linspace(0.3, 1.2, n), torch.tensor(0.4, dtype=torch.float64)
    dy, jac = np.empty(n), np.zeros((n, n))
    library.both(ctypes.c_double(0.4), *(ctypes.c_void_p(x.ctypes.data) for x in (y, dy, jac)))
    np.testing.assert_allclose(dy, case.system(0.4, y.tolist()), rtol=1e-12)
    field = solvers.torch_field(case.system)
    slopes = torch.autograd.functional.jacobian(lambda x: field(t, x), torch.tensor(y))
    np.testing.assert_allclose(jac.T, slopes.numpy(), rtol=1e-11)


@needs_compiler
def test_cvode_in_c_reaches_the_reference():
    for name in ("robertson 1e5", "hires", "pollu"):
        run = solvers.in_c("libcvode")(CASES[name])
        assert CASES[name].error(run(1e-8)()) < 1e-5
    blows_up = native.solver(
        "libcvode", lambda t, y: (y[0] * y[0],), (0.0, 2.0), np.ones((1, 1)), np.empty((1, 0))
    )
    assert blows_up(1e-6, 1e-9)[1] == 1


def test_whether_solvers_in_c_are_there_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv(native.WHERE, str(tmp_path))
    monkeypatch.setitem(sys.modules, "sksundae", None)
    there, missing = contenders.present(contenders.stiff())
    assert not any("in C" in c.name for c in there)
    assert any("tools/anchors.py" in phrase for phrase in missing)
    assert contenders.calls(there).startswith("No solver here has f in C")
    both = contenders.calls(contenders.stiff())
    assert both.startswith("LSODA in C and CVODE in C have f in C as well")


# numpy code --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["robertson", "hires", "van der pol"])
def test_numpy_code_is_the_plain_system(name):
    plain = {"robertson": systems.robertson, "van der pol": systems.van_der_pol}
    code = numpy_code.codes()[name]
    states = 10.0 ** np.random.default_rng(0).uniform(-15, 0, (50, len(code.y0)))
    for y in states:
        expected = plain.get(name, systems.hires)(0.3, y.tolist())
        np.testing.assert_allclose(code.fun(0.3, y), expected, rtol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("name", numpy_code.codes())
def test_numpy_code_has_the_reference_that_lsoda_comes_near(name):
    code = numpy_code.codes()[name]
    found = solve_ivp(
        code.fun, code.span, code.y0, "LSODA", args=code.args, rtol=1e-8, atol=1e-8 * code.scale
    )
    assert code.error(found.y[:, -1]) < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_a_quick_run_writes_its_page(name, tmp_path, monkeypatch, capsys):
    out, script = tmp_path / f"{name}_benchmark.md", str(FOLDER / f"{name}.py")
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    monkeypatch.setattr(sys, "argv", [script, "--quick", "--out", str(out)])
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # as for who runs it by hand
        runpy.run_path(script, run_name="__main__")
    text = out.read_text(encoding="utf-8")
    assert text.strip() in capsys.readouterr().out
    assert "Left out: " in text or "Nobody was left out" in text
    assert not re.search(r"\{\w+\}", text)  # every place was filled
    for named in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text):
        assert 0 < (tmp_path / named).stat().st_size < 100_000
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert len(tables) >= FEW_TABLES.get(name, 4)
    for table in tables:
        widths = {line.count("|") for line in table.splitlines()}
        assert len(widths) == 1
        assert len(table.splitlines()) > 2
    line = re.search(rf"^\| {re.escape(PAGES[name])} \| (.*) \|$", text, re.MULTILINE)
    assert re.match(r"[\d.,]+", line[1])


@pytest.mark.parametrize("name", PAGES)
def test_the_page_in_the_manual_is_of_this_benchmark(name):
    text = (ROOT / "docs" / f"{name}_benchmark.md").read_text(encoding="utf-8")
    assert f"`python benchmarks/{name}.py --out docs/{name}_benchmark.md`" in text
    for named in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text):
        assert (ROOT / "docs" / named).stat().st_size < 100_000


@needs_compiler
@pytest.mark.slow
def test_fits_stand_beside_scipy_and_their_intervals_hold(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    fitting = import_module("fitting")
    asked = ["--restarts", "20", "--few", "1", "--sets", "100"]
    monkeypatch.setattr(sys, "argv", ["fitting.py", *asked])
    fitting.main()
    said = capsys.readouterr().out
    (best,) = re.findall(r"20 of 20 starts reached the best cost ([\d.]+)", said)
    (theirs,) = re.findall(r"SciPy's costs: ([\d.]+)", said)
    assert float(theirs) == pytest.approx(float(best), rel=1e-3)
    shares = [float(x) for x in re.findall(r"([\d.]+) %", said.splitlines()[-1])[1:]]
    assert len(shares) == 3
    assert all(85 < share <= 100 for share in shares)
