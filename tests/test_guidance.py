"""Guidance as a rule of the core: what it may change, what it must not, and what it costs."""

from __future__ import annotations

import importlib
import itertools
import math
import pkgutil

import pytest
import torch
from torch import Tensor

import stiffguide as sg
from stiffguide import estimators, guidance, methods
from stiffguide.catalogue import TABLEAUX
from stiffguide.guidance import (
    Cap,
    ErkGuid,
    ErrorDirection,
    Gate,
    Sum,
    Window,
    erk_guid_displacement,
    soundness,
)
from stiffguide.guidance.kappa import kappa
from stiffguide.methods.secant_heun import SecantHeun, kappa_matrix
from stiffguide.stepping.contracts import Guidance, Move
from stiffguide.tableaux.stability import stability_function

F64 = torch.float64
RULES = {
    "erk_guid": ErkGuid(0.3, 0.5),
    "edg": ErrorDirection(),
    "edg3": ErrorDirection(order=3),
    "window": Window(ErrorDirection(), 0.2, 0.7),
    "gate": Gate(ErrorDirection(), 3.0),
    "smooth gate": Gate(ErkGuid(0.3, 0.0), 3.0, width=0.5),
    "cap": Cap(ErrorDirection(), 0.05),
    "sum": Sum((ErrorDirection(), ErkGuid(0.1, 0.0))),
}
SOUND = [n for n in methods.names() if n in TABLEAUX and soundness(TABLEAUX[n]).sound]
UNSOUND = [n for n in methods.names() if n in TABLEAUX and not soundness(TABLEAUX[n]).sound]


def coupled(t: Tensor, y: Tensor) -> Tensor:
    """Non-autonomous, coupled, nonlinear; works solo and batched."""
    a, b = y[..., 0], y[..., 1]
    return torch.stack((torch.cos(t) - 2 * a * b, a - 0.5 * b * b + torch.sin(3 * t)), -1)


Y0 = torch.tensor([1.0, 0.5], dtype=F64)


def horner(row: tuple, z: float) -> float:
    return sum(float(c) * z**k for k, c in enumerate(row))


def test_every_rule_is_here() -> None:
    names = [f"{guidance.__name__}.{file.name}" for file in pkgutil.iter_modules(guidance.__path__)]
    kinds = [kind for name in names for kind in vars(importlib.import_module(name)).values()]
    rules = {kind for kind in kinds if isinstance(kind, type) and hasattr(kind, "delta")}
    assert rules - {Guidance} == {type(rule) for rule in RULES.values()}


@pytest.mark.parametrize("name", SOUND)
def test_kappa_is_what_the_stability_functions_say(name: str) -> None:
    tableau = TABLEAUX[name]
    p, q = stability_function(tableau)
    from stiffguide.tableaux.order import embedded_weights

    p_hat, _ = stability_function(tableau, embedded_weights(tableau))
    rule = kappa(tableau)
    for z in (-30.0, -3.0, -0.9, 0.8, 2.0):
        difference = horner(p, z) - horner(p_hat, z)
        expected = (horner(q, z) * math.exp(z) - horner(p, z)) / difference
        got = float(rule(torch.tensor([z], dtype=F64)))
        assert got == pytest.approx(expected, rel=1e-6)
    for edge in (rule.near * 0.999999, -rule.near * 0.999999):  # series meets closed form
        inside, outside = rule(torch.tensor([edge, edge * 1.000002], dtype=F64))
        assert float(inside) == pytest.approx(float(outside), rel=1e-5, abs=1e-9)


def test_kappa_of_heun_is_two_phi2_minus_one() -> None:
    z = torch.linspace(-5, 5, 41, dtype=F64)
    z = z[z.abs() > 0.2]
    torch.testing.assert_close(
        kappa(TABLEAUX["heun"])(z), 2 * (torch.exp(z) - 1 - z) / z**2 - 1, rtol=1e-11, atol=0
    )


def test_the_pair_of_bogacki_shampine_is_refused_for_its_zero() -> None:
    assert "-1" in soundness(TABLEAUX["bosh3"]).reason


