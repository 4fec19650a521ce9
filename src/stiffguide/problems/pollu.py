"""POLLU: the chemistry of air pollution, 20 species and 25 reactions."""

from __future__ import annotations

import torch

from stiffguide.problems.mass_action import Network
from stiffguide.problems.problem import Problem

# Verwer, Gauss-Seidel iteration for stiff ODEs from chemical kinetics, SIAM J. Sci. Comput. 15
# (1994) 1243-1250; O is atomic oxygen in its ground state, O1D in its first excited one.
POLLU = Network.parse(
    "NO2 NO O O3 HO2 OH HCHO CO ALD MEO2 C2O3 CO2 PAN CH3O HNO3 O1D SO2 SO4 NO3 N2O5",
    (
        (0.35, "NO2 -> NO + O"),
        (26.6, "NO + O3 -> NO2"),
        (12.3e3, "HO2 + NO -> NO2 + OH"),
        (0.86e-3, "HCHO -> HO2 + HO2 + CO"),
        (0.82e-3, "HCHO -> CO"),
        (15e3, "HCHO + OH -> HO2 + CO"),
        (0.13e-3, "ALD -> MEO2 + HO2 + CO"),
        (24e3, "ALD + OH -> C2O3"),
        (16.5e3, "C2O3 + NO -> NO2 + MEO2 + CO2"),
        (9e3, "C2O3 + NO2 -> PAN"),
        (0.022, "PAN -> C2O3 + NO2"),
        (12e3, "MEO2 + NO -> CH3O + NO2"),
        (1.88, "CH3O -> HCHO + HO2"),
        (16.3e3, "NO2 + OH -> HNO3"),
        (4.8e6, "O -> O3"),
        (0.35e-3, "O3 -> O1D"),
        (0.0175, "O3 -> O"),
        (100e6, "O1D -> OH + OH"),
        (444e9, "O1D -> O"),
        (1240.0, "SO2 + OH -> SO4 + HO2"),
        (2.1, "NO3 -> NO"),
        (5.78, "NO3 -> NO2 + O"),
        (0.0474, "NO2 + O3 -> NO3"),
        (1780.0, "NO3 + NO2 -> N2O5"),
        (3.12, "N2O5 -> NO3 + NO2"),
    ),
)
"""The `Network` of air pollution: 20 species and 25 reactions (Verwer, 1994)."""

_Y0 = {"NO": 0.2, "O3": 0.04, "HCHO": 0.1, "CO": 0.3, "ALD": 0.01, "SO2": 0.007}

# y(60); the absolute tolerances stay nine digits below it, species by species.
_REFERENCE = (
    0.056462554800227695,
    0.13424841304223384,
    4.139734331099427e-09,
    0.00552314020748436,
    2.0189772623021962e-07,
    1.4645418634939657e-07,
    0.07784249118997964,
    0.3245075353396018,
    0.007494013383880406,
    1.6222931573015605e-08,
    1.135863833257075e-08,
    0.00223050597572136,
    0.000208716288279863,
    1.3969210168401579e-05,
    0.008964884856898295,
    4.352846369330104e-18,
    0.006899219696263405,
    0.0001007803037365946,
    1.7721465139699844e-06,
    5.682943292316393e-05,
)


def pollu() -> Problem:
    """The air pollution model of Verwer (1994), to t1 = 60."""
    y0 = torch.tensor([_Y0.get(name, 0.0) for name in POLLU.species], dtype=torch.float64)
    return Problem(
        name="pollu",
        title="POLLU, air pollution",
        f=POLLU.field(),
        jac=POLLU.jac(),
        y0=y0,
        t0=0.0,
        t1=60.0,
        atol=tuple(1e-9 * value for value in _REFERENCE),
        stiff=True,
        source="Verwer, SIAM J. Sci. Comput. 15 (1994) 1243-1250; test set for IVP solvers, "
        "release 2.4 (Bari, 2008), problem POLLU, reference recomputed to 16 digits",
        reference=_REFERENCE,
        digits=13,
        # Sulphur is neither made nor lost: it only moves from SO2 to SO4.
        invariant=lambda y: y[..., 16] + y[..., 17],
        notes="nitrogen and sulphur are conserved; O1D lives at 4e-18",
    )
