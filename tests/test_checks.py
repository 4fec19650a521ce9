"""What a solve asks of f before the first step: rows, values, derivative; and what that leaves."""

from __future__ import annotations

import gc
import logging
import random
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from families import real
from torch import Tensor, nn

import stiffguide as sg
from stiffguide import InputError, problems
from stiffguide.fields import checks, verdicts
from stiffguide.fields.flat import field
from stiffguide.fields.independence import Start
from stiffguide.fields.layout import Layout

SQUARE = real(1.0, 0.0, 0.5, 0.5).reshape(2, 2)
MATRIX = real(-50.0, 0.0, 50.0, -1.0).reshape(2, 2)


@pytest.fixture(autouse=True)
def _nothing_is_remembered() -> None:
    verdicts.forget()


def solve(f: Callable[..., Any], y0: Any = SQUARE, **settings: Any) -> sg.Solution:
    settings = {"batched": True, "max_attempts": 200, "rtol": 1e-3} | settings
    return sg.solve(f, y0, 0.0, 1.0, **settings)


def sound(f: Callable[..., Any], y0: Tensor, jac: Any = None, t0: float = 0.0) -> int:
    """Check f at y0 (B, F), and say how many evaluations that took."""
    layout = Layout(y0, batched=True)
    flat = field(f, (), layout)
    verdicts.forget()
    t = torch.full((layout.rows,), t0, dtype=torch.float64)
    start = Start(t, t + 1, y0, flat(t, y0))
    return checks.evaluations((f, (), jac, y0.shape), flat, start, jac, recorded=True)


def refused(words: str) -> Any:
    return pytest.raises(InputError, match=words)


