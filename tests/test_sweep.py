"""Sweeps: every row as `solve` has it, kept by shards, resumed bitwise, on every engine."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import call, good, refused
from hypothesis import given, settings
from hypothesis import strategies as st
from studies import DESIGN, OPTIONS, Y0, field, run
from torch import Tensor

import stiffguide as sg
from stiffguide import Study, designs, safekeeping, sweep
from stiffguide.errors import InputError
from stiffguide.studies import engines

HERE = Path(__file__).parent
SHARDS = 7


def all_of(study: Study) -> dict[str, np.ndarray]:
    parts = list(study)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def same(a: Study, b: Study) -> None:
    one, other = all_of(a), all_of(b)
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Study:
    """The study, never killed."""
    return run(str(tmp_path_factory.mktemp("study") / "whole"))


def test_every_row_is_what_solve_has(whole: Study) -> None:
    assert (whole.rows, whole.shards, whole.complete) == (20, SHARDS, True)
    found = all_of(whole)
    for index in range(SHARDS):
        rows = slice(3 * index, min(20, 3 * index + 3))
        params = DESIGN.part(rows.start, rows.stop)
        told = {name: torch.from_numpy(value) for name, value in params.items()}
        start = Y0.expand(len(told["k"]), 2)
        expected = sg.solve(
            field, start, 0.0, 2.0, args=(told,), batched=True, checks=False, **OPTIONS
        )
        np.testing.assert_array_equal(found["y"][rows], expected.y.numpy())
        np.testing.assert_array_equal(found["t"][rows], expected.t.numpy())
        np.testing.assert_array_equal(found["param_k"][rows], params["k"])
        np.testing.assert_array_equal(found["nfe"][rows], expected.stats.nfe.numpy())
        np.testing.assert_array_equal(found["accepted"][rows], expected.stats.accepted.numpy())


def test_the_same_in_zarr(whole: Study, tmp_path) -> None:
    study = run(str(tmp_path / "study.zarr"))
    same(study, whole)
    view = study.open()
    assert dict(view.sizes)["row"] == 20
    np.testing.assert_array_equal(view["y"][4:11].values, all_of(whole)["y"][4:11])
    assert "Study" in repr(study)
    assert "20</td>" in study._repr_html_()
    same(Study(tmp_path / "study.zarr"), whole)


def test_a_lazy_view(whole: Study) -> None:
    view, known = whole.open(), all_of(whole)
    assert set(view) == known.keys()
    assert len(view) == len(known)
    y = view["y"]
    assert (y.shape, y.dtype, len(y)) == (known["y"].shape, np.float64, 20)
    for key in (5, -1, slice(2, 17, 4), [19, 0, 7], (slice(3, 9), 0, 1), (4, 0), slice(4, 4)):
        np.testing.assert_array_equal(y[key], known["y"][key])
    np.testing.assert_array_equal(np.asarray(view["nfe"]), known["nfe"])
    with pytest.raises(KeyError, match="there are"):
        view["z"]


# --- whoever is killed


class Killed(BaseException):
    """As a process that is gone: nothing catches it."""


def moments(path: Path, monkeypatch) -> list[str]:
    """Count the moments inside file operations; `at(n)` kills in the n-th."""
    seen: list[str] = []
    replace, fsync, opened = Path.replace, os.fsync, Path.open

    def step(what: str) -> None:
        seen.append(what)
        if len(seen) == step.last:  # type: ignore[attr-defined]
            raise Killed

    def slow_open(self, mode="r", *words, **more):
        if mode == "wb":
            step("before write")
        return opened(self, mode, *words, **more)

    def slow_sync(number: int) -> None:
        step("after write")
        fsync(number)

    def slow_replace(self, target):
        step("before rename")
        found = replace(self, target)
        step("after rename")
        return found

    step.last = 0  # type: ignore[attr-defined]
    monkeypatch.setattr(Path, "open", slow_open)
    monkeypatch.setattr(os, "fsync", slow_sync)
    monkeypatch.setattr(Path, "replace", slow_replace)
    # a killed process tidies nothing up
    monkeypatch.setattr(Path, "unlink", lambda self, missing_ok=False: None)
    seen.append("start")
    seen.clear()
    moments.step = step  # type: ignore[attr-defined]
    return seen


class Solved:
    """`engines.solved`, which remembers what was not done yet."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.inner = engines.solved

    def __call__(self, task, store, piece) -> int:
        if store.mark(piece.number) is None:
            self.numbers.append(piece.number)
        return self.inner(task, store, piece)


