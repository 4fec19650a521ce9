"""The sampling commands: what they write, how they resume, and that sharing out changes nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from stiffguide import InputError
from stiffguide.adapters.diffusion import (
    CalibratedGrid,
    RoughnessPlan,
    grid,
    noise_like,
    problems,
    roughness,
)
from stiffguide.adapters.diffusion import sample as run
from stiffguide.adapters.diffusion.shards import Shards
from stiffguide.cli.app import app
from stiffguide.cli.pictures import sheet

pytest.importorskip("safetensors")


def call(*words: str, code: int = 0) -> str:
    """Run a command and check how it ended."""
    threads = torch.get_num_threads()
    result = CliRunner().invoke(app, list(words))
    torch.set_num_threads(threads)
    assert result.exit_code == code, result.output
    return result.output


def load(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file."""
    with np.load(path) as file:
        return dict(file)


def test_sample_writes_arrays_and_a_picture(tmp_path: Path) -> None:
    out, png = tmp_path / "a.npz", tmp_path / "a.png"
    args = ("--seeds", "3,5-7", "--nfe", "6", "--classes", "1,2", "--cfg", "1.5")
    text = call("sample", *args, "--out", str(out), "--png", str(png))
    assert "4 samples by emg with 6 evaluations" in text
    found = load(out)
    assert found["x"].shape == (4, 8, 8)
    assert found["seeds"].tolist() == [3, 5, 6, 7]
    assert np.isfinite(found["x"]).all()
    assert png.read_bytes().startswith(b"\x89PNG")


def test_a_seed_gives_its_sample_whatever_the_company(tmp_path: Path) -> None:
    paths = [tmp_path / "many.npz", tmp_path / "one.npz"]
    for path, seeds in zip(paths, ("0-6", "5"), strict=True):
        call("sample", "--model", "aniso2d", "--seeds", seeds, "--nfe", "8", "--out", str(path))
    many, one = (load(p)["x"] for p in paths)
    np.testing.assert_allclose(many[5], one[0], rtol=1e-9)


def test_a_killed_run_goes_on_without_redoing_anything(tmp_path: Path) -> None:
    out = tmp_path / "a.npz"
    args = ("sample", "--seeds", "0-9", "--chunk", "4", "--nfe", "4", "--out", str(out))
    call(*args)
    whole = load(out)["x"]
    chunks = sorted((tmp_path / "a.npz.chunks").glob("*.npz"))
    assert len(chunks) == 3
    kept = {path: path.stat().st_mtime_ns for path in chunks[:1]}
    chunks[1].unlink()  # not there yet
    chunks[2].write_bytes(chunks[2].read_bytes()[:100])  # cut off
    out.unlink()
    call(*args)
    assert np.array_equal(load(out)["x"], whole)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_other_settings_do_not_mix_with_what_is_there(tmp_path: Path) -> None:
    out = str(tmp_path / "a.npz")
    call("sample", "--seeds", "0", "--nfe", "4", "--out", out)
    text = call("sample", "--seeds", "0", "--nfe", "5", "--out", out, code=2)
    assert "other settings" in text


def test_settings_that_came_to_nothing_are_not_in_the_way(tmp_path: Path) -> None:
    Shards(tmp_path / "chunks", [0], 1, {"nfe": 4}).open()
    other = Shards(tmp_path / "chunks", [0], 1, {"nfe": 5})
    other.open()
    other.keep(0, torch.ones(1, 2), torch.zeros(1, dtype=torch.int64), 5)
    other.open()
    with pytest.raises(InputError, match="other settings"):
        Shards(tmp_path / "chunks", [0], 1, {"nfe": 4}).open()


def test_chunks_of_several_shapes_are_not_one_sample(tmp_path: Path) -> None:
    shards = Shards(tmp_path, [0, 1], 1, {})
    for index in range(2):
        shards.keep(index, torch.ones(1, 2 + index), torch.zeros(1, dtype=torch.int64), 5)
    with pytest.raises(InputError, match="not of one shape"):
        shards.gather()


