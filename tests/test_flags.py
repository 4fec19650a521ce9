"""`make test-flags`: its builds have the lanes that they say, and it names what failed."""

from __future__ import annotations

import shutil
import subprocess
from types import SimpleNamespace

import flags
import pytest
import torch

import stiffguide
from stiffguide.fields.layout import Layout
from stiffguide.kernels import backend

D = torch.float64
COMPILER = shutil.which("g++") or shutil.which("clang++")
HERE = [n for n in flags.LANES if COMPILER and not flags.built(COMPILER, n, "-O1").lacking()]


@pytest.mark.parametrize("lanes", HERE)
def test_a_build_has_its_lanes(lanes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    setting = flags.built(COMPILER, lanes, "-O1")
    for name, value in setting.environment.items():
        monkeypatch.setenv(name, value)
    y0, t0 = torch.ones(2, 7, dtype=D), torch.zeros(2, dtype=D)  # 7: one vector, not a pair
    method, layout = stiffguide.methods.get("bosh3"), Layout(y0, batched=True)
    backend.forget()
    kernel = backend.prepare(lambda t, y: -y, (), layout, method, t0, y0)
    assert kernel.built(wide=True).stiffguide_lanes() == lanes
    backend.forget()


def test_the_builds_cover_lanes_levels_and_compilers() -> None:
    compilers, lanes, levels = (set(column) for column in zip(*flags.BUILDS, strict=True))
    assert compilers == {flags.GCC, flags.CLANG}
    assert lanes == {1, 2, 4, 8}
    assert levels == {"-O1", "-O3"}


def test_the_summary_names_what_failed_and_what_was_left_out(monkeypatch, capfd) -> None:
    seen: list[dict[str, str]] = []

    def fake(command: list[str], *, env: dict[str, str], **_: object) -> SimpleNamespace:
        seen.append(env)
        return SimpleNamespace(returncode=int(env.get("MKL_CBWR") == "COMPATIBLE"))

    missing = flags.built("no-such-compiler", 1, "-O1")
    monkeypatch.setattr(flags, "SETTINGS", (*flags.SETTINGS[-3:], missing))
    monkeypatch.setattr(flags, "features", lambda: "avx2")
    monkeypatch.setattr(subprocess, "run", fake)
    assert flags.main() == 1
    assert capfd.readouterr().out.splitlines()[-4:] == [
        "torch for AVX2: ok",
        "MKL as on any processor: FAILED",
        "f with other last bits: ok",
        "no-such-compiler, 1 lanes, -O1: left out: no no-such-compiler",
    ]
    assert [env.get("ATEN_CPU_CAPABILITY") for env in seen] == ["avx2", None, None]
