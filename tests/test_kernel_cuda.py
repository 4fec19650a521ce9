"""The CUDA kernel without a GPU: its text runs on the CPU, its compiler looks at it, its launch
meets a stand-in that treats arguments as torch's launcher does."""

from __future__ import annotations

import ctypes
import inspect
import itertools
import re
import shutil
import struct
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from cached import needs_compiler
from torch import Tensor
from torch.cuda import _utils

import stiffguide
from stiffguide import EveryStep, Status, UnsupportedError, methods, problems
from stiffguide.fields.layout import Layout
from stiffguide.kernels.emitting import coefficients
from stiffguide.kernels.emitting import cuda as emit_cuda
from stiffguide.kernels.running import compiler, device, run
from stiffguide.tracing import tracer

D = torch.float64
FAMILIES = ("rodas5p", "rosenbrock23", "kvaerno5", "sdirk2", "tsit5", "dop853")

# what nvcc knows by itself, for a compiler of C++
STAND_IN = """
#include <cmath>
#include <cstring>
#define __global__
#define __device__
#define __forceinline__ __attribute__((always_inline)) inline
#define __noinline__ __attribute__((noinline))
static double __longlong_as_double(long long bits) {
    double value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}
static unsigned long long atomicAdd(unsigned long long* place, unsigned long long more) {
    return __atomic_fetch_add(place, more, __ATOMIC_RELAXED);
}
"""


def assert_compiles_as_cpp(source: str, folder: Path, level: str) -> Path:
    text, library = folder / "kernel.cpp", folder / "kernel.so"
    text.write_text(STAND_IN + source)
    flags = (*compiler.flags(), level)
    command = [*compiler.command(), *flags, str(text), "-o", str(library)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return library


def assert_compiles(source: str, folder: Path) -> None:
    """By nvcc where there is one, and everywhere as C++ with stand-ins for CUDA's own words."""
    assert_compiles_as_cpp(source, folder, "-fsyntax-only")
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        return
    text = folder / "kernel.cu"
    text.write_text(source)
    command = [nvcc, "-ptx", *device.OPTIONS, "-o", str(folder / "kernel.ptx"), str(text)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert device.NAME in (folder / "kernel.ptx").read_text()


class Launcher:
    """A kernel that takes the arguments of torch's launcher; its threads share this CPU."""

    def __init__(self, library: Path) -> None:
        self.entry = getattr(ctypes.CDLL(str(library)), device.NAME)

    def __call__(
        self,
        grid: tuple[int, int, int] = (1, 1, 1),
        block: tuple[int, int, int] = (1, 1, 1),
        args: list[Any] | None = None,
        shared_mem: int = 0,
        stream: Any = None,
    ) -> None:
        given: list[Any] = []
        for arg in args or []:
            if isinstance(arg, Tensor):
                given.append(ctypes.c_void_p(arg.data_ptr()))
            elif isinstance(arg, int):
                given.append(ctypes.c_int(arg))
            elif isinstance(arg, float):
                given.append(ctypes.c_double(arg))
            else:
                raise TypeError(f"a launch takes tensors, int and float, not {type(arg)}")
        threads = grid[0] * grid[1] * grid[2] * block[0] * block[1] * block[2]
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda _: self.entry(*given), range(threads)))


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Kernels run as CUDA text, by way of `device`, and with torch's names for a GPU replaced."""
    number = itertools.count()

    def compile_kernel(source: str, name: str, **options: Any) -> Launcher:
        inspect.signature(REAL_COMPILE).bind(source, name, **options)
        assert name == device.NAME
        folder = tmp_path / str(next(number))
        folder.mkdir()
        return Launcher(assert_compiles_as_cpp(source, folder, "-O1"))

    monkeypatch.setattr(torch.cuda, "_compile_kernel", compile_kernel)
    monkeypatch.setattr(torch.cuda, "device", lambda place: nullcontext())
    properties = SimpleNamespace(multi_processor_count=1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda place: properties)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    programs: dict[int, device.Program] = {}

    def library(kernel: run.Kernel, *, wide: bool) -> Any:
        if id(kernel) not in programs:
            source = emit_cuda.source(kernel.traced, kernel.method)
            programs[id(kernel)] = device.compile(source, torch.device("cpu"))

        def solve(call: bytes) -> int:
            programs[id(kernel)].run(call, struct.unpack_from("q", call)[0])
            return 0

        return SimpleNamespace(stiffguide_solve=solve)

    return lambda: monkeypatch.setattr(run.Kernel, "built", library)