def test_noise_on_the_way_belongs_to_the_seed(tmp_path: Path) -> None:
    args = ("sample", "--seeds", "0-6", "--nfe", "6", "--method", "dpmpp_2m", "--eta", "1")
    paths = [tmp_path / f"{i}.npz" for i in range(3)]
    call(*args, "--out", str(paths[0]))
    call(*args, "--chunk", "2", "--out", str(paths[1]))
    call(*args[:-1], "0", "--out", str(paths[2]))
    whole, chunks, flow = (load(path)["x"] for path in paths)
    np.testing.assert_allclose(chunks, whole, rtol=1e-3, atol=1e-3)
    assert not np.allclose(flow, whole, atol=0.1)
    text = call(
        "sample", "--method", "deis3", "--eta", "1", "--out", str(tmp_path / "no.npz"), code=2
    )
    assert "eta needs a sampler made for it" in text.replace("\n", " ")


@pytest.mark.slow
@pytest.mark.parametrize("noise", [[], ["--method", "dpmpp_2m", "--eta", "1"]])
def test_any_number_of_processes_gives_the_same_bits(tmp_path: Path, noise: list[str]) -> None:
    args = ["sample", *noise, "--seeds", "0-10", "--chunk", "3", "--nfe", "6", "--out"]
    alone, shared = tmp_path / "alone.npz", tmp_path / "shared.npz"
    call(*args, str(alone))
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    words = [*launch, "-m", "stiffguide", *args, str(shared)]
    subprocess.run(words, check=True, capture_output=True)
    assert np.array_equal(load(alone)["x"], load(shared)["x"])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--model", "nobody"), "no analytic problem"),
        (("--seeds", "a-b"), "not a list of seeds"),
        (("--grid", "nothing"), "--grid nothing"),
        (("--grid", "nothing.json"), "no such file"),
        (("--center", "1.3"), "--center is for --grid mix, not for --grid karras"),
        (("--classes", "x"), "--classes x"),
        (("--classes", "12"), "--classes 12: write numbers up to 9"),
        (("--method", "euler", "--guidance", "error-direction"), "which euler does not have"),
        (("--method", "heun", "--guidance", "erk-guid", "--w-stiff", "-1"), "w_stiff"),
        (("--sigma-min", "90"), "sigma"),
        (("--model", "aniso2d", "--cfg", "2"), "no classes"),
        (("--seeds", "1,1"), "twice"),
    ],
)
def test_bad_input_is_one_sentence(words: tuple[str, ...], sentence: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["sample", "--nfe", "4", "--seeds", "0", *words, "--out", str(tmp_path / "a.npz")]
    )
    assert result.exit_code == 2
    assert sentence in result.output
    assert "Traceback" not in result.output


def test_curves_prints_a_table_and_draws(tmp_path: Path) -> None:
    png, page = tmp_path / "c.png", tmp_path / "c.md"
    names = "heun,heun+error-direction,emg"
    text = call(
        *("curves", "--model", "aniso2d", "--samplers", names, "--nfe", "6,12", "--seeds", "0-15"),
        *("--plot", str(png), "--save", str(page), "--no-progress"),
    )
    rows = [line.split("|")[1:-1] for line in page.read_text().splitlines()[2:]]
    values = {row[0].strip(): [float(v) for v in row[1:]] for row in rows}
    assert list(values) == names.split(",")
    assert all(a > b for a, b in values.values())
    assert "median distance to the flow" in text
    assert png.exists()


def test_the_center_of_mix_is_an_option(tmp_path: Path) -> None:
    words = ("--model", "aniso2d", "--nfe", "8", "--method", "emg", "--grid", "mix")
    found = tmp_path / "found.npz"
    call("sample", *words, "--center", "1.3", "--seeds", "0,5", "--out", str(found))
    denoiser = problems.get("aniso2d").mixture
    noise = noise_like((2, denoiser.size), [0, 5], dtype=torch.float64)
    expected = run(denoiser, noise, grid.mix(8, center=1.3), "emg").x
    np.testing.assert_allclose(load(found)["x"], expected, rtol=1e-12)
    tables = []
    for center in ("0.25", "1.3"):
        curve = ("curves", *words[:4], "--samplers", "emg", "--grid", "mix", "--seeds", "0-3")
        tables.append(call(*curve, "--center", center, "--no-progress"))
    default = call(*curve, "--no-progress")
    assert tables[0] == default != tables[1]