@pytest.mark.parametrize("kind", ["folder", "study.zarr"])
def test_killed_at_fifty_moments_it_loses_nothing(kind: str, whole, tmp_path, monkeypatch) -> None:
    seen = moments(tmp_path, monkeypatch)
    run(str(tmp_path / f"count-{kind}"))
    many = len(seen)
    assert many >= 4 * SHARDS
    chosen = random.Random(3).sample(range(1, many + 1), min(25, many))
    for number in chosen:
        out = str(tmp_path / f"{number}-{kind}")
        seen.clear()
        moments.step.last = number  # type: ignore[attr-defined]
        with pytest.raises(Killed):
            run(out)
        moments.step.last = 0  # type: ignore[attr-defined]
        done = [] if number < 5 else Study(out).done()
        solved = Solved()
        with monkeypatch.context() as inside:
            inside.setattr(engines, "solved", solved)
            same(run(out), whole)
        assert sorted(solved.numbers + done) == list(range(SHARDS)), (
            "a shard is lost, or made twice"
        )


@pytest.mark.slow
@pytest.mark.parametrize("after", [0.0, 0.03, 0.1, 0.3])
def test_a_real_kill(after: float, whole: Study, tmp_path) -> None:
    out = tmp_path / "killed"
    words = [sys.executable, str(HERE / "studies.py"), str(out)]
    child = subprocess.Popen(words, cwd=HERE)
    while child.poll() is None and not list(out.glob("shard-*")):
        time.sleep(0.005)
    time.sleep(after)
    child.send_signal(signal.SIGKILL)
    child.wait()
    same(run(str(out)), whole)


