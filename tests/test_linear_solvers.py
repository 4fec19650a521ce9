"""Every solver of linear systems says the same as the dense one, and fails as it does."""

from __future__ import annotations

import sys
import tracemalloc
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

import stiffguide
from stiffguide.algebra.band import Band
from stiffguide.algebra.colouring import colours
from stiffguide.algebra.dense import DENSE
from stiffguide.algebra.full import Full
from stiffguide.algebra.krylov import Krylov
from stiffguide.algebra.pardiso import Pardiso
from stiffguide.algebra.pattern import Pattern
from stiffguide.algebra.rowwise import Rowwise
from stiffguide.algebra.sparse import Sparse
from stiffguide.errors import InputError, UnsupportedError
from stiffguide.tensors import select


class FakePardiso:
    """What pypardiso offers, by scipy."""

    alive = 0

    def __init__(self) -> None:
        FakePardiso.alive += 1

    def factorize(self, matrix: Any) -> None:
        assert matrix.format == "csr"
        try:
            self.lu = scipy.sparse.linalg.splu(matrix.tocsc())
        except RuntimeError as error:
            raise PyPardisoError(-4) from error

    def solve(self, matrix: Any, b: NDArray[Any]) -> NDArray[Any]:
        found: NDArray[Any] = self.lu.solve(b)
        return found

    def free_memory(self, everything: bool = False) -> None:
        assert everything
        FakePardiso.alive -= 1


class PyPardisoError(Exception):
    """As the one of pypardiso."""


@pytest.fixture
def pypardiso(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = types.ModuleType("pypardiso")
    fake.PyPardisoSolver = FakePardiso  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pypardiso", fake)
    monkeypatch.setattr(FakePardiso, "alive", 0)


SOLVERS: dict[str, Callable[[Pattern], Any]] = {
    "band": Band,
    "sparse": Sparse,
    "krylov": Krylov(rtol=1e-12).bind,
}


def dense(pattern: Pattern, values: Tensor) -> Tensor:
    """The matrices (B, n, n) of values (B, nnz)."""
    out = values.new_zeros(len(values), pattern.n * pattern.n)
    out[:, torch.from_numpy(pattern.flat)] = values
    return out.reshape(-1, pattern.n, pattern.n)


def drawn(seed: int, n: int, rows: int, share: float) -> tuple[Pattern, Tensor, Tensor, Tensor]:
    """A pattern; values of J (B, nnz), right sides and tolerances (B, n)."""
    rng = np.random.default_rng(seed)
    pattern = Pattern.of(rng.random((n, n)) < share)
    values = rng.standard_normal((rows, pattern.nnz)) * 10.0 ** rng.integers(-3, 4, pattern.nnz)
    b, scale = rng.standard_normal((rows, n)), 10.0 ** rng.integers(-6, 1, (rows, n))
    return pattern, torch.from_numpy(values), torch.from_numpy(b), torch.from_numpy(scale)


def error(w: Tensor, x: Tensor, b: Tensor) -> float:
    """The largest residual in parts of the terms of its equation."""
    left = torch.matmul(w, x.unsqueeze(-1)).squeeze(-1)
    size = torch.matmul(w.abs(), x.abs().unsqueeze(-1)).squeeze(-1) + b.abs()
    return float(((left - b).abs() / size).max())


@pytest.mark.parametrize("name", SOLVERS)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 30),
    rows=st.integers(1, 3),
    share=st.sampled_from([0.02, 0.1, 0.5]),
    heavy=st.booleans(),
)
def test_a_solver_solves_what_the_dense_one_does(
    name: str, seed: int, n: int, rows: int, share: float, heavy: bool
) -> None:
    pattern, jac, b, scale = drawn(seed, n, rows, share)
    shift = torch.logspace(3, 4, rows, dtype=torch.float64) * (1e4 if heavy else 1e-3)
    solver = Rowwise(pattern, SOLVERS[name](pattern))
    if name == "krylov" and not heavy:
        shift = shift * 1e7  # an iteration is for a diagonal that weighs something
    w = torch.diag_embed(shift.unsqueeze(-1).expand(rows, n)) - dense(pattern, jac)
    found = solver.solve(solver.factor(shift, jac, scale), b)
    known = DENSE.solve(DENSE.factor(shift, dense(pattern, jac), scale), b)
    condition = float(torch.linalg.cond(w / scale.unsqueeze(-1)).max())
    if condition < 1e10:
        assert error(w, found, b) < 1e-9
        size = known.abs().amax(-1, keepdim=True)
        assert float(((found - known).abs() / size).max()) < 1e-15 * n * condition + 1e-9
    assert torch.equal(found.isfinite().all(-1), known.isfinite().all(-1)) or condition > 1e12
    assert torch.allclose(
        solver.product(jac, b), DENSE.product(dense(pattern, jac), b), rtol=1e-12, atol=1e-8
    )


