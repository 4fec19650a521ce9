"""What the guidance benchmark claims, on its quick set."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
QUICK = ("aniso2d", "lr64", "lr3072")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    if not FOLDER.exists():
        pytest.skip("the benchmarks are not in this copy")
    sys.path.insert(0, str(FOLDER))
    try:
        spec = importlib.util.spec_from_file_location("guidance_benchmark", FOLDER / "guidance.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # its dataclasses look themselves up
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(FOLDER))
    return module


def test_error_direction_is_never_above_heun(benchmark: ModuleType) -> None:
    study = benchmark.Study((6, 16, 64))
    entries = [e for e in benchmark.guided_entries() if e.name in ("Heun", "EDG", "EDG3")]
    for case in benchmark.analytic(QUICK, [7], 64):
        study.errors.append(benchmark.measure(case, entries, study.budgets))
    for name in ("EDG", "EDG3"):
        assert study.ratios(["Heun"], name).max() < 1


def test_error_direction_on_the_digits(benchmark: ModuleType) -> None:
    pytest.importorskip("safetensors")
    entries = [e for e in benchmark.guided_entries() if e.name in ("Heun", "EDG")]
    for scale in (1.0, 2.5):
        case = next(benchmark.network([7], 32, scale))
        found = benchmark.measure(case, entries, [16])
        assert 3 * found["EDG"]["median"] < found["Heun"]["median"]


def test_emg_beats_the_best_unguided_sampler(benchmark: ModuleType) -> None:
    study = benchmark.Study((8, 16, 32))
    for case in benchmark.analytic(QUICK, [7], 64):
        entries = benchmark.best_entries(case.calibrated)
        study.errors.append(benchmark.measure(case, entries, study.budgets))
    best = [f"Karras: {name}" for name in benchmark.BASELINES]
    for label, bound in (("Karras", 0.65), ("mix", 0.25), ("calibrated", 0.2)):
        ratios = study.ratios(best, f"{label}: EMG")
        assert np.exp(np.log(ratios).mean()) < bound


def test_a_surprising_cell_is_named(benchmark: ModuleType) -> None:
    found = benchmark.off(np.array([0.3, 0.16, 0.04]), (0.31, 0.10, 0.09), "EDG", (6, 8, 12))
    assert found == [
        "EDG at NFE 8: 0.160, expected 0.100",
        "EDG at NFE 12: 0.040, expected 0.090",
    ]
