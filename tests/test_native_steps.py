"""Backward difference formulas step natively by themselves, and then say and do the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from large_fields import F64, brusselator, brusselator_start, chain, plane, plane_start
from torch import Tensor

import stiffguide as sg
from stiffguide.errors import InputError, Interrupted, UnsupportedError
from stiffguide.fronts.scipy import solve_ivp
from stiffguide.kernels import looping

pytestmark = pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="needs a C++ compiler"
)
START = brusselator_start(40)
K = torch.linspace(1.0, 400.0, 80, dtype=F64)


def solved(f: Any = brusselator, y0: Tensor = START, t1: float = 1.0, **settings: Any) -> Any:
    usual = {"method": "bdf", "rtol": 1e-6, "atol": 1e-8, "backend": "kernel"}
    return sg.solve(f, y0, 0.0, t1, **usual | settings)


def alike(native: Any, eager: Any, rtol: float = 2e-6) -> None:
    assert native.stats.backend == "kernel"
    assert eager.stats.backend == "eager"
    assert int(native.status) == int(eager.status)
    assert abs(int(native.stats.accepted) - int(eager.stats.accepted)) <= 2
    assert native.t.shape == eager.t.shape
    assert float((native.y - eager.y).abs().max()) <= rtol * float(eager.y.abs().max())


def reads(t: Tensor, y: Tensor) -> Tensor:
    return brusselator(t, y) + 0 * float(y[0])


def in_numpy(t: float, y: Any) -> Any:
    return brusselator(torch.tensor(t), torch.from_numpy(np.array(y))).numpy()


@pytest.mark.parametrize(("f", "loops"), [(brusselator, True), (reads, False), (in_numpy, False)])
def test_steps_are_native_whatever_f_is(f: Any, loops: bool) -> None:
    native, eager = solved(f), solved(f, backend="eager")
    alike(native, eager)
    assert native.stats.why.endswith("f as loops") == loops
    if not loops:
        assert "they call f, for" in native.stats.why
        # the same work is counted, up to what rounding decides
        assert abs(int(native.stats.nfe) - int(eager.stats.nfe)) <= 8
        assert abs(int(native.stats.nlu) - int(eager.stats.nlu)) <= 2


@pytest.mark.parametrize("solver", ["sparse", "band", "krylov"])
@pytest.mark.parametrize("f", [plane, lambda t, y: plane(t, y) + 0 * float(y.sum())])
def test_every_library_solves_their_systems(f: Any, solver: str) -> None:
    y0 = plane_start(8)
    settings = {"linear_solver": solver, "t1": 0.3}
    alike(solved(f, y0, **settings), solved(f, y0, backend="eager", **settings), 1e-4)


def test_native_steps_are_built_where_the_loops_are_there(auto: None, monkeypatch: Any) -> None:
    solved()
    looping._waited.clear()
    monkeypatch.setattr(looping, "there", lambda text: None)
    monkeypatch.setattr(looping, "A_BUILD", 250 * looping.AN_ATTEMPT)
    first, *later = (solved(backend="auto").stats for _ in range(5))
    assert first.backend == "eager"  # too short to wait for them
    native = next(stats for stats in later if stats.backend == "kernel")
    assert native.why.endswith("f as loops")


def test_what_is_kept_is_the_same() -> None:
    times = [0.0, 0.1, 0.55, 1.0]
    alike(solved(save_at=times), solved(save_at=times, backend="eager"))
    every = solved(save_at=sg.EveryStep())
    assert len(every.t) == int(every.stats.accepted) + 1
    dense, known = solved(dense=True), solved(dense=True, backend="eager")
    at = torch.tensor([0.2, 0.77], dtype=F64)
    assert float((dense.at(at) - known.at(at)).abs().max()) < 1e-5


def test_backwards_single_and_to_the_end_of_the_attempts() -> None:
    def back(t: Tensor, y: Tensor) -> Tensor:
        return -brusselator(t, y)

    native, eager = (
        sg.solve(back, START, 1.0, 0.0, method="bdf", backend=b) for b in ("kernel", "eager")
    )
    alike(native, eager, 1e-4)
    single = solved(y0=START.float(), rtol=1e-4, atol=1e-5)
    assert single.y.dtype == torch.float32
    assert single.stats.backend == "kernel"
    assert float((single.y.double() - solved().y).abs().max()) < 1e-2
    short = solved(max_attempts=7)
    assert int(short.status) == sg.Status.MAX_ATTEMPTS
    assert "7 attempts with bdf" in short.message


def test_numbers_of_f_may_change_between_solves() -> None:
    start = torch.linspace(1.0, 0.0, 80, dtype=F64)
    for k in (K, 2 * K, K):
        alike(*(solved(chain, start, args=(k,), backend=b) for b in ("kernel", "eager")))


def test_what_f_raises_comes_out_and_an_interrupt_keeps_what_there_is() -> None:
    def failing(error: type[BaseException]) -> Callable[..., Tensor]:
        def f(t: Tensor, y: Tensor) -> Tensor:
            if float(t) > 0.5:
                raise error("mine")
            return brusselator(t, y)

        return f

    with pytest.raises(ZeroDivisionError, match="mine"):
        solved(failing(ZeroDivisionError))
    with pytest.raises(Interrupted) as caught:
        solved(failing(KeyboardInterrupt))
    assert 0.3 < float(caught.value.solution.t[-1]) <= 0.5


def test_a_pattern_that_grows_on_the_way_and_a_jacobian_of_the_user() -> None:
    def switched(t: Tensor, y: Tensor) -> Tensor:
        return 20 * ((y.roll(7) if float(t) > 0.3 else y) - y) - y

    start = torch.linspace(0.0, 1.0, 80, dtype=F64)
    found = solved(switched, start, checks=False)
    dense = solved(switched, start, linear_solver="dense", backend="eager", checks=False)
    assert float((found.y - dense.y).abs().max()) < 1e-4
    asked = []

    def jac(t: Tensor, y: Tensor) -> Any:
        asked.append(float(t))
        return scipy.sparse.csr_matrix(
            torch.func.jacrev(lambda x: brusselator(t, x))(y).numpy()  # type: ignore[no-untyped-call]
        )

    alike(solved(jac=jac), solved(linear_solver="dense", backend="eager"), 1e-4)
    assert len(asked) < 12


def test_a_pattern_that_is_none_is_refused_where_loops_have_their_own() -> None:
    assert solved().stats.why.endswith("f as loops")
    with pytest.raises(InputError, match=r"jac_sparsity: must be a matrix \(80, 80\)"):
        solved(jac_sparsity=np.eye(3))


def test_what_native_steps_do_not_do_is_refused_or_left_to_the_loop() -> None:
    ways: tuple[dict[str, Any], ...] = (
        {"tstops": [0.4]},
        {"events": lambda t, y: y[0] - 0.9},
        {"monitor": lambda t, y: False},
        {"linear_solver": "dense"},
    )
    for more in ways:
        with pytest.raises(UnsupportedError, match=r"native steps of bdf.*backend='eager'"):
            solved(**more)
    with pytest.raises(UnsupportedError, match="bdf has no kernel"):
        solved(lambda t, y: -y, torch.ones(3, dtype=F64))


@pytest.mark.usefixtures("auto", "cache")
def test_a_solve_waits_as_long_as_the_build_takes_and_the_next_does_not() -> None:
    def field(t: Tensor, y: Tensor) -> Tensor:
        return brusselator(t, y) * 1.0

    settings = {"backend": "auto", "t1": 10.0, "rtol": 1e-8, "atol": 1e-10}
    first = solved(field, backend="auto", t1=0.01)
    assert first.stats.backend == "eager"
    assert solved(field, backend="auto", t1=0.01).stats.backend == "eager"
    long = solved(field, **settings)
    assert long.stats.backend == "kernel"
    assert long.stats.why.endswith("f as loops")
    again = solved(field, backend="auto", t1=0.01)
    assert again.stats.backend == "kernel"
    looping.forget()  # as in another process: they are in the cache
    assert solved(field, backend="auto", t1=0.01).stats.backend == "kernel"


@pytest.mark.usefixtures("auto", "cache")
def test_loops_are_built_where_the_steps_are_native_already() -> None:
    solved(reads)  # builds the steps, and no loops

    def field(t: Tensor, y: Tensor) -> Tensor:
        return brusselator(t, y) / 1.0

    first = solved(field, backend="auto", t1=0.01)
    assert first.stats.backend == "kernel"
    assert "its loops were not built" in first.stats.why
    seen: list[float] = []
    settings = {"backend": "auto", "t1": 300.0, "rtol": 1e-8, "atol": 1e-10}
    watched = solved(field, monitor=lambda t, y: seen.append(float(t)), **settings | {"t1": 10.0})
    assert watched.stats.backend == "eager"
    assert seen == sorted(seen)  # it did not begin again
    assert solved(field, **settings).stats.why.endswith("f as loops")


@pytest.mark.usefixtures("auto", "cache")
def test_without_a_compiler_the_loop_in_torch_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CXX", "")
    found = solved(backend="auto", t1=3.0, rtol=1e-7)
    assert found.stats.backend == "eager"
    assert bool(found.success)


@pytest.mark.usefixtures("auto")
def test_the_front_of_scipy_has_them_too() -> None:
    field = solved(in_numpy)  # builds what there is to build
    assert field.stats.backend == "kernel"
    found = solve_ivp(in_numpy, (0.0, 1.0), START.numpy(), "BDF", rtol=1e-6, atol=1e-8)
    assert found.success
    assert np.abs(found.y[:, -1] - field.y[-1].numpy()).max() < 1e-4
