"""Systems whose Jacobian is sparse: found, coloured, checked, and solved as dense ones are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from large_fields import (
    F64,
    brusselator,
    brusselator_start,
    chain,
    front,
    plane,
    plane_start,
    upwind,
)
from torch import Tensor

import stiffguide as sg
from stiffguide.algebra.krylov import Krylov
from stiffguide.algebra.pattern import Pattern
from stiffguide.algebra.rowwise import Rowwise
from stiffguide.algebra.sparse import Sparse
from stiffguide.errors import InputError, UnsupportedError
from stiffguide.fields.coloured import ColouredJacobian
from stiffguide.fields.outside import Outside, outside
from stiffguide.fronts.scipy import solve_ivp
from stiffguide.methods.esdirk.systems import System, relaxation
from stiffguide.stepping.contracts import Units
from stiffguide.stepping.guards import turned

WIDTH = 40  # points, of two components each


def close(x: Tensor, y: Tensor, rtol: float) -> None:
    assert float((x - y).abs().max()) <= rtol * float(y.abs().max())


def solved(method: str = "kvaerno5", **settings: Any) -> sg.Solution[Tensor]:
    return sg.solve(
        brusselator,
        brusselator_start(WIDTH),
        0.0,
        1.0,
        method=method,
        **{"rtol": 1e-6, "atol": 1e-8, "backend": "eager"} | settings,
    )


def exact(y: Tensor) -> Tensor:
    """The Jacobian (2 N, 2 N) of the brusselator."""
    found: Tensor = torch.func.jacrev(lambda x: brusselator(torch.zeros(()), x))(y)
    return found


@pytest.mark.parametrize("method", ["kvaerno5", "kencarp4", "sdirk2", "rodas5p"])
@pytest.mark.parametrize("solver", [None, "band", "sparse", "krylov"])
def test_a_solver_changes_nothing_but_the_cost(method: str, solver: str | None) -> None:
    if solver == "krylov" and method == "rodas5p":
        with pytest.raises(UnsupportedError, match="rodas5p needs linear systems solved to round"):
            solved(method, linear_solver=solver)
        return
    loose = {"rtol": 1e-4, "atol": 1e-6} if method == "sdirk2" else {}
    dense = solved(method, linear_solver="dense", **loose)
    found = solved(method, linear_solver=solver, **loose)
    assert bool(found.success)
    assert found.stats.linear_solver.startswith(f"{solver or 'band'}: ")
    assert dense.stats.linear_solver == "dense: linear_solver='dense'"
    close(found.y, dense.y, 1e-3 if loose else 1e-5)
    assert int(found.stats.accepted) <= 1.2 * int(dense.stats.accepted) + 3


@pytest.mark.parametrize(
    ("field", "start", "solver"),
    [(plane, plane_start(12), "sparse"), (front, torch.sin(plane_start(14)[0] * 9), "sparse")],
)
def test_grids_are_found_without_a_word(
    field: Callable[..., Tensor], start: Tensor, solver: str
) -> None:
    settings = {"method": "kvaerno5", "rtol": 1e-6, "atol": 1e-8, "backend": "eager"}
    found = sg.solve(field, start, 0.0, 0.2, **settings)
    dense = sg.solve(field, start, 0.0, 0.2, linear_solver="dense", **settings)
    assert found.stats.linear_solver.startswith(f"{solver}: the pattern by watching f")
    assert int(found.stats.nlu) <= int(dense.stats.nlu)
    close(found.y, dense.y, 1e-5)


KINDS: dict[str, Callable[[Tensor], Any]] = {
    "csr": lambda m: scipy.sparse.csr_matrix(m.numpy()),
    "coo array": lambda m: scipy.sparse.coo_array(m.numpy()),
    "torch coo": lambda m: m.to_sparse(),
    "torch csr": lambda m: m.to_sparse_csr(),
    "a list": lambda m: [scipy.sparse.csc_matrix(m.numpy())],
}


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["kvaerno5", "rodas5p"])
def test_a_sparse_jacobian_may_be_given(kind: str, method: str) -> None:
    asked = []

    def jac(t: Tensor, y: Tensor) -> Any:
        asked.append(t)
        return KINDS[kind](exact(y))

    found = solved(method, jac=jac)
    assert len(asked) == int(found.stats.njac) + 1  # once to see what it is
    assert found.stats.linear_solver.startswith("band: the pattern of jac; ")
    close(found.y, solved(method, linear_solver="dense").y, 1e-5)


def test_a_constant_sparse_jacobian_and_one_that_gets_entries_by_and_by() -> None:
    start = torch.linspace(1.0, 0.0, 70, dtype=F64)
    k = torch.linspace(1.0, 500.0, 70, dtype=F64)
    matrix = torch.func.jacrev(lambda y: chain(torch.zeros(()), y, k))(start)
    settings = {"method": "kvaerno5", "args": (k,), "backend": "eager"}
    known = sg.solve(chain, start, 0.0, 1.0, linear_solver="dense", **settings)
    constant = scipy.sparse.csr_matrix(matrix.numpy())
    close(sg.solve(chain, start, 0.0, 1.0, jac=constant, **settings).y, known.y, 1e-6)

    def late(t: Tensor, y: Tensor, k: Tensor) -> Any:
        shown = constant.copy()
        if t < 1e-3:
            shown.setdiag(0.0, -1)
            shown.eliminate_zeros()
        return shown

    close(sg.solve(chain, start, 0.0, 1.0, jac=late, **settings).y, known.y, 1e-6)


def test_a_pattern_that_lacks_an_entry_is_refused_by_name() -> None:
    table = (exact(brusselator_start(WIDTH)) != 0).numpy()
    table[7, 9] = False
    with pytest.raises(InputError, match=r"f\[7\] depends on y\[9\].*no entry \(7, 9\)"):
        solved(jac_sparsity=table)


def test_a_kink_is_no_missing_entry() -> None:
    start = torch.cat((torch.zeros(30, dtype=F64), torch.ones(50, dtype=F64)))
    found = sg.solve(upwind, start, 0.0, 0.1, method="kvaerno5", backend="eager")
    assert found.stats.linear_solver.startswith("band: ")
    assert bool(found.success)


def test_what_f_hides_behind_a_branch_is_found_on_the_way() -> None:
    def switched(t: Tensor, y: Tensor) -> Tensor:
        far = y.roll(7) if float(t) > 0.3 else y
        return 20 * (far - y) - y

    start = torch.linspace(0.0, 1.0, 80, dtype=F64)
    settings = {"method": "kvaerno5", "backend": "eager", "tstops": [0.3], "checks": False}
    found = sg.solve(switched, start, 0.0, 1.0, **settings)
    dense = sg.solve(switched, start, 0.0, 1.0, linear_solver="dense", **settings)
    assert "the branch at the start" in found.stats.linear_solver
    close(found.y, dense.y, 1e-5)
    assert int(found.stats.njac) < 10


def test_an_entry_is_found_where_two_must_move_and_names_are_few() -> None:
    pattern = Pattern.of(np.eye(20))
    linear = Rowwise(pattern, Sparse(pattern))

    def product(t: Tensor, y: Tensor) -> Tensor:
        return torch.nn.functional.one_hot(torch.tensor(3), 20) * y[:, 5:6] * y[:, 8:9]

    t, y = torch.zeros(1, dtype=F64), torch.zeros(1, 20, dtype=F64)
    step = torch.full_like(y, 1e-3)
    jac = torch.zeros(1, 20, dtype=F64)
    with pytest.raises(Outside) as caught:
        outside(product, linear, t, y, product(t, y), jac, step)
    assert {i for i, _ in caught.value.places} == {3}
    assert {j for _, j in caught.value.places} <= {5, 8}
    outside(lambda t, y: -y, linear, t, y, -y, jac - 1, step)


@pytest.mark.parametrize("way", ["differences", "products"])
@pytest.mark.parametrize("rows", [1, 3])
def test_a_coloured_jacobian_is_the_jacobian(way: str, rows: int) -> None:
    start = brusselator_start(WIDTH)
    y = torch.stack([start * (1 + 0.1 * b) for b in range(rows)])
    t = torch.zeros(rows, dtype=F64)
    pattern = Pattern.of(exact(start))

    def flat(t: Tensor, y: Tensor) -> Tensor:
        return torch.stack([brusselator(t, row) for row in y])

    field = ColouredJacobian(flat, Rowwise(pattern, Sparse(pattern)), exact=way == "products")
    units = Units(torch.full_like(t, 1e-3), 1e-6 * (1 + y.abs()))
    found = field.linearise(t, y, units, time=True)
    for b in range(rows):
        matrix = torch.from_numpy(pattern.matrix(found.jac[b].numpy()).toarray())
        close(matrix, exact(y[b]), 1e-6 if way == "differences" else 1e-14)
    assert found.time is not None
    assert not found.time.any()
    assert field.colours <= 6


def test_a_row_that_everything_enters_does_not_cost_every_column() -> None:
    def watched(t: Tensor, y: Tensor) -> Tensor:
        line, total = y[:-1], y[-1:]
        inner = torch.cat((line[:1] - line[1:2], line[1:] - line[:-1]))
        return torch.cat((-20 * inner - line * total, line.square().mean(0, keepdim=True) - total))

    start = torch.linspace(0.0, 1.0, 401, dtype=F64)
    settings = {"method": "kvaerno5", "rtol": 1e-6, "atol": 1e-8, "backend": "eager"}
    found = sg.solve(watched, start, 0.0, 0.5, **settings)
    said = found.stats.linear_solver
    assert "1 reverse sweeps" in said
    assert int(said.split(" evaluations a Jacobian")[0].rsplit(" ", 1)[1]) <= 6
    close(found.y, sg.solve(watched, start, 0.0, 0.5, linear_solver="dense", **settings).y, 1e-5)
    hidden = sg.solve(lambda t, y: watched(t, y.detach()), start, 0.0, 0.01, **settings)
    assert "sweeps" not in hidden.stats.linear_solver


def test_differences_go_where_f_is_finite_and_vmap_is_not_needed() -> None:
    n = 70

    def rooted(t: Tensor, y: Tensor) -> Tensor:
        out = y.new_zeros(y.shape)
        for i in range(2):  # what vmap cannot do: writing to what it did not make
            out[..., i::2] = torch.sqrt(1 - y[..., i::2])
        return -out

    pattern = Pattern.of(np.eye(n))
    field = ColouredJacobian(rooted, Rowwise(pattern, Sparse(pattern)))
    y = torch.full((1, n), 1.0 - 1e-12, dtype=F64)
    units = Units(torch.ones(1, dtype=F64), torch.full_like(y, 1e-6))
    found = field.by_differences(torch.zeros(1, dtype=F64), y, units, time=False)
    assert bool(found.jac.isfinite().all())
    assert bool((found.jac > 1e2).all())


def test_an_infinite_jacobian_of_a_large_system_is_mended_or_named() -> None:
    def rooted(t: Tensor, y: Tensor) -> Tensor:
        return torch.sqrt(y.abs()) - y

    start = torch.cat((torch.zeros(40, dtype=F64), torch.ones(40, dtype=F64)))
    found = sg.solve(rooted, start, 0.0, 1.0, method="rodas5p", backend="eager", jac="autograd")
    assert bool(found.success)
    assert found.stats.linear_solver.startswith("band: ")


def test_a_point_that_rests_between_moving_neighbours_is_no_growth() -> None:
    n = 60
    laplace = torch.diag(torch.full((n,), -2.0, dtype=F64)) + sum(
        torch.diag(torch.ones(n - 1, dtype=F64), k) for k in (1, -1)
    )
    h, scale = torch.tensor([[0.1]], dtype=F64), torch.full((1, n), 1e-3, dtype=F64)

    def solve(a: float) -> Callable[[Tensor], Tensor]:
        w = torch.eye(n, dtype=F64) / 0.025 - 400 * laplace - a * torch.eye(n, dtype=F64)
        return lambda d: torch.linalg.solve(w, d[0])[None]

    secant = torch.full((1, n), 1.0, dtype=F64)
    secant[0, n // 2] = -1e-4  # among its neighbours it is drawn the other way
    assert turned(solve(0.0), secant, h, scale) is None
    slow = 1e-5 * torch.sin(torch.pi * torch.arange(1, n + 1, dtype=F64) / (n + 1))[None]
    found = turned(solve(60.0), slow, h, scale)  # all hidden, and it grows
    assert found is not None
    assert bool(found.all())


def test_factors_of_another_step_solve_exactly_after_refinement() -> None:
    pattern = Pattern.of(exact(brusselator_start(WIDTH)))
    y = brusselator_start(WIDTH)[None]
    linear = Rowwise(pattern, Sparse(pattern))
    field = ColouredJacobian(lambda t, y: brusselator(t, y[0])[None], linear)
    t, scale = torch.zeros(1, dtype=F64), torch.full_like(y, 1e-6)
    jac = field.linearise(t, y, Units(t + 1e-3, scale), time=False).jac
    h = torch.tensor([[0.02]], dtype=F64)
    for lag in (0.75, 1.0, 1.35):
        made = h[0] * lag
        relax = relaxation(field, h[0], made, y)
        factors = linear.factor(1 / made, jac, scale)
        system = System(field, h, h, jac, factors, relax, scale)
        x = system.exactly(y)
        left = x / h - linear.product(jac, x) - y
        assert float(left.abs().max()) < 1e-5
        assert (relax is None) == (lag == 1.0)


@pytest.mark.parametrize("method", ["kvaerno5", "rodas5p"])
def test_rows_are_solved_as_they_are_alone(method: str) -> None:
    k = torch.stack([torch.linspace(1.0, 10.0**b, 70, dtype=F64) for b in range(1, 4)])
    start = torch.linspace(1.0, 0.0, 70, dtype=F64).expand(3, -1)
    settings = {"method": method, "backend": "eager", "batched": True}
    both = sg.solve(chain, start, 0.0, 1.0, args=(k,), **settings)
    assert both.stats.linear_solver.startswith("band: ")
    assert "3 rows, one after the other" in both.stats.linear_solver
    for b in range(3):
        alone = sg.solve(chain, start[:1], 0.0, 1.0, args=(k[b : b + 1],), **settings)
        close(both.y[b], alone.y[0], 1e-10)
        assert int(both.stats.accepted[b]) == int(alone.stats.accepted[0])


def test_many_rows_of_few_components_stay_in_one_batch() -> None:
    k = torch.linspace(1.0, 100.0, 70, dtype=F64).expand(80, -1)
    start = torch.linspace(1.0, 0.0, 70, dtype=F64).expand(80, -1)
    found = sg.solve(
        chain, start, 0.0, 0.1, args=(k,), method="rodas3", batched=True, backend="eager"
    )
    assert "80 rows of 70 components are cheaper in a batch" in found.stats.linear_solver


def gradients(method: str, **settings: Any) -> tuple[Tensor, Tensor]:
    k = torch.linspace(1.0, 60.0, 70, dtype=F64, requires_grad=True)
    start = torch.linspace(1.0, 0.2, 70, dtype=F64)
    y = sg.solve(
        lambda t, y, k: chain(t, y, k) - 0.1 * y**2,
        start,
        0.0,
        0.3,
        args=(k,),
        method=method,
        backend="eager",
        **settings,
    ).y
    (first,) = torch.autograd.grad((y**2).sum(), k, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), k)
    return first.detach(), second


@pytest.mark.parametrize("solver", ["band", "sparse"])
def test_gradients_go_through_transposed_systems(solver: str) -> None:
    fixed = {"controller": sg.controllers.Fixed(0.05)}
    found = gradients("kvaerno3", linear_solver=solver, **fixed)
    known = gradients("kvaerno3", linear_solver="dense", **fixed)
    close(found[0], known[0], 1e-7)
    close(found[1], known[1], 1e-6)


def test_gradients_that_a_solver_has_not_are_refused_by_name() -> None:
    gradients("rodas3")  # a dense Jacobian, by itself
    for method, solver in (("rodas3", "sparse"), ("kvaerno3", "krylov")):
        with pytest.raises(UnsupportedError, match="gradients"):
            gradients(method, linear_solver=solver)


def test_memory_is_spoken_of_before_it_is_taken() -> None:
    def everywhere(t: Tensor, y: Tensor) -> Tensor:
        return y.mean() - y

    start = torch.ones(30_000, dtype=F64)
    with pytest.raises(UnsupportedError, match=r"14\.4 GB with its factors.*explicit method"):
        sg.solve(everywhere, start, 0.0, 1.0, method="kvaerno5", backend="eager")


def test_a_large_system_of_single_precision_and_one_of_complex_numbers() -> None:
    single = sg.solve(
        brusselator,
        brusselator_start(WIDTH).float(),
        0.0,
        1.0,
        method="kvaerno5",
        rtol=1e-4,
        atol=1e-5,
        backend="eager",
    )
    assert single.y.dtype == torch.float32
    assert single.stats.linear_solver.startswith("band: ")
    close(single.y.double(), solved().y, 1e-3)
    k = torch.linspace(1.0, 50.0, 70, dtype=F64)
    start = torch.linspace(1.0, 0.0, 70, dtype=F64)
    turn = complex(0.6, 0.8)
    settings = {"method": "kvaerno5", "args": (k,), "backend": "eager"}
    whole = sg.solve(chain, start * turn, 0.0, 1.0, **settings)
    assert whole.stats.linear_solver.startswith(("band: ", "sparse: "))
    real = sg.solve(chain, start, 0.0, 1.0, **settings)
    assert float((whole.y - real.y * turn).abs().max()) < 1e-5
    table = torch.func.jacrev(lambda y: chain(torch.zeros(()), y, k))(start)
    given = scipy.sparse.csr_matrix(table.numpy())
    real = sg.solve(chain, start, 0.0, 1.0, **settings)
    said = sg.solve(chain, start * turn, 0.0, 1.0, jac_sparsity=given, **settings)
    assert said.stats.linear_solver.startswith("sparse: the pattern of jac_sparsity")
    assert float((said.y - real.y * turn).abs().max()) < 1e-5
    filled = sg.solve(chain, start * turn, 0.0, 1.0, jac=given, **settings)
    assert float((filled.y - real.y * turn).abs().max()) < 1e-5


def test_wrong_words_are_refused() -> None:
    for wrong in ("lu", 3):
        with pytest.raises(InputError, match=r"linear_solver: .* is unknown; give one of dense"):
            solved(linear_solver=wrong)
    with pytest.raises(InputError, match=r"jac_sparsity: must be a matrix \(80, 80\)"):
        solved(jac_sparsity=np.eye(3))
    with pytest.raises(UnsupportedError, match="linear_solver was given"):
        solved("rodas5p", linear_solver="band", backend="kernel")


def test_the_front_of_scipy_takes_its_words_and_numpy_fields_are_watched() -> None:
    y0 = brusselator_start(WIDTH).numpy()

    def field(t: float, y: Any) -> Any:
        u, v = y[0::2], y[1::2]
        a = (len(u) + 1) ** 2 / 50.0
        left, right = np.pad(u, 1, constant_values=1.0), np.pad(v, 1, constant_values=3.0)
        made = u * (3 - u * v)
        out = np.empty_like(y)
        out[0::2] = 1 - u - made + a * (left[2:] + left[:-2] - 2 * u)
        out[1::2] = made + a * (right[2:] + right[:-2] - 2 * v)
        return out

    table = exact(torch.from_numpy(y0)).numpy()
    pattern = scipy.sparse.csr_matrix(table != 0)
    known = solved(linear_solver="dense").y.numpy().ravel()
    settings = {"method": "kvaerno5", "rtol": 1e-6, "atol": 1e-8, "backend": "eager"}
    for more in (
        {},
        {"jac_sparsity": pattern},
        {"linear_solver": "sparse"},
        {"linear_solver": Krylov()},
        {"jac": lambda t, y: scipy.sparse.csc_matrix(exact(torch.from_numpy(y)).numpy())},
    ):
        found = solve_ivp(field, (0.0, 1.0), y0, **settings, **more)
        assert found.success
        assert np.abs(found.y[:, -1] - known).max() < 1e-4
    with pytest.raises(ValueError, match=r"f\[\d+\] depends on y\[\d+\]"):
        solve_ivp(field, (0.0, 1.0), y0, jac_sparsity=np.eye(80) + np.eye(80, k=2), **settings)
