"""Ignition of hydrogen and air: for a long time nothing that can be seen, and then everything."""

from __future__ import annotations

import torch
from torch import Tensor

from stiffguide.problems.hydrogen_air import HYDROGEN_AIR
from stiffguide.problems.ideal_gas import ATMOSPHERE
from stiffguide.problems.problem import Problem

NITROGEN = 3.76  # mol of it for one of oxygen, in air
END = 2e-3  # s

# y(END) from (T0, phi) at one atmosphere, by Cantera 3.2 (`h2o2.yaml`, in an
# IdealGasConstPressureReactor) at rtol = 1e-13 and atol = 1e-20. Every component agrees in ten
# digits with Cantera's at 1e-12, in eleven with rodas5p's at 1e-12 and kvaerno5's at 1e-11.
REFERENCES = {
    (1000.0, 0.5): (
        2215.1646706221, 5.8178482666443e-05, 6.4659901380808e-06, 0.00054995966074269,
        0.1129908773432, 0.003789089083095, 0.12669570052047, 5.7738444092291e-06,
        2.605190352904e-07, 0.0, 0.75590369455625,
    ),
    (1000.0, 1.0): (
        2692.813324761, 0.0030041831399568, 0.00044199105686847, 0.0026875137680608,
        0.017493653219262, 0.015227864843746, 0.21601406418983, 6.6397195277695e-06,
        4.8456132113561e-07, 0.0, 0.74512360550143,
    ),
    (1000.0, 2.0): (
        2544.6607516168, 0.027109415798547, 0.00083092731279237, 0.00011571950726691,
        9.5513458377057e-05, 0.0030756805902243, 0.24431235352957, 9.4028296723261e-08,
        2.6813157964326e-08, 0.0, 0.72446026896177,
    ),
    (1200.0, 0.5): (
        2362.2294786185, 0.00013471268551552, 2.1281085024387e-05, 0.0012996794093179,
        0.11169343128973, 0.0064898093642378, 0.1244480855762, 8.936141231528e-06,
        3.6989248527891e-07, 0.0, 0.75590369455625,
    ),
    (1200.0, 1.0): (
        2763.3197351412, 0.003564257635322, 0.00062780602272969, 0.0039170476885884,
        0.020536341631572, 0.018726720094367, 0.20749510587515, 8.5449672840977e-06,
        5.7058356451598e-07, 0.0, 0.74512360550143,
    ),
    (1200.0, 2.0): (
        2652.892444895, 0.026832974831515, 0.0012844910041793, 0.00030757686425886,
        0.00025139571844775, 0.0053245350767966, 0.24153845457919, 2.4985009495646e-07,
        5.311375011694e-08, 0.0, 0.72446026896177,
    ),
    (1400.0, 0.5): (
        2494.273206337, 0.00026100080828526, 5.4916188001528e-05, 0.0025774647322693,
        0.11008012454341, 0.0098956837674351, 0.12121409838651, 1.2534965361749e-05,
        4.8205247794113e-07, 0.0, 0.75590369455625,
    ),
    (1400.0, 1.0): (
        2827.9345927245, 0.0041175471765074, 0.00085163384683947, 0.005433027276015,
        0.023497909683987, 0.022315767931298, 0.19864929911097, 1.0559195883946e-05,
        6.5027707541863e-07, 0.0, 0.74512360550143,
    ),
    (1400.0, 2.0): (
        2746.8676834092, 0.026546451853399, 0.0018291491699976, 0.00067773211622698,
        0.00054711363334675, 0.0082636491366072, 0.23767499688354, 5.4683093895638e-07,
        9.1414175370753e-08, 0.0, 0.72446026896177,
    ),
}  # fmt: skip

# The first time (s) at which the temperature is HOTTER K above the initial one, from the same
# solves; rodas5p and kvaerno5 agree in ten digits.
HOTTER = 400.0
DELAYS = {
    (1000.0, 0.5): 0.00030384090602,
    (1000.0, 1.0): 0.00031113776212,
    (1000.0, 2.0): 0.00038972332523,
    (1200.0, 0.5): 5.1209524798e-05,
    (1200.0, 1.0): 4.670193765e-05,
    (1200.0, 2.0): 5.2160115881e-05,
    (1400.0, 0.5): 2.7598732094e-05,
    (1400.0, 1.0): 2.2015112154e-05,
    (1400.0, 2.0): 2.3649030132e-05,
}


def hydrogen_air(T: Tensor | float, phi: Tensor | float = 1.0) -> Tensor:
    """States (..., 11) of hydrogen and air at temperatures T (...) and equivalence ratios phi."""
    both = (torch.as_tensor(value, dtype=torch.float64) for value in (T, phi))
    heat, ratio = torch.broadcast_tensors(*both)
    one = torch.ones_like(ratio)
    moles = {"H2": 2 * ratio, "O2": one, "N2": NITROGEN * one}
    mixture = torch.stack([moles.get(name, 0 * one) for name in HYDROGEN_AIR.names], -1)
    return torch.cat((heat.unsqueeze(-1), HYDROGEN_AIR.mass_fractions(mixture)), -1)


def hydrogen_ignition(
    T0: float = 1000.0, phi: float = 1.0, pressure: float = ATMOSPHERE, t1: float = END
) -> Problem:
    """Hydrogen and air from the temperature T0 (K) on, at constant pressure (Pa), without losses.

    The state is (T, mass fractions) in the order of `HYDROGEN_AIR.names`. `hydrogen_air` makes many
    initial states for the same field, as y0 of a batch.
    """
    known = (T0, phi) if (pressure, t1) == (ATMOSPHERE, END) else None
    reference = REFERENCES.get(known) if known else None
    return Problem(
        name="hydrogen_ignition",
        title="Ignition of hydrogen and air",
        f=HYDROGEN_AIR.field(pressure),
        jac=HYDROGEN_AIR.jac(pressure),
        y0=hydrogen_air(T0, phi),
        t0=0.0,
        t1=t1,
        # The radicals grow from nothing: a tolerance above what they begin with hides the fire.
        atol=(1e-6, *(1e-17 for _ in HYDROGEN_AIR.names)),
        stiff=True,
        source="Smith et al., GRI-Mech 3.0 (1999), hydrogen and oxygen with N2, as in Cantera's "
        "h2o2.yaml; reference by Cantera 3.2",
        reference=reference,
        digits=11 if reference else 0,
        invariant=lambda y: HYDROGEN_AIR.elements(y)[..., 0],
        params={"T0": T0, "phi": phi, "pressure": pressure, "t1": t1},
        notes="elements are conserved, and so is the enthalpy, but for a jump by 2e-7 of it at "
        "1000 K, where the polynomials do not quite meet",
    )