@pytest.mark.parametrize("name", ["band", "sparse", "dense"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex128])
def test_a_mass_a_transpose_and_a_shift_of_any_kind(name: str, dtype: torch.dtype) -> None:
    pattern, jac, b, scale = drawn(5, 12, 2, 0.2)
    mass = torch.from_numpy(np.random.default_rng(6).standard_normal((2, pattern.nnz)))
    shift = torch.tensor([3e3, 1e5], dtype=dtype)
    if dtype == torch.complex128:
        shift, b = shift * (1 + 2j), b * (0.3 - 1j)
    real = torch.float32 if dtype == torch.float32 else torch.float64
    jac, mass, b, scale = jac.to(real), mass.to(real), b.to(dtype), scale.to(real)
    w = shift[:, None, None] * dense(pattern, mass) - dense(pattern, jac)
    solver: Any = DENSE if name == "dense" else Rowwise(pattern, SOLVERS[name](pattern))
    values = (dense(pattern, jac), dense(pattern, mass)) if name == "dense" else (jac, mass)
    factors = solver.factor(shift, values[0], scale, values[1])
    close = 1e-3 if dtype == torch.float32 else 1e-9
    assert error(w, solver.solve(factors, b), b) < close
    assert error(w.mT, solver.solve_transposed(factors, b), b) < close
    assert solver.solve(factors, b).dtype == dtype


@pytest.mark.parametrize("name", ["band", "sparse", "dense"])
def test_rows_are_chosen_left_undone_and_fail_alone(name: str) -> None:
    pattern, jac, b, scale = drawn(7, 9, 3, 0.3)
    jac[1] = 0.0  # with a shift of 0: a singular matrix
    jac[2, 4] = float("nan")
    solver: Any = DENSE if name == "dense" else Rowwise(pattern, SOLVERS[name](pattern))
    values = dense(pattern, jac) if name == "dense" else jac
    shift = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    factors = solver.factor(shift, values, scale)
    finite = solver.solve(factors, b).isfinite().all(-1)
    assert finite.tolist() == [True, False, False]
    again = solver.factor(shift + 1.0, values, scale, where=torch.tensor([False, True, False]))
    if name != "dense":
        assert not solver.solve(again, b)[0].any()
        assert not solver.solve(solver.empty(b), b).any()
    mixed = select(torch.tensor([False, True, False]), again, factors)
    x = solver.solve(mixed, b)
    assert torch.equal(x[0], solver.solve(factors, b)[0])
    assert torch.allclose(x[1], b[1])
    assert solver.zeros(b).shape == values.shape


def test_small_pivots_on_the_diagonal_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    n = 40
    rng = np.random.default_rng(1)
    matrix = scipy.sparse.random(n, n, 0.2, random_state=2, format="lil")
    matrix.setdiag(0.0)
    matrix = matrix + scipy.sparse.diags([rng.random(n - 1) + 1.0], [1])
    pattern = Pattern.of(matrix.tocsc())
    values = torch.from_numpy(pattern.values_of(matrix.tocsc(), "jac"))[None]
    solver, calls = Rowwise(pattern, Sparse(pattern)), []
    monkeypatch.setattr("stiffguide.algebra.sparse.DIAGONAL", 0.0)
    plain = Sparse.pivoted
    monkeypatch.setattr(Sparse, "pivoted", lambda s, v: (calls.append(1), plain(s, v))[1])
    shift, b = torch.tensor([1e-12], dtype=torch.float64), torch.ones(1, n, dtype=torch.float64)
    factors = solver.factor(shift, values, torch.ones_like(b))
    x = solver.solve(factors, b)
    assert calls
    assert error(-dense(pattern, values), x, b) < 1e-6
    again = factors.unpacked(factors.packed())
    monkeypatch.setattr("stiffguide.algebra.sparse.DIAGONAL", 1.0)  # what is known is not asked
    assert torch.equal(solver.solve(again, b), x)