def around(inside: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda t, y: inside(y)


def net_of_two(net: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    return partial(lambda given, t, y: given(y), net)


# rows are rows ------------------------------------------------------------------------------------


def unpacked(t: Tensor, y: Tensor) -> Tensor:
    a, b = y
    return torch.stack((-50 * a, 50 * a - b))


def unpacked_back(t: Tensor, y: Tensor) -> Tensor:
    a, b = y
    return torch.stack((-a + b, -b))


def unpacked_well(t: Tensor, y: Tensor) -> Tensor:
    a, b = y.unbind(-1)
    return torch.stack((-50 * a, 50 * a - b), -1)


@pytest.mark.parametrize(
    ("f", "row", "other"), [(unpacked, 1, 0), (unpacked_back, 0, 1)], ids=["down", "up"]
)
@pytest.mark.parametrize("method", ["rodas5p", "tsit5"])
def test_a_state_that_is_unpacked_by_rows_is_refused(
    f: Callable[..., Any], row: int, other: int, method: str
) -> None:
    with refused(rf"row {row} of f depends on row {other} of y: .*unpack y.unbind\(-1\)") as error:
        solve(f, method=method)
    assert len(str(error.value)) < 250
    assert solve(unpacked_well, method=method).success.all()
    assert solve(f, method=method, checks=False).t.shape == (2, 1)


@pytest.mark.parametrize("rows", [2, 3, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_that_share_a_mean_are_refused(rows: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3)).to(dtype)
    y0 = torch.randn(rows, 3, dtype=dtype)
    with refused("row 1 of f depends on row 0 of y.*BatchNorm"):
        solve(lambda t, y: net(y), y0, method="tsit5")
    net.eval()
    assert solve(lambda t, y: net(y), y0, method="tsit5").success.all()
    weak = 1e-8 if dtype == torch.float64 else 1e-2
    with refused(r"row 1 of f depends on row \d+ of y"):
        solve(lambda t, y: -y + weak * y.mean(0), y0, method="tsit5")


def test_the_time_of_another_row_is_refused_where_rows_have_their_own() -> None:
    with refused(r"row 1 of f depends on t of row 0: .*t.unsqueeze\(-1\)"):
        solve(lambda t, y: -y * t[0])
    assert solve(lambda t, y: -y * t.unsqueeze(-1)).success.all()
    assert solve(lambda t, y: -y * t[0], method="rk4", controller=sg.Fixed(0.1)).success.all()


def test_fields_that_refuse_other_states_or_times_are_left_alone() -> None:
    def narrow(t: Tensor, y: Tensor) -> Tensor:
        if bool((y > 1).any()):
            raise ValueError("y is a fraction")
        return -y

    assert solve(narrow).success.all()


# f is a function ----------------------------------------------------------------------------------


@pytest.mark.parametrize("batched", [False, True])
def test_a_field_that_draws_random_numbers_is_refused(batched: bool) -> None:
    net = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.2), nn.Linear(8, 2)).double()
    settings: Any = {"y0": SQUARE if batched else SQUARE[1], "batched": batched, "method": "tsit5"}
    for f in (around(net), net_of_two(net)):
        for _ in range(2):  # a verdict on one mode says nothing of the other
            net.train()
            for again in (f, around(net)):
                with refused(r"f gives two values for one input: .*model.eval\(\)"):
                    solve(again, **settings)
            net.eval()
            assert solve(f, **settings).success.all()


@pytest.mark.parametrize("period", [2, 3])
def test_a_field_that_counts_is_refused(period: int) -> None:
    calls = [0]

    def f(t: Tensor, y: Tensor) -> Tensor:
        calls[0] += 1
        return -y * (1 + calls[0] % period)

    with refused("two values"):
        solve(f, method="tsit5")


def test_no_random_state_is_touched() -> None:
    def noisy(t: Tensor, y: Tensor) -> Tensor:
        noise = float(torch.rand(())) + random.random() + np.random.rand()
        return -y if noise >= 0 else y

    def states() -> list[Any]:
        return [
            torch.get_rng_state().tolist(),
            random.getstate(),
            np.random.get_state()[1].tolist(),
        ]

    left = []
    for asked in (False, True):
        for seed in (torch.manual_seed, random.seed, np.random.seed):
            seed(0)
        solve(noisy, method="tsit5", checks=asked)
        left.append(states())
    assert left[0] == left[1]


# the Jacobian is that of f ------------------------------------------------------------------------


def detached(t: Tensor, y: Tensor) -> Tensor:
    a, b = y.unbind(-1)
    return torch.stack((-50 * a, 50 * a - 20 * b.detach()), -1)


def partly_recorded(t: Tensor, y: Tensor) -> Tensor:
    a, b = y.unbind(-1)
    with torch.no_grad():
        gained = 50 * a
    return torch.stack((-50 * a, gained - b), -1)


def converted(t: Tensor, y: Tensor) -> Tensor:
    return -y * y.detach().numpy().sum(-1, keepdims=True).item(0)


@pytest.mark.parametrize("f", [detached, partly_recorded, converted])
def test_a_field_that_is_detached_in_part_is_solved_by_differences(f: Callable[..., Any]) -> None:
    for y0 in (SQUARE[:1], SQUARE[0]):
        found = solve(f, y0, batched=y0.ndim == 2)
        asked = solve(f, y0, batched=y0.ndim == 2, jac="differences", checks=False)
        torch.testing.assert_close(found.y, asked.y, rtol=0.0, atol=0.0)


@pytest.mark.parametrize("f", [detached, partly_recorded, converted])
def test_a_gradient_through_a_part_of_f_is_refused(f: Callable[..., Any]) -> None:
    y0 = SQUARE[:1].clone().requires_grad_()
    for settings in ({}, {"method": "tsit5"}, {"jac": "differences"}):
        with refused("autograd does not see all of f.*detach") as error:
            solve(f, y0, **settings)
        assert len(str(error.value)) < 250
    with torch.no_grad():
        assert solve(f, y0, method="tsit5").success.all()


@pytest.mark.usefixtures("eager")
def test_a_wrong_jacobian_of_the_user_is_said_in_the_log(caplog: Any) -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        return y @ MATRIX.T

    for jac in (MATRIX, lambda t, y: MATRIX, lambda t, y: MATRIX.expand(2, 2, 2)):
        solve(f, jac=jac)
    assert not caplog.records
    for count, jac in enumerate((MATRIX.T, -MATRIX, lambda t, y: MATRIX.T.clone()), 1):
        solve(f, jac=jac)
        assert len(caplog.records) == count
        assert "jac is not the derivative of f" in caplog.text
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    solve(f, jac=MATRIX.T, method="tsit5")  # which never asks for it
    assert len(caplog.records) == count


# no false alarm -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", problems.names())
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_test_set_is_sound(name: str, dtype: torch.dtype, caplog: Any) -> None:
    p = problems.get(name).to(dtype=dtype)
    draw = torch.Generator().manual_seed(0)
    near = p.y0 * (1 + torch.rand(p.size, generator=draw, dtype=dtype))
    y0 = torch.stack((p.y0, near, near + 1e-3))
    assert sound(p.f, y0, None if p.size > 1000 else p.jac, p.t0) <= 8
    assert not caplog.records


def kinked(g: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda t, y: 1 - g(y)


KINKS = {
    "abs": torch.abs,
    "relu": torch.relu,
    "clamp": lambda y: y.clamp(0.0, 1.0),
    "leak": nn.functional.leaky_relu,
    "valve": lambda y: torch.relu(y) - torch.relu(-y),  # smooth, and autograd says 0 at 0
    "largest": lambda y: y.amax(-1, keepdim=True) * y,
    "sqrt": torch.sqrt,
    "root": lambda y: torch.sign(y) * y.abs().sqrt(),
    "log": lambda y: torch.log(y),
    "jump": lambda y: torch.where(y > 0, 1.0, 0.0) * y.new_ones(()),
    "floor": torch.floor,
    "cube": lambda y: y**3,
    "steep": lambda y: torch.tanh(1e9 * y),
    "fast": lambda y: torch.sin(1e9 * y),
    "offset": lambda y: (y + 1e15) - 1e15,
}


@pytest.mark.parametrize("kink", KINKS)
@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_kink_at_the_start_is_no_alarm(kink: str, value: float, dtype: torch.dtype) -> None:
    sound(kinked(KINKS[kink]), torch.full((4, 3), value, dtype=dtype))


def networks(n: int) -> dict[str, Callable[[Tensor], Tensor]]:
    """Fields whose rows share vectorised code and nothing else."""
    torch.manual_seed(0)
    matrix = torch.randn(n, n)
    lift, drop = nn.Linear(1, 8), nn.Linear(8, 1)
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    conv = nn.Sequential(nn.Conv1d(1, 4, 3, padding=1), nn.Tanh(), nn.Conv1d(4, 1, 1))
    cell, norm = nn.GRUCell(n, n), nn.LayerNorm(n)
    whole = torch.eye(n)

    def attend(y: Tensor) -> Tensor:
        x = lift(y.unsqueeze(-1))
        return drop(x + attention(x, x, x)[0]).squeeze(-1)

    return {
        "matmul": lambda y: y @ matrix,
        "matrix times vector": lambda y: (matrix @ y.unsqueeze(-1)).squeeze(-1),
        "einsum": lambda y: torch.einsum("bi,bj,ij->bi", y, y, matrix),
        "linear": nn.Sequential(nn.Linear(n, 32), nn.SiLU(), nn.Linear(32, n)),
        "conv": lambda y: conv(y.unsqueeze(1)).squeeze(1),
        "attention": attend,
        "encoder": lambda y: drop(layer(lift(y.unsqueeze(-1)))).squeeze(-1),
        "recurrent": lambda y: cell(y, y),
        "layer norm": norm,
        "solve": lambda y: torch.linalg.solve(4 * whole + torch.diag_embed(y.square()), y),
        "softmax": lambda y: y.softmax(-1),
        "fft": lambda y: torch.fft.irfft(torch.fft.rfft(y) ** 2, n=n),
    }


@pytest.mark.parametrize("name", networks(4))
@pytest.mark.parametrize("rows", [2, 3, 33, 300])
@pytest.mark.parametrize("features", [2, 7, 20])
def test_rows_of_vectorised_code_are_no_alarm(name: str, rows: int, features: int) -> None:
    net = networks(features)[name]
    y0 = torch.randn(rows, features)
    for recording in (True, False):
        with torch.set_grad_enabled(recording):
            sound(lambda t, y: net(y), y0)


def test_the_derivative_of_a_complex_field_is_compared_too() -> None:
    y0 = torch.tensor([1.0, 2.0j], dtype=torch.complex128, requires_grad=True)
    turn = torch.tensor([1j, -0.5 + 2j], dtype=torch.complex128)
    settings: Any = {"batched": False, "method": "tsit5"}
    assert solve(lambda t, y: turn * y * y.abs(), y0, **settings).success
    with refused("autograd does not see all of f"):
        solve(lambda t, y: turn * y.detach() + y, y0, **settings)


def compiled(y: Tensor) -> Tensor:
    return torch.tanh(y) @ torch.ones(2, 2, dtype=y.dtype) - y


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute")  # of torch, while it compiles
@pytest.mark.filterwarnings("ignore:.torch.jit")
def test_a_compiled_field_is_no_alarm() -> None:
    net = torch.compile(compiled)
    for recording in (True, False):
        with torch.set_grad_enabled(recording):
            assert sound(lambda t, y: net(y), SQUARE.repeat(9, 1)) == 5


# once ---------------------------------------------------------------------------------------------


def counted(batched: bool = True) -> tuple[Callable[..., Any], list[int]]:
    calls = [0]

    def f(t: Tensor, y: Tensor) -> Tensor:
        calls[0] += 1
        return -y * y

    return f, calls


@pytest.mark.parametrize(
    ("settings", "first"),
    [
        ({"method": "tsit5"}, 2),
        ({"method": "rodas5p"}, 5),
        ({"method": "tsit5", "y0": SQUARE[0], "batched": False}, 1),
        ({"method": "rodas5p", "y0": SQUARE[0], "batched": False}, 4),
        ({"method": "rodas5p", "y0": SQUARE[:1]}, 4),
        ({"method": "rodas5p", "y0": SQUARE[:0]}, 0),
    ],
)
@pytest.mark.usefixtures("eager")
def test_only_the_first_solve_pays(settings: Any, first: int) -> None:
    f, calls = counted()
    spent, counts = [], []
    for asked in (True, True, False):
        calls[0] = 0
        counts.append(solve(f, checks=asked, **settings).stats.nfe)
        spent.append(calls[0])
    assert [n - spent[2] for n in spent] == [first, 0, 0]
    assert torch.equal(counts[0], counts[2] + first)
    assert torch.equal(counts[1], counts[2])


@pytest.mark.usefixtures("eager")
def test_other_shapes_are_asked_again() -> None:
    f, _ = counted()
    for y0 in (SQUARE, SQUARE.repeat(2, 1), SQUARE.repeat(1, 2), SQUARE.float()):
        before = solve(f, y0, method="tsit5").stats.nfe
        assert torch.equal(before, solve(f, y0, method="tsit5").stats.nfe + 2)


@pytest.mark.usefixtures("eager")
def test_a_field_that_is_defined_anew_is_known() -> None:
    counts = set()
    for k in (1.0, 2.0, 3.0):
        found = solve(lambda t, y, k=k: -y + 0 * k, method="tsit5")
        counts.add(tuple(found.stats.nfe.tolist()))
    assert len(counts) == 2  # the first, and the others


def test_no_verdict_passes_to_another_field() -> None:
    for _ in range(6):
        good = around(lambda y: -y)
        solve(good, method="tsit5")
        del good
        gc.collect()
        bad = around(lambda y: -y.flip(0))
        with refused("row 1 of f depends on row 0 of y"):
            solve(bad, method="tsit5")
        del bad


@pytest.mark.usefixtures("eager")
def test_memory_is_bounded_and_keeps_nothing_alive() -> None:
    class Field:
        def __init__(self) -> None:
            self.table = torch.zeros(1000)

        def __call__(self, t: Tensor, y: Tensor) -> Tensor:
            return -y

    f = Field()
    net = nn.Linear(2, 2).double()
    inner = around(net)
    gone = [weakref.ref(f), weakref.ref(f.table), weakref.ref(net.weight)]
    solve(f, method="tsit5")
    solve(inner, method="tsit5")
    assert verdicts.count() == 2
    del f, net, inner
    gc.collect()
    assert [ref() for ref in gone] == [None, None, None]
    assert verdicts.count() == 0
    kept = [nn.Identity() for _ in range(verdicts.REMEMBERED + 10)]
    for module in kept:
        verdicts.remember(module, (), None, ())
    assert verdicts.count() == verdicts.REMEMBERED


def test_a_start_that_says_nothing_is_no_verdict() -> None:
    def f(t: Tensor, y: Tensor) -> Tensor:
        return torch.stack(tuple(y), 0) / 1.0 if bool(y.isnan().any()) else -y.flip(0)

    solve(f, SQUARE * float("nan"), method="tsit5")
    with refused("depends on row"):
        solve(f, SQUARE, method="tsit5")