REAL_COMPILE = torch.cuda._compile_kernel


def assert_equal(a: Any, b: Any) -> None:
    """To the last bit, nan included."""
    assert a.status.tolist() == b.status.tolist()
    for name in ("accepted", "rejected", "nfe"):
        assert getattr(a.stats, name).tolist() == getattr(b.stats, name).tolist()
    torch.testing.assert_close(a.t, b.t, rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(a.y, b.y, rtol=0, atol=0, equal_nan=True)


def everything(t: Tensor, y: Tensor, k: Tensor) -> Tensor:
    """Every function that the headers know, in a field that stays bounded."""
    a, b, c = y.unbind(-1)
    odd = torch.sin(a) + torch.tanh(b) + torch.atan2(a, 2 + c * c) + torch.erf(c) + torch.asinh(b)
    even = torch.exp(-a * a) + torch.log1p(b * b) + torch.sqrt(1 + c * c) + torch.cosh(0.1 * a)
    steps = torch.floor(3 * t) + torch.round(t) + torch.fmod(t, 0.3) + torch.sign(t - 0.4)
    picked = torch.where((a > 0) & (b < 1), a.clamp(-1, 1), torch.maximum(b, c))
    power = (1 + a * a) ** 0.3 + torch.abs(b) ** 3 + torch.erfc(a) + torch.expm1(-c * c)
    return torch.stack((odd + 0.1 * steps, even + picked, 0.1 * power), -1).tanh() - k * y


def rows() -> tuple[Tensor, Tensor]:
    y0 = torch.tensor([[1.0, 0.5, -0.2], [0.0, 0.0, 0.0], [2.0, -1.0, 1.0]], dtype=D)
    return y0, torch.tensor([[1.0, 2.0, 3.0], [0.5, 0.5, 0.5], [3.0, 20.0, 9.0]], dtype=D)


@needs_compiler
@pytest.mark.parametrize("method", FAMILIES)
def test_the_cuda_text_computes_what_the_cpu_kernel_does(method: str, gpu: Any) -> None:
    y0, k = rows()
    t1 = torch.tensor([2.0, -1.0, 0.0], dtype=D)
    s = {"args": (k,), "batched": True, "method": method, "backend": "kernel", "rtol": 1e-5}
    times = torch.linspace(0, 1, 5, dtype=D).expand(3, 5) * t1[:, None]
    solves = ({}, {"save_at": times}, {"save_at": EveryStep()}, {"max_step": 0.03})
    solves += ({"monitor": lambda t, y: None, "save_at": times},)
    on_cpu = [stiffguide.solve(everything, y0, 0.0, t1, **s, **more) for more in solves]
    gpu()
    for more, expected in zip(solves, on_cpu, strict=True):
        assert bool(expected.success.all())
        assert_equal(stiffguide.solve(everything, y0, 0.0, t1, **s, **more), expected)


@needs_compiler
@pytest.mark.parametrize("method", ["rodas5p", "sdirk2", "dop853"])
def test_events_and_jumps_in_the_cuda_text(method: str, gpu: Any) -> None:
    y0, k = rows()
    t1 = torch.tensor([2.0, -1.0, 0.0], dtype=D)
    events = [
        stiffguide.Event(lambda t, y, k: y[..., 0] - 0.3, jump=lambda t, y, k: 0.6 * y),
        stiffguide.Event(lambda t, y, k: torch.sin(9 * t) + 0.1 * y[..., 1], terminal=4),
    ]
    s = {"args": (k,), "batched": True, "method": method, "backend": "kernel", "rtol": 1e-5}
    s |= {"events": events, "tstops": [0.7, 1.1, -0.5], "jump_at": lambda t, y, k: y + 0.1}
    solves = ({}, {"save_at": EveryStep()})
    on_cpu = [stiffguide.solve(everything, y0, 0.0, t1, **s, **more) for more in solves]
    gpu()
    for more, expected in zip(solves, on_cpu, strict=True):
        found = stiffguide.solve(everything, y0, 0.0, t1, **s, **more)
        assert_equal(found, expected)
        for one, other in zip(found.events, expected.events, strict=True):
            assert len(other.t) > 0
            for a, b in zip(one, other, strict=True):
                assert torch.equal(a, b)


@needs_compiler
def test_more_rows_than_threads_and_rows_that_fail(gpu: Any) -> None:
    y0 = torch.linspace(-1, 2, 200, dtype=D).unsqueeze(1)
    y0[7] = float("nan")
    s = {"batched": True, "backend": "kernel", "max_attempts": 500, "rtol": 1e-5, "first_step": 0.5}
    f = lambda t, y: y**2  # noqa: E731
    expected = stiffguide.solve(f, y0, 0.0, 1.0, **s)
    gpu()
    found = stiffguide.solve(f, y0, 0.0, 1.0, **s)
    assert {int(Status.SUCCESS), int(Status.NON_FINITE)} <= set(expected.status.tolist())
    assert found.status.tolist() == expected.status.tolist()
    fine = expected.success  # the others end at a pole, where every rounding counts
    assert found.stats.accepted[fine].tolist() == expected.stats.accepted[fine].tolist()
    torch.testing.assert_close(found.y[fine], expected.y[fine], rtol=1e-9, atol=0)


@needs_compiler
def test_a_matrix_that_needs_pivoting(gpu: Any) -> None:
    matrix = torch.tensor([[0.0, 1e5, 0.0], [0.0, 0.0, 1e5], [-1.0, -1e2, -1e2]], dtype=D)
    f = lambda t, y: y @ matrix.T  # noqa: E731
    y0 = torch.tensor([1e-3, 1e-5, 1e-8], dtype=D)
    s = {"backend": "kernel", "rtol": 1e-5, "atol": 1e-8}
    expected = stiffguide.solve(f, y0, 0.0, 0.02, **s)
    gpu()
    assert_equal(stiffguide.solve(f, y0, 0.0, 0.02, **s), expected)


def source_of(name: str, method: str) -> str:
    p = problems.get(name)
    layout = Layout(p.y0, batched=False)
    traced = tracer.trace(p.f, (), layout, torch.zeros(1, dtype=D), p.y0.reshape(1, -1))
    return emit_cuda.source(traced, coefficients.of(methods.get(method)))


@needs_compiler
@pytest.mark.parametrize("method", FAMILIES)
def test_cuda_compiles(method: str, tmp_path: Path) -> None:
    assert_compiles(source_of("robertson", method), tmp_path)


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("hires", "kvaerno3"),
        ("pollu", "rodas4"),
        ("e5", "verner76"),
        ("van_der_pol", "rodas4"),
        ("prothero_robinson", "kvaerno3"),
    ],
)
def test_cuda_compiles_for_many_problems(name: str, method: str, tmp_path: Path) -> None:
    assert_compiles(source_of(name, method), tmp_path)


