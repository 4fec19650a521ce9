"""Burning hydrogen: right-hand sides of Cantera, exact Jacobians, what is kept, and the delay."""

from __future__ import annotations

import shutil

import pytest
import torch
from torch import Tensor

import stiffguide as sg
from stiffguide.errors import InputError
from stiffguide.problems import HYDROGEN_AIR, Gas, hydrogen_air, hydrogen_ignition
from stiffguide.problems.hydrogen_ignition import DELAYS, HOTTER, REFERENCES
from stiffguide.problems.ideal_gas import Reversible

D = torch.float64
COMPILER = shutil.which("g++") or shutil.which("clang++")

# Pressure, state, field and enthalpy (J / g) by Cantera 3.2 (h2o2.yaml): net production rates times
# molar mass over density, and the heating that they make. "cold" and "hot" are made up.
STATES = {
    "fresh": (
        101325.0,
        (1000.0, 0.028522388, 0.0, 0.0, 0.22635401, 0.0, 0.0, 0.0, 0.0, 0.0, 0.74512361),
        (-0.2310603523885, -3.1113565047902e-06, 1.5556782646797e-06, 1.4101951428494e-16,
         -4.9383524134124e-05, 0.0, 0.0, 5.0939202374094e-05, 0.0, 0.0, 0.0),
        1024.3624011942,
    ),
    "radicals grow": (
        101325.0,
        (1200.5168, 0.014430889, 8.5343279e-06, 3.1238868e-05, 0.22933289, 1.9448595e-05,
         0.00022844486, 4.4627583e-05, 2.3585293e-07, 0.0, 0.75590369),
        (206698.00001979, -13.123111431902, 3.0241489180951, 11.041883550016, -102.92231145308,
         7.2336441615876, 83.253428455597, 11.40070181658, 0.091615983101727, 0.0, 0.0),
        1164.692408111,
    ),
    "burning": (
        101325.0,
        (1749.6537, 0.0051811288, 0.0037897265, 0.015069208, 0.049650468, 0.013710627, 0.16744114,
         3.1555533e-05, 2.5380858e-06, 0.0, 0.74512361),
        (35320863.685433, -8.921840799856, -170.66683970868, -260.52099083576, -1439.249031874,
         587.45943803195, 1294.4549981184, -2.2054269416896, -0.3503059904081, 0.0, 0.0),
        1024.3622860408,
    ),
    "burnt": (
        101325.0,
        (2746.8677, 0.026546452, 0.0018291492, 0.00067773212, 0.00054711363, 0.0082636491, 0.237675,
         5.4683094e-07, 9.1414175e-08, 0.0, 0.72446027),
        (-11.160883843605, 0.00082438863171665, -0.00041232468272296, -0.00015043938917506,
         -1.2524265303067e-05, 0.0072996231739575, -0.0075485342286561, -1.1343929207776e-06,
         9.4515310374639e-07, 0.0, 0.0),
        2068.0840186022,
    ),
    "cold": (
        2000000.0,
        (620.0, 0.00047612728, 0.010063673, 0.38985, 0.14951517, 0.00063200281, 0.061574263,
         0.083310491, 0.0030887718, 0.30037645, 0.0011130492),
        (4490027940143.5, 8549154.3355814, -17455336.786063, -170703129.97691, 362836376.89573,
         478165444.34933, 9182266.5317096, -671172910.49495, 598135.14556673, 0.0, 0.0),
        7847.4412476316,
    ),
    "hot": (
        20000.0,
        (1850.0, 0.024803727, 0.057153551, 0.033077553, 0.083693872, 0.16638309, 0.36221328,
         0.0095083262, 0.11299294, 0.13978434, 0.010389318),
        (11367163470.554, 95368.09055878, -70998.407557277, 425345.29882558, 257206.3340326,
         -3595764.621549, 4261115.5495527, 7196815.1006021, -8569087.3444655, 0.0, 0.0),
        12836.840784043,
    ),
}  # fmt: skip
COLUMNS = list(zip(*STATES.values(), strict=True))
PRESSURES, STATE, FIELD = COLUMNS[0], *(torch.tensor(c, dtype=D) for c in COLUMNS[1:3])
ENTHALPY = torch.tensor(COLUMNS[3], dtype=D)
NOW = torch.zeros((), dtype=D)