@pytest.mark.parametrize("name", [*SOLVERS, "dense"])
def test_factors_are_made_again_to_the_last_bit(name: str) -> None:
    pattern, values, b, scale = drawn(3, 25, 4, 0.2)
    values[2, 0] = torch.nan
    solver = Rowwise(pattern, Full(pattern) if name == "dense" else SOLVERS[name](pattern))
    where = torch.tensor([True, False, True, True])
    factors = solver.factor(torch.full((4,), 300.0).double(), values, scale, where=where)
    fresh = factors.unpacked(factors.packed())  # before the first solution is checked,
    x = solver.solve(factors, b)
    after = factors.unpacked(factors.packed())  # and after that
    for made in (fresh, after):
        found = solver.solve(made, b)
        assert torch.equal(found.nan_to_num(), x.nan_to_num())
        assert found.isnan().any(-1).tolist() == [False, False, True, False]
    with pytest.raises(ValueError, match="factors have 4 rows"):
        factors.unpacked([None])


@pytest.mark.usefixtures("pypardiso")
def test_pardiso_is_used_where_it_is_installed_and_gives_its_memory_back() -> None:
    pattern, jac, b, scale = drawn(3, 15, 2, 0.2)
    solver = Rowwise(pattern, Pardiso(pattern))
    shift = torch.tensor([1e5, 2e5], dtype=torch.float64)
    factors = solver.factor(shift, jac, scale)
    known = DENSE.solve(DENSE.factor(shift, dense(pattern, jac), scale), b)
    assert torch.allclose(solver.solve(factors, b), known, rtol=1e-9)
    assert FakePardiso.alive == 2
    with pytest.raises(UnsupportedError, match="transposed"):
        solver.solve_transposed(factors, b)
    singular = solver.factor(shift * 0, jac * 0, scale)
    assert not solver.solve(singular, b).isfinite().any()
    del factors, singular
    assert FakePardiso.alive == 0


@pytest.mark.usefixtures("pypardiso")
def test_pardiso_is_refused_where_systems_are_complex() -> None:
    y0 = torch.linspace(0, 1, 8, dtype=torch.float64)
    given = {"jac_sparsity": torch.eye(8), "linear_solver": "pardiso"}
    with pytest.raises(UnsupportedError, match=r"radau5 solves complex systems.*use 'sparse'"):
        stiffguide.solve(lambda t, y: -y, y0, 0.0, 1.0, method="radau5", **given)


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pattern, jac, _, scale = drawn(3, 15, 2, 0.2)
    monkeypatch.setitem(sys.modules, "pypardiso", None)
    monkeypatch.setitem(sys.modules, "pyamg", None)
    with pytest.raises(UnsupportedError, match="pip install pypardiso"):
        Pardiso(pattern)
    solver = Rowwise(pattern, Krylov(preconditioner="amg").bind(pattern))
    with pytest.raises(UnsupportedError, match="pip install pyamg"):
        solver.factor(torch.ones(2, dtype=torch.float64), jac, scale)


def test_the_users_preconditioner_gets_the_matrix_and_an_iteration_may_fail() -> None:
    pattern, jac, b, scale = drawn(3, 15, 1, 0.2)
    shift, seen = torch.tensor([1e6], dtype=torch.float64), []

    def jacobi(matrix: Any) -> Callable[[NDArray[Any]], NDArray[Any]]:
        seen.append(matrix)
        diagonal = matrix.diagonal()
        return lambda r: r / diagonal

    solver = Rowwise(pattern, Krylov(preconditioner=jacobi, rtol=1e-10).bind(pattern))
    x = solver.solve(solver.factor(shift, jac, scale), b)
    w = 1e6 * torch.eye(15, dtype=torch.float64) - dense(pattern, jac)[0]
    assert error(w[None], x, b) < 1e-6
    weight = (scale / scale.max())[0].numpy()
    assert np.allclose(seen[0].toarray() * weight[:, None], w.numpy())
    idle = Krylov(preconditioner=lambda _: np.zeros_like, restart=1, restarts=1)
    solver = Rowwise(pattern, idle.bind(pattern))
    assert not solver.solve(solver.factor(shift, jac, scale), b).isfinite().any()
    for wrong in ({"preconditioner": "lu"}, {"rtol": 0.0}, {"restart": 0}):
        with pytest.raises(InputError, match="Krylov"):
            Krylov(**wrong)  # type: ignore[arg-type]


