"""Native steps of a field of loops are those of the loop in torch, one by one."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from stencil_fields import F64, FIELDS, Field
from torch import Tensor

from stiffguide import arguments, choices, output
from stiffguide.algebra.band import Band
from stiffguide.algebra.dense import DENSE
from stiffguide.algebra.rowwise import Rowwise
from stiffguide.algebra.sparse import Sparse
from stiffguide.errors import Status
from stiffguide.fields.layout import Layout
from stiffguide.kernels.looped import LoopedField
from stiffguide.kernels.loops import loops
from stiffguide.kernels.marching import march, marches
from stiffguide.kernels.running.loops import Loops
from stiffguide.stepping import loop
from stiffguide.stepping.attempt import attempt
from stiffguide.stepping.contracts import Linearisation
from stiffguide.stepping.live import Live, Problem, begin, first_dt


class Plain:
    """A field and its linear systems; where J is not finite, by differences."""

    def __init__(self, f: Field, linear: Any) -> None:
        self._f, self.linear = f, linear

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        return self._f(t.to(y.dtype), y)

    def by_differences(self, t: Tensor, y: Tensor, units: Any, *, time: bool) -> Linearisation:
        pattern = self.linear.pattern
        moved = y + 1e-7 * torch.eye(pattern.n, dtype=y.dtype)
        jac = torch.stack([(self(t, row[None]) - self(t, y))[0] / 1e-7 for row in moved], 1)
        return Linearisation(jac[pattern.rows, pattern.columns][None], None, pattern.n)


def question(
    f: Field,
    y0: Tensor,
    t1: float,
    rtol: float = 1e-6,
    library: Any = Band,
    save_at: Any = None,
    **more: Any,
) -> tuple[Problem, Live]:
    """A solve by BDF from t = 0 that has begun."""
    layout, t0 = Layout(y0[0], batched=False), torch.zeros(1, dtype=torch.float64)
    method = choices.method(more.pop("method", "bdf"), layout)
    tolerance = arguments.tolerance(rtol, 1e-3 * rtol, layout)
    found = loops(f, t0.to(y0.dtype), y0)
    assert isinstance(found, Loops), found
    field: Any = LoopedField(Plain(f, Rowwise(found.pattern, library(found.pattern))), found)
    p = Problem(
        f=field,
        method=method,
        controller=choices.controller(None, method),
        guidance=None,
        outputs=choices.outputs(save_at, False, layout, tolerance),
        tolerance=tolerance,
        stops=torch.tensor([[t1]], dtype=torch.float64),
        max_step=more.get("max_step", float("inf")),
        max_attempts=more.get("max_attempts", 100_000),
    )
    with torch.no_grad():
        f0 = field(t0, y0)
        dt, nfe = first_dt(p, t0, y0, f0)
        for kept in p.outputs:
            kept.start(t0, p.stops[:, -1], y0)
        return p, begin(p, t0, y0, f0, dt, 1 + nfe)


def kept(p: Problem, s: Live) -> tuple[Tensor, Tensor]:
    return p.outputs[0].result(s.t, s.y)


def assert_alike(ask: Any, dtype: torch.dtype = F64) -> Live:
    """Both ways take the same steps, until rounding tells them apart, and so nearly as many."""
    found = []
    for way in (march, loop.solve):
        p, s = ask()
        assert marches(p, s)
        with torch.no_grad():
            found.append((way(p, s), p))
    (native, p), (eager, q) = found
    assert native.status.tolist() == eager.status.tolist()
    for ours, theirs in zip(counts(native), counts(eager), strict=True):
        assert abs(ours - theirs) <= 3 + 0.05 * theirs
    apart = 0.2 * float(q.tolerance.rtol)
    for ours, theirs in zip(kept(p, native), kept(q, eager), strict=True):
        # elsewhere rounding decides where a row ends; and of steps there may be one more
        if int(native.status) == Status.SUCCESS and ours.shape == theirs.shape:
            torch.testing.assert_close(ours, theirs, rtol=apart, atol=apart)
    return native


def counts(s: Live) -> list[int]:
    return [int(s.accepted), int(s.attempts), *s.work.flatten().tolist()]


def start(name: str, dtype: torch.dtype = F64) -> tuple[Field, Tensor]:
    f, n = FIELDS[name]
    return f, torch.rand(1, n, generator=torch.Generator().manual_seed(3), dtype=dtype) + 0.3


def followed(p: Problem, s: Live, most: int) -> list[tuple[float, ...]]:
    """Where the first attempts by native steps lead."""
    found = []
    for k in range(1, most + 1):
        end = march(p._replace(max_attempts=k), s)
        found.append((float(end.t), float(end.dt), *counts(end)))
    return found


@pytest.mark.parametrize("rtol", [1e-3, 1e-5])
@pytest.mark.parametrize("name", ["brusselator", "in_slices", "reaction", "fluxes"])
def test_first_attempts_are_those_of_the_loop(name: str, rtol: float) -> None:
    f, y0 = start(name)
    p, s = question(f, y0, 5.0, rtol, library=Sparse)
    native, eager = followed(p, s, 25), []
    with torch.no_grad():
        for _ in native:
            s = attempt(p, s)
            eager.append((float(s.t), float(s.dt), *counts(s)))
    for ours, theirs in zip(native, eager, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)


@pytest.mark.parametrize("rtol", [1e-3, 1e-6, 1e-9])
@pytest.mark.parametrize("name", ["brusselator", "allen_cahn", "in_slices", "variable", "cube"])
def test_steps_are_those_of_the_loop(name: str, rtol: float) -> None:
    f, y0 = start(name)
    assert int(assert_alike(partial(question, f, y0, 2.0, rtol)).status) == Status.SUCCESS


@pytest.mark.parametrize("name", ["torus", "gray_scott"])
def test_steps_with_factors_of_a_library(name: str) -> None:
    f, y0 = start(name)
    assert_alike(partial(question, f, y0, 2.0, library=Sparse))


def test_steps_in_single_precision() -> None:
    f, y0 = start("brusselator", torch.float32)
    assert_alike(partial(question, f, y0, 1.0, 1e-3), torch.float32)


def swapped(t: Tensor, y: Tensor) -> Tensor:
    """Pivots in the band have to be exchanged: the heavy entries are beside the diagonal."""
    pairs = y.reshape(1, -1, 2)
    return torch.stack((-300 * pairs[..., 1], 300 * pairs[..., 0]), -1).reshape(y.shape) - y**3


def backwards(t: Tensor, y: Tensor) -> Tensor:
    return -0.3 * y * y.roll(1, -1) * torch.cos(t)


@pytest.mark.parametrize(
    ("f", "t1", "more"),
    [
        (swapped, 0.3, {}),
        (backwards, -1.5, {"library": Sparse}),
        (backwards, 2.0, {"library": Sparse, "max_step": 0.05}),
        (swapped, 5.0, {"max_attempts": 70}),
        (lambda t, y: y * y + 0 * y.flip(-1), 3.0, {"library": Sparse}),  # without end
    ],
)
def test_steps_on_other_ways(f: Field, t1: float, more: dict[str, Any]) -> None:
    y0 = torch.linspace(0.5, 1.5, 12, dtype=F64)[None]
    assert_alike(partial(question, f, y0, t1, **more))


@pytest.mark.parametrize(
    "save_at",
    [
        lambda: torch.tensor([0.0, 0.3, 0.30001, 1.1, 2.0], dtype=F64),
        lambda: output.EveryStep(),
        lambda: output.SteadyState(rtol=0.05, atol=0.05),
    ],
)
def test_outputs_see_the_same_steps(save_at: Any) -> None:
    f, y0 = start("allen_cahn")
    assert_alike(lambda: question(f, y0, 2.0, save_at=save_at()))


def test_an_output_may_stop_a_row() -> None:
    f, y0 = start("variable")
    p, s = question(f, y0, 1e6, save_at=output.SteadyState(rtol=1e-3, atol=1e-3))
    assert int(march(p, s).status) == Status.EVENT


def test_a_jacobian_that_is_not_finite_is_left_to_the_loop() -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        return -y.abs().sqrt()

    p, s = question(f, torch.tensor([[0.0, 1.0, 0.5]], dtype=F64), 1.0)
    with torch.no_grad():
        half = march(p, s)
        assert int(half.status) == Status.RUNNING
        whole = loop.solve(p, half)
    assert int(whole.status) == Status.SUCCESS
    torch.testing.assert_close(whole.y[0, 1], torch.tensor(0.25, dtype=F64), rtol=1e-5, atol=0)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_what_a_library_raises_comes_out(error: type[BaseException]) -> None:
    class Failing(Sparse):
        def factorise(self, values: Any) -> Any:
            self.calls = getattr(self, "calls", 0) + 1
            if self.calls >= 3:
                raise error("mine")
            return super().factorise(values)

    f, y0 = start("torus")
    p, s = question(f, y0, 2.0, library=Failing)
    if error is KeyboardInterrupt:
        ended = march(p, s)
        assert int(ended.status) == Status.INTERRUPTED
        assert 0 < float(ended.t) < 2.0
        assert float(ended.dt) > 1e-4  # no attempt was made with what had failed
    else:
        with pytest.raises(error, match="mine"):
            march(p, s)


def test_what_native_steps_cannot_do_is_left_to_the_loop() -> None:
    f, y0 = start("brusselator")
    p, s = question(f, y0, 2.0)
    assert marches(p, s)
    assert not marches(p._replace(jump_at=lambda t, y: y), s)
    assert not marches(p._replace(stops=torch.tensor([[1.0, 2.0]])), s)
    assert marches(p._replace(f=Plain(f, p.f.linear)), s)  # type: ignore[arg-type]
    assert not marches(p._replace(f=Plain(f, DENSE)), s)  # type: ignore[arg-type]
    assert not marches(p, s._replace(attempts=s.attempts + 1))
    assert not marches(*question(f, y0, 2.0, method="bdf2"))
    assert not marches(*question(f, y0, 2.0, method="kvaerno5"))
