"""The exported strategies draw what they say: known solutions, orders, schedules, states, grids."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction as F

import pytest
import torch
from families import close, fixed, real
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import stiffguide as sg
from stiffguide import testing, verification
from stiffguide.adapters.diffusion import VE, RectifiedFlow, Reversed
from stiffguide.fields.layout import Layout
from stiffguide.tableaux.order import prove, proven_error_order, proven_order
from stiffguide.tableaux.stability import is_a_stable
from stiffguide.testing import Known, Nested

few = settings(max_examples=4)

# fields -------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(known=testing.fields())
def test_the_solution_of_a_field_is_one(known: Known) -> None:
    t = torch.linspace(known.t0, known.t1, 5, dtype=torch.float64)
    y, slopes = torch.func.jvp(known.exact, (t,), (torch.ones_like(t),))
    rates = known.f(t, y)
    # what is left of a stiff field is the rounding of y, multiplied by its rates
    close(rates, slopes, rtol=1e-11, atol=1e-5 if known.stiff else 1e-11)
    close(torch.stack([known.f(*at) for at in zip(t, y, strict=True)]), rates, atol=1e-6)
    close(known.y0, y[0])
    close(known.y1, y[-1])


@settings(max_examples=15)
@given(known=testing.fields(stiff=False))
def test_mild_fields_are_solved_in_rows(known: Known) -> None:
    t0, y0 = known.rows(3)
    found = sg.solve(known.f, y0, t0, known.t1, batched=True, method="dopri5").raise_if_failed()
    close(found.y[:, 0], known.y1.expand(3, -1), rtol=1e-4, atol=1e-4)


@few
@given(known=testing.fields(stiff=True))
def test_stiff_fields_are_solved_by_stiff_methods(known: Known) -> None:
    assert known.stiff
    assert "Prothero" in repr(known)
    found = sg.solve(known.f, known.y0, known.t0, known.t1, method="rodas5p").raise_if_failed()
    close(found.y[-1], known.y1, rtol=1e-4, atol=1e-4)


@few
@given(data=st.data(), degree=st.integers(1, 5))
def test_a_polynomial_field_is_exact_from_its_degree_on(data: st.DataObject, degree: int) -> None:
    known = data.draw(testing.polynomial_fields(degree))
    name = {1: "euler", 2: "heun", 3: "bosh3", 4: "rk4", 5: "dopri5"}[degree]
    found = fixed(name, known.f, known.y0, known.t0, known.t1, 2)
    close(found, known.y1, rtol=1e-11, atol=1e-11)


# tableaux -----------------------------------------------------------------------------------------

FAMILIES = {
    "explicit": (testing.explicit_tableaux, range(1, 7)),
    "implicit": (testing.implicit_tableaux, range(1, 5)),
    "rosenbrock": (testing.rosenbrock_tableaux, (2, 3)),
}
CASES = [(family, order) for family, (_, orders) in FAMILIES.items() for order in orders]


@pytest.mark.parametrize(("family", "order"), CASES)
@settings(max_examples=6)
@given(data=st.data())
def test_a_drawn_tableau_is_of_its_order_and_of_no_other(
    family: str, order: int, data: st.DataObject
) -> None:
    tableau = data.draw(FAMILIES[family][0](order))
    prove(tableau)
    assert proven_order(tableau) == order
    assert proven_error_order(tableau) == tableau.error_order
    assert tableau.error_order is None or tableau.error_order <= order
    assert getattr(tableau, "explicit", False) == (family == "explicit")


@pytest.mark.parametrize(("family", "order"), [("explicit", 3), ("implicit", 2), ("rosenbrock", 3)])
@settings(max_examples=2)
@given(data=st.data())
def test_every_law_of_verification_holds_of_drawn_tableaux(
    family: str, order: int, data: st.DataObject
) -> None:
    tableau = data.draw(FAMILIES[family][0](order))
    laws = [name for name in verification.CHECKS if name not in ("observed order", "dense output")]
    sg.verify(tableau, only=laws).raise_if_failed()


@settings(max_examples=10)
@given(tableau=testing.tableaux())
def test_a_drawn_tableau_is_a_method(tableau: sg.Tableau) -> None:
    found = sg.solve(
        lambda t, y: -y, real(1.0), 0.0, 0.1, method=tableau, controller=sg.Fixed(0.05)
    )
    close(found.y[-1], torch.exp(real(-0.1)), rtol=0.1)


@settings(max_examples=8)
@given(tableau=testing.implicit_tableaux(1))
def test_one_stage_is_a_stable_from_the_middle_on(tableau: sg.Tableau) -> None:
    (node,) = tableau.c
    assert node != F(1, 2)  # where it is of order 2, and so not drawn
    assert is_a_stable(tableau) == (node > F(1, 2))


@pytest.mark.parametrize(("family", "order"), [("explicit", 9), ("implicit", 5), ("rosenbrock", 4)])
@settings(max_examples=1)
@given(data=st.data())
def test_an_order_that_no_family_has_is_refused(
    family: str, order: int, data: st.DataObject
) -> None:
    with pytest.raises(sg.InputError, match=f"{family}_tableaux: order must be .* not {order}"):
        data.draw(FAMILIES[family][0](order))


# schedules ----------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(schedule=testing.schedules())
def test_schedules_obey_their_laws(schedule) -> None:
    testing.assert_schedule(schedule)


@few
@given(schedule=testing.schedules(reverse=True), other=testing.schedules(reverse=False))
def test_schedules_run_as_they_are_asked_to(schedule, other) -> None:
    assert isinstance(schedule, Reversed)
    assert float(schedule.level(schedule.time(0.1))) == pytest.approx(0.1)
    assert schedule.time(0.1) > schedule.time(10.0)
    assert other.time(0.1) < other.time(10.0)


class Wrong(RectifiedFlow):
    """A path with one thing wrong."""

    broken = ""

    def d_sigma(self, t):
        return super().d_sigma(t) * (1.001 if self.broken == "d_sigma" else 1)

    def d_alpha(self, t):
        return -RectifiedFlow.d_sigma(self, t) * (1.001 if self.broken == "d_alpha" else 1)

    def time(self, level):
        return super().time(level) + (1e-9 if self.broken == "time" else 0)

    def log_snr(self, t):
        return super().log_snr(t) * (2 if self.broken == "log_snr" else 1)

    def from_ve(self, x, t):
        return super().from_ve(x, t) * (2 if self.broken == "from_ve" else 1)

    def range(self):
        return (0.0, 1.0) if self.broken == "range" else super().range()


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        ("d_sigma", "d_sigma is not the derivative of sigma"),
        ("d_alpha", "d_alpha is not the derivative of alpha"),
        ("time", "time inverts level: broken"),
        ("log_snr", r"log_snr is log\(alpha/sigma\): broken"),
        ("from_ve", "from_ve inverts to_ve: broken"),
        ("range", "the range is from 0.0 to 1.0"),
    ],
)
def test_every_law_of_schedules_can_be_broken(
    broken: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = Wrong(2.0)
    testing.assert_schedule(schedule)
    monkeypatch.setattr(Wrong, "broken", broken)
    with pytest.raises(AssertionError, match=sentence):
        testing.assert_schedule(schedule)


# states and grids ---------------------------------------------------------------------------------


@settings(max_examples=40)
@given(nested=testing.states())
def test_a_nested_state_is_its_flat_one(nested: Nested) -> None:
    flat = torch.arange(1.0, nested.size + 1, dtype=torch.float64)
    assert torch.equal(nested.flatten(nested.build(flat)), flat)
    layout = Layout(nested.build(flat), batched=False)
    assert torch.equal(layout.flatten(nested.build(flat), "y"), flat.unsqueeze(0))
    rows = torch.stack((flat, -flat))
    assert torch.equal(nested.flatten(nested.build(rows)), rows)
    assert torch.equal(Layout(nested.build(rows), batched=True).flatten(nested.build(rows)), rows)


@given(
    ends=st.tuples(st.integers(-5, 5), st.integers(1, 5)), steps=st.integers(1, 9), data=st.data()
)
def test_times_go_from_end_to_end(ends: tuple[int, int], steps: int, data: st.DataObject) -> None:
    t0, t1 = float(ends[0]), float(ends[0] + ends[1])
    for a, b in ((t0, t1), (t1, t0)):
        found = data.draw(testing.times(a, b, steps))
        assert len(found) == steps + 1
        assert (float(found[0]), float(found[-1])) == (a, b)
        assert bool((found.diff() * (b - a) > 0).all())


@given(levels=testing.levels(), chosen=testing.levels(3, to_zero=True))
def test_levels_fall(levels: Tensor, chosen: Tensor) -> None:
    assert bool((levels.diff() < 0).all())
    assert float(levels[0]) <= 80.1
    assert float(levels[-1]) >= 0
    assert len(chosen) == 4
    assert float(chosen[-1]) == 0
    assert float(VE().level(chosen[0])) == float(chosen[0])


def test_without_hypothesis_a_sentence_says_what_to_install() -> None:
    text = "import sys; sys.modules['hypothesis'] = None; import stiffguide.testing"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    assert last == "ImportError: stiffguide.testing needs hypothesis: pip install hypothesis"