KINDS: dict[str, Callable[[NDArray[Any]], Any]] = {
    "lists": lambda m: m.tolist(),
    "numpy": lambda m: m,
    "csr": scipy.sparse.csr_matrix,
    "coo array": scipy.sparse.coo_array,
    "torch": torch.from_numpy,
    "torch coo": lambda m: torch.from_numpy(m).to_sparse(),
    "torch csr": lambda m: torch.from_numpy(m).to_sparse_csr(),
}


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
@pytest.mark.parametrize("kind", KINDS)
def test_patterns_are_read_from_any_matrix(kind: str) -> None:
    rng = np.random.default_rng(4)
    table = (rng.random((8, 8)) < 0.3) * rng.standard_normal((8, 8))
    pattern = Pattern.of(KINDS[kind](table))
    wanted = (table != 0) | np.eye(8, dtype=np.bool_)
    assert np.array_equal(pattern.matrix(np.ones(pattern.nnz)).toarray() != 0, wanted)
    values = pattern.values_of(KINDS[kind](table), "jac")
    assert np.array_equal(pattern.matrix(values).toarray(), table)
    assert pattern == Pattern.of(wanted)
    assert pattern.united(Pattern.of(np.eye(8))) == pattern
    with pytest.raises(InputError, match=r"jac_sparsity: must be a matrix \(9, 9\)"):
        Pattern.of(KINDS[kind](table), 9)


def test_an_entry_outside_the_pattern_is_named() -> None:
    pattern = Pattern.of(np.eye(3))
    with pytest.raises(InputError, match=r"jac has an entry \(0, 2\)"):
        pattern.values_of(np.eye(3) + np.eye(3, k=2), "jac")


@given(seed=st.integers(0, 10**6), n=st.integers(1, 40), share=st.floats(0.0, 0.6))
def test_columns_of_one_colour_share_no_row(seed: int, n: int, share: float) -> None:
    pattern = Pattern.of(np.random.default_rng(seed).random((n, n)) < share)
    groups = colours(pattern)
    assert len(set(zip(pattern.rows, groups[pattern.columns], strict=True))) == pattern.nnz
    assert set(groups) == set(range(groups.max() + 1))


def test_a_full_row_makes_many_colours_in_little_memory() -> None:
    n = 12_000  # a table of n^2 numbers would be 1.2 GB
    i = np.concatenate((np.arange(1, n), np.full(n, n - 1)))
    j = np.concatenate((np.arange(n - 1), np.arange(n)))
    pattern = Pattern.at(i, j, n)
    tracemalloc.start()
    try:
        groups = colours(pattern)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert groups.max() + 1 == n
    assert peak < 1e8
    assert colours(pattern.without(np.array([n - 1]))).max() + 1 <= 3


@pytest.mark.parametrize(("points", "most"), [(50, 3), (5000, 3)])
def test_a_line_of_points_has_three_colours(points: int, most: int) -> None:
    line = scipy.sparse.diags([np.ones(points)] * 3, [-1, 0, 1], shape=(points, points))
    assert colours(Pattern.of(line)).max() + 1 == most


def test_a_plane_has_few_colours_and_a_hub_does_not_spoil_them() -> None:
    n = 60
    ring = scipy.sparse.diags([np.ones(n)] * 5, [-n + 1, -1, 0, 1, n - 1], shape=(n, n))
    eye = scipy.sparse.identity(n)
    plane = Pattern.of(scipy.sparse.kron(eye, ring) + scipy.sparse.kron(ring, eye))
    assert colours(plane).max() + 1 <= 9
    arrow = np.eye(30)
    arrow[:, -1] = 1.0
    assert colours(Pattern.of(arrow)).max() + 1 == 2