# the launch -------------------------------------------------------------------------------------


def test_a_launch_is_what_torch_takes() -> None:
    inspect.signature(REAL_COMPILE).bind("source", device.NAME, nvcc_options=["--fmad=false"])
    launch = inspect.signature(_utils._CudaKernel.__call__)
    launch.bind(None, grid=(1, 1, 1), block=(device.THREADS, 1, 1), args=[torch.zeros(1)])
    entry = re.findall(r"__global__ void (\w+)\(([^)]*)\)", source_of("robertson", "tsit5"))
    assert entry == [(device.NAME, "const Call* call")]  # one pointer: one tensor


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            RuntimeError("Kernel compilation failed:\nk.cu(3): error: no such thing"),
            "no such thing",
        ),
        (OSError("Could not find any NVRTC library"), "NVRTC"),
    ],
)
def test_a_compiler_that_fails_is_quoted(error: Exception, words: str, monkeypatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(torch.cuda, "device", lambda place: nullcontext())
    monkeypatch.setattr(torch.cuda, "_compile_kernel", fail)
    with pytest.raises(UnsupportedError, match=f"CUDA compiler failed: .*{words}"):
        device.compile("", torch.device("cuda"))


def test_a_launch_that_fails_is_quoted(monkeypatch) -> None:
    def fail(**_: Any) -> None:
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(torch.cuda, "device", lambda place: nullcontext())
    properties = SimpleNamespace(multi_processor_count=1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda place: properties)
    with pytest.raises(UnsupportedError, match="out of memory"):
        device.Program(fail, torch.device("cpu")).run(bytes(8), 1)


def test_where_kernels_run(monkeypatch) -> None:
    assert device.supported(torch.device("cpu"))
    assert device.supported(torch.device("cuda"))
    assert not device.supported(torch.device("meta"))
    monkeypatch.setattr(torch.version, "hip", "6.0")
    assert not device.supported(torch.device("cuda"))
