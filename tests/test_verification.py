"""`verify`: nothing is found wrong of sound methods, and every check has an error that it sees."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction as F
from typing import Any

import pytest
import torch
from families import METHODS, TABLEAU
from torch import Tensor

import stiffguide as sg
from stiffguide import verification
from stiffguide.catalogue import TABLEAUX
from stiffguide.verification import CHECKS, Report, Stepper

BOSH3, DOPRI5, RK4 = (TABLEAUX[name] for name in ("bosh3", "dopri5", "rk4"))
PROOFS = ("order conditions", "embedded conditions", "dense conditions", "stability")
LAWS = ("polynomials", "time shift", "stability function", "batch", "permutation", "gradients")


# sound methods ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_every_law_holds_of_every_method(name: str) -> None:
    """Orders and estimates are those of `test_order`, dense outputs of `test_exactness`."""
    report = sg.verify(name, only=LAWS)
    assert report.ok
    asked = {check.name for check in report if check.verdict == "holds"}
    steps = set() if name == "bdf" else {"polynomials", "time shift", "batch", "permutation"}
    assert asked >= steps
    assert ("stability function" in asked) == (name in TABLEAU)


def step_of(tableau: sg.Tableau, **wrong: Any) -> Any:
    """An explicit step written out, with something else in the place of what it should be."""
    a, b, c = (
        [[float(x) for x in row] for row in rows] for rows in (tableau.a, [tableau.b], [tableau.c])
    )
    time = wrong.get("time", lambda t, c, dt: t + c * dt)
    nodes = wrong.get("nodes", c[0])

    def step(f: Any, t: Any, dt: Any, y: Any) -> Any:
        k: list[Any] = []
        for i, row in enumerate(a):
            y_i = y + dt * sum((row[j] * k[j] for j in range(i)), 0 * y)
            k.append(f(time(t, nodes[i], dt), wrong.get("seen", lambda y: y)(y_i)))
        y1 = y + dt * sum(w * x for w, x in zip(b[0], k, strict=True))
        y1 = wrong.get("end", lambda y: y)(y1)
        if tableau.b_error is None:
            return y1
        e = wrong.get("b_error", [float(x) for x in tableau.b_error])
        f1 = f(t + dt, y1)

        def dense(theta: float) -> Any:
            """The cubic Hermite polynomial."""
            if wrong.get("linear"):
                return y + theta * (y1 - y)
            s = 1 - theta
            ends = (1 + 2 * theta) * s**2 * y + theta**2 * (3 - 2 * theta) * y1
            return ends + dt * theta * s * (s * k[0] - theta * f1)

        return y1, dt * sum(w * x for w, x in zip(e, k, strict=True)), dense

    return step


def foreign(tableau: sg.Tableau = BOSH3, arrays: Any = "torch", **wrong: Any) -> Stepper:
    known = {"arrays": arrays, "batched": True, "tableau": tableau, "name": "mine"}
    paired = {"dense_order": 3} if tableau.b_error is not None else {}
    return Stepper(step_of(tableau, **wrong), **known, **paired)


@pytest.mark.parametrize("arrays", ["torch", "numpy"])
def test_a_step_of_somebody_else_is_verified(arrays: str) -> None:
    report = sg.verify(foreign(arrays=arrays)).raise_if_failed()
    held = {check.name for check in report if check.verdict == "holds"}
    assert {*CHECKS} - held == {"dense conditions"} | (
        {"gradients"} if arrays == "numpy" else set()
    )
    assert report["observed order"].figure == pytest.approx(3, abs=0.15)
    assert report["error estimate"].figure == pytest.approx(3, abs=0.3)
    assert report["dense output"].figure == pytest.approx(3, abs=0.3)


def test_a_plain_function_is_a_step() -> None:
    def euler(f: Any, t: Tensor, dt: Tensor, y: Tensor) -> Tensor:
        assert t.shape == dt.shape == ()
        return y + dt * f(t, y)

    report = sg.verify(euler, order=1)
    assert report.ok
    assert report.name == "euler"
    assert report["batch"].verdict == "left out"
    assert not sg.verify(euler, order=2, only=["observed order"]).ok
    estimated = sg.verify(euler, order=1, error_order=1, only=["error estimate"])
    assert "its step returned no error estimate" in estimated.violations[0].sentence


def test_a_tableau_that_nothing_steps_with_is_proved() -> None:
    thirds = ((F(1, 6), F(-1, 6)), (F(1, 6), F(1, 3)), (F(1, 6), F(5, 6)))
    weights = (F(1, 6), F(2, 3), F(1, 6))
    lobatto = sg.Tableau("lobatto_iiib4", thirds, weights, (F(0), F(1, 2), F(1)), 4, "Lobatto IIIB")
    report = sg.verify(lobatto)
    assert report.ok
    assert report["order conditions"].figure == 4
    assert report["observed order"].sentence == "tableau only"


# errors planted on purpose ------------------------------------------------------------------------


def broken_behind_its_back(tableau: sg.Tableau, **fields: Any) -> sg.Tableau:
    """With other numbers than the constructor would take."""
    broken = replace(tableau, name="broken")
    for field, value in fields.items():
        object.__setattr__(broken, field, value)
    return broken


def whole(y: Tensor) -> Tensor:
    """Moved by a norm that the rows share."""
    return y * (1 + 1e-6 * y.norm())


def placed(y: Tensor) -> Tensor:
    """Moved by the place of a row."""
    if y.ndim == 1:
        return y
    return y * (1 + 1e-6 * torch.arange(len(y)).unsqueeze(-1))


NODES = [0.0, 0.5, 0.7, 1.0]
SHARE = [x + d for x, d in zip(map(float, BOSH3.b_error), (1 / 24, -1 / 24, 0, 0), strict=True)]
DENSE = (*DOPRI5.dense[:-1], tuple(reversed(DOPRI5.dense[-1])))

PLANTED = {
    "order conditions": (
        replace(RK4, name="broken", order=5),
        "broken: b is not of order 5: the condition sum b_i .* of order 5 is missed by .*tree",
    ),
    "embedded conditions": (
        replace(BOSH3, name="broken", error_order=1),
        "broken: b_hat is of order 2 at least, error_order says 1",
    ),
    "dense conditions": (
        broken_behind_its_back(DOPRI5, dense=DENSE),
        r"broken: dense is not of dense_order 4: in the condition .* theta\^",
    ),
    "observed order": (
        foreign(nodes=NODES),
        r"mine: the observed order is [01]\.\d\d, claimed is 3",
    ),
    "error estimate": (
        foreign(b_error=SHARE),
        r"mine: the error estimate shrinks as dt\^2\.\d\d, dt\^3 belongs to its orders",
    ),
    "dense output": (
        foreign(linear=True),
        r"mine: the dense output is of order 1\.\d\d, claimed is 3",
    ),
    "polynomials": (
        foreign(nodes=NODES),
        "mine: a polynomial of degree 2 is missed by .* a method of order 3 is exact up to degree",
    ),
    "time shift": (
        foreign(time=lambda t, c, dt: t + c * dt * (1 + 1e-6 * t)),
        r"mine: a shift of time by 64 changes two steps \(by .*\): a stage is told another time",
    ),
    "stability function": (
        Stepper(step_of(RK4), tableau=BOSH3, name="mine"),
        "mine: at z = .* a step multiplies by .*, its coefficients by .*: the program is not that",
    ),
    "batch": (foreign(end=whole), "mine: row . of 4 is not what it is alone .*rows share what"),
    "permutation": (foreign(end=placed), "mine: rows in another order give other results"),
    "gradients": (
        foreign(seen=lambda y: y.detach() if isinstance(y, Tensor) else y),
        r"mine: derivatives by y0\[0\], y0\[1\] and a parameter of f are .* for ",
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_every_check_sees_its_error(name: str) -> None:
    broken, sentence = PLANTED[name]
    report = sg.verify(broken, only=[name])
    assert [check.verdict for check in report] == ["violated"]
    with pytest.raises(sg.VerificationFailed, match=sentence):
        report.raise_if_failed()
    with pytest.raises(AssertionError):
        report.raise_if_failed()


def test_the_stability_function_does_not_see_everything() -> None:
    """Two methods of three stages and order 3 have one R(z)."""
    heun3 = Stepper(step_of(TABLEAUX["heun3"]), tableau=BOSH3)
    assert sg.verify(heun3, only=["stability function"]).ok


@pytest.mark.parametrize(
    ("name", "claim", "ok"),
    [
        *(("rodas5p", "L", True), ("trapezoid", "A", True), ("trapezoid", "L", False)),
        *(("rk4", "A", False), ("rk4", None, True), ("implicit_euler", "A", True)),
    ],
)
def test_a_claim_of_stability_is_judged(name: str, claim: Any, ok: bool) -> None:
    (check,) = sg.verify(name, only=["stability"], stability=claim)
    assert (check.verdict == "holds") == ok
    assert ok or f"{claim}-stable is claimed" in check.sentence


def test_every_check_has_its_error() -> None:
    assert {*PLANTED, "stability"} == {*CHECKS}


def test_a_step_that_fails_is_said_to() -> None:
    def none(f: Any, t: Tensor, dt: Tensor, y: Tensor) -> Tensor:
        return y * float("nan")

    for check in sg.verify(Stepper(none, order=1, name="none", batched=True)):
        if check.verdict == "violated":
            assert "none: " in check.sentence
    report = sg.verify(none, order=1)
    assert "only 0 of the errors are finite" in report["observed order"].sentence
    assert "a step failed" in report["time shift"].sentence
    assert report["polynomials"].violated


# reports and refusals -----------------------------------------------------------------------------


def test_a_report_is_a_table() -> None:
    lines = str(sg.verify("rk4", only=["order conditions", "error estimate"])).splitlines()
    assert lines == [
        "rk4: nothing violated",
        "check             verdict   found  due",
        "order conditions  holds     4      4",
        "error estimate    left out  -      -",
        "left out: rk4 claims no error estimate",
    ]
    wrong = sg.verify(replace(RK4, order=3), only=["order conditions"])
    assert str(wrong).splitlines()[0] == "rk4: 1 violated"
    assert "violated: rk4: b is of order 4 at least" in str(wrong)


def test_a_report_is_looked_up_by_name() -> None:
    report: Report = sg.verify("rk4", only=PROOFS)
    assert [check.name for check in report] == [*PROOFS]
    assert report["stability"] is report.checks[3]
    with pytest.raises(sg.InputError, match="rk4: no check is named 'batch'; there are order cond"):
        report["batch"]


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: sg.verify("rk5"), "method: 'rk5' is unknown; did you mean 'rk4'"),
        (
            lambda: sg.verify("rk4", only=["bach"]),
            "only: no check is named 'bach'; there are order",
        ),
        (lambda: sg.verify("rk4", order=4), "order and error_order are for a plain step"),
        (lambda: sg.verify(3), "3 is neither a name, a tableau nor a Method"),
        (lambda: sg.verify(lambda f, t, dt, y: y), "which order does <lambda> claim"),
        (lambda: sg.verify("rk4", stability="B"), "stability: give 'A' or 'L', not 'B'"),
        (
            lambda: sg.verify(lambda f, t, dt, y: y[:1], order=1),
            r"a step from \(2,\) returned the shape \(1,\)",
        ),
        (
            lambda: sg.verify(lambda f, t, dt, y: (y, y, None, y), order=1),
            r"a step returns y1, \(y1, error\) or \(y1, error, dense\)",
        ),
        (lambda: verification.observed_dense_order(Stepper(step_of(RK4), 4)), "no dense output"),
    ],
)
def test_what_cannot_be_verified_is_refused(call: Any, sentence: str) -> None:
    with pytest.raises(sg.InputError, match=sentence):
        call()
