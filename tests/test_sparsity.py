"""The pattern of df/dy without a word from the user: never less than there is, and mostly exact."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from random_fields import RandomField
from sparse_fields import ARRAYS, BAND, EXACT, F64, KNOTS, LOST, MORE, TRUTH, N

from stiffguide.fields.array_function import ArrayFunction
from stiffguide.fields.flat import field
from stiffguide.fields.layout import Layout
from stiffguide.tracing import index_sets, probing, sets
from stiffguide.tracing.pattern import sparsity

ONE_ROW = {"put", "filled", "put anywhere"}  # makes no sense of a batch


def points(n):
    random = torch.Generator().manual_seed(7)
    made = 2 * torch.rand(16, n, generator=random, dtype=F64)
    return (made - 0.4 * torch.arange(16)[:, None].remainder(4)) * torch.tensor([[1.0], [2.0]] * 8)


def jacobians(f, t, y):
    """The dense df/dy (B, F, F), by automatic differentiation; no row depends on another."""
    y = y.clone().requires_grad_()
    value = f(t, y)
    if not value.requires_grad:
        return y.new_zeros(len(y), y.shape[1], y.shape[1])
    lines = [torch.autograd.grad(v, y, retain_graph=True)[0] for v in value.sum(0)]
    return torch.stack(lines, 1)


def truth(f, n=N, rows=16):
    """Where df/dy is not 0 at some of several random points."""
    wanted = torch.zeros(n, n, dtype=torch.bool)
    for y in points(n).split(rows):
        for t in (0.0, 2.0):
            found = jacobians(f, torch.full((len(y),), t, dtype=F64), y)
            wanted |= (found.nan_to_num(0.0) != 0).any(0)
    return wanted


def true(name):
    return truth(TRUTH.get(name, EXACT[name]), rows=1 if name in ONE_ROW else 16)


def changes(f, n=N):
    """Where f, of which only values are known, changes with a component."""
    t, pairs = torch.zeros(1, dtype=F64), torch.zeros(n, n, dtype=torch.bool)
    for y in points(n):
        before = f(t, y[None].clone())
        for k in range(n):
            moved = y.clone()
            moved[k] += 0.37
            pairs[:, k] |= (f(t, moved[None]) != before)[0]
    return pairs


def found(f, n=N, rows=1):
    y = torch.linspace(0.1, 1.9, rows * n, dtype=F64).reshape(rows, n)
    return sparsity(f, torch.zeros(rows, dtype=F64), y)


def dense(pattern):
    return torch.from_numpy(pattern.matrix.toarray())


def missing(wanted, pattern):
    return (wanted & ~dense(pattern)).nonzero().tolist()


@pytest.mark.parametrize("name", EXACT)
def test_sets_are_exact(name):
    pattern = found(EXACT[name])
    assert (pattern.way, pattern.note) == ("sets", "")
    wanted, got = true(name), dense(pattern)
    assert not missing(wanted, pattern)
    assert torch.equal(got, wanted), (got & ~wanted).nonzero().tolist()


@pytest.mark.parametrize("seed", range(150))
def test_random_fields(seed):
    f = RandomField(seed)
    pattern, wanted = found(f), truth(f)
    assert (pattern.way, pattern.note) == ("sets", "")
    assert not missing(wanted, pattern)
    assert torch.equal(dense(pattern), wanted), (dense(pattern) & ~wanted).nonzero().tolist()


@pytest.mark.parametrize("seed", range(100))
def test_random_fields_with_switches(seed):
    f = RandomField(1000 + seed, smooth=False)
    pattern = found(f)
    assert pattern.way == "sets"
    assert not missing(truth(f), pattern)


@pytest.mark.parametrize("name", MORE)
def test_sets_have_what_is_zero_at_the_start_only(name):
    pattern = found(MORE[name])
    assert pattern.way == "sets"
    assert not missing(truth(MORE[name], rows=1), pattern)


@pytest.mark.parametrize("name", sorted(EXACT.keys() - ONE_ROW))
def test_rows_have_one_pattern(name):
    pattern = found(EXACT[name], rows=3)
    assert pattern.way == "sets"
    assert torch.equal(dense(pattern), dense(found(EXACT[name])))


def test_the_pattern_is_that_of_all_rows():
    of_row = torch.tensor([[0.0], [0.0], [1.0]], dtype=F64)
    pattern = found(lambda t, y: y + of_row * y.roll(1, -1), rows=3)
    wanted = torch.eye(N, dtype=torch.bool)
    assert pattern.way == "sets"
    assert torch.equal(dense(pattern), wanted | wanted.roll(1, 0))


@pytest.mark.parametrize("out", [lambda y: y, lambda y: torch.from_numpy(y.numpy())])
def test_rows_that_mix_have_no_pattern(out):
    pattern = found(lambda t, y: out(y) + out(y).sum(0), rows=2)
    assert (pattern.matrix, pattern.way) == (None, "dense")
    assert "f of one row depends on another row" in pattern.note


@pytest.mark.parametrize("name", LOST)
def test_what_torch_does_not_show_is_found_by_changing_y(name):
    f, sentence = LOST[name]
    pattern = found(f)
    assert pattern.way == "probing"
    assert sentence in pattern.note
    assert not missing(changes(f), pattern)


@pytest.mark.parametrize("name", ARRAYS)
def test_functions_of_arrays(name):
    f, twin = ARRAYS[name]
    pattern = found(ArrayFunction(lambda t, y: np.stack([f(t, row) for row in y])), rows=2)
    assert pattern.way == "probing"
    assert torch.equal(dense(pattern), truth(twin))


@pytest.mark.parametrize("name", EXACT)
def test_values_alone_tell_the_pattern(name):
    y = torch.linspace(0.1, 1.9, N, dtype=F64)[None]
    probe = probing.Probe(EXACT[name], torch.zeros(1, dtype=F64), y)
    probe.find()
    got = torch.from_numpy(probing.pattern(probe, N).toarray())
    assert not (true(name) & ~got).nonzero().tolist()


def test_a_branch_is_told():
    pattern = found(lambda t, y: y.roll(1, -1) if y[0, 0] > 0 else y)
    assert pattern.way == "sets"
    assert "branch" in pattern.note
    assert torch.equal(dense(pattern), torch.eye(N, dtype=torch.bool).roll(1, 0))


def test_a_number_that_was_read_is_no_constant():
    def f(t, y):
        late = float(t)  # 0 at the start
        return y + late * y.roll(1, -1) + torch.tensor(late) * y.roll(2, -1)

    assert not missing(truth(f, rows=1), found(f))


@pytest.mark.parametrize("size", [2000, 30_000])
def test_what_is_full_is_dense(size):
    pattern = found(lambda t, y: y / y.norm(), size)
    assert (pattern.matrix, pattern.way) == (None, "dense")
    assert "too full" in pattern.note or "too many" in pattern.note


def test_small_patterns_may_be_full():
    pattern = found(lambda t, y: y / y.norm(), 400)
    assert pattern.way == "sets"
    assert pattern.matrix.nnz == 400**2


def test_work_is_bounded(monkeypatch):
    monkeypatch.setattr(index_sets, "WORK", 5 * N)
    pattern = found(lambda t, y: y * y.roll(1, -1) * y.roll(2, -1) * y.roll(3, -1))
    assert (pattern.matrix, pattern.way) == (None, "dense")
    assert "too many" in pattern.note


def test_operations_are_bounded(monkeypatch):
    monkeypatch.setattr(sets, "MOST", 20)
    pattern = found(lambda t, y: sum(y * k for k in range(30)))
    assert (pattern.matrix, pattern.way) == (None, "dense")
    assert "over 20 operations" in pattern.note


def test_evaluations_are_bounded(monkeypatch):
    monkeypatch.setattr(probing, "MOST", 20)
    pattern = found(lambda t, y: torch.from_numpy(np.roll(y.numpy(), 1)))
    assert (pattern.matrix, pattern.way) == (None, "dense")
    assert "too many evaluations" in pattern.note


def test_fewer_points_are_looked_at_where_it_takes_long(monkeypatch):
    monkeypatch.setattr(probing, "MOST", 120)
    calls = []
    pattern = found(lambda t, y: calls.append(y) or torch.from_numpy(np.roll(y.numpy(), 1)))
    assert pattern.way == "probing"
    assert torch.equal(dense(pattern), torch.eye(N, dtype=torch.bool).roll(1, 0))
    assert len(calls) > 120


def test_sets_of_what_is_slow_are_taken_as_they_are(monkeypatch):
    monkeypatch.setattr(probing, "LONGEST", -1.0)
    assert found(EXACT["brusselator"]).way == "sets"


def test_sets_that_nothing_refers_to_are_dropped(monkeypatch):
    monkeypatch.setattr(index_sets, "HELD", 20 * N)

    def f(t, y):
        kept = y * y.roll(1, -1)
        for _ in range(40):
            y = torch.tanh(y * y.roll(1, -1))[:, :1] + kept
        return y

    pattern = found(f)
    assert pattern.way == "sets"
    assert torch.equal(dense(pattern), truth(f))


@pytest.mark.parametrize(
    "f",
    [
        lambda t, y: y / 0 * float("nan"),
        lambda t, y: torch.from_numpy(y.numpy() * float("nan")),
        lambda t, y: 1 / 0,
        lambda t, y: y[:, :3],
    ],
)
def test_nothing_is_raised(f):
    pattern = found(f)
    assert pattern.way in ("sets", "dense")
    assert pattern.way == "sets" or pattern.note


def test_f_that_checks_its_argument_is_probed_nearby():
    def f(t, y):
        if not 0.05 < float(y.min()) <= float(y.max()) < 2:
            raise ValueError("out of range")
        return torch.from_numpy(np.roll(y.numpy(), 1) ** 2)

    pattern = found(f)
    assert torch.equal(dense(pattern), torch.eye(N, dtype=torch.bool).roll(1, 0))


def test_the_package_does_not_load_sparse_matrices():
    code = (
        "import sys, stiffguide, stiffguide.tracing.pattern;"
        "assert not [m for m in sys.modules if m == 'scipy.sparse']"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_f_warns_of_at_other_points_is_not_told():
    def f(t, y):
        if y.min() < 0:
            warnings.warn("a negative concentration", stacklevel=1)
        return np.log(y) * np.roll(y, 1, -1)

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        pattern = found(ArrayFunction(f))
    assert not told
    assert torch.equal(dense(pattern), truth(lambda t, y: y.abs().log() * y.roll(1, -1)))


def test_other_default_devices():
    with torch.device("meta"):
        y = torch.rand(1, N, dtype=F64, device="cpu")
        t = torch.zeros(1, dtype=F64, device="cpu")
        got = [sparsity(f, t, y) for f in (EXACT["matrix of zeros"], LOST["numpy"][0])]
    assert [x.way for x in got] == ["sets", "probing"]
    assert torch.equal(dense(got[1]), changes(LOST["numpy"][0]))


def test_states_of_complex_numbers():
    layout = Layout(torch.complex(KNOTS, KNOTS.flip(0)), batched=False).in_parts()
    f = field(lambda t, y: 1j * y.roll(1, 0) + y * y.abs() ** 2, (), layout)
    pattern = found(f)
    own = torch.eye(6, dtype=torch.bool)
    assert pattern.way == "sets"
    assert torch.equal(dense(pattern), (own | own.roll(1, 0)).repeat(2, 2))  # parts are one
    y = torch.complex(KNOTS, KNOTS)[None]
    assert "complex128" in sparsity(lambda t, y: y, torch.zeros(1, dtype=F64), y).note


def test_float32():
    band, y = BAND.float(), KNOTS.float().repeat(2)[None]
    pattern = sparsity(lambda t, y: torch.sin(y @ band.T), torch.zeros(1), y)
    assert pattern.way == "sets"
    assert torch.equal(dense(pattern), BAND != 0)