def gross(y: Tensor, pressure: float) -> Tensor:
    """What the terms of every component (11,) of the field add up to, without their signs."""
    return HYDROGEN_AIR.jac(pressure)(NOW, y).abs() @ y.abs()


@pytest.mark.parametrize("row", range(len(STATES)), ids=STATES)
def test_the_field_is_that_of_cantera(row: int) -> None:
    y, pressure = STATE[row], PRESSURES[row]
    wrong = (HYDROGEN_AIR.field(pressure)(NOW, y) - FIELD[row]).abs()
    assert (wrong <= 1e-14 * gross(y, pressure) + 1e-12 * FIELD[row].abs()).all()


@pytest.mark.parametrize("row", range(len(STATES)), ids=STATES)
def test_the_jacobian_is_the_derivative_at_every_stage_of_burning(row: int) -> None:
    f, jac = HYDROGEN_AIR.field(PRESSURES[row]), HYDROGEN_AIR.jac(PRESSURES[row])
    exact = torch.autograd.functional.jacobian(lambda y: f(NOW, y), STATE[row])
    wrong = (jac(NOW, STATE[row]) - exact).abs()
    assert (wrong <= 1e-13 * exact.abs().amax(1, keepdim=True) + 1e-12 * exact.abs()).all()


def test_elements_and_enthalpy_do_not_change_along_the_field() -> None:
    y = STATE.clone().requires_grad_()
    f = torch.stack([HYDROGEN_AIR.field(p)(NOW, s) for p, s in zip(PRESSURES, STATE, strict=True)])
    for kept in (*HYDROGEN_AIR.elements(y).unbind(-1), HYDROGEN_AIR.enthalpy(y)):
        (slope,) = torch.autograd.grad(kept.sum(), y, retain_graph=True)
        sizes = torch.stack([gross(s, p) for s, p in zip(STATE, PRESSURES, strict=True)])
        assert ((slope * f).sum(-1).abs() <= 1e-14 * (slope.abs() * sizes).sum(-1)).all()


def test_enthalpy_is_that_of_cantera_and_elements_are_those_of_the_mixture() -> None:
    torch.testing.assert_close(HYDROGEN_AIR.enthalpy(STATE), ENTHALPY, rtol=1e-12, atol=0)
    # 2 H2 + O2 + 3.76 N2
    mass = torch.tensor([4 * 1.008, 2 * 15.999, 2 * 3.76 * 14.007, 0.0], dtype=D)
    torch.testing.assert_close(HYDROGEN_AIR.elements(hydrogen_air(300.0)), mass / mass.sum())


def test_reactions_add_up() -> None:
    # Every one alone: with falloff and without, with something to collide with and without.
    for y, pressure in zip(STATE, PRESSURES, strict=True):
        single = [Gas(HYDROGEN_AIR.species, (r,)).field(pressure) for r in HYDROGEN_AIR.reactions]
        total = torch.stack([f(NOW, y)[1:] for f in single]).sum(0)
        wrong = (HYDROGEN_AIR.field(pressure)(NOW, y)[1:] - total).abs()
        assert (wrong <= 1e-14 * gross(y, pressure)[1:]).all()