def test_what_is_left_of_a_file_is_made_again(whole: Study, tmp_path) -> None:
    study = run(str(tmp_path / "cut"))
    path = study.kept.files.path(2)
    content = path.read_bytes()
    for length in (0, 1, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        assert study.done() == [0, 1, 3, 4, 5, 6]
        assert not study.complete
        with pytest.raises(InputError, match="shard 2 is not done"):
            study.read(2)
        same(run(str(tmp_path / "cut")), whole)


def test_a_full_disk_is_said_and_loses_nothing(whole: Study, tmp_path) -> None:
    script = (
        "import resource, sys; import studies; from stiffguide.errors import InputError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "try: studies.run(sys.argv[1])\n"
        "except InputError as error: print(error)\n"
    )
    out = tmp_path / "full"
    run(str(out))
    size = (out / "shard-000000.npz").stat().st_size
    for path in out.glob("shard-*"):
        if path.name != "shard-000000.npz":
            path.unlink()
    words = [sys.executable, "-c", script, str(out), str(size // 2)]
    said = subprocess.run(words, cwd=HERE, capture_output=True, text=True, check=True).stdout
    assert "shard-000001.npz cannot be written (File too large): what is done is kept" in said
    assert [path.name for path in out.glob("*shard*")] == ["shard-000000.npz"]
    same(run(str(out)), whole)


# --- what does not go together


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"rtol": 1e-2}, "options"),
        ({"t1": 3.0}, "t1"),
        ({"f": lambda t, y, p: 2 * field(t, y, p)}, "f"),
        ({"params": designs.sobol(20, k=(0.5, 9.0), c=(0.1, 1.0), log=["k"])}, "design"),
        ({"rows_per_shard": 4}, "rows_per_shard"),
        ({"reduce": lambda solution, p: {"end": solution.y[:, -1]}}, "reduce"),
        ({"y0": torch.tensor([1.0, 0.5], dtype=torch.float64)}, "f"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_another_study_is_refused_by_name(change, named: str, whole: Study) -> None:
    asked = {"f": field, "y0": Y0, "t0": 0.0, "t1": 2.0, "params": DESIGN, **OPTIONS}
    with pytest.raises(InputError, match=rf"other settings \(.*{named}.*\): choose another output"):
        sweep(**{**asked, "rows_per_shard": 3, **change}, out=whole.out)


def test_options_that_a_sweep_cannot_have(tmp_path) -> None:
    for name in ("dense", "monitor", "gradient", "batched", "sensitivities", "progress_bar"):
        match = f"sweep takes no {name}" if name != "progress_bar" else "progress_bar"
        with pytest.raises((InputError, TypeError), match=match):
            run(str(tmp_path / "no"), **{name: True})
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file, and a folder is to be made there"):
        run(str(tmp_path / "file"))
    with pytest.raises(InputError, match="there is no study there"):
        Study(tmp_path / "nothing")
    for params, message in (
        (np.zeros((0, 2)), "have no rows"),
        ({"a": np.zeros(3), "b": np.zeros(4)}, "one number of rows, not a 3, b 4"),
        (3.0, "must be an array"),
        (np.array(["a"]), "arrays of numbers"),
        (iter(()), "yield nothing"),
    ):
        with pytest.raises(InputError, match=message):
            sweep(field, Y0, 0.0, 1.0, params, out=tmp_path / "no")
    with pytest.raises(InputError, match="Zarr arrays have a length"):
        sweep(field, Y0, 0.0, 1.0, iter([DESIGN.part(0, 2)]), out=tmp_path / "no.zarr")
    with pytest.raises(InputError, match=r"reduce returned end as float64 \(1,\)"):
        run(str(tmp_path / "bad"), reduce=lambda solution, p: {"end": np.zeros(1)})
    with pytest.raises(InputError, match="which the study keeps itself"):
        run(str(tmp_path / "bad"), reduce=lambda solution, p: {"nfe": solution.y[:, 0, 0]})
    with pytest.raises(InputError, match=r"must return states \(B, ...\) of its 3 rows"):
        sweep(field, lambda p: Y0, 0.0, 1.0, DESIGN, out=tmp_path / "no")


def test_failures_are_listed_with_their_rows(tmp_path) -> None:
    def decays(t: Tensor, y: Tensor, p: dict[str, Tensor]) -> Tensor:
        return -p["k"].unsqueeze(-1) * y

    k = np.ones(11)
    k[[4, 9]] = np.nan
    options = {"backend": "eager", "checks": False}
    study = sweep(decays, Y0, 0.0, 1.0, {"k": k}, out=tmp_path / "b", rows_per_shard=4, **options)
    told = {"k": torch.from_numpy(k[4:8])}
    alone = sg.solve(decays, Y0.expand(4, 2), 0.0, 1.0, args=(told,), batched=True, **options)
    found = dict(study.failures())
    assert list(found) == [4, 9]
    assert found[4] == alone.messages[0].replace("row 0", "row 4")
    assert found[9] == alone.messages[0].replace("row 0", "row 9")
    assert study.complete


def test_what_is_kept_can_be_reduced(whole: Study, tmp_path) -> None:
    def reduce(solution, p):
        return {"half": solution.y[:, 0, 1], "sum": solution.y[:, -1].sum(-1) + p["k"]}

    study = run(str(tmp_path / "few"), reduce=reduce, save_at=[1.0, 2.0])
    found = all_of(study)
    assert found["half"].shape == (20,)
    assert "y" not in found
    np.testing.assert_allclose(
        found["sum"] - found["param_k"], all_of(whole)["y"][:, -1].sum(-1), rtol=1e-2
    )


def test_a_start_of_the_parameters(tmp_path) -> None:
    study = sweep(
        lambda t, y, p: -y,
        lambda p: torch.stack((p["k"], p["c"]), -1),
        0.0,
        1.0,
        DESIGN,
        out=tmp_path / "own",
        rtol=1e-9,
        backend="eager",
    )
    found = all_of(study)
    np.testing.assert_allclose(found["y"][:, 0, 0], found["param_k"] * np.exp(-1), rtol=1e-7)


# --- streams and designs


def test_a_stream_of_parts(whole: Study, tmp_path) -> None:
    def parts(sizes=(3,) * 6 + (2,), spoilt=False):
        start = 0
        for size in sizes:
            part = DESIGN.part(start, start + size)
            yield {k: v + (spoilt and start == 6) for k, v in part.items()}
            start += size

    def stream(params):
        return sweep(field, Y0, 0.0, 2.0, params, out=tmp_path / "stream", **OPTIONS)

    study = stream(parts())
    same(study, whole)
    assert (study.rows, study.shards, study.complete) == (None, None, False)
    np.testing.assert_array_equal(study.open()["y"][18:], all_of(whole)["y"][18:])
    same(stream(parts()), whole)
    with pytest.raises(InputError, match="shard 2 was made with other parameters"):
        stream(parts(spoilt=True))


MADE = {
    "grid": designs.grid(a=[1.0, 2.0, 5.0], b=np.linspace(0, 1, 7)),
    "sobol": designs.sobol(21, a=(0.1, 10.0), b=(-1, 1), log=["a"], seed=4),
    "latin": designs.latin_hypercube(21, a=(0.1, 10.0), b=(-1, 1), log=["a"], seed=4),
    "given": designs.given({"a": np.arange(21.0), "b": torch.arange(21)}),
}


@given(st.sampled_from(sorted(MADE)), st.lists(st.integers(0, 21), min_size=2, max_size=6))
@settings(deadline=None, max_examples=60)
def test_a_part_of_a_design_does_not_depend_on_the_others(name: str, cuts: list[int]) -> None:
    design = MADE[name]
    whole = design.part(0, design.rows)
    for start, stop in itertools.pairwise(cuts):
        if start < stop:  # in any order
            for key, value in design.part(start, stop).items():
                np.testing.assert_array_equal(value, whole[key][start:stop])
    assert json.loads(json.dumps(design.identity))["rows"] == design.rows == 21


def test_designs_are_where_they_say() -> None:
    grid = MADE["grid"].part(0, 21)
    expected = [(a, b) for a in (1.0, 2.0, 5.0) for b in np.linspace(0, 1, 7)]
    assert list(zip(grid["a"], grid["b"], strict=True)) == expected
    for name in ("sobol", "latin"):
        points = MADE[name].part(0, 21)
        assert ((points["a"] >= 0.1) & (points["a"] <= 10)).all()
        # even in the logarithm: a third of the rows in each third of the way
        thirds = np.histogram(np.log10(points["a"]), bins=3, range=(-1, 1))[0]
        assert thirds.min() >= 6
    one_in_each = np.floor((MADE["latin"].part(0, 21)["b"] + 1) / 2 * 21)
    assert sorted(one_in_each) == list(range(21))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: designs.grid(), "at least one axis"),
        (lambda: designs.grid(a=[[1.0]]), r"finite values \(N,\)"),
        (lambda: designs.sobol(0, a=(0, 1)), "rows is a whole number"),
        (lambda: designs.sobol(4), "name at least one parameter"),
        (lambda: designs.sobol(4, a=(1, 0)), r"a must be \(low, high\)"),
        (lambda: designs.latin_hypercube(4, a=(0, 1), log=["a"]), "both above 0"),
        (lambda: designs.sobol(4, a=(0, 1), log=["b"]), "log names b"),
    ],
)
def test_bad_designs_are_refused(make, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_settings_of_any_length_are_read_again(tmp_path) -> None:
    axis = np.linspace(0.5, 0.6, 30_000)
    design = designs.grid(k=axis, c=[1.0])
    times = torch.linspace(0, 1, 20_000)

    def run(axis=axis, times=times) -> Study:
        return sweep(
            lambda t, y, p: -y * p["k"].unsqueeze(-1),
            torch.ones(50, dtype=torch.float64),
            0.0,
            1.0,
            designs.Axes({"k": (0.5, *design.values["k"]), "c": (1.0,)})
            if axis is None
            else design,
            out=tmp_path / "long",
            rows_per_shard=1,
            reduce=lambda solution, p: {"end": solution.y[:, -1, 0]},
            save_at=times.tolist(),
            share=(30_000, 30_001),
            method="euler",
            controller=sg.Fixed(0.5),
            backend="eager",
        )

    study = run()
    assert (study.rows, study.done()) == (30_000, [])
    (study.out / "shard-000000.npz").touch()  # what makes a folder belong to a study
    run()
    with pytest.raises(InputError, match=r"other settings \(design, f\)"):
        run(axis=None)
    with pytest.raises(InputError, match=r"other settings \(options\)"):
        run(times=times[1:])


# --- engines


def test_the_backend_is_decided_once(tmp_path, plain_builds) -> None:
    def plain(out: str, **more):
        return sweep(
            field,
            Y0,
            0.0,
            2.0,
            DESIGN,
            out=tmp_path / out,
            rows_per_shard=3,
            backend="auto",
            **more,
        )

    study = plain("auto", method="rodas5p")
    assert study.settings["backend"] == "kernel"
    study.kept.files.path(3).unlink()
    before = all_of(run(str(tmp_path / "eager")))["y"]
    np.testing.assert_allclose(all_of(plain("auto", method="rodas5p"))["y"], before, rtol=1e-2)
    assert Study(tmp_path / "auto").settings["backend"] == "kernel"
    guided = plain("loop", method="heun", guidance=sg.guidance.ErrorDirection())
    assert guided.settings["backend"] == "eager"


def test_processes_that_know_nothing_of_each_other(whole: Study, tmp_path) -> None:
    study = run(str(tmp_path / "parts"), share=(1, 3))
    assert study.done() == [1, 4]
    for i in (0, 2):
        run(str(tmp_path / "parts"), share=(i, 3))
    same(study, whole)
    for share in ((3, 3), (-1, 2), (0.0, 1)):
        with pytest.raises(InputError, match=r"share is \(i, n\)"):
            run(str(tmp_path / "parts"), share=share)
    with pytest.raises(InputError, match="three engines"):
        run(str(tmp_path / "parts"), share=(0, 1), client=object())


@pytest.mark.slow
def test_two_processes_of_torchrun_write_the_same(whole: Study, tmp_path) -> None:
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run([*words, str(HERE / "studies.py"), str(tmp_path / "two")], cwd=HERE, check=True)
    study = Study(tmp_path / "two")
    assert study.complete
    same(study, whole)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_dask_cluster_that_loses_a_worker(whole: Study, tmp_path, monkeypatch) -> None:
    from dask.distributed import Client, LocalCluster

    monkeypatch.setenv("PYTHONPATH", str(HERE), prepend=os.pathsep)
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
        ) as cluster,
        Client(cluster) as client,
    ):
        same(run(str(tmp_path / "by-two"), client=client), whole)

        killed: list[int] = []

        def kill_one(bar, rows: int) -> None:
            if not killed:
                killed.append(next(iter(cluster.workers.values())).pid)
                os.kill(killed[0], signal.SIGKILL)

        bar = sys.modules["stiffguide.studies.sweep"]._Bar
        monkeypatch.setattr(bar, "more", kill_one)
        same(run(str(tmp_path / "by-one"), client=client), whole)
        assert killed


