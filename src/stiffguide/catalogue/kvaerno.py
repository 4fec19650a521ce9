"""The ESDIRK pairs of Kvaerno: y1 is the last stage, the embedded solution the one before.

A. Kvaerno, Singly diagonally implicit Runge-Kutta methods with an explicit first stage, BIT 44
(2004) 489-502. Everything follows from gamma: rational formulas for the pairs of order 3 and 4,
where gamma is the root that makes the last stage L-stable; for order 5 gamma is 13/50 and the
coefficients are the solution of the order conditions to 40 digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, localcontext
from fractions import Fraction as F

from stiffguide.tableaux.exact import Row, decimals, square
from stiffguide.tableaux.tableau import Tableau

SOURCE = "Kvaerno, BIT 44 (2004) 489-502"


def polynomial(coefficients: Sequence[F | int], x: F) -> F:
    """Value at x; the highest power comes first."""
    value = F(0)
    for coefficient in coefficients:
        value = value * x + coefficient
    return value


def polynomial_root(coefficients: Sequence[F | int], near: str, digits: int = 60) -> F:
    """Return the simple root close to `near`, by Newton's iteration in `digits` digits."""
    degree = len(coefficients) - 1
    slope = [c * (degree - i) for i, c in enumerate(coefficients[:-1])]
    with localcontext(prec=digits + 5):
        root = Decimal(near)
        for _ in range(10):  # digits double from 3 on
            x = F(root)
            step = polynomial(coefficients, x) / polynomial(slope, x)
            root -= Decimal(step.numerator) / Decimal(step.denominator)
    return F(root)


def pair(name: str, rows: Sequence[Row], c: Row, order: int, digits: int = 48) -> Tableau:
    """Complete the rows of a stiffly accurate pair: b is the last row, b_hat the last but one."""
    a = square(rows)
    return Tableau(
        name=name,
        a=a,
        b=a[-1],
        c=c,
        b_error=tuple(x - y for x, y in zip(a[-1], a[-2], strict=True)),
        order=order,
        error_order=order - 1,
        digits=digits,
        source=SOURCE,
    )


def kvaerno_3() -> Tableau:
    """ESDIRK 3/2 with gamma from R(infinity) = 0 for three implicit stages."""
    g = polynomial_root((1, -3, F(3, 2), F(-1, 6)), near="0.436")
    a31 = (-4 * g**2 + 6 * g - 1) / (4 * g)
    a32 = (1 - 2 * g) / (4 * g)
    a41 = (6 * g - 1) / (12 * g)
    a42 = 1 / (12 * g * (1 - 2 * g))
    a43 = (6 * g**2 - 6 * g + 1) / (3 * (1 - 2 * g))
    rows = ((F(0),), (g, g), (a31, a32, g), (a41, a42, a43, g))
    return pair("kvaerno3", rows, (F(0), 2 * g, F(1), F(1)), order=3)


def kvaerno_4() -> Tableau:
    """ESDIRK 4/3 with gamma from R(infinity) = 0 for four implicit stages.

    Some codes pair these formulas with gamma = 0.4358665 (of `kvaerno3`). The order is the same,
    but then R(infinity) = 0 holds for the fourth stage, which has order 3, and not for y1.
    """
    g = polynomial_root((1, -4, 3, F(-2, 3), F(1, 24)), near="0.573")

    def p(*coefficients: int) -> F:
        return polynomial(coefficients, g)

    p2, p3, p4, p5 = p(12, -6, 1), p(12, -9, 2), p(3, -1), p(6, -6, 1)
    a31 = p(144, -180, 81, -15, 1) * g / p2**2
    a32 = p(-36, 39, -15, 2) * g / p2**2
    a41 = p(-144, 396, -330, 117, -18, 1) / (12 * g**2 * p3)
    a42 = p(72, -126, 69, -15, 1) / (12 * g**2 * p4)
    a43 = -p5 * p2**2 / (12 * g**2 * p3 * p4)
    a51 = p(288, -312, 120, -18, 1) / (48 * g**2 * p3)
    a52 = p(24, -12, 1) / (48 * g**2 * p4)
    a53 = -(p2**3) / (48 * g**2 * p4 * p3 * p5)
    a54 = p(-24, 36, -12, 1) / (4 * p5)
    rows = ((F(0),), (g, g), (a31, a32, g), (a41, a42, a43, g), (a51, a52, a53, a54, g))
    return pair("kvaerno4", rows, (F(0), 2 * g, g + a31 + a32, F(1), F(1)), order=4)


KVAERNO3 = kvaerno_3()
KVAERNO4 = kvaerno_4()

# gamma = 0.26; the 40 digits are those of SUNDIALS (arkode_butcher_dirk.def, KVAERNO_7_4_5)
BELOW_THE_DIAGONAL = (
    "",
    "0.26",
    "0.13 0.8403332099679080963171360487915268154051",
    """0.2237196147832050559163143898290529441991
    0.4767553231979969983278927937270874162429
    -0.06470895363112615133816161180658488282681""",
    """0.1664856432324832152535151725360430044452
    0.1045001884159172041151167240328967362455
    0.03631482272098715161651993758285203251909
    -0.1309070445107399857071749645700052401819""",
    """0.1385564023126822495054973091161581456582
    0
    -0.04245337201752043098884399725982168512523
    0.02446657898003141965963581513879101305561
    0.6194303907248067618237108730048725264114""",
    """0.1365975117764029144062783844146127033921
    0
    -0.05496908796538376712487773114648630009105
    -0.04118626728321046868299776958296295741592
    0.6299330489901640319161060392667246534806
    0.06962479448202728948549107704811190063421""",
)
KVAERNO5 = pair(
    "kvaerno5",
    [(*decimals(text), F("0.26") if text else F(0)) for text in BELOW_THE_DIAGONAL],
    decimals(
        """0 0.52
        1.230333209967908096317136048791526815405
        0.8957659843500759029060455717495554776153
        0.4363936098586475852779768695817865330279
        1 1"""
    ),
    order=5,
    digits=40,
)

ALL = (KVAERNO3, KVAERNO4, KVAERNO5)