@pytest.mark.parametrize(
    "reaction",
    [
        Reversible("H + O2 -> OH + O", (1.0, 0.0, 0.0)),
        Reversible("H + O2 <=> OH + O <=> H2O", (1.0, 0.0, 0.0)),
        Reversible("H + C <=> OH + O", (1.0, 0.0, 0.0)),
        Reversible("H + O2 + M <=> HO2", (1.0, 0.0, 0.0)),
        Reversible("H + H + O <=> H2O", (1.0, 0.0, 0.0)),
        Reversible("H + O2 + M + N2 <=> HO2 + M + N2", (1.0, 0.0, 0.0)),
        Reversible("H + O2 + M <=> HO2 + M", (1.0, 0.0, 0.0), {"HE": 0.5}),
        Reversible("H + O2 + N2 <=> HO2 + N2", (1.0, 0.0, 0.0), {"AR": 0.5}),
    ],
    ids=lambda reaction: reaction.equation,
)
def test_a_reaction_that_cannot_be_read_is_refused(reaction: Reversible) -> None:
    with pytest.raises(InputError, match="needs one arrow <=>"):
        Gas(HYDROGEN_AIR.species, (reaction,)).field()


def test_states_are_made_in_any_shape() -> None:
    T = torch.tensor([[1000.0], [1400.0]], dtype=D)
    y = hydrogen_air(T, torch.tensor([0.5, 1.0, 2.0], dtype=D))
    assert y.shape == (2, 3, 11)
    torch.testing.assert_close(y[1, 2], hydrogen_ignition(1400.0, 2.0).y0)
    torch.testing.assert_close(y[..., 1:].sum(-1), torch.ones(2, 3, dtype=D))
    hydrogen, oxygen = (HYDROGEN_AIR.elements(y)[..., i] / w for i, w in ((0, 1.008), (1, 15.999)))
    torch.testing.assert_close(hydrogen / oxygen / 2, torch.tensor([[0.5, 1.0, 2.0]] * 2, dtype=D))


@pytest.mark.parametrize("key", REFERENCES, ids=str)
def test_references_keep_the_elements_and_the_enthalpy(key: tuple[float, float]) -> None:
    problem = hydrogen_ignition(*key)
    before, after = problem.y0, torch.tensor(problem.reference, dtype=D)
    elements = HYDROGEN_AIR.elements
    torch.testing.assert_close(elements(after), elements(before), rtol=1e-13, atol=1e-14)
    # the polynomials below and above 1000 K do not quite meet: begin with those above
    before = torch.cat((before[:1] * (1 + 1e-15), before[1:]))
    enthalpy = HYDROGEN_AIR.enthalpy
    torch.testing.assert_close(enthalpy(after), enthalpy(before), rtol=1e-11, atol=0)


def ignited(rtol: float, **settings: object) -> tuple[Tensor, Tensor]:
    """Largest relative errors of the end state and of the delay: nine ignitions, one solve."""
    problem = hydrogen_ignition()
    T0, phi = torch.tensor(list(DELAYS), dtype=D).unbind(-1)
    ends, delays = (torch.tensor(list(x.values()), dtype=D) for x in (REFERENCES, DELAYS))
    solution = sg.solve(
        problem.f,
        hydrogen_air(T0, phi),
        problem.t0,
        problem.t1,
        rtol=rtol,
        atol=torch.tensor([problem.atol_for(rtol)], dtype=D),
        batched=True,
        dense=True,
        **settings,
    ).raise_if_failed()
    low, high = torch.zeros_like(delays), torch.full_like(delays, problem.t1)
    for _ in range(45):
        middle = (low + high) / 2
        hot = solution.at(middle.unsqueeze(-1))[:, 0, 0] > T0 + HOTTER
        low, high = torch.where(hot, low, middle), torch.where(hot, middle, high)
    here = ends != 0  # there is no argon in this air
    wrong = (solution.y[:, -1] - ends).abs()
    assert (wrong[~here] == 0).all()
    return (wrong[here] / ends[here]).max(), (low / delays - 1).abs().max()


def test_ignition_comes_in_time() -> None:
    end, delay = ignited(1e-4, jac=hydrogen_ignition().jac)
    assert end < 1e-4
    assert delay < 1e-4


@pytest.mark.slow
@pytest.mark.skipif(COMPILER is None, reason="needs a C++ compiler")
def test_a_kernel_reaches_every_digit_of_the_references() -> None:
    end, delay = ignited(1e-10, backend="kernel")
    assert end < 10.0 ** -hydrogen_ignition().digits
    assert delay < 5e-10
