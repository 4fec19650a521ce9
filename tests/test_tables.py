"""A table is SciPy's, whoever asks: by itself, in f, in kernels, per row, and for gradients."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from cached import needs_compiler
from scipy.interpolate import CubicSpline

import stiffguide as sg
from stiffguide.tracing.fingerprint import fingerprint

F64 = torch.float64
pytestmark = pytest.mark.usefixtures("plain_builds")
KINDS = ("linear", "cubic", "previous")
DRAW = np.random.default_rng(3)
TIMES = np.cumsum(DRAW.random(7) + 0.1)
VALUES = DRAW.normal(size=(7, 3))
# inside, on and between the knots, and beyond both ends
AT = np.concatenate((TIMES, np.linspace(TIMES[0] - 1, TIMES[-1] + 1, 50)))
START = torch.tensor([1.0, 0.5], dtype=F64)
END = float(TIMES[-1]) + 0.5
TIGHT: dict[str, Any] = {"rtol": 1e-8, "atol": 1e-10, "tstops": TIMES.tolist()}


def tensor(x: Any) -> torch.Tensor:
    return torch.tensor(x, dtype=F64)


def scipys(times: Any, values: Any, at: Any, kind: str) -> Any:
    """The same table by numpy and SciPy, held at its ends."""
    if kind == "previous":
        return values[np.clip(np.searchsorted(times, at, side="right") - 1, 0, len(times) - 1)]
    held = np.clip(at, times[0], times[-1])
    if kind == "cubic":
        return CubicSpline(times, values)(held)
    columns = values.reshape(len(times), -1).T
    found = np.stack([np.interp(held, times, column) for column in columns], -1)
    return found.reshape(np.shape(at) + values.shape[1:])


# values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(), (3,), (3, 1)])
@pytest.mark.parametrize("length", [2, 3, 7])
def test_a_table_is_that_of_scipy(kind: Any, shape: Any, length: int) -> None:
    values = VALUES[:length] if shape else VALUES[:length, 0]
    values, times = values.reshape(length, *shape), TIMES[:length]
    want = scipys(times, values, AT, kind)
    for given in ((times, values), (times.tolist(), values.tolist()), (tensor(times), values)):
        table = sg.interpolate(*given, kind)
        np.testing.assert_allclose(table(tensor(AT)).numpy(), want, rtol=0, atol=1e-13)
    pieces = table.pieces()
    assert pieces is not None
    inner = np.clip(AT, times[0], np.nextafter(times[-1], times[0]))
    k = np.searchsorted(pieces[0], inner, side="right") - 1
    x = (inner - pieces[0][k]).reshape(-1, *(1,) * len(shape))
    found = sum(c[k] * x ** (len(pieces[1]) - 1 - d) for d, c in enumerate(pieces[1]))
    np.testing.assert_allclose(found, scipys(times, values, inner, kind), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_knots_and_ends_are_met_exactly(kind: Any) -> None:
    table = sg.interpolate(TIMES, VALUES, kind)
    assert bool((table(tensor(TIMES)) == tensor(VALUES)).all())
    beyond = table(tensor([-np.inf, TIMES[0] - 1, TIMES[-1] + 1, np.inf]))
    assert bool((beyond == tensor(VALUES[[0, 0, -1, -1]])).all())


@pytest.mark.parametrize("kind", KINDS)
def test_a_tensor_gives_a_tensor_and_a_number_one_of_numpy(kind: Any) -> None:
    table, vectors = sg.interpolate(TIMES, VALUES[:, 0], kind), sg.interpolate(TIMES, VALUES, kind)
    want = scipys(TIMES, VALUES[:, 0], 1.0, kind)
    for t in (1.0, 1, np.float64(1.0), np.float32(1.0)):
        assert isinstance(table(t), np.float64)
        assert table(t) == pytest.approx(want, abs=1e-14)
        assert vectors(t).shape == (3,)
    assert table(AT.reshape(3, -1)).shape == (3, len(AT) // 3)
    assert vectors(torch.ones(2, 2, dtype=F64)).shape == (2, 2, 3)
    for dtype in (torch.float32, F64):
        assert vectors(torch.ones((), dtype=dtype)).dtype == dtype
    assert table(torch.tensor(1)) == pytest.approx(want, abs=1e-14)
    waves = sg.interpolate(TIMES, VALUES[:, 0] + 1j * VALUES[:, 1], kind)
    found = waves(torch.ones((), dtype=torch.float32))
    assert found.dtype == torch.complex64
    assert found.real == pytest.approx(want, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("own", [True, False])
def test_a_row_is_what_it_is_alone(kind: Any, own: bool) -> None:
    shift = tensor([[0.0], [0.3], [-0.2], [0.1], [0.5], [0.2], [0.4]])  # B = T
    times = tensor(TIMES)[None] + shift if own else tensor(TIMES)[None]
    values = tensor(VALUES)[None] * (1 + shift[..., None])
    table, t = sg.interpolate(times, values, kind), torch.linspace(0.1, 5, 7, dtype=F64)
    together, at_once = table(t), table(t[3])
    for row in range(7):
        alone = sg.interpolate(times[row if own else 0], values[row], kind)
        torch.testing.assert_close(together[row], alone(t[row]), rtol=0, atol=1e-13)
        torch.testing.assert_close(at_once[row], alone(t[3]), rtol=0, atol=1e-13)
    assert table(1.0).shape == (7, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_is_the_table(kind: Any) -> None:
    table = sg.interpolate(TIMES, VALUES, kind)
    for other in (copy.deepcopy(table), pickle.loads(pickle.dumps(table))):
        assert bool((other(tensor(AT)) == table(tensor(AT))).all())
    assert repr(table) == f"<Table: {kind}, 7 times, values of shape (3,)>"


def test_a_table_keeps_the_numbers_that_it_was_given() -> None:
    times, values = tensor(TIMES), tensor(VALUES)
    tables = [sg.interpolate(times, values, kind) for kind in KINDS]
    before = [table(tensor(AT)) for table in tables]
    times.mul_(2), values.mul_(2)
    for table, found in zip(tables, before, strict=True):
        assert bool((table(tensor(AT)) == found).all())


# gradients ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("per_row", [False, True])
def test_gradients_are_differences(kind: Any, per_row: bool) -> None:
    times = tensor(TIMES)[None] + tensor([[0.0], [0.3]]) if per_row else tensor(TIMES)
    values = (tensor(VALUES).expand(2, 7, 3) * 1 if per_row else tensor(VALUES)).requires_grad_()
    t = torch.tensor([1.03, 2.51], dtype=F64, requires_grad=True)

    def read(values: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return sg.interpolate(times, values, kind)(t)

    assert torch.autograd.gradcheck(lambda v: read(v, t.detach()), values)
    if kind != "previous":
        assert torch.autograd.gradcheck(read, (values, t))
    else:
        (slope,) = torch.autograd.grad(read(values, t).sum(), t, allow_unused=True)
        assert slope is None or bool((slope == 0).all())


@pytest.mark.parametrize("kind", KINDS)
def test_values_that_are_learnt_are_those_of_today(kind: Any) -> None:
    values = torch.nn.Parameter(tensor(VALUES))
    table = sg.interpolate(TIMES, values, kind)
    for _ in range(2):  # also backward, twice
        found = table(tensor(AT))
        want = sg.interpolate(TIMES, values.detach(), kind)(tensor(AT))
        torch.testing.assert_close(found, want, rtol=0, atol=1e-12)
        found.square().sum().backward()
        with torch.no_grad():
            values.add_(values.grad)


@pytest.mark.parametrize("kind", KINDS)
def test_a_solve_is_differentiable_by_values(kind: Any) -> None:
    values = tensor(VALUES[:, 0]).requires_grad_()

    def end(values: torch.Tensor) -> torch.Tensor:
        table = sg.interpolate(TIMES, values, kind)
        return sg.solve(lambda t, y: table(t) - y, START, 0.0, END, **TIGHT).y[-1]

    found, direction = end(values), torch.linspace(-1, 1, 7, dtype=F64)
    (slope,) = torch.autograd.grad(found.sum(), values)
    there, back = (end((values + h * direction).detach()).sum() for h in (1e-4, -1e-4))
    assert float(slope @ direction) == pytest.approx(float(there - back) / 2e-4, rel=1e-5)


# in f -------------------------------------------------------------------------------------------


def fields(kind: Any) -> dict[str, Any]:
    table, vectors = sg.interpolate(TIMES, VALUES[:, 0], kind), sg.interpolate(TIMES, VALUES, kind)
    return {
        "torch": lambda t, y: table(t) - y * vectors(t)[1] ** 2,
        "numpy": lambda t, y: np.array([table(t) - np.exp(0.0) * y[0] * vectors(t)[1] ** 2,
                                        table(t) - y[1] * vectors(t)[1] ** 2]),
    }  # fmt: skip


@needs_compiler
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["torch", "numpy"])
def test_a_kernel_solves_what_the_loop_solves(kind: Any, how: str) -> None:
    f, options = fields(kind)[how], {**TIGHT, "tstops": None, "max_step": 0.05}
    ends = []
    for backend in ("kernel", "eager"):
        done = sg.solve(f, START, 0.0, END, backend=backend, **options)
        assert bool(done.success)
        assert done.stats.backend == backend
        ends.append(done.y[-1])
    torch.testing.assert_close(*ends, rtol=1e-4 if kind == "previous" else 1e-6, atol=1e-8)
    by_stops = sg.solve(fields(kind)["torch"], START, 0.0, END, backend="eager", **TIGHT)
    torch.testing.assert_close(ends[0], by_stops.y[-1], rtol=1e-4, atol=1e-8)


@needs_compiler
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [6, 7])  # 7 = T
@pytest.mark.parametrize("how", ["captured", "args"])
def test_a_kernel_knows_the_table_of_every_row(kind: Any, rows: int, how: str) -> None:
    scale = torch.linspace(0.5, 1.5, rows, dtype=F64).unsqueeze(1)
    knots, values = tensor(TIMES)[None] * (0.5 + scale / 2), tensor(VALUES[:, 0])[None] * scale
    table = sg.interpolate(knots, values, kind)
    y0 = START.expand(rows, 2)
    options: dict[str, Any] = {"rtol": 1e-8, "atol": 1e-10, "batched": True, "max_step": 0.05}
    args = (table,) if how == "args" else ()

    def f(t: Any, y: Any, read: Any = table) -> Any:
        return read(t).unsqueeze(-1) - y

    kernel = sg.solve(f, y0, 0.0, END, args=args, backend="kernel", **options)
    eager = sg.solve(f, y0, 0.0, END, args=args, backend="eager", **options)
    assert kernel.stats.backend == "kernel"
    torch.testing.assert_close(kernel.y, eager.y, rtol=1e-4 if kind == "previous" else 1e-6, atol=0)


@needs_compiler
def test_other_tables_need_no_other_kernel(cache: Any) -> None:
    ends = []
    for factor in (1.0, 2.0):
        table = sg.interpolate(TIMES, factor * VALUES[:, 0])
        done, eager = (
            sg.solve(
                *(lambda t, y, table=table: table(t) - y, START, 0.0, END),
                **{"backend": backend, "method": "rodas5p"},
            )
            for backend in ("kernel", "eager")
        )
        torch.testing.assert_close(done.y, eager.y, rtol=1e-4, atol=0)
        ends.append(done.y)
    assert not torch.allclose(*ends)
    assert len([home for home in cache.iterdir() if home.name[0] != "."]) == 1


def test_a_table_is_followed_to_its_end() -> None:
    for kind in KINDS:
        table = sg.interpolate(TIMES, VALUES, kind)
        assert fingerprint(lambda t, y, table=table: table(t) - y).complete


# refusals -----------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[tuple[Any, ...], str]] = {
    "unsorted": (([0, 2, 1], [1, 2, 3]), r"times must increase, and times\[2\] = 1 follows 2"),
    "equal": (([0, 1, 1], [1, 2, 3]), r"times\[2\] = 1 follows 1"),
    "unsorted row": (([[0, 1], [1, 0]], np.ones((2, 2))), r"times\[1, 1\] = 0 follows 1"),
    "nan time": (([0, np.nan], [1, 2]), "times has entries that are not finite"),
    "nan value": (([0, 1], [1, np.nan]), "values has entries that are not finite"),
    "one knot": (([0.0], [1.0]), "times has one entry, and a table needs two"),
    "none": (([], []), r"times has shape \(0,\)"),
    "number": ((1.0, [1.0]), r"times has shape \(\)"),
    "kind": (([0, 1], [1, 2], "nearest"), "'nearest' is unknown: give 'linear', 'cubic', 'prev"),
    "lengths": (([0, 1], [1, 2, 3]), r"values has shape \(3,\) and times \(2,\): give"),
    "a row each": (([0, 1, 2], np.ones((2, 3))), r"for a table per row, times \(1, T\)"),
    "rows": ((np.array([[0, 1]] * 3), np.ones((2, 2))), r"\(2, 2\) and times \(3, 2\)"),
    "text": (([0, 1], ["a", "b"]), "values must be numbers"),
    "text of digits": ((["0", "1"], [0, 1]), "times must be numbers"),
    "truths": (([0, 1], torch.tensor([True, False])), "values must be numbers"),
    "ragged": (([0, 1], [[1], [1, 2]]), "values must be numbers in the shape of an array"),
    "complex times": (([0, 1j], [1, 2]), "times must be real"),
    "learnt times": ((torch.rand(2, requires_grad=True), [1, 2]), "cannot require gradients"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_table_is_refused_in_a_sentence(name: str) -> None:
    given, words = REFUSED[name]
    with pytest.raises(sg.InputError, match=words) as refused:
        sg.interpolate(*given)
    assert "\n" not in str(refused.value)


def test_times_of_other_rows_are_refused() -> None:
    table = sg.interpolate([[0.0, 1.0]], torch.ones(3, 2))
    with pytest.raises(sg.InputError, match=r"t has shape \(2,\), and the table has 3 rows"):
        table(torch.ones(2))
    elsewhere = torch.ones(3, device="meta")
    with pytest.raises(sg.InputError, match="the table is on cpu and t on meta"):
        table(elsewhere)