def test_a_bar_of_rows(tmp_path, capsys) -> None:
    run(str(tmp_path / "seen"), progress=True)
    assert "20.0/20.0" in capsys.readouterr().err


def test_a_whole_file_or_none(tmp_path) -> None:
    path = tmp_path / "file"
    path.write_text("before")
    with pytest.raises(RuntimeError):
        safekeeping.write(path, fail)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
    safekeeping.write(path, lambda file: file.write(b"after"))
    assert path.read_text() == "after"


def fail(file) -> None:
    file.write(b"part")
    raise RuntimeError


# --- the command

MODEL = """
import torch
y0 = torch.tensor([1.0, 0.0], dtype=torch.float64)
def f(t, y, p):
    k = p["k"].unsqueeze(-1)
    return torch.cat((-k * y[:, :1], k * y[:, :1]), -1)
"""
JSON = '{"design": "grid", "axes": {"k": ["1/2", 2, 8.0]}}'
TOML = 'design = "sobol"\nrows = 5\nlog = ["k"]\n[bounds]\nk = [0.5, "8"]\n'
FILES = {
    "p.json": (JSON, [0.5, 2.0, 8.0]),
    "p.toml": (TOML, designs.sobol(5, k=(0.5, 8.0), log=["k"]).part(0, 5)["k"]),
    "p.csv": ("k\n0.5\n2\n8\n", [0.5, 2.0, 8.0]),
    "p.npz": (np.array([0.5, 2.0]), [0.5, 2.0]),
}