def test_roughness_says_what_it_will_cost_and_what_it_found(tmp_path: Path) -> None:
    words = ("roughness", "--model", "aniso2d", "--seeds", "3-5", "--nfe", "4,6", "--grid", "mix")
    text = call(*words, "--center", "0.3", "--method", "unipc2")
    assert text.startswith("522 evaluations of each of 3 samples ...")
    noise = noise_like((3, 2), range(3, 6), dtype=torch.float64)
    found = roughness(
        problems.get("aniso2d").mixture,
        noise,
        lambda n: grid.mix(n, center=0.3),
        "unipc2",
        RoughnessPlan(budgets=(4, 6)),
    )
    assert " ".join(str(found).split()) in " ".join(text.split())
    (tmp_path / "net.py").write_text(
        "from stiffguide.adapters.diffusion import problems\n"
        "import torch\n"
        "denoiser = problems.get('aniso2d').mixture\n"
        "def other(x, sigma):\n"
        "    assert x.dtype == torch.float64\n"
        "    return 0.5 * denoiser(x, sigma)\n"
        "shape, dtype = (2,), torch.float64\n"
    )
    own = [*words[:2], str(tmp_path / "net.py"), *words[3:], "--center", "0.3", "-m", "unipc2"]
    assert call(*own) == text
    own[2] += ":other"
    assert call(*own) != text


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("shape = (2,)", "has no denoiser: define denoiser(x, sigma) -> x0"),
        ("denoiser = max", "has no shape"),
        ("denoiser, shape = max, 2", "shape is that of one sample"),
        ("denoiser, shape = max, (2, 0)", "shape is that of one sample"),
        ("denoiser, shape, dtype = max, (2,), 'float'", "dtype is one of torch"),
        ("1 / 0", "does not run: ZeroDivisionError"),
    ],
)
def test_a_file_without_a_denoiser_is_refused(code: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(code)
    text = call("roughness", "--model", str(tmp_path / "net.py"), code=2)
    assert sentence in " ".join(text.split())
    assert "no file" in call("roughness", "--model", str(tmp_path / "no.py"), code=2)
    assert "budgets are numbers" in call("roughness", "--nfe", "0", code=2)


def test_the_name_of_a_grid_is_no_formula(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    CalibratedGrid((80.0, 1.0, 0.002), (1.0, 2.0)).save("$x^$.json")
    words = ("--model", "aniso2d", "--samplers", "heun", "--nfe", "4", "--seeds", "0")
    call("curves", *words, "--grid", "$x^$.json", "--plot", "a.png", "--no-progress")
    assert (tmp_path / "a.png").exists()


def test_curves_refuses_what_it_does_not_know() -> None:
    assert "no sampler is called 'x'" in call("curves", "--samplers", "x", code=2)
    assert "no guidance is called 'y'" in call("curves", "--samplers", "heun+y", code=2)
    wanted = ("--model", "aniso2d", "--metric", "frechet", "--samplers", "heun", "--seeds", "0")
    assert "use flow" in call("curves", *wanted, code=2)


def test_chunks_cover_the_seeds_once(tmp_path: Path) -> None:
    shards = Shards(tmp_path, list(range(11)), 4, {})
    places = [p for i in range(shards.count) for p in shards.chunk(i)]
    assert places == list(range(11))
    owned = [i for rank in range(3) for i in shards.mine(rank, 3)]
    assert sorted(owned) == list(range(shards.count))
    with pytest.raises(InputError, match="missing"):
        shards.gather()


def test_a_sheet_keeps_every_pixel() -> None:
    images = np.arange(5 * 2 * 2, dtype=float).reshape(5, 2, 2)
    made = sheet(images)
    assert made.shape == (5, 8)
    assert set(images.ravel()) <= set(made.ravel())
