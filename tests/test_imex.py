"""Fields in two parts: pairs of tableaux that prove themselves, and methods that step by them."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction as F
from itertools import pairwise

import numpy as np
import pytest
import torch
from families import close, real

import stiffguide as sg
from stiffguide import Fixed, methods
from stiffguide.catalogue.kencarp import PAIRS
from stiffguide.errors import TableauError
from stiffguide.fronts.scipy import solve_ivp
from stiffguide.tableaux.additive import AdditivePair
from stiffguide.tableaux.exact import Matrix, Row
from stiffguide.tableaux.order import prove
from stiffguide.tableaux.trees import Tree, trees
from stiffguide.verification import orbit, orbit_field

every_pair = pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
KENCARP4 = PAIRS[1]


# the conditions ---------------------------------------------------------------------------------


def test_trees_of_two_colours() -> None:
    assert [len(trees(r, "ei")) for r in range(1, 7)] == [1, 2, 7, 26, 107, 458]
    assert all(len(set(trees(r, "ei"))) == len(trees(r, "ei")) for r in range(1, 7))
    assert all({tree.order for tree in trees(r, "ei")} == {r} for r in range(1, 7))

    def grey(tree: Tree) -> Tree:
        return Tree(tuple(sorted(map(grey, tree.children), key=str)))

    for r in range(1, 6):
        densities = {(grey(t), t.density) for t in trees(r, "ei")}
        assert densities == {(grey(t), t.density) for t in trees(r)}


@every_pair
def test_pairs_are_proved(pair: AdditivePair) -> None:
    pair.prove()
    prove(pair.explicit)  # which says that the orders are no higher, either
    prove(pair.implicit)


def moved(row: Row, source: int, target: int, by: F) -> Row:
    return tuple(x - by * (j == source) + by * (j == target) for j, x in enumerate(row))


def with_row(a: Matrix, i: int, row: Row) -> Matrix:
    return (*a[:i], row, *a[i + 1 :])


@every_pair
@pytest.mark.parametrize("part", ["explicit", "implicit"])
def test_a_wrong_coefficient_is_refused(pair: AdditivePair, part: str) -> None:
    tableau, i = getattr(pair, part), pair.implicit.stages - 2
    source = next(j for j in range(i) if tableau.a[i][j])
    row = moved(tableau.a[i], source, i - 1, F(1, 10**9))
    broken = replace(pair, **{part: replace(tableau, a=with_row(tableau.a, i, row))})
    with pytest.raises(TableauError, match=rf"{pair.name}: \S.* misses the coupling condition"):
        broken.prove()


@every_pair
@pytest.mark.parametrize("field", ["b_error", "dense"])
def test_wrong_weights_are_refused(pair: AdditivePair, field: str) -> None:
    rows = pair.implicit.b_error if field == "b_error" else pair.implicit.dense
    assert rows is not None
    if field == "b_error":
        changed = moved(rows, 0, -1 % len(rows), F(1, 10**9))
    else:
        changed = (moved(rows[0], 0, 1, F(1, 10**9)), *rows[1:])
    parts = {p: replace(getattr(pair, p), **{field: changed}) for p in ("explicit", "implicit")}
    what = "b_hat" if field == "b_error" else "dense, theta"
    with pytest.raises(TableauError, match=f"{pair.name}: {what}"):
        replace(pair, **parts).prove()


def test_parts_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(TableauError, match="mixed: the two parts differ in b"):
        AdditivePair("mixed", explicit=PAIRS[0].explicit, implicit=KENCARP4.implicit)
    with pytest.raises(TableauError, match="twice: one part must be explicit"):
        AdditivePair("twice", explicit=KENCARP4.implicit, implicit=KENCARP4.implicit)


# steps ------------------------------------------------------------------------------------------

ROWS = 15  # starting times
FIRST = real(1.0, 0.0)


def pull(t, y):
    """Zero on the orbit; stiff in another direction at every time."""
    a, b = (y - orbit(t)).unbind(-1)
    turn = torch.cos(3 * t)
    return torch.stack((-20 * a - 5 * turn * b, -8 * b + a * b + 5 * a), -1)


SPLITS = {
    "pull": (orbit_field, pull),
    "orbit": (lambda t, y: 0.2 * pull(t, y), orbit_field),
    "components": (
        lambda t, y: FIRST * (orbit_field(t, y) + 0.2 * pull(t, y)),
        lambda t, y: (1 - FIRST) * (orbit_field(t, y) + 0.2 * pull(t, y)),
    ),
}
TIGHT = {"rtol": 1e-12, "atol": 1e-12}


@every_pair
@pytest.mark.parametrize("split", SPLITS)
def test_observed_order(pair: AdditivePair, split: str) -> None:
    t0 = torch.linspace(0.0, 6.0, ROWS, dtype=torch.float64)
    errors = []
    length = 0.25 if split == "pull" else 0.75
    for n in (8, 12):
        chosen = {"method": pair.name, "controller": Fixed(length / n), "batched": True, **TIGHT}
        found = sg.solve(SPLITS[split], orbit(t0), t0, t0 + length, **chosen).raise_if_failed()
        errors.append(float((found.y[:, -1] - orbit(t0 + length)).abs().max()))
    order = math.log(errors[0] / errors[1]) / math.log(12 / 8)
    assert order == pytest.approx(pair.implicit.order, abs=0.3)


@every_pair
def test_without_one_part_it_is_the_method_of_the_other(pair: AdditivePair) -> None:
    y0, chosen = orbit(real(0.0)), {"controller": Fixed(0.1), **TIGHT}

    def ended(f, method) -> torch.Tensor:
        return sg.solve(f, y0[0], 0.0, 1.0, method=method, **chosen).raise_if_failed().y[-1]

    def nothing(t, y):
        return torch.zeros_like(y)

    close(ended((nothing, orbit_field), pair.name), ended(orbit_field, pair.name), 1e-11)
    close(ended((orbit_field, nothing), pair.name), ended(orbit_field, pair.explicit), 1e-12)


@every_pair
def test_the_interpolant_has_its_order_at_least(pair: AdditivePair) -> None:
    t0, errors = torch.linspace(0.0, 6.0, ROWS, dtype=torch.float64), []
    for dt in (0.1, 0.05):
        chosen = {"method": pair.name, "controller": Fixed(dt), "batched": True, **TIGHT}
        found = sg.solve(SPLITS["components"], orbit(t0), t0, t0 + dt, dense=True, **chosen)
        at = t0.unsqueeze(1) + dt * real(0.2, 0.5, 0.8)
        errors.append(float((found.at(at) - orbit(at)).abs().max()))
    claim = methods.ADDITIVE[pair.name].dense_order
    assert math.log2(errors[0] / errors[1]) > claim + 0.6


class Witness(Fixed):
    """Given steps, whose errors are kept."""

    def __init__(self, dt: float) -> None:
        super().__init__(dt)
        self.errors: list[torch.Tensor] = []

    def judge(self, step, tolerance, state):
        self.errors.append(step.error)
        return super().judge(step, tolerance, state)


@every_pair
def test_the_estimate_has_its_order(pair: AdditivePair) -> None:
    method, t0 = methods.ADDITIVE[pair.name], torch.linspace(0.0, 6.0, ROWS, dtype=torch.float64)
    errors = []
    for dt in (0.05, 0.025):
        witness = Witness(dt)
        chosen = {"method": method, "controller": witness, "batched": True, **TIGHT}
        sg.solve(SPLITS["components"], orbit(t0), t0, t0 + dt, **chosen)
        errors.append(float(witness.errors[0].abs().max()))
    exponent = math.log2(errors[0] / errors[1])
    assert exponent == pytest.approx(pair.implicit.error_order + 1, abs=0.4)


def test_a_batch_equals_its_rows() -> None:
    f = SPLITS["pull"]
    t0, t1 = real(0.0, 1.0, 2.0), real(0.3, 1.5, 2.1)
    y0 = orbit(t0) * real(1.0, 1.1, 0.9).unsqueeze(1)
    whole = sg.solve(f, y0, t0, t1, batched=True, rtol=1e-6)
    for b in range(3):
        alone = sg.solve(f, y0[b : b + 1], t0[b : b + 1], t1[b : b + 1], batched=True, rtol=1e-6)
        close(whole.y[b], alone.y[0], 1e-13)
        assert whole.stats.accepted[b] == alone.stats.accepted[0]


def test_gradients() -> None:
    def explicit(t, y, k, m):
        return torch.stack((k * y[1] * torch.sin(t), -m * y[0] * y[1]))

    def implicit(t, y, k, m):
        return torch.stack((-30 * m * (y[0] - torch.cos(t)), k * (y[0] - y[1] ** 3)))

    def end(y0, k, m):
        chosen = {"method": "kencarp4", "args": (k, m), **TIGHT, "controller": Fixed(0.2)}
        return sg.solve((explicit, implicit), y0, 0.0, 0.4, **chosen).y[-1]

    inputs = (real(1.0, 0.5), real(2.0)[0], real(0.7)[0])
    assert torch.autograd.gradcheck(end, tuple(x.requires_grad_() for x in inputs), rtol=1e-6)


def test_a_parameter_may_come_late_and_by_checkpoints() -> None:
    k = real(2.0)[0].requires_grad_()

    def late(t, y):
        return (k if float(t) > 0.3 else 2.0) * torch.cos(t) * y.flip(-1)

    def end(**more) -> torch.Tensor:
        done = sg.solve((late, lambda t, y: -5 * y), real(1.0, 0.5), 0.0, 0.6, rtol=1e-4, **more)
        return torch.autograd.grad(done.y[-1].sum(), k)[0]

    assert end() > 0.01
    close(end(gradient="checkpoint"), end(), 1e-12)


def test_sensitivities_are_slopes_and_transforms_are_refused() -> None:
    def explicit(t, y, k):
        return k * torch.cos(t) * y.flip(-1)

    def implicit(t, y, k):
        return -5 * k * y

    def end(k, **more):
        chosen = {"args": (k,), "rtol": 1e-4, **more}
        return sg.solve((explicit, implicit), real(1.0, 0.5), 0.0, 0.4, **chosen)

    k = real(2.0)[0]
    slope = torch.autograd.functional.jacobian(lambda k: end(k).y[-1], k)
    close(end(k, sensitivities=[0]).dy_dp[-1, :, 0], slope, 1e-9)
    with pytest.raises(sg.UnsupportedError, match="do not go through kencarp4"):
        torch.func.grad(lambda k: end(k).y[-1].sum())(k)


# large systems ----------------------------------------------------------------------------------

N = 64


def mixed(t, y):
    """Everything enters everything."""
    return y * (1 - y.mean(-1, keepdim=True)) * torch.cos(t)


def diffusion(t, y):
    q = torch.cat((y[1:2], y, y[-2:-1]))
    return 0.25 * N**2 * (q[2:] + q[:-2] - 2 * y)


BUMP = torch.exp(-(torch.linspace(-3, 3, N, dtype=torch.float64) ** 2))


def test_a_linear_implicit_part_costs_one_jacobian_and_one_iteration_a_stage() -> None:
    found = sg.solve((mixed, diffusion), BUMP, 0.0, 0.3, rtol=1e-4).raise_if_failed()
    assert found.method == "kencarp4"
    assert found.stats.linear_solver.startswith("band: the pattern by watching f; ")
    assert int(found.stats.njac) == 1
    attempts = int(found.stats.accepted + found.stats.rejected)
    # 6 explicit stages, f at the end, 5 implicit ones of which one looks twice
    assert int(found.stats.nfe) <= 13.5 * attempts + 20

    def whole(t, y):
        return mixed(t, y) + diffusion(t, y)

    close(found.y, sg.solve(whole, BUMP, 0.0, 0.3, method="kvaerno5").y, 1e-3, 1e-3)


@pytest.mark.parametrize("solver", ["band", "sparse", "dense", "krylov"])
def test_every_linear_solver_does(solver: str) -> None:
    tight = {"rtol": 1e-7, "atol": 1e-9}
    exact = sg.solve((mixed, diffusion), BUMP, 0.0, 0.1, **tight, linear_solver="dense").y
    found = sg.solve((mixed, diffusion), BUMP, 0.0, 0.1, **tight, linear_solver=solver)
    assert found.stats.linear_solver.startswith(solver)
    close(found.y, exact, 1e-5, 1e-6)


def test_gradients_go_through_a_band() -> None:
    y0 = BUMP.clone().requires_grad_()
    slopes = []
    for solver in ("band", "dense"):
        found = sg.solve((mixed, diffusion), y0, 0.0, 0.02, linear_solver=solver, rtol=1e-3)
        slopes.append(torch.autograd.grad(found.y[-1] @ torch.cos(BUMP), y0)[0])
    close(*slopes, 1e-6, 1e-6)


def test_jac_is_that_of_the_implicit_part(caplog: pytest.LogCaptureFixture) -> None:
    jac = torch.func.jacrev(lambda y: diffusion(0.0, y))(BUMP)
    found = sg.solve((mixed, diffusion), BUMP, 0.0, 0.1, jac=jac)
    assert not caplog.records
    close(found.y, sg.solve((mixed, diffusion), BUMP, 0.0, 0.1).y, 1e-6, 1e-8)
    sg.solve((mixed, diffusion), BUMP, 0.0, 0.1, jac=2 * jac)
    assert "jac is not the derivative" in caplog.text


# what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "more", "words"),
    [
        ((mixed,), {}, r"f: a pair is \(explicit, implicit\), two functions"),
        ((mixed, diffusion, mixed), {}, "two functions whose sum is dy/dt"),
        ((mixed, 3.0), {}, r"not \(function, float\)"),
        ((mixed, diffusion), {"method": "rodas5p"}, "rodas5p solves one f; use method='kencarp3'"),
        ((mixed, diffusion), {"method": methods.get("bdf")}, "bdf solves one f; use method="),
        ((mixed, diffusion), {"mass": 2 * torch.eye(N)}, "f is a pair, whose sum is y'"),
        ((mixed, diffusion), {"nonnegative": True}, "the sum of both parts"),
        ((mixed, diffusion), {"backend": "kernel"}, "it solves one f, and f is a pair"),
        (mixed, {"method": methods.ADDITIVE["kencarp4"]}, "give f as a pair"),
        ((lambda t, y: np.sin(y), diffusion), {}, "the explicit part of a pair is a function of n"),
        ((mixed, lambda t, y: -np.asarray(y)), {}, "the implicit part of a pair is a function of"),
    ],
)
def test_what_cannot_be_is_said(f, more, words: str) -> None:
    with pytest.raises((sg.InputError, sg.UnsupportedError), match=words):
        sg.solve(f, BUMP, 0.0, 0.1, **more)


def test_the_front_of_scipy_takes_one_function() -> None:
    with pytest.raises(ValueError, match="fun: a pair"):
        solve_ivp((mixed, diffusion), (0.0, 1.0), BUMP.numpy(), method="kencarp4")


def test_names_keep_their_meaning() -> None:
    one = sg.solve(orbit_field, orbit(real(0.0))[0], 0.0, 1.0, method="kencarp4", backend="eager")
    assert one.method == "kencarp4"
    assert methods.get("kencarp4").family == "ESDIRK"
    names = {sg.solve(SPLITS["pull"], FIRST, 0.0, 0.1, method=m).method for m in methods.ADDITIVE}
    assert names == {pair.name for pair in PAIRS}
    assert all(a < b for a, b in pairwise(p.implicit.order for p in PAIRS))