@pytest.mark.parametrize("name", FILES)
def test_the_command(name: str, tmp_path) -> None:
    (tmp_path / "model.py").write_text(MODEL)
    content, expected = FILES[name]
    if isinstance(content, str):
        (tmp_path / name).write_text(content)
    else:
        np.savez(tmp_path / name, k=content)
    out = tmp_path / "out"
    words = ("sweep", tmp_path / "model.py", tmp_path / name, "--out", out, "--t1", "1")
    said = good(*words, "--backend", "eager", "--rows-per-shard", "2")
    assert f"{len(expected)} rows in" in said
    found = all_of(Study(out))
    np.testing.assert_allclose(found["param_k"], expected)
    np.testing.assert_allclose(found["y"][:, 0, 0], np.exp(-np.array(expected)), rtol=1e-4)
    assert refused(*words, "--backend", "eager", "--rows-per-shard", "3", code=2).count(
        "other settings"
    )


def test_the_command_lists_failures(tmp_path) -> None:
    (tmp_path / "model.py").write_text(MODEL + "t1 = 1.0\n")
    (tmp_path / "p.csv").write_text("k\n1\nnan\n")
    words = ("sweep", tmp_path / "model.py")
    found = call(*words, tmp_path / "p.csv", "--out", tmp_path / "o", "--backend", "eager")
    assert found.exit_code == 1
    assert "row 1" in found.output


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.json", '{"design": "gird"}', 'a design is {"design": "grid"'),
        (
            "p.json",
            '{"design": "sobol", "rows": 0, "bounds": {"k": [0, 1]}}',
            "whole number from 1",
        ),
        ("p.json", '{"design": "grid", "axes": {"k": 3}}', "a design is"),
        ("p.json", '{"design": "grid", "axes": {"k": ["x"]}}', "give a number"),
        ("p.csv", "k\nx\n", "a line of names, then lines of numbers"),
        ("p.csv", "k,k\n1,2\n", "1 names over 2 columns"),
        ("p.npz", "no", "not a whole file of numpy.savez"),
        ("p.npy", "no", "not a whole file of numpy.save"),
        ("p.txt", "no", "give .npy, .npz, .csv, .json or .toml"),
    ],
)
def test_files_that_are_no_parameters(name: str, content: str, message: str, tmp_path) -> None:
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / name).write_text(content)
    words = ("sweep", tmp_path / "model.py", tmp_path / name, "--out", tmp_path / "o", "--t1", "1")
    assert message in refused(*words, code=2)
    assert not (tmp_path / "o").exists()
