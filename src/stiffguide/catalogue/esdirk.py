"""Diagonally implicit Runge-Kutta methods: the classics, one large ESDIRK pair, and the families.

`ALL` gathers what this file, `kvaerno` and `kencarp` define. The classical one-stage methods and
the trapezoidal rule have no embedded solution: they need a fixed step.
"""

from __future__ import annotations

from fractions import Fraction as F

from stiffguide.catalogue import kencarp, kvaerno
from stiffguide.catalogue.kencarp import PAIRS, with_diagonal
from stiffguide.tableaux.exact import decimals, sqrt, square
from stiffguide.tableaux.tableau import Tableau

__all__ = ["ALL", "PAIRS"]

IMPLICIT_EULER = Tableau(
    name="implicit_euler",
    a=square(((1,),)),
    b=(F(1),),
    c=(F(1),),
    order=1,
    source="Hairer and Wanner, Solving Ordinary Differential Equations II, IV.3",
)

IMPLICIT_MIDPOINT = Tableau(
    name="implicit_midpoint",
    a=square(((F(1, 2),),)),
    b=(F(1),),
    c=(F(1, 2),),
    order=2,
    source="Hairer, Norsett and Wanner, Solving Ordinary Differential Equations I, II.7",
)

TRAPEZOID = Tableau(
    name="trapezoid",
    a=square(((0,), (F(1, 2), F(1, 2)))),
    b=(F(1, 2), F(1, 2)),
    c=(F(0), F(1)),
    order=2,
    source="Crank and Nicolson, Proc. Camb. Phil. Soc. 43 (1947) 50-67",
)


def sdirk_2() -> Tableau:
    """Alexander's pair of stages; b_hat of order 1 with R_hat(infinity) = -1/2 is Ellsiepen's."""
    gamma = 1 - sqrt(2) / 2
    gamma_hat = 2 - 5 * sqrt(2) / 4
    return Tableau(
        name="sdirk2",
        a=square(((gamma,), (1 - gamma, gamma))),
        b=(1 - gamma, gamma),
        c=(gamma, F(1)),
        b_error=(gamma_hat - gamma, gamma - gamma_hat),
        order=2,
        error_order=1,
        source="Alexander, SIAM J. Numer. Anal. 14 (1977) 1006-1021; "
        "Ellsiepen, dissertation, Universitaet Stuttgart (1999)",
    )


def tr_bdf2() -> Tableau:
    """Trapezoidal rule to 2 gamma, then BDF2; the embedded formula is of higher order, 3."""
    gamma = 1 - sqrt(2) / 2
    w = sqrt(2) / 4
    return Tableau(
        name="trbdf2",
        a=square(((0,), (gamma, gamma), (w, w, gamma))),
        b=(w, w, gamma),
        c=(F(0), 2 * gamma, F(1)),
        b_error=((4 * w - 1) / 3, F(-1, 3), 2 * gamma / 3),
        order=2,
        error_order=3,
        source="Hosea and Shampine, Appl. Numer. Math. 20 (1996) 21-37",
    )


SDIRK2 = sdirk_2()
TRBDF2 = tr_bdf2()

ESDIRK54I8L2SA_A = square(
    with_diagonal(
        F(1, 4),
        (
            "1/4",
            "1748874742213/5795261096931 1748874742213/5795261096931",
            """2426486750897/12677310711630 2426486750897/12677310711630
            -783385356511/7619901499812""",
            """1616209367427/5722977998639 1616209367427/5722977998639
            -211896077633/5134769641545 464248917192/17550087120101""",
            """1860464898611/7805430689312 1825204367749/7149715425471
            -1289376786583/6598860380111 55566826943/2961051076052
            1548994872005/13709222415197""",
            """1783640092711/14417713428467 -5781183663275/18946039887294
            -57847255876685/10564937217081 29339178902168/9787613280015
            122011506936853/12523522131766 -60418758964762/9539790648093""",
            """3148564786223/23549948766475 -4152366519273/20368318839251
            -143958253112335/33767350176582 16929685656751/6821330976083
            37330861322165/4907624269821 -103974720808012/20856851060343
            -93596557767/4675692258479""",
        ),
    )
)
ESDIRK54I8L2SA_B_HAT = decimals(
    """1707112744407/11125291145125 -34114578494/9511465441463 -10730340352595/5750059075211
    16308974155447/11154981868028 16015983083570/4734398780449 -16745095336747/7220642436550
    -3941055932791/7113931146175 9504350599766/12768012822991"""
)
ESDIRK54I8L2SA = Tableau(
    name="esdirk54i8l2sa",
    a=ESDIRK54I8L2SA_A,
    b=ESDIRK54I8L2SA_A[-1],
    c=(F(0), F(1, 2), (2 + sqrt(2)) / 4, F(53, 100), F(4, 5), F(17, 25), F(1), F(1)),
    b_error=tuple(x - y for x, y in zip(ESDIRK54I8L2SA_A[-1], ESDIRK54I8L2SA_B_HAT, strict=True)),
    order=5,
    error_order=4,
    digits=26,
    source="Kennedy and Carpenter, Diagonally Implicit Runge-Kutta Methods for Ordinary "
    "Differential Equations: A Review, NASA/TM-2016-219173, ESDIRK5(4I)8L[2]SA",
)

ALL = (
    IMPLICIT_EULER,
    IMPLICIT_MIDPOINT,
    TRAPEZOID,
    SDIRK2,
    TRBDF2,
    *kvaerno.ALL,
    *kencarp.ALL,
    ESDIRK54I8L2SA,
)