@pytest.mark.parametrize("name", UNSOUND)
def test_unsound_pairs_are_refused_with_the_reason(name: str) -> None:
    with pytest.raises(sg.UnsupportedError, match="heun"):
        sg.solve(
            coupled, Y0, 0.0, 1.0, method=name, controller=sg.Fixed(0.1), guidance=ErrorDirection()
        )


@pytest.mark.parametrize("method", ["euler", "rk4", "midpoint"])
def test_no_pair_no_guidance(method: str) -> None:
    for rule in (ErkGuid(), ErrorDirection()):
        with pytest.raises(sg.UnsupportedError, match="pair"):
            sg.solve(coupled, Y0, 0.0, 1.0, method=method, controller=sg.Fixed(0.1), guidance=rule)


@pytest.mark.parametrize("bad", [{"w_stiff": -1.0}, {"w_con": -0.1}, {"w_stiff": math.nan}])
def test_negative_weights_are_refused(bad: dict) -> None:
    with pytest.raises(sg.InputError, match="must be finite and not negative"):
        ErkGuid(**bad)


@pytest.mark.parametrize(
    "rule", [ErkGuid(0.0, 0.5), ErkGuid(0.0, 0.0), Window(ErrorDirection(), 5, 6)]
)
@pytest.mark.parametrize("method", ["heun", "dopri5"])
@pytest.mark.usefixtures("eager")
def test_zero_weight_is_bitwise_no_guidance(rule: sg.Guidance, method: str) -> None:
    plain = sg.solve(coupled, Y0, 0.0, 2.0, method=method, rtol=1e-4)
    guided = sg.solve(coupled, Y0, 0.0, 2.0, method=method, rtol=1e-4, guidance=rule)
    if method == "heun" or isinstance(rule, Window):
        assert torch.equal(plain.y, guided.y)
    # dopri5 is FSAL: its f1 is a stage, evaluated at the same point
    torch.testing.assert_close(plain.y, guided.y, rtol=1e-14, atol=0)


def heun_loop(rule: str, n: int, t1: float) -> Tensor:
    """Straight-line loops with the formulas of the rules, written apart from the package."""
    h, t, y = t1 / n, 0.0, Y0.clone()
    f = lambda t, y: coupled(torch.tensor(t, dtype=F64), y)  # noqa: E731
    k1, pair = f(t, y), None
    for _ in range(n):
        low = y + h * k1
        k2 = f(t + h, low)
        error = h / 2 * (k2 - k1)
        new = low + error
        if rule == "erk_guid":
            if pair is not None:
                dx, df = y - pair[0], k1 - pair[1]
                rho = df.norm() / (dx.norm() + 1e-8)
                v = df / (df.norm() + 1e-8)
                if rho > 0.5:
                    new = new + h * (0.3 * h * rho) ** 2 * (k1 @ v) * v
            pair = (low, k2)
            f1 = f(t + h, new)
        else:
            f1 = f(t + h, new)
            df = f1 - k2
            z = float(h * (error @ df) / (error @ error))
            q = z / 3 + z * z / 12 + z**3 / 60 + z**4 / 360 + z**5 / 2520 + z**6 / 20160
            q = max(-1.0, min(1.0, q))
            new, f1 = new + q * error, f1 + q * df
        t, y, k1 = t + h, new, f1
    return y


