"""Fields of grids as loops: their values and Jacobians are those of f; or they are refused."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from stencil_fields import F64, FIELDS, Field, brusselator, composed
from torch import Tensor

from stiffguide.algebra.pattern import Pattern
from stiffguide.errors import InputError
from stiffguide.fields.layout import Layout
from stiffguide.kernels import loops as wing
from stiffguide.kernels import remembered as memory
from stiffguide.kernels.emitting.loops import emitted
from stiffguide.kernels.looped import LoopedField
from stiffguide.kernels.loops import Refusal, loops
from stiffguide.kernels.remembered import remembered
from stiffguide.kernels.running.loops import Loops
from stiffguide.tracing.stencils.runs import families
from stiffguide.tracing.stencils.stencil import stencil

ROUNDING = {torch.float64: 1e-13, torch.float32: 1e-5}
T = torch.tensor([0.3])


def state(n: int, seed: int = 0, dtype: torch.dtype = F64) -> Tensor:
    return torch.rand(1, n, generator=torch.Generator().manual_seed(seed), dtype=dtype) + 0.3


def looped(f: Field, n: int, dtype: torch.dtype = F64) -> Loops:
    found = loops(f, T.to(dtype), state(n, 1, dtype))
    assert isinstance(found, Loops), found
    return found


def assert_is(found: Loops, f: Field, n: int, dtype: torch.dtype = F64, t: float = 0.8) -> None:
    """The values of f and J, and no entry of the pattern too few."""
    y = state(n, 2, dtype)
    now = torch.tensor([t], dtype=dtype)
    value = f(now, y.clone())[0]
    dense = torch.autograd.functional.jacobian(lambda x: f(now, x[None])[0], y[0])
    jac = found.pattern.matrix(found.jacobian(t, y[0].numpy())).toarray()
    for ours, theirs in ((found.field(t, y[0].numpy()), value), (jac, dense)):
        torch.testing.assert_close(
            torch.from_numpy(ours), theirs, rtol=ROUNDING[dtype], atol=ROUNDING[dtype]
        )


@pytest.mark.parametrize("name", FIELDS)
def test_loops_are_the_field(name: str) -> None:
    f, n = FIELDS[name]
    assert_is(looped(f, n), f, n)


@pytest.mark.parametrize("name", ["brusselator", "torus", "in_slices", "reaction", "variable"])
def test_loops_in_single_precision(name: str) -> None:
    f, n = FIELDS[name]
    assert_is(looped(f, n, torch.float32), f, n, torch.float32)


@pytest.mark.parametrize("seed", range(40))
def test_fields_by_chance(seed: int) -> None:
    f = composed(seed)
    assert_is(looped(f, 30), f, 30)


@pytest.mark.parametrize("name", FIELDS)
def test_the_pattern_has_what_differs_from_zero(name: str) -> None:
    f, n = FIELDS[name]
    y = state(n, 3)
    dense = torch.autograd.functional.jacobian(lambda x: f(T, x[None])[0], y[0])
    pattern = looped(f, n).pattern
    assert pattern == pattern.united(Pattern.of(dense.numpy()))
    assert pattern.nnz <= 2 * int((dense != 0).sum()) + n


def test_one_text_serves_all_sizes_and_parameters() -> None:
    def field(k: float, n: int) -> tuple[str, int]:
        found = emitted(stencil(lambda t, y: k * brusselator(t, y), T, state(n)))
        return found.text, found.pattern.nnz

    texts = {field(k, n)[0] for k, n in ((0.4, 40), (0.7, 40), (0.4, 200))}
    assert len(texts) == 1
    assert field(0.4, 40)[1] < field(0.4, 200)[1]


def test_numbers_of_f_are_those_of_the_call() -> None:
    k, bend = torch.tensor(0.4, dtype=F64), torch.rand(20, dtype=F64)

    def f(t: Tensor, y: Tensor) -> Tensor:
        return (k if k < 1 else -k) * bend * y.roll(1, -1)

    for value in (0.4, 0.9, 1.7):
        k.fill_(value)
        bend.mul_(1.1)
        assert_is(looped(f, 20), f, 20)


def test_a_grid_takes_as_many_runs_as_lines() -> None:
    rows = np.arange(7 * 50)
    right = np.roll(rows.reshape(7, 50), -1, 1).reshape(-1)
    found, rest = families([rows, right])
    assert [(family.strides, len(family.runs)) for family in found] == [((1, 1), 7)]
    assert rest.tolist() == list(range(49, 350, 50))


def read(t: Tensor, y: Tensor) -> Tensor:
    return y * float(y[0, 0])


def branching(t: Tensor, y: Tensor) -> Tensor:
    return y if y[0, 0] > 0 else -y


def taken_out(t: Tensor, y: Tensor) -> Tensor:
    return y * torch.from_numpy(np.sin(y.numpy()))


COUNTER = torch.zeros(1, dtype=F64)


def counting(t: Tensor, y: Tensor) -> Tensor:
    return y * COUNTER.add_(1.0)


def writing(t: Tensor, y: Tensor) -> Tensor:
    return y.mul_(2.0)


def of_many_kinds(t: Tensor, y: Tensor) -> Tensor:
    return torch.cat([y[:, k : k + 1] ** (k / 7) for k in range(y.shape[1])], 1)


def irregular(t: Tensor, y: Tensor) -> Tensor:
    return torch.cat([y[:, 3 * k : 3 * k + 3] ** (k / 7) for k in range(100)], 1)


def lagged(t: Tensor, y: Tensor) -> Tensor:
    return y * y.detach().roll(1, -1)


def nowhere(t: Tensor, y: Tensor) -> Tensor:
    return (-1 - y.abs()).log()


CALLS: list[int] = []


def changing(t: Tensor, y: Tensor) -> Tensor:
    CALLS.append(1)
    return 2 * y + len(CALLS)


REFUSED: dict[str, tuple[Callable[..., Any], str]] = {
    "read": (read, "f reads a value that depends on t or y"),
    "branching": (branching, "f reads a value that depends on t or y"),
    "taken_out": (taken_out, "f reads a value that depends on t or y"),
    "random": (lambda t, y: y * torch.rand_like(y), "f draws random numbers"),
    "counting": (counting, "f changes something that it was given in place"),
    "writing": (writing, "f changes something that it was given in place"),
    "indexing": (lambda t, y: y[:, y.argmax(-1)] + y, "for which there is no rule"),
    "mean_field": (lambda t, y: y - y.mean(), "f sums over 300 entries"),
    "many_kinds": (of_many_kinds, "f computes its entries in over 256 different ways"),
    "running": (lambda t, y: y.cumsum(-1), "for which there is no rule"),
    "irregular": (irregular, "f computes its 300 entries in"),
    "transform": (lambda t, y: torch.fft.fft(y).abs(), "for which there is no rule"),
    "two_factors": (
        lambda t, y: y * (y @ y.T),
        "f multiplies by a matrix, or weights, that depend",
    ),
    "lagged": (lagged, "component 0 of J v + df/dt is"),
    "nowhere": (nowhere, "f is not finite near y0"),
    "changing": (changing, "f is not what its loops say: component"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_says_why(name: str) -> None:
    f, sentence = REFUSED[name]
    found = loops(f, T, state(300))
    assert isinstance(found, Refusal)
    assert found.sentence.startswith("no loops: f ")
    assert sentence in found.sentence
    assert "\n" not in found.sentence


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (torch.ones(2, 9, dtype=F64), "in 2 rows"),
        (torch.ones(1, 9, dtype=torch.float16), "float16"),
    ],
)
def test_states_that_loops_are_not_for(y: Tensor, words: str) -> None:
    found = loops(lambda t, y: y, T, y)
    assert isinstance(found, Refusal)
    assert words in found.sentence


def test_the_error_of_a_field_that_fails_is_its_own() -> None:
    def broken(t: Tensor, y: Tensor) -> Tensor:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        loops(broken, T, state(9))


def test_without_a_compiler_there_are_none(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("CXX", "/no/such/compiler")
    monkeypatch.setenv("STIFFGUIDE_CACHE", str(tmp_path))
    found = loops(lambda t, y: torch.erf(y) * torch.atan(y.roll(3, -1)), T, state(9))
    assert isinstance(found, Refusal)
    assert "no C++ compiler found" in found.sentence


def test_a_wrong_library_is_not_used(monkeypatch) -> None:
    def shifted(found: Any) -> Any:
        made = emitted(found)
        return made._replace(constants=made.constants + 1e-6)

    monkeypatch.setattr(wing, "emitted", shifted)
    found = loops(brusselator, T, state(40))
    assert isinstance(found, Refusal)
    assert "f is not what its loops say" in found.sentence


def test_arrays_that_c_cannot_read_are_refused() -> None:
    found = looped(brusselator, 40)
    out = np.empty(40)
    assert found.field(0.3, np.ones(40), out) is out
    for y in (np.ones(41), np.ones(40, dtype=np.float32), np.ones(80)[::2]):
        with pytest.raises(InputError, match="y must be a contiguous array"):
            found.field(0.3, y)
    with pytest.raises(InputError, match="out must be"):
        found.jacobian(0.3, np.ones(40), out)


def test_the_derivative_by_time() -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        return torch.cat((torch.sin(3 * t)[None], y[:, :-1]), 1) * torch.exp(-t * y)

    found, y = looped(f, 20), state(20, 4)
    slope = torch.autograd.functional.jacobian(lambda t: f(t, y)[0], torch.tensor([0.8], dtype=F64))
    ours = torch.from_numpy(found.slope(0.8, y[0].numpy()))
    torch.testing.assert_close(ours, slope[:, 0], rtol=1e-13, atol=1e-13)
    assert not looped(brusselator, 20).slope(0.8, y[0].numpy()).any()


class Growth:
    """A field with numbers of its own."""

    def __init__(self, size: int) -> None:
        self.rate, self.bend = 0.4, torch.linspace(0.1, 1, 20, dtype=F64)
        self.table = np.linspace(1, 2, size)

    def __call__(self, t: Tensor, y: Tensor, k: Any, more: dict[str, float]) -> Tensor:
        return self.rate * self.bend * k * y.roll(1, -1) + more["b"] * float(self.table[0])


@pytest.mark.parametrize("size", [8, 20_000])  # a table that is seen whole, and one that is not
def test_loops_are_remembered_while_f_is_what_it_was(size: int, monkeypatch) -> None:
    made: list[Loops | Refusal] = []

    def counted(*given: Any, build: bool) -> Loops | Refusal:
        found = loops(*given, build=build)
        assert found is not None
        made.append(found)
        return found

    monkeypatch.setattr(memory, "loops", counted)
    f, k, y, more = Growth(size), torch.rand(20, dtype=F64), state(20), {"b": 0.5}

    def changes(change: Callable[[], Any]) -> bool:
        """Whether loops are made anew after a change; those that one gets are f, come what may."""
        change()
        before, layout = len(made), Layout(y[0], batched=False)
        found = remembered(f, (k, more), layout, T, y)
        assert isinstance(found, Loops)
        ours = torch.from_numpy(found.field(0.3, y[0].numpy()))
        torch.testing.assert_close(ours, f(T[0], y[0], k, more), rtol=1e-13, atol=1e-13)
        return len(made) > before

    assert changes(lambda: None)
    assert not changes(lambda: None)
    assert changes(lambda: setattr(f, "rate", 0.7))
    assert changes(lambda: f.bend.mul_(2))
    assert changes(lambda: f.bend.numpy().fill(0.3))
    assert changes(lambda: k.data.add_(1))
    assert changes(lambda: more.update(b=0.9))
    assert changes(lambda: f.table.fill(3.0))
    assert not changes(lambda: None)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (torch.tensor([[1.0, -2.0, 1.0]]), torch.tensor([[1.0], [-2.0], [1.0]])),
        (torch.zeros(3, 1, dtype=torch.int64), torch.zeros(3, 1, dtype=F64)),
    ],
)
def test_loops_are_not_those_of_the_same_bytes(first: Tensor, second: Tensor) -> None:
    def f(t: Tensor, y: Tensor, w: Tensor) -> Tensor:
        taken = torch.conv2d(y.reshape(1, 1, 4, 5), w[None, None].to(y), padding="same")
        return taken.reshape(y.shape) + float(w.is_floating_point())

    y = state(20)
    for w in (first, second, first):
        found = remembered(f, (w,), Layout(y[0], batched=False), T, y)
        assert isinstance(found, Loops)
        ours = torch.from_numpy(found.field(0.3, y[0].numpy()))
        torch.testing.assert_close(ours, f(T[0], y[0], w), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(
    "read", [np.from_dlpack, np.asarray, Tensor.tolist, lambda k: k.untyped_storage().tolist()]
)
def test_loops_know_of_tensors_that_f_reads_outside_torch(read: Callable[[Tensor], Any]) -> None:
    k, y = torch.ones(4, dtype=F64), state(20)

    def f(t: Tensor, y: Tensor) -> Tensor:
        return y.roll(1, -1) * float(read(k)[-1])

    for value in (1.0, 2.0):
        k.fill_(value)
        found = remembered(f, (), Layout(y[0], batched=False), T, y)
        assert isinstance(found, Loops)
        ours = torch.from_numpy(found.field(0.3, y[0].numpy()))
        torch.testing.assert_close(ours, f(T[0], y[0]), rtol=1e-13, atol=1e-13)


def test_threads_make_loops_side_by_side() -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        time.sleep(0.01)  # so that they meet
        return brusselator(t, y)

    loops(f, T, state(40))  # builds them
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda k: loops(f, T, state(40)), range(8)))
    assert [x for x in found if not isinstance(x, Loops)] == []


class Plain:
    """A field of which nothing is asked but what it is for."""

    linear = object()

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        return brusselator(t, y)

    def linearise(self, t: Tensor, y: Tensor, units: Any, *, time: bool) -> Any:
        return "linearised"

    def by_differences(self, t: Tensor, y: Tensor, units: Any, *, time: bool) -> Any:
        return "by differences"


def test_a_looped_field_leaves_gradients_to_the_plain_one() -> None:
    plain: Any = Plain()
    found, y, t = looped(brusselator, 20), state(20, 5), T.double()
    field: Any = LoopedField(plain, found)
    torch.testing.assert_close(field(t, y), brusselator(t, y), rtol=1e-13, atol=1e-13)
    jac, slope, nfe = field.linearise(t, y, None, time=True)
    assert jac.shape == (1, found.pattern.nnz)
    assert slope.shape == y.shape
    assert nfe == 0
    assert field.linearise(t, y, None, time=False).time is None
    assert field.linear is plain.linear
    assert field.by_differences(t, y, None, time=True) == "by differences"
    two = torch.cat((y, 2 * y))
    torch.testing.assert_close(field(t.expand(2), two), brusselator(t, two))
    assert field.linearise(t.expand(2), two, None, time=True) == "linearised"
    wanted = y.clone().requires_grad_()
    assert field(t, wanted).requires_grad
    assert field.linearise(t, wanted, None, time=True) == "linearised"