@pytest.mark.parametrize("rule", ["erk_guid", "edg"])
def test_rules_equal_their_straight_line_loops(rule: str) -> None:
    got = sg.solve(
        coupled, Y0, 0.0, 2.0, method="heun", controller=sg.Fixed(0.05), guidance=RULES[rule]
    )
    torch.testing.assert_close(got.y[-1], heun_loop(rule, 40, 2.0), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_guided_heun_keeps_its_order(rule: sg.Guidance) -> None:
    reference = sg.solve(coupled, Y0, 0.0, 1.5, method="dopri8", rtol=1e-12, atol=1e-13).y[-1]
    errors = []
    for n in (80, 160, 320, 640):
        got = sg.solve(
            coupled, Y0, 0.0, 1.5, method="heun", controller=sg.Fixed(1.5 / n), guidance=rule
        )
        errors.append(float((got.y[-1] - reference).norm()))
    slope = math.log2(errors[1] / errors[3]) / 2
    assert slope > 1.8, errors


@pytest.mark.parametrize("name", SOUND)
def test_guided_methods_keep_their_order(name: str) -> None:
    method = methods.get(name)
    reference = sg.solve(coupled, Y0, 0.0, 1.5, method="dopri8", rtol=1e-12, atol=1e-13).y[-1]
    steps = (10, 20, 40) if method.order >= 4 else (40, 80, 160)
    errors = []
    for n in steps:
        got = sg.solve(
            coupled,
            Y0,
            0.0,
            1.5,
            method=name,
            controller=sg.Fixed(1.5 / n),
            guidance=ErrorDirection(),
            rtol=1e-12,
            atol=1e-12,
        )
        errors.append(float((got.y[-1] - reference).norm()))
    assert math.log2(errors[0] / errors[2]) / 2 > method.order - 0.35, errors


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.usefixtures("eager")
def test_guidance_adds_no_evaluation_to_heun(rule: sg.Guidance) -> None:
    """Only a sum that mixes both kinds of rule has to evaluate f again."""
    n = 20
    got = sg.solve(coupled, Y0, 0.0, 1.0, method="heun", controller=sg.Fixed(1 / n), guidance=rule)
    mixed = isinstance(rule, Sum)
    wrapped = isinstance(rule, Gate) and isinstance(rule.rule, ErkGuid)
    assert int(got.stats.nfe) == 1 + (3 if mixed or wrapped else 2) * n


# where a method iterates, its evaluations depend on where it is: counts compare for the others
COUNTED = [n for n in SOUND if not isinstance(TABLEAUX[n], sg.Tableau) or TABLEAUX[n].explicit]


@pytest.mark.parametrize("name", COUNTED)
@pytest.mark.usefixtures("eager")
def test_the_cost_of_guidance_is_the_one_that_is_announced(name: str) -> None:
    given = {"method": name, "controller": sg.Fixed(0.05), "rtol": 1e-8, "checks": False}
    plain, guided = (
        sg.solve(coupled, Y0, 0.0, 1.0, guidance=rule, **given) for rule in (None, ErrorDirection())
    )
    extra = 0 if soundness(TABLEAUX[name]).free else 20
    # where no stage ends the step, the last of given steps asks f at its end for guidance alone
    extra += not TABLEAUX[name].fsal
    assert int(guided.stats.nfe) - int(plain.stats.nfe) == extra


class Push:
    """A rule that moves y1 by a lot, and does not care where to."""

    needs_f1 = needs_f_low = False

    def bind(self, method: object) -> Push:
        return self

    def init(self, t0: Tensor, y0: Tensor) -> tuple[()]:
        return ()

    def delta(self, step: sg.Step, f1: Tensor | None, state: object) -> Move:
        return Move(torch.full_like(step.y1, 0.01), None, ())


@pytest.mark.parametrize("rule", [*RULES.values(), Push()], ids=[*RULES, "push"])
def test_the_verdict_is_on_the_step_as_the_method_made_it(rule: sg.Guidance) -> None:
    method = methods.get("heun")
    judged = []

    class Spy:
        adaptive = True
        inner = sg.PID()

        def init(self, t0: Tensor, t1: Tensor, dt: Tensor) -> object:
            return self.inner.init(t0, t1, dt)

        def judge(self, step, tolerance, state):  # type: ignore[no-untyped-def]
            field = lambda t, y: coupled(t[0], y)  # noqa: E731
            own = method.step(field, step.t0, step.dt, step.y0, step.f0, (), tolerance)
            # an error is a difference of slopes: it knows dt times their last bits
            torch.testing.assert_close(step.error, own.error, rtol=1e-10, atol=1e-15)
            torch.testing.assert_close(step.y1, own.y1, rtol=1e-14, atol=0)
            verdict = self.inner.judge(step, tolerance, state)
            judged.append((float(step.t0), bool(verdict.accept)))
            return verdict

    sg.solve(coupled, Y0, 0.0, 1.0, method="heun", controller=Spy(), guidance=rule, rtol=1e-3)
    # what was accepted was also stepped on from: guidance vetoed nothing either
    for (before, accept), (after, _) in itertools.pairwise(judged):
        assert (after > before) == accept


def test_error_direction_is_exact_for_a_linear_scalar_equation() -> None:
    """Also with steps at which Heun is unstable (dt lambda = -5, where it multiplies by 8.5)."""
    for lam in (-0.7, -3.0, -5.0):
        f = lambda t, y, lam=lam: lam * y  # noqa: E731
        got = sg.solve(
            f,
            torch.ones(1, dtype=F64),
            0.0,
            6.0,
            method="heun",
            controller=sg.Fixed(1.0),
            guidance=ErrorDirection(),
            save_at=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        )
        expected = torch.exp(lam * torch.arange(1.0, 7.0, dtype=F64)).unsqueeze(1)
        torch.testing.assert_close(got.y, expected, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_guided_batch_equals_solo(rule: sg.Guidance) -> None:
    starts = torch.tensor([[1.0, 0.5], [0.2, -0.3], [2.0, 1.0]], dtype=F64)
    f = lambda t, y: coupled(t, y)  # noqa: E731
    whole = sg.solve(f, starts, 0.0, 1.0, method="heun", batched=True, guidance=rule, rtol=1e-3)
    for i, y0 in enumerate(starts):
        solo = sg.solve(coupled, y0, 0.0, 1.0, method="heun", guidance=rule, rtol=1e-3)
        torch.testing.assert_close(whole.y[i], solo.y, rtol=1e-12, atol=1e-14)
        assert int(whole.stats.accepted[i]) == int(solo.stats.accepted)


def test_cap_caps_and_gate_closes() -> None:
    step = methods.get("heun").step(
        lambda t, y: -40 * y,  # type: ignore[arg-type]
        torch.zeros(1, dtype=F64),
        torch.full((1,), 0.1, dtype=F64),
        torch.ones(1, 1, dtype=F64),
        torch.full((1, 1), -40.0, dtype=F64),
        (),
        None,  # type: ignore[arg-type]
    )
    f1 = -40 * step.y1
    rule = ErrorDirection().bind(methods.get("heun"))
    free = rule.delta(step, f1, ()).dy
    capped = Cap(rule, 0.25).delta(step, f1, ()).dy
    assert float(capped.abs()) == pytest.approx(0.25 * float(step.error.abs()))
    assert float(free.abs()) > float(capped.abs())
    assert float(Gate(rule, 41.0).delta(step, f1, ()).dy) == 0.0
    assert torch.equal(Gate(rule, 39.0).delta(step, f1, ()).dy, free)
    half = Gate(rule, 40.0, width=1.0).delta(step, f1, ()).dy
    assert float(half / free) == pytest.approx(0.5, rel=1e-6)


def test_estimators_find_the_dominant_eigenpair() -> None:
    q, _ = torch.linalg.qr(torch.tensor([[1.0, 2, 0], [0, 1, 3], [1, 0, 1]], dtype=F64))
    a = q @ torch.diag(torch.tensor([-100.0, -2.0, -1.0], dtype=F64)) @ q.T
    dx = (1e-3 * q[:, 0]).unsqueeze(0)
    df = dx @ a.T
    assert float(estimators.local_stiffness(dx, df)) == pytest.approx(100, rel=1e-4)
    assert float(estimators.rayleigh_quotient(dx, df)) == pytest.approx(-100, rel=1e-9)
    assert abs(float(estimators.dominant_direction(df) @ q[:, 0])) == pytest.approx(1, rel=1e-6)
    both = torch.stack((q[:, 0] + q[:, 1], q[:, 0] - q[:, 1], q[:, 0]), -1).unsqueeze(0)
    space = estimators.secant_subspace(both, (a @ both[0]).unsqueeze(0))
    values = torch.linalg.eigvals(space.matrix[0, :2, :2]).real.sort().values
    torch.testing.assert_close(values, torch.tensor([-100.0, -2.0], dtype=F64))
    assert float(space.basis[0, :, 2].norm()) == 0  # the third lies in the span of the others


def test_the_displacement_has_the_sign_of_h() -> None:
    dx, df, f0 = (torch.tensor([[x, 1.0]], dtype=F64) for x in (0.1, 3.0, 2.0))
    h = torch.tensor([0.2], dtype=F64)
    forth = erk_guid_displacement(dx, df, f0, h, 1.0, 0.1)
    torch.testing.assert_close(erk_guid_displacement(dx, df, f0, -h, 1.0, 0.1), -forth)


def test_kappa_matrix_agrees_with_kappa_on_a_diagonal() -> None:
    z = torch.diag(torch.tensor([-3.0, 0.7, -40.0], dtype=F64)).unsqueeze(0)
    got = kappa_matrix(z)[0].diagonal()
    torch.testing.assert_close(got, kappa(TABLEAUX["heun"])(z[0].diagonal()), rtol=1e-9, atol=1e-12)


def slow_fast() -> tuple[object, Tensor]:
    """100 equations, 3 stiff directions."""
    generator = torch.Generator().manual_seed(0)
    q, _ = torch.linalg.qr(torch.randn(100, 100, dtype=F64, generator=generator))
    values = torch.cat((torch.tensor([-1000.0, -2000.0, -5000.0]), -torch.linspace(0.1, 2, 97)))
    a = q @ torch.diag(values.double()) @ q.T
    y0 = torch.randn(100, dtype=F64, generator=generator)
    return (lambda t, y: torch.cos(t) + 0.3 * torch.sin(y.flip(-1)) + a @ y), y0


@pytest.mark.slow
def test_secant_heun_on_few_stiff_directions() -> None:
    """Evaluations against adaptive Heun at matched error."""
    f, y0 = slow_fast()
    reference = sg.solve(f, y0, 0.0, 2.0, rtol=1e-9, atol=1e-11).y[-1]
    plain = sg.solve(f, y0, 0.0, 2.0, method="heun", rtol=1e-4, atol=1e-6)
    plain_error = float((plain.y[-1] - reference).abs().max())
    for check, least in ((False, 7), (True, 5)):
        secant = sg.solve(f, y0, 0.0, 2.0, method=SecantHeun(8, check=check), rtol=2e-4, atol=2e-6)
        assert bool(secant.success)
        assert float((secant.y[-1] - reference).abs().max()) <= plain_error
        assert int(plain.stats.nfe) >= least * int(secant.stats.nfe)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [1, 2, 8])
@pytest.mark.parametrize(("name", "t1"), [("van_der_pol", 1000.0), ("robertson", 40.0)])
def test_checked_secant_heun_is_never_wrong_in_silence(name: str, t1: float, rank: int) -> None:
    problem = sg.problems.get(name)
    rtol, atol = 1e-3, 1e-7
    got = sg.solve(
        problem.f,
        problem.y0,
        0.0,
        t1,
        method=SecantHeun(rank),
        rtol=rtol,
        atol=atol,
        max_attempts=1200,
    )
    reached = float(got.t[-1])
    assert bool(got.success) or got.message
    truth = sg.solve(problem.f, problem.y0, 0.0, reached, rtol=1e-9, atol=1e-13).y[-1]
    assert bool(((got.y[-1] - truth).abs() <= 100 * (atol + rtol * truth.abs())).all())


def test_rank_must_be_positive() -> None:
    with pytest.raises(sg.InputError, match="rank"):
        SecantHeun(0)


def test_gradient_through_guidance() -> None:
    y0 = Y0.clone().requires_grad_()
    args = {"method": "heun", "controller": sg.Fixed(0.1), "guidance": ErrorDirection()}
    sg.solve(coupled, y0, 0.0, 1.0, **args).y[-1].sum().backward()
    for i in range(2):
        e = torch.zeros(2, dtype=F64)
        e[i] = 1e-6
        up, down = (sg.solve(coupled, Y0 + s * e, 0.0, 1.0, **args).y[-1].sum() for s in (1, -1))
        assert float(y0.grad[i]) == pytest.approx(float(up - down) / 2e-6, rel=1e-6)
